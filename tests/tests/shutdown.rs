//! SIGTERM while a slow rule holds the chain up: what it can't do in time is given up and told, and
//! the process ends well before Kubernetes kills it. A second signal ends it at once.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::time::{Duration, Instant};

use millrace_tests::fixtures::guests::guest;
use millrace_tests::fixtures::process::{Outcome, Process, Signal};
use millrace_tests::fixtures::router::Setup;
use millrace_tests::kubesim::Kubesim;
use serde_json::Value;

/// At two seconds each: far more than a stop may take.
const NODES: usize = 80;
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs into its time limit on every batch, and leaves the batch as it is. So slowly that the stop is
/// over before it has failed five times and is left alone.
fn slow(sim: &Kubesim) -> Setup {
    let config = format!(
        "resolution = '60s'\n[source.kubernetes]\napi-server = '{}'\n[source.kubernetes.kubelet]\nhttps = false\n\
         port = {}\n[rules]\ndir = 'FOLDER/rules'\n[[sink]]\ntype = 'log'\n",
        sim.api_url(),
        sim.kubelet_port(),
    );
    Setup::new(&config)
        .file("rules/10-slow.wasm", guest("loops"))
        .file("rules/10-slow.toml", "limits = { process = '2s' }")
}

/// A process whose chain has begun with a cycle.
fn busy(setup: &Setup) -> Process {
    let mut process = setup.process("run", &["--back-to-back", "--log-format=json"]);
    process.wait_for_stderr("rule failed", DEADLINE);
    process
}

fn line(outcome: &Outcome, message: &str) -> Value {
    let lines = outcome.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found = lines.filter(|line| line["message"].as_str().unwrap().starts_with(message));
    found.next().unwrap_or_else(|| panic!("{message}: {}", outcome.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_rule_delays_a_stop_by_seconds_and_what_it_costs_is_told() {
    let sim = Kubesim::builder().size(NODES, 1, 1).start().await.unwrap();
    let outcome = tokio::task::spawn_blocking(move || {
        let setup = slow(&sim);
        let (process, began) = (busy(&setup), Instant::now());
        let outcome = process.stop(Signal::Terminate, DEADLINE);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}: {}", outcome.stderr);
        outcome
    });
    let outcome = outcome.await.unwrap();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let left = line(&outcome, "batches dropped at shutdown");
    let through = outcome.stdout.matches("DataBatch").count() as u64;
    // Some thirty can wait; the nodes behind them have not been asked yet.
    assert!(left["batches"].as_u64().unwrap() >= 20 && left["points"].as_u64().unwrap() > 0, "{left}");
    assert!(through > 1, "what got through is delivered");
    assert_eq!(line(&outcome, "sink closed")["dropped"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let sim = Kubesim::builder().size(NODES, 1, 1).start().await.unwrap();
    let ends = tokio::task::spawn_blocking(move || {
        let setup = slow(&sim);
        for (signal, code) in [(Signal::Terminate, 143), (Signal::Interrupt, 130)] {
            let mut process = busy(&setup);
            process.signal(Signal::Terminate);
            process.wait_for_stderr("stopping", DEADLINE);
            let outcome = process.stop(signal, Duration::from_secs(4));
            assert_eq!(outcome.code(), Some(code), "{}", outcome.stderr);
            line(&outcome, "asked to stop a second time");
        }
    });
    ends.await.unwrap();
}
