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
use std::process::Command;
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
/// Guests, some of every sort, before the process's memory is measured first.
const WARM_UP: usize = 20;
/// How much it may grow until the end, bytes.
const MAX_GROWTH: usize = 8 << 20;
/// What a guest gets.
const LIMITS: Limits =
    Limits { memory_bytes: 16 << 20, process: Duration::from_secs(1), finish: Duration::from_secs(5) };
/// What one gets that is expected to run out of time.
const SHORT: Duration = Duration::from_millis(30);

/// Makes the C library give memory back at once: what is measured is then what somebody holds, and not what was
/// needed at one time, for compiling mostly, and is kept for the next.
const MALLOC: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "65536"), ("MALLOC_MMAP_THRESHOLD_", "65536")];

#[test]
fn no_guest_harms_the_host_or_another_rule() {
    if MALLOC.iter().any(|(name, _)| std::env::var_os(name).is_none()) {
        // The C library reads these when a process starts.
        let mut again = Command::new(std::env::current_exe().unwrap());
        let ended = again.args(std::env::args_os().skip(1)).envs(MALLOC).status().unwrap();
        assert!(ended.success(), "{ended}; what is wrong is above");
        return;
    }
    let began = Instant::now();
    let suite = Suite::new();
    let groups = [guests::written(), edits::wrong(), edits::spoiled(0..60), guests::made_up()];
    let sizes = groups.each_ref().map(Vec::len);
    let cases: Vec<&Case> = groups.iter().flatten().collect();
    assert!(sizes[0] + sizes[1] >= 200 && sizes[2] + sizes[3] >= 200, "{sizes:?}");

    suite.the_good_edit_is_one();
    let mut told = Told::default();
    let some: Vec<&Case> = cases.iter().step_by(cases.len() / WARM_UP).take(WARM_UP).copied().collect();
    suite.run(&some, &mut told);
    told = Told { wrong: told.wrong, ..Told::default() };
    let (warm, mut most) = (resident(), 0);
    for cases in cases.chunks(TOGETHER) {
        suite.run(cases, &mut told);
        most = most.max(resident());
    }
    assert!(told.wrong.is_empty(), "{}", told.wrong.join("\n"));
    let (growth, took) = (resident().saturating_sub(warm), began.elapsed());
    eprintln!(
        "{} guests (written, wrong edits, spoiled edits, made up: {sizes:?}); {told:?}; memory {} KiB after {WARM_UP}, \
         {} KiB at the end, {} KiB at most; {took:.1?}",
        cases.len(),
        warm >> 10,
        resident() >> 10,
        most >> 10,
    );
    assert!(growth < MAX_GROWTH, "{} KiB more than after {WARM_UP} guests", growth >> 10);
}

/// What happened, in sum.
#[derive(Debug, Default)]
struct Told {
    /// Guests that did not start.
    refused: u64,
    /// Failed calls of all others.
    faults: BTreeMap<FaultKind, u64>,
    /// Guests of which no call failed.
    harmless: u64,
    /// Guests that were made up, and changed batches by right.
    changed: u64,
    /// What is not as it is to be.
    wrong: Vec<String>,
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
        // The batches that rules fail on are kept within a bound of their own, for which there are tests of their own:
        // here they would only hide what is not meant to be kept.
        suite.engine.failures().keep_no_batches();
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
    fn run(&self, cases: &[&Case], told: &mut Told) {
        let mut between = Vec::new();
        for (at, &case) in cases.iter().enumerate() {
            let file = file(case, at);
            match (self.chain(vec![file.clone()]), &case.expected) {
                (Err(what), Expected::Start(says)) if what.contains(says) => told.refused += 1,
                (Err(_), Expected::Anything) => told.refused += 1,
                (Err(what), _) => {
                    told.wrong.push(format!("{}: expected {:?}, does not start: {what}", case.name, case.expected));
                }
                (Ok(_), Expected::Start(says)) => told.wrong.push(format!("{} starts; expected: {says}", case.name)),
                // What is made up may be a good rule: one that changes batches changes what comes out.
                (Ok(chain), Expected::Anything) => {
                    if self.changes_something(case, chain, &mut told.wrong) {
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
            told.wrong.extend(counted_right(case, status).err());
            status.stats.faults.iter().for_each(|(&kind, count)| *told.faults.entry(kind).or_default() += count);
            told.harmless += u64::from(status.stats.fault_count() == 0);
        }
        if out != self.alone {
            let names: Vec<_> = between.iter().filter(|(_, file)| !self.leaves_others_alone(file)).collect();
            let names: Vec<_> = names.iter().map(|(case, _)| &case.name).collect();
            told.wrong.push(format!("what comes out of the other rules differs; beside {names:?}"));
        }
    }

    fn changes_something(&self, case: &Case, mut chain: Chain, wrong: &mut Vec<String>) -> bool {
        self.output(&mut chain);
        let status = chain.status().remove(0);
        wrong.extend(counted_right(case, &status).err());
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
///
/// # Errors
/// What is counted otherwise.
fn counted_right(case: &Case, status: &RuleStatus) -> Result<(), String> {
    let stats = &status.stats;
    let failures: u64 = stats.faults.values().sum();
    let only = |kind: FaultKind, count: u64| stats.faults == BTreeMap::from([(kind, count)]);
    // A batch that was passed on is one that `process` failed on, or one that it was not asked about.
    let of_process = stats.batches_passed - stats.batches_left_out;
    let expected = match case.expected {
        Expected::Process(kind) => only(kind, stats.process_calls) && of_process == failures,
        Expected::Finish(kind) => only(kind, stats.finish_calls) && of_process == 0,
        Expected::Sometimes(kind) => only(kind, failures) && failures > 0 && failures < stats.process_calls,
        Expected::Nothing => failures == 0,
        Expected::Anything => of_process <= stats.process_calls && failures - of_process <= stats.finish_calls,
        Expected::Start(_) => false,
    };
    let calls = stats.process_calls + stats.batches_left_out == NODES as u64 * CYCLES;
    let nothing_lost = stats.batches_lost + stats.points_lost == 0;
    if expected && calls && nothing_lost && stats.last_fault.is_some() == (failures > 0) {
        return Ok(());
    }
    let last = stats.last_fault.as_ref().map_or("", |fault| &fault.text);
    Err(format!("{}: expected {:?}, has {:?}: {last}\n{stats:?}", case.name, case.expected, stats.faults))
}

/// Memory of this process, bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}
