//! What `--help` says beyond clap's own list: examples, and the flags that are taken out before clap sees them.

/// After the options of every verb that reads a configuration.
pub const EXAMPLES_AND_FLAGS: &str = "\
Examples:
  millrace run --config /etc/millrace/millrace.toml
      the configuration of a file; it is also the default
  millrace run --source='kubernetes.summary_api:' --sink=influxdb:http://monitoring-influxdb:8086
      in a pod, as Heapster was started; `run` may be left out
  millrace run --source='kubernetes:?inClusterConfig=false&auth=kubeconfig' --sink=log --cycles 1
      one round over a cluster from a desk, printed
  millrace check --config millrace.toml
      what is wrong with it, all at once (exit code 78), or what it means
  millrace doctor --config millrace.toml
      what would keep it from working: rights, certificates, kubelets, sinks
  millrace convert --source=kubernetes: --sink=influxdb:http://db:8086?db=k8s > new.toml
      Heapster's flags as a file
  millrace rule new drop-idle
      a rule of your own; `millrace rule --help` says more
  millrace top
      what a running Millrace does, on a screen that refreshes
  millrace tap --rule drop-idle
      what a rule does to the rows that go by

Heapster's flags, as they stood in its manifests (`_` and `-` are alike, one dash will do).
Where from, and how often:
  --source=kubernetes.summary_api[:URL][?OPTIONS]
      options inClusterConfig, insecure, auth, useServiceAccount, kubeletPort, kubeletHttps,
      host_id_annotation
  --metric-resolution=60s
Where to (may be repeated; a file has more settings, and spools and selections):
  --sink=influxdb:http://HOST:8086[?OPTIONS]                 InfluxDB 1.x, 2 and 3
      options user, pw, db, retention, secure, insecuressl, withfields, cluster_name,
      disable_counter_metrics, concurrency, token, org, bucket
  --sink='kafka:?brokers=HOST:9092[&OPTIONS]'                Heapster's messages, or one an entity
      options brokers, timeseriestopic, format, message-key, compression, user, password,
      sasl-mechanism, tls, cacert, cert, key, insecuressl
  --sink=prometheus-remote-write:http://HOST:9090[?OPTIONS]  Prometheus, Mimir and others
      options path, username, password, token, insecure-tls, certificate-authority
  --sink=log                                                 standard output
What is asked of Millrace:
  --heapster-port=8082   --listen-ip=IP
  --tls-cert=FILE   --tls-key=FILE                           HTTPS on that port
  --tls-client-ca=FILE   --allowed-users=NAME,NAME           only for these certificates
  --api-server   --secure-port=443   --bind-address=IP       the metrics API for `kubectl top`, on
      --tls-cert-file=FILE   --tls-private-key-file=FILE     a port that asks who somebody is
  --historical-source=influxdb:URL[?OPTIONS]                 the historical API; as the sink
  --disable-export   --disable-metric-sink
What is written:
  --label-separator=,   --ignore-label=NAME   --store-label=NAME|NEW=NAME
With --config, --source replaces the source of the file, and --sink adds to its sinks. A password
may be $NAME or ${NAME}, from the environment. Flags that have lost their meaning are accepted
with a warning; those of features that are not there are refused.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problems::Problems;
    use crate::config::{Outside, flags, sink};

    /// The lines from the one that names a sink up to the next flag.
    fn about(kind: &str) -> &str {
        let found = ["", "'"].iter().find_map(|quote| EXAMPLES_AND_FLAGS.rsplit_once(&format!("--sink={quote}{kind}")));
        let (_, rest) = found.unwrap_or_else(|| panic!("{kind} is not there"));
        rest.split("--").next().unwrap()
    }

    #[test]
    fn every_flag_and_every_sink_is_named() {
        for name in flags::useful() {
            let named = |end: char| EXAMPLES_AND_FLAGS.contains(&format!("--{name}{end}"));
            assert!(named('=') || named(' ') || named('\n'), "--{name}");
        }
        for kind in sink::kinds() {
            about(kind);
        }
    }

    #[test]
    fn no_line_is_too_long_for_a_terminal() {
        for line in EXAMPLES_AND_FLAGS.lines() {
            assert!(line.chars().count() <= 98, "{line}");
        }
    }

    #[test]
    fn every_option_that_is_named_is_known() {
        for kind in sink::kinds() {
            let options = about(kind).split_once("options ").map_or("", |(_, options)| options);
            for option in options.split([',', ' ', '\n']).map(str::trim).filter(|option| !option.is_empty()) {
                let problems = Problems::default();
                sink::from_uri(&format!("{kind}:?{option}=x"), &Outside::nothing(), &problems);
                let errors = problems.into_warnings().err().map(|refused| refused.errors).unwrap_or_default();
                assert!(
                    !errors.iter().any(|error| error.contains("not a known option")),
                    "{kind} {option}: {errors:?}"
                );
            }
        }
    }
}
