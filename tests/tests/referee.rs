//! The referee: the recorded inputs go through the real program, and every metric set of the four
//! recorded batches is compared with ours. What may differ stands in `patches.tsv`, value by
//! value, with the number of the difference that allows it.

use std::time::Duration;

use millrace_tests::fixtures::process::Process;
use millrace_tests::heapster::{self, Patch};
use millrace_tests::recorded::Recorded;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_set_is_heapsters_but_for_the_listed_differences() {
    let cluster = Recorded::start().await.unwrap();
    let source = cluster.source(Some("example.com/host-id"));
    let process =
        Process::millrace(["run", &source, "--sink=log", "--cycles=4", "--back-to-back", "--listen=127.0.0.1:0"]);
    let outcome = tokio::task::spawn_blocking(move || process.wait(DEADLINE)).await.unwrap();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(cluster.asked().get("node-d"), None, "a node that is not ready is not asked");
    assert_eq!(cluster.asked().get("node-e"), Some(&4), "a node that fails is asked again each cycle");

    let ours = heapster::parse_log(&outcome.stdout).unwrap();
    assert_eq!(ours.len(), 4, "one batch a cycle");
    let mut found: Vec<Patch> = Vec::new();
    for (number, ours) in (1..).zip(&ours) {
        found.extend(heapster::differences(number, &heapster::recorded(number).unwrap(), ours));
    }
    let allowed = heapster::patches().unwrap();
    let without_reason = |patch: &Patch| Patch { because: Vec::new(), ..patch.clone() };
    let unexplained: Vec<Patch> =
        found.iter().filter(|patch| !allowed.iter().any(|known| without_reason(known) == **patch)).cloned().collect();
    assert!(unexplained.is_empty(), "differences that no patch allows:\n{}", heapster::lines(&unexplained));
    let unused: Vec<Patch> = allowed.iter().filter(|patch| !found.contains(&without_reason(patch))).cloned().collect();
    assert!(unused.is_empty(), "patches for differences that are not there:\n{}", heapster::lines(&unused));
}
