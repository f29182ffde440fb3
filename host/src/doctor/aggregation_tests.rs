use std::time::Duration;

use serde_json::json;

use super::*;

fn answer(status: u16, json: Value) -> Answer {
    Answer { status, json, text: String::new(), date: None, took: Duration::from_millis(5) }
}

fn service(namespace: &str, name: &str, more: &Value, condition: &Value) -> Answer {
    let mut spec = json!({"service": {"namespace": namespace, "name": name}});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    answer(200, json!({"spec": spec, "status": {"conditions": [condition]}}))
}

fn told(findings: &[Finding]) -> Vec<(&str, Status)> {
    findings.iter().map(|finding| (finding.check.strip_prefix("aggregation.").unwrap(), finding.status)).collect()
}

#[test]
fn who_serves_the_metrics_api_is_held_against_the_configuration() {
    let secure = SecureConfig::on("127.0.0.1:4443".parse().unwrap());
    let (skip, well) = (json!({"insecureSkipTLSVerify": true}), json!({"type": "Available", "status": "True"}));
    let millrace = service("kube-system", "millrace", &skip, &well);
    let other = service("kube-system", "metrics-server", &skip, &well);
    let found = registration(&millrace, Some(&secure));
    assert_eq!(told(&found), [("service", Status::Ok), ("available", Status::Ok), ("certificate", Status::Note)]);
    assert_eq!(told(&registration(&millrace, None))[0], ("service", Status::Failure));
    let conflict = registration(&other, Some(&secure));
    assert_eq!(told(&conflict), [("service", Status::Warning), ("available", Status::Ok)]);
    assert!(conflict[0].remedy.as_deref().unwrap().contains("metrics-server"));
    assert_eq!(told(&registration(&other, None))[0], ("service", Status::Note));
    for (status, secure, want) in [
        (404, Some(&secure), Status::Warning),
        (404, None, Status::Note),
        (403, Some(&secure), Status::Note),
        (500, None, Status::Note),
    ] {
        assert_eq!(told(&registration(&answer(status, Value::Null), secure)), [("service", want)], "{status}");
    }
}

#[test]
fn what_keeps_it_from_being_available_is_told_with_its_remedy() {
    let secure = SecureConfig::on("127.0.0.1:4443".parse().unwrap());
    let skip = json!({"insecureSkipTLSVerify": true});
    for (reason, part) in [
        ("FailedDiscoveryCheck", "NetworkPolicy"),
        ("MissingEndpoints", "selector"),
        ("ServiceNotFound", "make the service"),
        ("SomethingNew", "kubectl describe"),
    ] {
        let condition = json!({"type": "Available", "status": "False", "reason": reason, "message": "why\nit is"});
        let found = registration(&service("kube-system", "millrace", &skip, &condition), Some(&secure));
        assert_eq!(found[1].status, Status::Failure, "{reason}");
        assert!(found[1].says.contains("why\\nit is"), "{}", found[1].says);
        assert!(found[1].remedy.as_deref().unwrap().contains(part), "{reason}: {:?}", found[1].remedy);
    }
}

#[test]
fn a_certificate_that_nobody_can_check_is_told() {
    let mut secure = SecureConfig::on("127.0.0.1:4443".parse().unwrap());
    let bundle = json!({"caBundle": "LS0t"});
    assert_eq!(trust_in_us(&bundle, Some(&secure)).unwrap().status, Status::Warning, "it is made at every start");
    let files = crate::config::KeyFiles { certificate: "/c".into(), key: "/k".into() };
    secure.tls = Some(files);
    assert_eq!(trust_in_us(&bundle, Some(&secure)), None);
    assert_eq!(trust_in_us(&json!({}), Some(&secure)).unwrap().status, Status::Warning);
}

#[test]
fn a_front_proxy_that_is_missing_unreadable_or_too_old_is_told() {
    let issuer = |until| {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    };
    let map = |pem: &str| {
        answer(
            200,
            json!({"data": {"requestheader-client-ca-file": pem, "requestheader-allowed-names": "[\"front-proxy-client\"]"}}),
        )
    };
    let now = 1_770_000_000;
    for (found, want, part) in [
        (front_proxy(&map(&issuer(2090)), now), Status::Ok, "front-proxy-client, known"),
        (front_proxy(&map(&issuer(2025)), now), Status::Failure, "ended on 2025-01-01"),
        (front_proxy(&map("words"), now), Status::Failure, "no PEM certificate"),
        (front_proxy(&answer(200, json!({"data": {}})), now), Status::Failure, "has no front proxy"),
        (front_proxy(&answer(403, Value::Null), now), Status::Failure, "may not be read"),
        (front_proxy(&answer(404, json!({"message": "gone"})), now), Status::Failure, "404: gone"),
    ] {
        assert_eq!(found[0].status, want, "{}", found[0].says);
        assert!(found[0].says.contains(part), "{}", found[0].says);
    }
}
