//! Rules across the Wasm boundary: good ones, and every way of being bad that we could think of.
//! The guests are in `tests/fixtures/guests`, written by hand.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use millrace::batch::{Batch, BatchBuilder, Cycle, Descriptor, Level, Origin, TypeRegistry, UNKNOWN_AT, Value};
use millrace::rules::{Chain, FaultKind, LoadError, Manifest, OnError, RuleEngine, RuleFile, RuleSet};
use wit_component::StringEncoding;

static ENGINE: LazyLock<RuleEngine> = LazyLock::new(|| RuleEngine::new().unwrap());

/// A guest's bytes; a core module gets its world as the compiler would write it.
fn guest(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(format!("tests/fixtures/guests/{name}.wat"));
    let mut bytes = wat::parse_file(path).unwrap();
    if bytes[6] == 0 {
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_path(root.join("guest-sdk/wit")).unwrap();
        let world = resolve.select_world(&[package], Some("millrace-rule")).unwrap();
        wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).unwrap();
    }
    bytes
}

fn file(slot: &str, guest_name: &str, on_error: OnError) -> RuleFile {
    let mut manifest = Manifest { on_error, ..Manifest::default() };
    if guest_name.starts_with("loops") {
        manifest.limits.process = Duration::from_millis(100);
        manifest.limits.finish = Duration::from_millis(500);
    }
    RuleFile {
        name: guest_name.to_owned(),
        slot: slot.to_owned(),
        path: PathBuf::from(slot),
        bytes: guest(guest_name),
        manifest,
    }
}

fn chain(files: Vec<RuleFile>) -> Chain {
    let warnings = Vec::new();
    let set = RuleSet { files, warnings };
    Chain::start(&ENGINE, &set, Arc::new(TypeRegistry::default())).unwrap()
}

fn cycle(number: u64) -> Cycle {
    Cycle { number, time: 1_700_000_000_000_000_000, window: 60_000_000_000, nodes_asked: 1, nodes_answered: 1 }
}

/// A node and a pod, two points each.
fn batch() -> Batch {
    let mut builder = BatchBuilder::new(Origin::Node("node-a".to_owned()), 0);
    let cpu = builder.metric(Descriptor::cumulative("cpu/usage", "ns"));
    let memory = builder.metric(Descriptor::gauge("memory/usage", "bytes"));
    let name = builder.symbol("nodename");
    let pod = builder.symbol("pod_name");
    let (a, b) = (builder.symbol("node-a"), builder.symbol("b"));
    for level in [Level::Node, Level::Pod] {
        builder.entity(level, 0);
        builder.label(name, a);
        if level == Level::Pod {
            builder.label(pod, b);
        }
        builder.point(cpu, 0, 0, 1);
        builder.point(memory, 0, UNKNOWN_AT, 2);
    }
    builder.build()
}

fn totals(chain: &mut Chain, number: u64) -> Vec<Batch> {
    let mut out = Vec::new();
    chain.finish(&cycle(number), &mut |batch| out.push(batch));
    out
}

#[test]
fn a_batch_goes_through_every_rule_and_totals_through_the_later_ones() {
    let pass = OnError::Pass;
    let mut chain = chain(vec![file("10", "pass", pass), file("20", "totals", pass)]);
    let out = chain.process(&cycle(1), batch()).unwrap();
    assert_eq!((out.entities.len(), out.points.len()), (2, 4));

    let made = totals(&mut chain, 1);
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].origin, Origin::Totals("totals".to_owned()));
    assert_eq!(made[0].base, cycle(1).time);
    let entity = made[0].iter().next().unwrap();
    assert_eq!(entity.level(), Level::Other);
    assert_eq!(entity.labels().collect::<Vec<_>>(), [("a", "b")]);
    assert_eq!(entity.value("m"), Some(Value::Int(7)));

    let status = chain.status();
    let (first, second) = (&status[0].stats, &status[1].stats);
    assert_eq!((first.process_calls, first.finish_calls), (1, 1));
    assert_eq!((second.points_in, second.points_added), (4, 1));
    assert_eq!(second.instances, 1);
    assert!(status[1].memory_bytes >= 64 << 10);
}

#[test]
fn totals_meet_only_the_rules_after_the_one_that_made_them() {
    let pass = OnError::Pass;
    let mut before = chain(vec![file("10", "drop_all", pass), file("20", "totals", pass)]);
    assert_eq!(totals(&mut before, 1).len(), 1);
    let mut after = chain(vec![file("10", "totals", pass), file("20", "drop_all", pass)]);
    let made = totals(&mut after, 1);
    assert_eq!(made.iter().map(|it| it.entities.len()).sum::<usize>(), 0);
    assert_eq!(after.status()[1].stats.entities_dropped, 1);
}

/// Each bad guest, what its failure is, and what the message says.
const BAD: &[(&str, FaultKind, &str)] = &[
    ("loops", FaultKind::Timeout, "`process` took longer than 100ms"),
    ("grows", FaultKind::Memory, "limits.memory"),
    ("recurses", FaultKind::Trap, "call stack exhausted"),
    ("index_out_of_range", FaultKind::InvalidEdit, "4000000000"),
    ("ends_descend", FaultKind::InvalidEdit, "new-symbols.ends"),
    ("invalid_utf8", FaultKind::InvalidEdit, "UTF-8"),
    ("nan", FaultKind::InvalidEdit, "`nan` has a value that is not finite"),
    ("giant_lists", FaultKind::Unreadable, "`process` can't be read"),
    ("huge_answer", FaultKind::Unreadable, "`process` can't be read"),
    ("wild_answer", FaultKind::Unreadable, "`process` can't be read"),
    ("no_such_answer", FaultKind::Unreadable, "`process` can't be read"),
    ("too_many_points", FaultKind::TooBig, "20000 points"),
    ("many_labels", FaultKind::TooBig, "200000 labels"),
    ("many_label_changes", FaultKind::TooBig, "200000 label changes to one entity"),
    ("refuses_batch", FaultKind::Refused, "no pods here"),
    ("gives_up", FaultKind::Fatal, "state is lost"),
];

#[test]
fn a_batch_that_a_bad_rule_fails_on_is_passed_on_unchanged() {
    for &(name, kind, says) in BAD {
        let mut chain = chain(vec![file("10", name, OnError::Pass), file("20", "totals", OnError::Pass)]);
        for number in [1, 2] {
            let out = chain.process(&cycle(number), batch()).expect(name);
            assert_eq!((out.entities.len(), out.points.len()), (2, 4), "{name}");
            assert_eq!(out.symbols.len(), batch().symbols.len(), "{name}");
        }
        let status = chain.status();
        let stats = &status[0].stats;
        assert_eq!(stats.faults.get(&kind), Some(&2), "{name}: {stats:?}");
        assert_eq!(stats.fault_count(), 2, "{name}");
        assert_eq!(stats.batches_passed, 2, "{name}");
        // A refusal is an answer like any other: the instance stays.
        let instances = if kind == FaultKind::Refused { 1 } else { 2 };
        assert_eq!(stats.instances, instances, "{name}");
        let last = stats.last_fault.clone().unwrap();
        assert!(last.text.contains(says), "{name}: {}", last.text);
        assert_eq!(last.cycle, 2, "{name}");

        let beside = &status[1].stats;
        assert_eq!((beside.process_calls, beside.fault_count()), (2, 0), "{name}");
        assert_eq!(totals(&mut chain, 2).len(), 1, "{name}");
    }
}

#[test]
fn a_batch_that_a_bad_rule_fails_on_is_dropped_where_it_says_so() {
    for &(name, kind, _) in BAD {
        let mut chain = chain(vec![file("10", name, OnError::Drop), file("20", "pass", OnError::Pass)]);
        assert!(chain.process(&cycle(1), batch()).is_none(), "{name}");
        assert!(chain.process(&cycle(1), batch()).is_none(), "{name}");
        let status = chain.status();
        assert_eq!(status[0].stats.faults.get(&kind), Some(&2), "{name}");
        assert_eq!(status[0].stats.points_lost, 8, "{name}");
        assert_eq!(status[1].stats.process_calls, 0, "{name}");
    }
}

#[test]
fn every_batch_stops_at_a_bad_rule_that_halts() {
    for &(name, kind, _) in BAD {
        let mut chain = chain(vec![file("10", "pass", OnError::Pass), file("20", name, OnError::Halt)]);
        assert!(chain.process(&cycle(1), batch()).is_none(), "{name}");
        assert!(chain.process(&cycle(1), batch()).is_none(), "{name}");
        assert_eq!(totals(&mut chain, 1).len(), 0, "{name}");
        let status = &chain.status()[1];
        assert!(status.halted, "{name}");
        assert_eq!(status.stats.faults.get(&kind), Some(&1), "{name}");
        assert_eq!((status.stats.process_calls, status.stats.points_lost), (1, 8), "{name}");
    }
}

/// A small batch may grow to some 10,000 points, whatever the number of rules.
#[test]
fn rules_one_after_the_other_do_not_multiply_a_batch() {
    let rules = ["10", "20", "30"].map(|slot| file(slot, "adds_8000", OnError::Pass));
    let mut chain = chain(rules.into());
    let out = chain.process(&cycle(1), batch()).unwrap();
    assert_eq!(out.points.len(), 8_004);
    let faults: Vec<_> = chain.status().iter().map(|rule| rule.stats.faults.get(&FaultKind::TooBig).copied()).collect();
    assert_eq!(faults, [None, Some(1), Some(1)]);
}

#[test]
fn a_loop_is_stopped_near_its_limit() {
    // The clock runs for as long as a rule lives, not only for as long as its engine is held.
    let set = RuleSet { files: vec![file("10", "loops", OnError::Pass)], warnings: Vec::new() };
    let engine = RuleEngine::new().unwrap();
    let mut chain = Chain::start(&engine, &set, Arc::default()).unwrap();
    drop(engine);
    let started = Instant::now();
    assert!(chain.process(&cycle(1), batch()).is_some());
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn after_a_trap_a_fresh_instance_works_on() {
    let mut chain = chain(vec![file("10", "traps_third", OnError::Pass)]);
    for number in 1..=5 {
        assert!(chain.process(&cycle(number), batch()).is_some());
        let faults = chain.status()[0].stats.fault_count();
        assert_eq!(faults, number / 3, "after call {number}");
    }
    let status = &chain.status()[0];
    assert_eq!(status.stats.instances, 2);
    assert_eq!(status.counters["calls"], 5, "counters outlive instances");
    let text = &status.stats.last_fault.as_ref().unwrap().text;
    let said = "; the rule said: panicked at third.rs:3:\\nthree is too many; the rule is broken";
    assert!(text.contains(said), "{text}");
}

#[test]
fn a_flood_of_lines_and_counters_is_cut() {
    let mut chain = chain(vec![file("10", "floods", OnError::Pass)]);
    assert!(chain.process(&cycle(1), batch()).is_some());
    let status = &chain.status()[0];
    assert_eq!(status.stats.fault_count(), 0);
    assert_eq!(status.lines_dropped, 9980);
    assert_eq!(status.counters.len(), 64);
    assert!(status.counts_refused > 0);
}

#[test]
fn a_rule_that_lies_about_itself_is_shown_tamed() {
    let chain = chain(vec![file("10", "lies", OnError::Pass)]);
    let status = &chain.status()[0];
    assert_eq!(status.name, "lies");
    assert_eq!(status.described_as, "heapster\\n2024-01-01 ERROR all is lost");
    assert!(status.version.len() < 1000, "{}", status.version.len());
}

#[test]
fn all_problems_of_a_set_are_reported_at_once() {
    let files = [
        ("refuses_settings", "refuses its settings: floor: is missing"),
        ("loops_in_configure", "`configure` took longer than 500ms"),
        ("starts_large", "`start` wants 268435456 bytes of memory and may have 134217728"),
        ("traps_at_start", "`start` trapped"),
        ("imports_clock", "imports `wasi:clocks/monotonic-clock@0.2.0 now`"),
    ];
    let set = RuleSet {
        files: files.iter().map(|(name, _)| file(name, name, OnError::Pass)).collect(),
        warnings: Vec::new(),
    };
    let problems = Chain::start(&ENGINE, &set, Arc::default()).unwrap_err();
    assert_eq!(problems.len(), files.len(), "{problems:?}");
    for (problem, (name, says)) in problems.iter().zip(files) {
        assert_eq!(problem.place, name);
        assert!(problem.what.contains(says), "{problem}");
    }
}

#[test]
fn what_is_no_rule_is_refused_before_it_is_compiled() {
    let foreign = |name: &str| LoadError::ForeignImport(name.to_owned());
    let version = || LoadError::OtherVersion("0.2.0".to_owned());
    let text = |text: String| wat::parse_str(text).unwrap();
    let large = text(format!("(module (func {}))", "nop ".repeat(1 << 20)));
    let many = text(format!("(module {})", "(func)".repeat(100_001)));
    let page = LoadError::NotWasm("it does not begin with the bytes of WebAssembly; was it copied whole?");
    for (name, bytes, want) in [
        ("a clock", guest("imports_clock"), foreign("wasi:clocks/monotonic-clock@0.2.0 now")),
        ("files", guest("imports_files"), foreign("wasi:filesystem/types@0.2.0")),
        ("version", guest("version_0_2"), version()),
        ("version of a component", guest("component_0_2"), version()),
        ("no rule", text("(module)".to_owned()), LoadError::NoRule),
        ("no rule in a component", text("(component)".to_owned()), LoadError::NoRule),
        ("a page", b"<html>".to_vec(), page),
        ("too large", vec![0; (32 << 20) + 1], LoadError::TooLarge),
        ("a large function", large, LoadError::FunctionTooLarge((1 << 20) + 2, 1 << 20)),
        ("many functions", many, LoadError::TooManyFunctions(100_001, 100_000)),
    ] {
        assert_eq!(ENGINE.load(&bytes).unwrap_err(), want, "{name}");
    }
    let error = ENGINE.load(&guest("lacks_functions")).unwrap_err();
    assert!(matches!(error, LoadError::NotLinked(_)), "{error}");
    let error = ENGINE.load(&guest("version_0_2")).unwrap_err().to_string();
    assert!(error.contains("`0.2.0`") && error.contains("0.1.0"), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_at_every_byte() {
    let whole = guest("traps_third");
    for cut in 0..whole.len() - 1 {
        assert!(ENGINE.load(&whole[..cut]).is_err(), "cut at {cut}");
    }
    // Some changes give another valid rule; none may bring down the host.
    let mut refused = 0;
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        refused += usize::from(ENGINE.load(&bytes).is_err());
    }
    assert!(refused > 0);
}
