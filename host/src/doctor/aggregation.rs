//! The aggregation layer: who serves `metrics.k8s.io`, whether that works, and by which certificate the API server's
//! front proxy is known.

use std::collections::BTreeMap;

use serde_json::Value;

use super::asker::{Answer, Asker};
use super::certificate::day;
use super::cluster::{now_seconds, text};
use super::grant::{TRUST_MAP, TRUST_NAMESPACE};
use crate::auth::Trust;
use crate::config::Config;
use crate::config::SecureConfig;
use crate::finding::{Finding, Status};

const API_SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io";
const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";
/// An authority that ends sooner is worth a word, seconds.
const SOON: i64 = 14 * 86_400;
/// Names that a Service of ours usually has.
const OURS: [&str; 2] = ["millrace", "heapster"];

/// Looks at the APIService, asks through it, and at the front proxy's certificate authority.
pub(super) async fn examine(asker: &Asker, config: &Config) -> Vec<Finding> {
    let secure = config.http.secure.as_ref();
    let mut findings = Vec::new();
    let registered = match asker.get(API_SERVICE).await {
        Ok(answer) => {
            findings.extend(registration(&answer, secure));
            answer.status != 404
        }
        Err(silence) => {
            findings.push(Finding::note("aggregation.service", "", &format!("not looked at: {}", silence.why)));
            false
        }
    };
    if registered && let Ok(answer) = asker.get(METRICS).await {
        findings.push(metrics(&answer, secure.is_some()));
    }
    if secure.is_none() {
        let says = "[http.secure] is not set: Millrace is no metrics API, and needs no front proxy";
        findings.push(Finding::note("aggregation.front-proxy", "", says));
        return findings;
    }
    let map = format!("/api/v1/namespaces/{TRUST_NAMESPACE}/configmaps/{TRUST_MAP}");
    match asker.get(&map).await {
        Ok(answer) => findings.extend(front_proxy(&answer, now_seconds())),
        Err(silence) => {
            findings.push(Finding::note("aggregation.front-proxy", "", &format!("not looked at: {}", silence.why)));
        }
    }
    findings
}

/// Who is registered, and whether the API server finds them well.
fn registration(answer: &Answer, secure: Option<&SecureConfig>) -> Vec<Finding> {
    let check = "aggregation.service";
    match answer.status {
        200 => {}
        404 if secure.is_some() => {
            let says = "there is no APIService v1beta1.metrics.k8s.io: `kubectl top` and the autoscaler find nothing";
            let remedy = "kubectl apply -k deploy/overlays/metrics-api, or leave [http.secure] out";
            return vec![Finding::warning(check, "", says, remedy)];
        }
        404 => {
            let says = "nobody serves metrics.k8s.io, and Millrace is not configured to";
            return vec![Finding::note(check, "", says)];
        }
        403 => {
            let says = "the APIService v1beta1.metrics.k8s.io may not be read with these rights, which Millrace does \
                        not need; look with kubectl get apiservice v1beta1.metrics.k8s.io";
            return vec![Finding::note(check, "", says)];
        }
        status => {
            let says = format!("the APIService can't be read: {status}: {}", answer.message());
            return vec![Finding::note(check, "", &says)];
        }
    }
    let service = &answer.json["spec"]["service"];
    let (namespace, name) = (text(&service["namespace"]), text(&service["name"]));
    let holder = format!("{namespace}/{name}");
    let ours = is_ours(&namespace, &name, secure);
    let mut findings = vec![
        match (ours, secure.is_some()) {
            (true, false) => Finding::failure(
                check,
                &holder,
                &format!(
                    "the APIService sends the metrics API to the service `{holder}`, and [http.secure] is not set"
                ),
                "set [http.secure] (or --secure-port), or delete the APIService: every discovery waits for it",
            ),
            (false, true) => Finding::warning(
                check,
                &holder,
                &format!(
                    "the APIService sends the metrics API to `{holder}`, not to Millrace: a cluster has one server \
                      of it"
                ),
                "remove the other one (metrics-server?) and kubectl apply -k deploy/overlays/metrics-api, or leave \
             [http.secure] out",
            ),
            (true, true) => Finding::ok(check, &holder, &format!("the APIService sends the metrics API to `{holder}`")),
            (false, false) => {
                Finding::note(check, &holder, &format!("`{holder}` serves metrics.k8s.io; Millrace leaves it alone"))
            }
        }
        .fact("service", holder.clone()),
    ];
    findings.extend(availability(&answer.json, &holder, ours));
    if ours {
        findings.extend(trust_in_us(&answer.json["spec"], secure));
    }
    findings
}

/// The names in our certificate say which service is ours; else the usual names.
fn is_ours(namespace: &str, name: &str, secure: Option<&SecureConfig>) -> bool {
    let known = secure.is_some_and(|secure| {
        let service = format!("{name}.{namespace}.svc");
        secure.names.iter().any(|own| own.strip_suffix('.').unwrap_or(own).starts_with(&service))
    });
    known || OURS.contains(&name)
}

/// The condition `Available`, as the API server sees it.
fn availability(service: &Value, holder: &str, ours: bool) -> Option<Finding> {
    let conditions = service["status"]["conditions"].as_array()?;
    let available = conditions.iter().find(|condition| condition["type"] == "Available")?;
    let (status, reason) = (text(&available["status"]), text(&available["reason"]));
    let check = "aggregation.available";
    if status == "True" {
        return Some(Finding::ok(check, holder, "the API server finds it available"));
    }
    let message = available["message"].as_str().unwrap_or_default();
    let says = format!("the API server finds it not available: {reason}: {message}");
    let remedy = match reason.as_str() {
        "ServiceNotFound" => "make the service, or delete the APIService",
        "ServicePortError" => "let the service have the port of the APIService, 443",
        "EndpointsNotFound" | "MissingEndpoints" | "ServiceAccessError" => {
            "the service has no ready pod: compare its selector with the pods' labels, and look at their readiness"
        }
        "FailedDiscoveryCheck" => {
            "the API server does not reach the pod, or does not believe its certificate: allow the way from the \
             control plane to the port (NetworkPolicy, firewall), and check caBundle"
        }
        _ => "kubectl describe apiservice v1beta1.metrics.k8s.io",
    };
    let finding = if ours { Finding::failure } else { Finding::warning };
    Some(finding(check, holder, &says, remedy).fact("reason", reason))
}

/// How the API server believes that we are who we are.
fn trust_in_us(spec: &Value, secure: Option<&SecureConfig>) -> Option<Finding> {
    let check = "aggregation.certificate";
    if spec["insecureSkipTLSVerify"] == true {
        let says = "the API server does not check Millrace's certificate (insecureSkipTLSVerify)";
        return Some(Finding::note(check, "", says));
    }
    let bundle = spec["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty());
    let made = secure.is_some_and(|secure| secure.tls.is_none());
    if bundle && !made {
        return None;
    }
    let says = if made {
        "the API server checks the certificate, and Millrace makes a new one at every start, for which nobody vouches"
    } else {
        "the APIService has no caBundle: the API server believes only certificates of the system's authorities"
    };
    let remedy = "give Millrace a certificate (`certificate` and `key` of [http.secure]) and put its authority into \
                  caBundle, or set insecureSkipTLSVerify";
    Some(Finding::warning(check, "", says, remedy))
}

/// What the API server gets from whoever is registered.
fn metrics(answer: &Answer, wanted: bool) -> Finding {
    let check = "aggregation.answers";
    match answer.status {
        200 => Finding::ok(check, "", "the API server gets an answer from the metrics API").took(answer.took),
        401 | 403 => Finding::note(check, "", &format!("we may not ask the metrics API ourselves ({})", answer.status)),
        404 => Finding::note(check, "", "the metrics API is registered, and not served yet"),
        status => {
            let says =
                format!("the metrics API does not answer through the API server: {status}: {}", answer.message());
            let remedy =
                "look at the log of the server behind it, and at kubectl describe apiservice v1beta1.metrics.k8s.io";
            let status = if wanted { Status::Failure } else { Status::Warning };
            Finding::of_sentence(check, "", status, &says).remedy(remedy)
        }
    }
}

/// Whether requests that come through the API server will be known as such.
fn front_proxy(answer: &Answer, now: i64) -> Vec<Finding> {
    let check = "aggregation.front-proxy";
    if answer.status == 403 {
        let says = "the ConfigMap may not be read";
        let remedy = "bind the Role extension-apiserver-authentication-reader (see the rights)";
        return vec![Finding::failure(check, TRUST_MAP, says, remedy)];
    }
    if answer.status != 200 {
        let says = format!("the ConfigMap can't be read: {}: {}", answer.status, answer.message());
        let remedy = "the API server makes it when it starts: look at its log, and whether kube-system is there";
        return vec![Finding::failure(check, TRUST_MAP, &says, remedy)];
    }
    let data: BTreeMap<String, String> = serde_json::from_value(answer.json["data"].clone()).unwrap_or_default();
    let trust = Trust::read(&data);
    let wrong = |problem: &String| {
        let remedy = "see the --requestheader flags of the API server: it writes the ConfigMap from them";
        Finding::failure(check, TRUST_MAP, problem, remedy)
    };
    let mut findings: Vec<Finding> = trust.problems.iter().map(wrong).collect();
    match trust.front_proxy {
        None if trust.problems.is_empty() => {
            let says = "the API server has no front proxy: whoever comes through it is known by token alone, and \
                        `kubectl top` gets 401";
            let remedy = "start kube-apiserver with --requestheader-client-ca-file, --proxy-client-cert-file and \
                          --proxy-client-key-file (kubeadm does)";
            findings.push(Finding::failure(check, TRUST_MAP, says, remedy));
        }
        None => {}
        Some((_, until)) if until < now + SOON => {
            let over = if until < now { "ended" } else { "ends" };
            let says = format!("the certificate authority of the front proxy {over} on {}", day(until));
            let remedy = "renew it: kubeadm certs renew front-proxy-client, after its authority";
            let finding = if until < now { Finding::failure } else { Finding::warning };
            findings.push(finding(check, TRUST_MAP, &says, remedy));
        }
        Some((names, until)) => {
            let who = if names.is_empty() { "anybody of its authority".to_owned() } else { names.join(", ") };
            let says = format!("the front proxy is {who}, known by an authority that is good until {}", day(until));
            findings.push(Finding::ok(check, TRUST_MAP, &says));
        }
    }
    if !trust.clients {
        let says = "no authority of client certificates is published: users are known by token alone";
        findings.push(Finding::note("aggregation.clients", TRUST_MAP, says));
    }
    findings
}

#[cfg(test)]
#[path = "aggregation_tests.rs"]
mod tests;
