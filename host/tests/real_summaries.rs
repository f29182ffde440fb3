//! Every recorded answer of a real kubelet, from 1.3 to 1.34, becomes a batch with all that it names.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use millrace::batch::{Cycle, TypeRegistry};
use millrace::kube::NodeFacts;
use millrace::scrape::{DecodeBounds, decode};
use serde_json::Value;

const CYCLE: Cycle = Cycle { number: 1, time: 0, window: 60, nodes_asked: 1, nodes_answered: 0 };

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kubelets");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "gz")).collect()
}

/// What the body names, counted without our types: the node, its system containers, and the distinct
/// pods with their distinct containers.
fn named(body: &Value) -> usize {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut seen = BTreeSet::from(["node".to_owned()]);
    for container in list(&body["node"]["systemContainers"]) {
        seen.insert(format!("system {}", container["name"]));
    }
    for pod in list(&body["pods"]) {
        let key = format!("{} {}", pod["podRef"]["namespace"], pod["podRef"]["name"]);
        for container in list(&pod["containers"]) {
            seen.insert(format!("{key} {}", container["name"]));
        }
        seen.insert(key);
    }
    seen.len()
}

#[test]
fn every_recorded_answer_of_a_real_kubelet_decodes_whole() {
    let recordings = recordings();
    assert_eq!(recordings.len(), 18);
    for path in recordings {
        let mut body = Vec::new();
        GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut body).unwrap();
        let plain: Value = serde_json::from_slice(&body).unwrap();
        let name = plain["node"]["nodeName"].as_str().unwrap_or("node");
        let node = NodeFacts { name: name.into(), ready: true, ..NodeFacts::default() };
        let types = TypeRegistry::default();
        let decoded = decode(&body, &node, &[], |_| None, &CYCLE, &DecodeBounds::default(), &types)
            .unwrap_or_else(|failure| panic!("{}: {failure}", path.display()));
        assert_eq!(decoded.batch.entities.len(), named(&plain), "{}", path.display());
        assert!(
            decoded.counts.points > 20 && decoded.counts.malformed == 0,
            "{}: {:?}",
            path.display(),
            decoded.counts
        );
    }
}
