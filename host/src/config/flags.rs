//! Heapster's flags: which there were, what they mean here, and how they are found among the arguments.
//! `_` and `-` are alike, and a single dash will do, as in `-v=2`.

use std::ffi::OsString;

use super::problems::{Problems, closest};

/// One flag that Heapster (or a library in it) had.
#[derive(Debug)]
pub struct Flag {
    /// With dashes, without the leading ones.
    pub name: &'static str,
    /// True or false; alone, it means true.
    pub is_bool: bool,
    /// May be given more than once.
    pub repeats: bool,
    /// What becomes of it.
    pub meaning: Meaning,
}

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// `--source`.
    Source,
    /// `--sink`.
    Sink,
    /// `--metric-resolution`.
    Resolution,
    /// `--heapster-port`.
    Port,
    /// `--listen-ip`.
    Ip,
    /// `--label-separator`.
    LabelSeparator,
    /// `--ignore-label`.
    IgnoreLabel,
    /// `--store-label`.
    StoreLabel,
    /// `--disable-export`.
    DisableExport,
    /// `--disable-metric-sink`.
    DisableMetricSink,
    /// `--historical-source`.
    Historical,
    /// What is about our ports' TLS.
    Http(HttpFlag),
    /// Accepted with a warning that gives this reason.
    Nothing(&'static str),
    /// Refused with this reason, but for a false or empty value.
    Unsupported(&'static str),
}

/// A flag about TLS, or about the aggregated API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpFlag {
    /// `--tls-cert`.
    Certificate,
    /// `--tls-key`.
    Key,
    /// `--tls-client-ca`.
    ClientAuthority,
    /// `--allowed-users`.
    AllowedUsers,
    /// `--api-server`.
    ApiServer,
    /// `--secure-port`.
    SecurePort,
    /// `--bind-address`.
    BindAddress,
    /// `--tls-cert-file`.
    SecureCertificate,
    /// `--tls-private-key-file`.
    SecureKey,
}

const LOGGING: Meaning = Meaning::Nothing("millrace logs to standard error; RUST_LOG sets how much");
const CADVISOR: Meaning = Meaning::Nothing("kubelets collect on their own schedule");
const OLD: Meaning = Meaning::Nothing("it was gone from Heapster too; --metric-resolution sets the cycle");
const REVIEWS: Meaning = Meaning::Nothing("the API server of --source is asked, and its answers are kept for 10 s");
const AUTHORITIES: Meaning =
    Meaning::Unsupported("whom the cluster trusts is read from the ConfigMap extension-apiserver-authentication");
const DEBUGGING: Meaning = Meaning::Nothing("there are no such routes");

const fn text(name: &'static str, meaning: Meaning) -> Flag {
    Flag { name, is_bool: false, repeats: false, meaning }
}

const fn list(name: &'static str, meaning: Meaning) -> Flag {
    Flag { name, is_bool: false, repeats: true, meaning }
}

const fn switch(name: &'static str, meaning: Meaning) -> Flag {
    Flag { name, is_bool: true, repeats: false, meaning }
}

/// Every flag that a Heapster manifest may hold.
pub const FLAGS: &[Flag] = &[
    text("source", Meaning::Source),
    list("sink", Meaning::Sink),
    text("metric-resolution", Meaning::Resolution),
    text("heapster-port", Meaning::Port),
    text("listen-ip", Meaning::Ip),
    text("label-separator", Meaning::LabelSeparator),
    list("ignore-label", Meaning::IgnoreLabel),
    list("store-label", Meaning::StoreLabel),
    text("max-procs", Meaning::Nothing("the scheduler uses the cores that the container is given")),
    text(
        "sink-export-data-timeout",
        Meaning::Nothing("a slow sink delays nothing; `timeout` of a sink bounds a request"),
    ),
    switch("disable-export", Meaning::DisableExport),
    switch("disable-metric-sink", Meaning::DisableMetricSink),
    text("historical-source", Meaning::Historical),
    text("tls-cert", Meaning::Http(HttpFlag::Certificate)),
    text("tls-key", Meaning::Http(HttpFlag::Key)),
    text("tls-client-ca", Meaning::Http(HttpFlag::ClientAuthority)),
    text("allowed-users", Meaning::Http(HttpFlag::AllowedUsers)),
    switch("api-server", Meaning::Http(HttpFlag::ApiServer)),
    text("secure-port", Meaning::Http(HttpFlag::SecurePort)),
    text("bind-address", Meaning::Http(HttpFlag::BindAddress)),
    text("tls-cert-file", Meaning::Http(HttpFlag::SecureCertificate)),
    text("tls-private-key-file", Meaning::Http(HttpFlag::SecureKey)),
    text("cert-dir", Meaning::Nothing("a certificate that is made at start is kept in memory alone")),
    text("client-ca-file", AUTHORITIES),
    text("requestheader-client-ca-file", AUTHORITIES),
    list("requestheader-allowed-names", AUTHORITIES),
    list("requestheader-extra-headers-prefix", AUTHORITIES),
    list("requestheader-group-headers", AUTHORITIES),
    list("requestheader-username-headers", AUTHORITIES),
    text("tls-ca-file", Meaning::Unsupported("write the whole chain into the file of --tls-cert-file")),
    list("tls-sni-cert-key", Meaning::Unsupported("one certificate with all names does")),
    text("authentication-kubeconfig", REVIEWS),
    switch("authentication-skip-lookup", AUTHORITIES),
    text("authentication-token-webhook-cache-ttl", REVIEWS),
    text("authorization-kubeconfig", REVIEWS),
    text("authorization-webhook-cache-authorized-ttl", REVIEWS),
    text("authorization-webhook-cache-unauthorized-ttl", REVIEWS),
    switch("profiling", DEBUGGING),
    switch("contention-profiling", DEBUGGING),
    switch("enable-swagger-ui", DEBUGGING),
    text("v", LOGGING),
    text("vmodule", LOGGING),
    switch("logtostderr", LOGGING),
    switch("alsologtostderr", LOGGING),
    text("stderrthreshold", LOGGING),
    text("log-dir", LOGGING),
    text("log-backtrace-at", LOGGING),
    text("log-flush-frequency", LOGGING),
    text("poll-duration", OLD),
    text("stats-resolution", OLD),
    text("cache-duration", OLD),
    text("sink-frequency", OLD),
    text("model-resolution", OLD),
    switch("use-model", OLD),
    switch("align-stats", OLD),
    text("housekeeping-interval", CADVISOR),
    text("global-housekeeping-interval", CADVISOR),
    switch("allow-dynamic-housekeeping", CADVISOR),
    switch("log-cadvisor-usage", CADVISOR),
    switch("enable-load-reader", CADVISOR),
    text("event-storage-age-limit", CADVISOR),
    text("event-storage-event-limit", CADVISOR),
    text("storage-driver-buffer-duration", CADVISOR),
    text("machine-id-file", CADVISOR),
    text("boot-id-file", CADVISOR),
    text("container-hints", CADVISOR),
    text("docker", CADVISOR),
    text("docker-root", CADVISOR),
    switch("docker-only", CADVISOR),
    text("docker-env-metadata-whitelist", CADVISOR),
];

/// A flag as it was given. No `Debug`: the value may hold a password.
pub struct Given {
    /// Which one.
    pub flag: &'static Flag,
    /// Its value; `true` for a switch alone, nothing where the arguments ended before it.
    pub value: Option<String>,
}

/// Takes Heapster's flags out of the arguments; what is left is for the command line proper.
pub fn split(args: impl IntoIterator<Item = OsString>) -> (Vec<Given>, Vec<OsString>) {
    let (mut given, mut rest) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.push(arg);
            rest.extend(args);
            break;
        }
        let Some((flag, value)) = arg.to_str().and_then(recognise) else {
            rest.push(arg);
            continue;
        };
        let value = match value {
            Some(value) => Some(value.to_owned()),
            None if flag.is_bool => Some("true".to_owned()),
            None => args.next().map(|value| value.to_string_lossy().into_owned()),
        };
        given.push(Given { flag, value });
    }
    (given, rest)
}

/// The flag and what follows its `=`.
fn recognise(arg: &str) -> Option<(&'static Flag, Option<&str>)> {
    let body = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
    let name = name.replace('_', "-");
    // glog's verbosity may stand right behind its letter.
    if let Some(level) =
        arg.strip_prefix("-v").filter(|level| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit()))
    {
        return FLAGS.iter().find(|flag| flag.name == "v").map(|flag| (flag, Some(level)));
    }
    FLAGS.iter().find(|flag| flag.name == name).map(|flag| (flag, value))
}

/// The flag that the user most likely meant, of those that do something.
pub fn suggestion(arg: &str) -> Option<&'static str> {
    let name = arg.trim_start_matches('-').split('=').next().unwrap_or_default();
    closest(name, useful())
}

/// The names of all flags that do something.
pub fn useful() -> impl Iterator<Item = &'static str> {
    let idle = |flag: &&Flag| matches!(flag.meaning, Meaning::Nothing(_) | Meaning::Unsupported(_));
    FLAGS.iter().filter(move |flag| !idle(flag)).map(|flag| flag.name)
}

/// Reports what was given twice, without a value, without a meaning, or without support; the rest, in order.
pub fn meaningful<'g>(given: &'g [Given], problems: &Problems) -> Vec<(Meaning, &'g str)> {
    let mut found = Vec::new();
    for (index, Given { flag, value }) in given.iter().enumerate() {
        let at = format!("--{}", flag.name);
        let Some(value) = value else {
            problems.push(format!("`{at}` has no value; write {at}=VALUE"));
            continue;
        };
        let earlier = given.iter().take(index).any(|other| other.flag.name == flag.name);
        let switch = super::values::go_bool(value);
        if flag.is_bool && switch.is_none() {
            problems.bad(&at, value, "write true or false");
            continue;
        }
        let off = if flag.is_bool { switch == Some(false) } else { value.is_empty() };
        match flag.meaning {
            Meaning::Unsupported(_) if off => {}
            Meaning::Unsupported(reason) => {
                problems.push(format!("`{at}` is not supported: {reason}; leave it out"));
            }
            Meaning::Nothing(_) if earlier => {}
            Meaning::Nothing(reason) => {
                problems.warn(format!("`{at}` has no meaning here: {reason}"));
            }
            _ if earlier && !flag.repeats => {
                problems.push(format!("`{at}` is given twice; leave one out"));
            }
            meaning => found.push((meaning, value.as_str())),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(args: &[&str]) -> (Vec<String>, Vec<String>) {
        let (given, rest) = split(args.iter().map(OsString::from));
        let given = given.iter().map(|one| format!("{}={}", one.flag.name, one.value.as_deref().unwrap_or("?")));
        (given.collect(), rest.iter().map(|arg| arg.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn flags_are_found_in_every_spelling() {
        for (name, args, given, rest) in [
            ("equals", vec!["--sink=log"], vec!["sink=log"], vec![]),
            ("next argument", vec!["--sink", "log"], vec!["sink=log"], vec![]),
            ("underscore", vec!["--metric_resolution=5s"], vec!["metric-resolution=5s"], vec![]),
            ("single dash", vec!["-logtostderr"], vec!["logtostderr=true"], vec![]),
            ("glog", vec!["-v=2", "-v", "3", "-v4"], vec!["v=2", "v=3", "v=4"], vec![]),
            ("switch takes no argument", vec!["--api-server", "run"], vec!["api-server=true"], vec!["run"]),
            (
                "others are left",
                vec!["run", "--cycles", "3", "--sink=log"],
                vec!["sink=log"],
                vec!["run", "--cycles", "3"],
            ),
            ("no value", vec!["--source"], vec!["source=?"], vec![]),
            ("after two dashes", vec!["--", "--sink=log"], vec![], vec!["--", "--sink=log"]),
        ] {
            let want = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(shown(&args), (want(given), want(rest)), "{name}");
        }
    }

    #[test]
    fn nothing_is_ignored_in_silence() {
        for (args, errors, warnings) in [
            (vec!["--client-ca-file=/c"], 1, 0),
            (vec!["--client-ca-file="], 0, 0),
            (vec!["--api-server"], 0, 0),
            (vec!["--api-server=false"], 0, 0),
            (vec!["--api-server=maybe"], 1, 0),
            (vec!["-v=2", "--vmodule=a=1", "--max_procs=4"], 0, 3),
            (vec!["--source=a", "--source=b"], 1, 0),
            (vec!["--sink=a", "--sink=b"], 0, 0),
            (vec!["--source"], 1, 0),
        ] {
            let (given, _) = split(args.iter().map(OsString::from));
            let problems = Problems::default();
            meaningful(&given, &problems);
            let got = match problems.into_warnings() {
                Ok(warnings) => (0, warnings.len()),
                Err(refused) => (refused.errors.len(), refused.warnings.len()),
            };
            assert_eq!(got, (errors, warnings), "{args:?}");
        }
    }
}
