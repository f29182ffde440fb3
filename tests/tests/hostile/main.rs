//! Hostile guests by the hundred, between a rule that drops and the heapster rule: the host neither panics nor
//! grows, the other rules' output is byte for byte what it is without them, and every failure is counted once and
//! under its right reason.
//!
//! One test, alone in its process, for it measures the process.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod edits;
mod guests;
#[allow(dead_code, reason = "a part of what the benches use")]
#[path = "../../benches/load/mod.rs"]
mod load;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guests::{Case, Expected};
use load::Load;
use millrace::batch::{Batch, Cycle, TypeRegistry, wire};
use millrace::rules::{Chain, FaultKind, Limits, Manifest, OnError, RuleEngine, RuleFile, RuleSet, RuleStatus};
use millrace_tests::fixtures::process::rule;
use serde_json::json;

/// Nodes and cycles that each guest sees.
const NODES: usize = 3;
const CYCLES: u64 = 3;
/// Guests between the two rules at one time.
const TOGETHER: usize = 32;
/// Guests before the process's memory is measured first.
const WARM_UP: usize = 20;
/// How much it may grow until the end, bytes.
const MAX_GROWTH: usize = 8 << 20;
/// How long all may take.
const MAX_TIME: Duration = Duration::from_secs(60);
/// What a guest gets.
const LIMITS: Limits =
    Limits { memory_bytes: 16 << 20, process: Duration::from_secs(1), finish: Duration::from_secs(5) };
/// What one gets that is expected to run out of time.
const SHORT: Duration = Duration::from_millis(30);

#[test]
fn no_guest_harms_the_host_or_another_rule() {
    let began = Instant::now();
    let suite = Suite::new();
    let mut cases = guests::written();
    cases.extend(edits::wrong());
    let written = cases.len();
    cases.extend(edits::spoiled(0..60));
    cases.extend(guests::made_up());
    assert!(written >= 200 && cases.len() - written >= 150, "{written} of {}", cases.len());

    suite.the_good_edit_is_one();
    let mut told = Told::default();
    suite.run(&cases[..WARM_UP], &mut told);
    let (warm, mut most) = (resident(), 0);
    for cases in cases.chunks(TOGETHER) {
        suite.run(cases, &mut told);
        most = most.max(resident());
    }
    let (growth, took) = (resident().saturating_sub(warm), began.elapsed());
    println!(
        "{} guests, {written} of them written by hand; {told:?}; memory {} KiB after {WARM_UP}, {} KiB at the end, {} KiB at \
         most; {took:.1?}",
        cases.len(),
        warm >> 10,
        resident() >> 10,
        most >> 10,
    );
    assert!(growth < MAX_GROWTH, "{} KiB more than after {WARM_UP} guests", growth >> 10);
    assert!(took < MAX_TIME, "{took:?}");
}

/// What happened, in sum.
#[derive(Debug, Default)]
struct Told {
    /// Guests that did not start.
    refused: u64,
    faults: BTreeMap<FaultKind, u64>,
    harmless: u64,
    changed: u64,
}

struct Suite {
    engine: RuleEngine,
    drop: RuleFile,
    heapster: RuleFile,
    rounds: Vec<(Cycle, Vec<Batch>)>,
    /// What comes out of the two rules alone.
    alone: Vec<Vec<u8>>,
}

impl Suite {
    fn new() -> Self {
        let load = Load::new(NODES, CYCLES).unwrap();
        let rounds = load.batches(&TypeRegistry::default()).unwrap();
        let settings = json!({"namespaces": ["kube-system", "ns-*1"]}).as_object().unwrap().clone();
        let read = |path: PathBuf, slot: &str, manifest| RuleFile {
            name: slot.to_owned(),
            slot: slot.to_owned(),
            bytes: fs::read(&path).unwrap(),
            path,
            manifest,
        };
        let drop = read(
            rule("rules-examples/drop-namespaces.wasm"),
            "10-drop.wasm",
            Manifest { settings, ..Manifest::default() },
        );
        let slot = "50-heapster.wasm";
        let heapster = read(rule("rules/50-heapster.wasm"), slot, Manifest::default_of(slot));
        let mut suite = Self { engine: RuleEngine::new().unwrap(), drop, heapster, rounds, alone: Vec::new() };
        let mut chain = suite.chain(vec![suite.drop.clone(), suite.heapster.clone()]).unwrap();
        suite.alone = suite.output(&mut chain);
        for status in chain.status() {
            let stats = &status.stats;
            assert_eq!(stats.fault_count(), 0, "{}: {:?}", status.name, stats.last_fault);
            assert!(stats.points_dropped > 0, "{} has something to do", status.name);
        }
        suite
    }

    fn chain(&self, files: Vec<RuleFile>) -> Result<Chain, String> {
        let set = RuleSet { files, warnings: Vec::new() };
        Chain::start(&self.engine, &set, Arc::default())
            .map_err(|problems| problems.iter().map(|problem| problem.what.clone()).collect::<Vec<_>>().join("\n"))
    }

    /// Every batch that leaves a chain, as bytes.
    fn output(&self, chain: &mut Chain) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut take = |cycle: &Cycle, batch: &Batch| {
            let mut bytes = Vec::new();
            wire::write_batch(&mut bytes, cycle, batch);
            out.push(bytes);
        };
        for (cycle, batches) in &self.rounds {
            for batch in batches {
                let done = chain.process(cycle, batch.clone()).expect("whoever fails passes it on");
                take(cycle, &done);
            }
            chain.finish(cycle, &mut |totals| take(cycle, &totals));
        }
        out
    }

    /// The wrong edits differ from it in one place each: it must be accepted, for them to mean something.
    fn the_good_edit_is_one(&self) {
        let case = Case { name: "good".to_owned(), expected: Expected::Nothing, bytes: edits::good() };
        let mut chain = self.chain(vec![file(&case, 0)]).unwrap();
        self.output(&mut chain);
        let stats = chain.status().remove(0).stats;
        assert_eq!(stats.fault_count(), 0, "{:?}", stats.last_fault);
        let calls = NODES as u64 * CYCLES;
        assert_eq!((stats.points_added, stats.entities_added, stats.relabelled), (4 * calls, 2 * calls, calls));
    }

    /// Runs guests that start between the two rules, and sees that those that do not are refused as expected.
    fn run(&self, cases: &[Case], told: &mut Told) {
        let mut between = Vec::new();
        for (at, case) in cases.iter().enumerate() {
            let file = file(case, at);
            match (self.chain(vec![file.clone()]), &case.expected) {
                (Err(what), Expected::Start(says)) => {
                    assert!(what.contains(says), "{}: {what}", case.name);
                    told.refused += 1;
                }
                (Err(_), Expected::Anything) => told.refused += 1,
                (Err(what), _) => panic!("{} does not start: {what}", case.name),
                (Ok(_), Expected::Start(says)) => panic!("{} starts; expected: {says}", case.name),
                // What is made up may be a good rule: one that changes batches changes what comes out.
                (Ok(chain), Expected::Anything) => {
                    if self.changes_something(case, chain) {
                        told.changed += 1;
                    } else {
                        between.push((case, file));
                    }
                }
                (Ok(_), _) => between.push((case, file)),
            }
        }
        let mut files = vec![self.drop.clone()];
        files.extend(between.iter().map(|(_, file)| file.clone()));
        files.push(self.heapster.clone());
        let mut chain = self.chain(files).unwrap();
        let out = self.output(&mut chain);
        let status = chain.status();
        for ((case, _), status) in between.iter().zip(&status[1..]) {
            counted_right(case, status);
            status.stats.faults.iter().for_each(|(&kind, count)| *told.faults.entry(kind).or_default() += count);
            told.harmless += u64::from(status.stats.fault_count() == 0);
        }
        if out != self.alone {
            let names: Vec<_> = between.iter().filter(|(_, file)| !self.leaves_others_alone(file)).collect();
            let names: Vec<_> = names.iter().map(|(case, _)| &case.name).collect();
            panic!("what comes out of the other rules differs; beside {names:?}");
        }
    }

    fn changes_something(&self, case: &Case, mut chain: Chain) -> bool {
        self.output(&mut chain);
        let status = chain.status().remove(0);
        counted_right(case, &status);
        let stats = status.stats;
        stats.points_added + stats.points_dropped + stats.entities_added + stats.entities_dropped + stats.relabelled > 0
    }

    fn leaves_others_alone(&self, file: &RuleFile) -> bool {
        let files = vec![self.drop.clone(), file.clone(), self.heapster.clone()];
        self.output(&mut self.chain(files).unwrap()) == self.alone
    }
}

/// A guest as a file of a directory. Guests stand between the other two.
fn file(case: &Case, at: usize) -> RuleFile {
    let slot = format!("20-{at:03}.wasm");
    let mut limits = LIMITS;
    let is_slow = match &case.expected {
        Expected::Process(kind) | Expected::Finish(kind) | Expected::Sometimes(kind) => *kind == FaultKind::Timeout,
        Expected::Start(says) => says.contains("took longer"),
        Expected::Anything => true,
        Expected::Nothing => false,
    };
    if is_slow {
        (limits.process, limits.finish) = (SHORT, SHORT);
    }
    let manifest = Manifest { limits, on_error: OnError::Pass, ..Manifest::default() };
    RuleFile { name: case.name.clone(), path: PathBuf::from(&slot), slot, bytes: case.bytes.clone(), manifest }
}

/// Every call that failed is counted once, under the reason that it failed for; no other is.
fn counted_right(case: &Case, status: &RuleStatus) {
    let (name, stats) = (&case.name, &status.stats);
    let failures: u64 = stats.faults.values().sum();
    let only = |kind: FaultKind, count: u64| {
        assert_eq!(stats.faults, BTreeMap::from([(kind, count)]), "{name}: {:?}", stats.last_fault);
    };
    // A batch that was passed on is one that `process` failed on, or one that it was not asked about.
    let of_process = stats.batches_passed - stats.batches_left_out;
    assert_eq!(stats.process_calls + stats.batches_left_out, NODES as u64 * CYCLES, "{name}");
    assert_eq!(stats.batches_lost + stats.points_lost, 0, "{name}");
    match case.expected {
        Expected::Process(kind) => {
            only(kind, stats.process_calls);
            assert_eq!(of_process, failures, "{name}");
        }
        Expected::Finish(kind) => {
            only(kind, stats.finish_calls);
            assert_eq!(of_process, 0, "{name}");
        }
        Expected::Sometimes(kind) => {
            only(kind, failures);
            assert!(failures > 0 && failures < stats.process_calls, "{name}: {stats:?}");
        }
        Expected::Nothing => assert_eq!(failures, 0, "{name}: {:?}", stats.last_fault),
        Expected::Anything => {
            assert!(
                of_process <= stats.process_calls && failures - of_process <= stats.finish_calls,
                "{name}: {stats:?}"
            );
        }
        Expected::Start(_) => unreachable!("it did not start"),
    }
    assert_eq!(stats.last_fault.is_some(), failures > 0, "{name}");
}

/// Memory of this process, bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}
