//! The lists that Millrace keeps: made by its own watchers, once.

use std::time::{Duration, Instant};

use kube::Client;

use super::cluster::millis;
use crate::config::Config;
use crate::finding::{Finding, Status};
use crate::kube::{FactOptions, Inventory, InventoryStatus, KindStatus};

/// How often it is looked whether the lists are there.
const LOOK: Duration = Duration::from_millis(20);
/// A refusal at the first attempt may be a server that is just starting.
const ATTEMPTS: u64 = 2;

/// Lists everything, for so long at most.
pub(super) async fn gather(client: Client, config: &Config, wait: Duration) -> (Inventory, Vec<Finding>) {
    let options = FactOptions {
        host_id_annotation: config.source.host_id_annotation.clone(),
        annotations: config.source.pod_annotations.clone(),
    };
    let begin = Instant::now();
    let inventory = Inventory::start(client, options);
    while begin.elapsed() < wait && !kinds(&inventory.status()).iter().all(|(_, kind)| is_settled(kind)) {
        tokio::time::sleep(LOOK).await;
    }
    let mut findings = told(&inventory.status(), begin.elapsed());
    if config.http.secure.is_some() {
        findings.extend(requests(&inventory));
    }
    (inventory, findings)
}

fn kinds(status: &InventoryStatus) -> [(&'static str, &KindStatus); 3] {
    [("nodes", &status.nodes), ("pods", &status.pods), ("namespaces", &status.namespaces)]
}

fn is_settled(kind: &KindStatus) -> bool {
    kind.synced || kind.errors >= ATTEMPTS
}

fn told(status: &InventoryStatus, took: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, kind) in kinds(status).into_iter().filter(|(_, kind)| !kind.synced) {
        let failure = match &kind.last_error {
            Some(error) => Finding::of_sentence("api.lists", name, Status::Failure, error)
                .remedy("grant the rights (see there), or look at the API server's log"),
            None => {
                let says = format!("no complete list of {name} within {}", millis(took));
                Finding::failure("api.lists", name, &says, "give it more time: `--timeout`")
            }
        };
        findings.push(failure);
    }
    if findings.is_empty() {
        let (nodes, pods, namespaces) = (status.nodes.objects, status.pods.objects, status.namespaces.objects);
        let says = format!("{nodes} nodes, {pods} pods on them and {namespaces} namespaces listed in {}", millis(took));
        let all = Finding::ok("api.lists", "", &says).took(took);
        findings.push(all.fact("nodes", nodes).fact("pods", pods).fact("namespaces", namespaces));
    }
    findings
}

/// An autoscaler can't reckon with pods that request nothing.
fn requests(inventory: &Inventory) -> Option<Finding> {
    let (mut running, mut without) = (0_u64, 0_u64);
    for node in inventory.nodes() {
        for pod in inventory.pods_of(&node.name).iter().filter(|pod| &*pod.phase == "Running") {
            running += 1;
            let requests = |name: &str| {
                let mut regular = pod.containers.iter().filter(|container| !container.init);
                regular.all(|container| container.requests.iter().any(|(resource, _)| &**resource == name))
            };
            without += u64::from(!requests("cpu") || !requests("memory"));
        }
    }
    let says = format!(
        "{without} of {running} running pods have a container without a request of CPU or memory: an autoscaler that \
         targets a share of the request says `missing request` for those"
    );
    let note = Finding::note("aggregation.requests", "", &says);
    (without > 0).then(|| note.fact("running", running).fact("without_requests", without))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(synced: bool, errors: u64, last_error: Option<&str>) -> KindStatus {
        KindStatus {
            objects: 3,
            synced,
            connected: synced,
            events: 3,
            last_event: None,
            errors,
            relists: 0,
            last_error: last_error.map(str::to_owned),
        }
    }

    #[test]
    fn each_list_that_does_not_come_is_told() {
        let well = || kind(true, 1, None);
        let status = |nodes, pods| InventoryStatus { nodes, pods, namespaces: well() };
        let took = Duration::from_secs(2);
        let found = told(&status(well(), well()), took);
        assert_eq!((found.len(), found[0].status), (1, Status::Ok));
        assert!(found[0].says.starts_with("3 nodes, 3 pods on them and 3 namespaces"), "{}", found[0].says);
        let found = told(&status(kind(false, 0, None), kind(false, 2, Some("pods is forbidden"))), took);
        let says: Vec<_> = found.iter().map(|finding| (finding.subject.as_str(), finding.says.as_str())).collect();
        assert_eq!(says, [("nodes", "no complete list of nodes within 2.0 s"), ("pods", "pods is forbidden")]);
        assert!(is_settled(&kind(false, 2, None)) && !is_settled(&kind(false, 1, None)));
    }
}
