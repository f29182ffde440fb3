//! The API server itself: whether it answers, who we are to it, how fast it is, and what its clock says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde_json::{Value, json};

use super::asker::{Answer, Asker, Silence};
use super::certificate;
use crate::causes::TlsFault;
use crate::finding::Finding;
use crate::kube::{ClusterCredentials, TokenSource};
use crate::text::tame;

/// An answer to a small question that takes longer makes every list late.
const SLOW: Duration = Duration::from_secs(1);
/// Clocks that differ by more are not set by the same time.
const SKEW_SECONDS: i64 = 5;
/// How long a certificate is waited for.
const LOOK: Duration = Duration::from_secs(3);
/// Of versions and names, bytes.
const NAME_BYTES: usize = 253;

/// What is known of an API server that answers.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// Who we are to it.
    pub user: Option<String>,
}

/// Asks for the version and for our own name; `None` if nothing more can be asked.
pub(super) async fn examine(
    asker: &Asker,
    server: &Uri,
    credentials: &ClusterCredentials,
) -> (Vec<Finding>, Option<Reached>) {
    let place = place(server);
    let first = match asker.get("/version").await {
        Ok(answer) => answer,
        Err(silence) => return (vec![unreached(&silence, server, &place).await], None),
    };
    let mut findings = Vec::new();
    if first.status == 401 {
        let says = format!("{place} answers, and does not accept the credentials (401: {})", first.message());
        let remedy = "check the service account's token, or the kubeconfig's user: kubectl auth whoami";
        findings.push(Finding::failure("api.credentials", "", &says, remedy));
        return (findings, None);
    }
    let user = whoami(asker).await.or_else(|| claimed(credentials.token.as_ref()?));
    // The second answer comes over a connection that is there.
    let again = asker.get("/version").await.unwrap_or(first);
    findings.push(answers(&place, &again, user.as_deref()));
    findings.extend(clock(again.date, now_seconds()));
    (findings, Some(Reached { user }))
}

/// Without user and password, which a URL may hold.
fn place(server: &Uri) -> String {
    let (scheme, host) = (server.scheme_str().unwrap_or("https"), server.host().unwrap_or_default());
    server.port_u16().map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))
}

fn answers(place: &str, answer: &Answer, user: Option<&str>) -> Finding {
    let version = answer.json["gitVersion"].as_str().map(|version| tame(version, NAME_BYTES));
    let of_version = match &version {
        Some(version) => format!("Kubernetes {version}"),
        None => format!("its version is not told ({})", answer.status),
    };
    let by = user.map_or_else(String::new, |user| format!(", where we are `{user}`"));
    let says = format!("{place} answers in {}: {of_version}{by}", millis(answer.took));
    let finding = if answer.status >= 500 {
        let says = format!("{place} answers with {}: {}", answer.status, answer.message());
        Finding::warning("api.answers", "", &says, "look at the API server: kubectl get --raw /readyz?verbose")
    } else if version.is_none() && answer.status != 403 {
        let remedy = "is this an API server? Check the address (`api-server`, the kubeconfig's `server`)";
        Finding::failure("api.answers", "", &says, remedy)
    } else if answer.took > SLOW {
        let remedy = "look at its load and at the way to it; lists and watches are as slow";
        Finding::warning("api.answers", "", &says, remedy)
    } else {
        Finding::ok("api.answers", "", &says)
    };
    finding.took(answer.took).fact("version", version).fact("user", user)
}

/// Servers before 1.28 don't know the question; then nobody has to know.
async fn whoami(asker: &Asker) -> Option<String> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = asker.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await.ok()?;
    let name = answer.json["status"]["userInfo"]["username"].as_str().filter(|name| !name.is_empty())?;
    Some(tame(name, NAME_BYTES))
}

/// Whom a service account's token names. Nobody has checked it: good for telling, and for nothing else.
fn claimed(token: &TokenSource) -> Option<String> {
    let token = match token {
        TokenSource::Inline(token) => token.clone(),
        TokenSource::File(path) => std::fs::read_to_string(path).ok()?,
    };
    let claims = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let name = claims["sub"].as_str().filter(|name| name.starts_with("system:serviceaccount:"))?;
    Some(tame(name, NAME_BYTES))
}

async fn unreached(silence: &Silence, server: &Uri, place: &str) -> Finding {
    let says = format!("{place}: {}", silence.why);
    let Some(fault) = silence.tls else {
        let remedy = if silence.timed_out {
            "something between swallows the packets: look at firewalls, NetworkPolicies and the address"
        } else {
            "check the address (`api-server`, `api-server-url`, the kubeconfig's `server`), and that it can be \
             reached from here"
        };
        return Finding::failure("api.answers", "", &says, remedy).took(silence.took);
    };
    let (host, port) = (server.host().unwrap_or_default(), server.port_u16().unwrap_or(443));
    let shown = certificate::shown(&format!("{host}:{port}"), host.trim_matches(['[', ']']), LOOK).await;
    let told = shown.map_or_else(String::new, |shown| format!("; {}", shown.told(now_seconds())));
    let remedy = match fault {
        TlsFault::Name => "use a name or an address that its certificate is for",
        TlsFault::Authority => {
            "give the authority that signed it: `certificate-authority`, the kubeconfig's certificate-authority-data, \
             or the pod's ca.crt"
        }
        TlsFault::Expired => "renew the API server's certificate (kubeadm certs renew apiserver), or set this clock",
        TlsFault::NotYetValid => "set this clock, or the one of who made the certificate",
        TlsFault::ClientCertificate => "it wants a client certificate that it knows: check the kubeconfig's user",
        TlsFault::Other => "does it speak TLS at this address?",
    };
    Finding::failure("api.tls", "", &format!("{says}{told}"), remedy).took(silence.took)
}

/// Whether the server's clock and ours agree.
fn clock(theirs: Option<i64>, ours: i64) -> Option<Finding> {
    let ahead = theirs? - ours;
    if ahead.abs() <= SKEW_SECONDS {
        return Some(Finding::ok("api.clock", "", "its clock and ours agree").fact("ahead_s", ahead));
    }
    let (amount, side) = (ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
    let says = format!(
        "its clock is {amount} s {side} ours; points bear our clock's time, and certificates and tokens are judged by \
         it"
    );
    let remedy = "let all machines take their time by NTP";
    Some(Finding::warning("api.clock", "", &says, remedy).fact("ahead_s", ahead))
}

/// Our clock, seconds since 1970.
pub(super) fn now_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A duration as people read it.
pub(super) fn millis(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{:.0} ms", seconds * 1e3),
    }
}

/// An object's field as text, bounded; empty where it is none.
pub(super) fn text(value: &Value) -> String {
    tame(value.as_str().unwrap_or_default(), NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    #[test]
    fn clocks_that_disagree_are_told_with_their_side() {
        for (theirs, want, part) in [
            (1_000, Status::Ok, "agree"),
            (1_005, Status::Ok, "agree"),
            (1_090, Status::Warning, "90 s ahead of"),
            (400, Status::Warning, "600 s behind"),
        ] {
            let finding = clock(Some(theirs), 1_000).unwrap();
            assert_eq!(finding.status, want, "{theirs}");
            assert!(finding.says.contains(part), "{}", finding.says);
        }
        assert_eq!(clock(None, 0), None);
    }

    #[test]
    fn a_service_account_s_token_says_whose_it_is() {
        let token = |claims: &str| TokenSource::Inline(format!("e30.{}.sign", URL_SAFE_NO_PAD.encode(claims)));
        let named = claimed(&token(r#"{"sub":"system:serviceaccount:kube-system:millrace"}"#));
        assert_eq!(named.as_deref(), Some("system:serviceaccount:kube-system:millrace"));
        assert_eq!(claimed(&token(r#"{"sub":"somebody"}"#)), None);
        assert_eq!(claimed(&TokenSource::Inline("words".to_owned())), None);
    }

    #[test]
    fn a_place_is_shown_without_what_is_secret() {
        assert_eq!(place(&"https://me:word@api:6443/x".parse().unwrap()), "https://api:6443");
        assert_eq!(place(&"http://[::1]/".parse().unwrap()), "http://[::1]");
    }
}
