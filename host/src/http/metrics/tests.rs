use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::rules::{Limits, OnError, RuleState};
use crate::status::{Counters, CycleStatus};

/// One rule, a cycle, no sinks.
fn board() -> Arc<Board> {
    let board = Board::new(Duration::from_secs(60), Vec::new());
    let mut stats = RuleStats { process_calls: 2, points_in: 10, ..RuleStats::default() };
    stats.process_time.observe(Duration::from_micros(20));
    stats.process_time.observe(Duration::from_secs(9));
    let rule = RuleStatus {
        name: "heapster".to_owned(),
        slot: "50-heapster.wasm".to_owned(),
        path: String::new(),
        digest: "sha256:00".to_owned(),
        described_as: String::new(),
        version: "1\"\\\n2".to_owned(),
        sdk: String::new(),
        state: RuleState::Running,
        on_error: OnError::Drop,
        limits: Limits::default(),
        halted: false,
        parked_until: Some(3),
        stats,
        memory_bytes: 65536,
        lines_dropped: 0,
        counts_refused: 0,
        counters: BTreeMap::from([("kept".to_owned(), 7)]),
    };
    let counters = Counters { cycles: 1, failures: BTreeMap::from([("timeout", 2)]), ..Counters::default() };
    board.publish(Snapshot { cycle: Some(CycleStatus::default()), counters, rules: vec![rule], ..Snapshot::default() });
    Arc::new(board)
}

#[test]
fn every_family_is_described_once_and_its_series_stand_under_it() {
    let page = page(&board()).unwrap();
    let mut seen = BTreeSet::new();
    let mut family = String::new();
    for line in Format::Text.of(page.clone()).lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            family = text.split_once(' ').unwrap().0.to_owned();
            assert!(seen.insert(family.clone()), "{family} stands twice");
        } else if let Some(text) = line.strip_prefix("# TYPE ") {
            assert!(text.starts_with(&format!("{family} ")), "{line}");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let known = ["", "_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}"));
            assert!(known, "`{line}` under {family}");
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
    assert!(page.ends_with("# EOF\n"));
    let units = ["_seconds", "_bytes"];
    for line in page.lines().filter_map(|line| line.strip_prefix("# UNIT ")) {
        assert!(units.iter().any(|unit| line.split(' ').next().unwrap().ends_with(unit)), "{line}");
    }
}

#[test]
fn the_documentation_names_every_family() {
    let documentation = include_str!("../../../../docs/OPERATING.md");
    let page = Format::Text.of(page(&board()).unwrap());
    for family in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(documentation.contains(&format!("`{family}`")), "{family}");
    }
}

#[test]
fn a_rules_calls_are_a_histogram_and_its_names_are_escaped() {
    let page = Format::Text.of(page(&board()).unwrap());
    for line in [
        "millrace_rule_info{rule=\"heapster\",slot=\"50-heapster.wasm\",version=\"1\\\"\\\\\\n2\",digest=\"sha256:00\"} 1",
        "# TYPE millrace_rule_duration_seconds histogram",
        "millrace_rule_duration_seconds_sum{rule=\"heapster\",call=\"process\"} 9.00002",
        "millrace_rule_duration_seconds_count{rule=\"heapster\",call=\"process\"} 2",
        "millrace_rule_duration_seconds_bucket{le=\"0.00001\",rule=\"heapster\",call=\"process\"} 0",
        "millrace_rule_duration_seconds_bucket{le=\"5.0\",rule=\"heapster\",call=\"process\"} 1",
        "millrace_rule_duration_seconds_bucket{le=\"+Inf\",rule=\"heapster\",call=\"process\"} 2",
        "millrace_rule_points_in_total{rule=\"heapster\"} 10",
        "millrace_rule_parked{rule=\"heapster\"} 1",
        "millrace_rule_counter_total{rule=\"heapster\",name=\"kept\"} 7",
        "millrace_scrape_failures_total{reason=\"timeout\"} 2",
        "millrace_stage_seconds{stage=\"tail\"} 0.0",
    ] {
        assert!(page.lines().any(|it| it == line), "no `{line}` in\n{page}");
    }
}
