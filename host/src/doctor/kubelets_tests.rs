use super::*;

fn nodes(count: usize) -> Vec<Arc<NodeFacts>> {
    (0..count).map(|n| Arc::new(NodeFacts { name: format!("n{n:03}").into(), ..NodeFacts::default() })).collect()
}

fn options(names: &[&str], most_nodes: usize) -> Options {
    let nodes = names.iter().map(|&name| name.to_owned()).collect();
    Options { nodes, most_nodes, timeout: Duration::from_secs(1), service_account: None }
}

#[test]
fn nodes_are_chosen_by_name_or_from_everywhere() {
    let all = nodes(10);
    let (chosen, findings) = choose(&all, &options(&[], 10));
    assert_eq!((chosen.len(), findings.len()), (10, 0));
    let (chosen, findings) = choose(&all, &options(&[], 3));
    let names: Vec<_> = chosen.iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["n000", "n003", "n006"]);
    assert_eq!((findings[0].check, findings[0].status), ("kubelets.chosen", Status::Note));
    let (chosen, findings) = choose(&all, &options(&["n007", "nobody"], 1));
    assert_eq!((chosen.len(), &*chosen[0].name), (1, "n007"));
    assert_eq!((findings[0].check, findings[0].subject.as_str()), ("kubelets.unknown", "nobody"));
}

#[test]
fn every_failure_of_tls_names_what_is_wrong_and_what_helps() {
    let node = NodeFacts { name: "n1".into(), ..NodeFacts::default() };
    let place = Place { address: "10.0.0.1:10250".to_owned(), name: Some("10.0.0.1".to_owned()) };
    let shown = |names: &[&str]| Shown {
        issuer: "CN=n1-ca@1".to_owned(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        from: 0,
        until: i64::MAX,
    };
    for (fault, names, check, says, remedy) in [
        (TlsFault::Name, &["n1"][..], "kubelets.tls-name", "is for n1; signed by", "`server-name = \"node-name\"`"),
        (TlsFault::Name, &["other"], "kubelets.tls-name", "not for `10.0.0.1`", "serverTLSBootstrap"),
        (TlsFault::Authority, &["n1"], "kubelets.tls-authority", "CN=n1-ca@1", "`certificate-authority`"),
        (TlsFault::Expired, &["n1"], "kubelets.tls-expired", "no longer", "renew"),
        (TlsFault::ClientCertificate, &["n1"], "kubelets.tls-client", "wants one", "`client-certificate`"),
    ] {
        let finding = tls(&node, "words", fault, Some(&place), Some(&shown(names)));
        assert_eq!((finding.check, finding.status), (check, Status::Failure));
        assert!(finding.says.contains(says), "{}", finding.says);
        assert!(finding.remedy.as_deref().unwrap().contains(remedy), "{:?}", finding.remedy);
        assert!(finding.says.starts_with("10.0.0.1:10250: "), "{}", finding.says);
    }
}

#[test]
fn failures_have_checks_of_their_own() {
    for (failure, check, status, part) in [
        (ScrapeFailure::NotReady, "kubelets.not-ready", Status::Warning, "describe node"),
        (ScrapeFailure::Refused("a:1".to_owned()), "kubelets.refused", Status::Failure, "10255"),
        (ScrapeFailure::Timeout(Duration::from_secs(9)), "kubelets.timeout", Status::Failure, "NetworkPolicy"),
        (ScrapeFailure::NoAddress("none; give it one".to_owned()), "kubelets.address", Status::Failure, "give it one"),
        (ScrapeFailure::TooLarge(5), "kubelets.summary", Status::Failure, "max-body"),
        (ScrapeFailure::NotTls("a:1".to_owned()), "kubelets.protocol", Status::Failure, "10250 speaks TLS"),
    ] {
        let node = Arc::new(NodeFacts { name: "n1".into(), ..NodeFacts::default() });
        let place = Some(Place { address: "a:1".to_owned(), name: None });
        let finding = explained(&Failed { node, failure, place }, None);
        assert_eq!((finding.check, finding.status), (check, status), "{finding:?}");
        assert!(finding.remedy.as_deref().unwrap().contains(part), "{finding:?}");
    }
}

#[test]
fn an_overview_says_who_is_slowest() {
    let times = [30, 10, 20].map(|ms| (Duration::from_millis(ms), Arc::from(format!("n{ms}")))).to_vec();
    let found = overview(times.clone(), 3);
    assert_eq!(found.says, "3 of 3 kubelets answer; half of them within 20 ms, the slowest, n30, in 30 ms");
    assert_eq!((found.status, overview(times, 4).status), (Status::Ok, Status::Note));
    assert!(overview(Vec::new(), 4).says.starts_with("none of 4"));
}
