//! The process's own metrics in Prometheus's text format 0.0.4.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::process;
use crate::status::Board;

/// Everything that is counted.
pub(super) async fn metrics(State(board): State<Arc<Board>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&board)).into_response()
}

fn text(board: &Board) -> String {
    let mut page = Page::default();
    page.one("millrace_uptime_seconds", "gauge", "Since the process started.", board.uptime().as_secs());
    page.one("millrace_ready", "gauge", "Whether the last cycle delivered points.", u8::from(board.ready().is_ok()));
    own(&mut page);
    cycles(&mut page, board);
    watches(&mut page, board);
    rules(&mut page, board);
    reloads(&mut page, board);
    sinks(&mut page, board);
    page.0
}

fn own(page: &mut Page) {
    let Some(usage) = process::usage() else { return };
    page.one("process_cpu_seconds_total", "counter", "CPU time, user and system.", usage.cpu.as_secs_f64());
    page.one("process_resident_memory_bytes", "gauge", "Memory now.", usage.resident);
    page.one("process_resident_memory_max_bytes", "gauge", "The most memory so far.", usage.peak);
}

fn cycles(page: &mut Page, board: &Board) {
    let snapshot = board.snapshot();
    let counters = &snapshot.counters;
    for (name, help, value) in [
        ("millrace_cycles_total", "Completed cycles.", counters.cycles),
        ("millrace_missed_ticks_total", "Ticks without a cycle.", counters.missed_ticks),
        ("millrace_scrapes_total", "Answers that became a batch.", counters.answers),
        ("millrace_points_scraped_total", "Points decoded.", counters.points_scraped),
        ("millrace_points_published_total", "Points handed to the sinks.", counters.points_published),
        ("millrace_points_private_total", "Points for rules only, kept from the sinks.", counters.points_private),
        ("millrace_points_lost_total", "Points lost by a defect of Millrace.", counters.points_lost),
        ("millrace_decode_over_range_total", "Values beyond i64, dropped.", counters.values_over_range),
        ("millrace_decode_malformed_total", "Values that were no numbers, dropped.", counters.values_malformed),
        ("millrace_decode_duplicates_total", "Pods and containers that stood twice.", counters.duplicates),
        ("millrace_decode_nameless_total", "Pods and containers without a name, dropped.", counters.nameless),
        ("millrace_decode_unknown_kind_total", "Custom metrics of an unknown type, dropped.", counters.unknown_kind),
        ("millrace_decode_type_conflicts_total", "Metrics with a second value type, dropped.", counters.type_conflicts),
        ("millrace_decode_names_left_out_total", "Values with a metric name too many.", counters.names_left_out),
        ("millrace_decode_labels_left_out_total", "Labels of objects over a bound.", counters.labels_left_out),
        ("millrace_panics_total", "Batches lost by a defect of Millrace.", counters.panics),
    ] {
        page.one(name, "counter", help, value);
    }
    page.head("millrace_scrape_failures_total", "counter", "Nodes without points, by reason.");
    for (reason, count) in &counters.failures {
        page.row("millrace_scrape_failures_total", &[("reason", reason)], count);
    }
    if let Some(cycle) = &snapshot.cycle {
        page.one("millrace_nodes_asked", "gauge", "Nodes asked in the last cycle.", cycle.nodes_asked);
        page.one("millrace_nodes_answered", "gauge", "Nodes that answered in it.", cycle.nodes_answered);
        page.one("millrace_cycle_seconds", "gauge", "How long it took.", cycle.stages.total_ms / 1e3);
        page.head("millrace_stage_seconds", "gauge", "Its stages; decode and rules are added up over all nodes.");
        let stages = &cycle.stages;
        for (stage, ms) in [
            ("scrape", stages.scrape_ms),
            ("decode", stages.decode_ms),
            ("rules", stages.rules_ms),
            ("finish", stages.finish_ms),
            ("tail", stages.tail_ms),
        ] {
            page.row("millrace_stage_seconds", &[("stage", stage)], ms / 1e3);
        }
    }
}

fn watches(page: &mut Page, board: &Board) {
    let Some(watches) = board.inventory() else { return };
    let kinds = [("nodes", watches.nodes), ("pods", watches.pods), ("namespaces", watches.namespaces)];
    page.head("millrace_watch_connected", "gauge", "Whether the API server's last answer was a good one.");
    for (kind, watch) in &kinds {
        page.row("millrace_watch_connected", &[("kind", kind)], u8::from(watch.connected));
    }
    page.head("millrace_watch_objects", "gauge", "Objects known; of pods those bound to a node.");
    for (kind, watch) in &kinds {
        page.row("millrace_watch_objects", &[("kind", kind)], watch.objects);
    }
    page.head("millrace_watch_errors_total", "counter", "Failed lists and watches of the API server.");
    for (kind, watch) in &kinds {
        page.row("millrace_watch_errors_total", &[("kind", kind)], watch.errors);
    }
}

fn rules(page: &mut Page, board: &Board) {
    let snapshot = board.snapshot();
    page.head("millrace_rule_seconds_total", "counter", "Time in a rule's calls, with applying its edits.");
    for rule in &snapshot.rules {
        let ns = rule.stats.process_ns + rule.stats.finish_ns + rule.stats.apply_ns;
        page.row("millrace_rule_seconds_total", &[("rule", &rule.name)], ns as f64 / 1e9);
    }
    page.head("millrace_rule_failures_total", "counter", "Failed calls of a rule, by kind.");
    for rule in &snapshot.rules {
        for (kind, count) in &rule.stats.faults {
            page.row("millrace_rule_failures_total", &[("rule", &rule.name), ("kind", kind.as_str())], count);
        }
    }
    page.head(
        "millrace_rule_failed_batches_total",
        "counter",
        "Batches that a rule failed on, by what became of them.",
    );
    for rule in &snapshot.rules {
        for (became, count) in [("passed", rule.stats.batches_passed), ("lost", rule.stats.batches_lost)] {
            page.row("millrace_rule_failed_batches_total", &[("rule", &rule.name), ("became", became)], count);
        }
    }
    page.head("millrace_rule_points_total", "counter", "Points by what a rule's edits did with them.");
    for rule in &snapshot.rules {
        let stats = &rule.stats;
        for (did, count) in [
            ("added", stats.points_added),
            ("dropped", stats.points_dropped),
            ("merged", stats.points_merged),
            ("refused", stats.points_refused),
        ] {
            page.row("millrace_rule_points_total", &[("rule", &rule.name), ("did", did)], count);
        }
    }
    page.head("millrace_rule_points_lost_total", "counter", "Points of the lost batches.");
    for rule in &snapshot.rules {
        page.row("millrace_rule_points_lost_total", &[("rule", &rule.name)], rule.stats.points_lost);
    }
    page.head("millrace_rule_halted", "gauge", "Whether every batch stops at a rule since it failed.");
    for rule in &snapshot.rules {
        page.row("millrace_rule_halted", &[("rule", &rule.name)], u8::from(rule.halted));
    }
    page.head(
        "millrace_rule_parked",
        "gauge",
        "Whether a rule is left alone for some cycles since it went on failing.",
    );
    for rule in &snapshot.rules {
        page.row("millrace_rule_parked", &[("rule", &rule.name)], u8::from(rule.parked_until.is_some()));
    }
    page.head("millrace_rule_counter_total", "counter", "Counters of the rules' own.");
    for rule in &snapshot.rules {
        for (name, count) in &rule.counters {
            page.row("millrace_rule_counter_total", &[("rule", &rule.name), ("name", name)], count);
        }
    }
}

fn reloads(page: &mut Page, board: &Board) {
    let Some(reloads) = board.reloads() else { return };
    let name = "millrace_config_last_reload_successful";
    page.one(name, "gauge", "Whether the rules that run are those read last.", u8::from(reloads.last_successful));
    let name = "millrace_config_last_reload_success_timestamp_seconds";
    page.one(name, "gauge", "When the running rules were read.", reloads.last_success_seconds);
    page.head("millrace_rule_reloads_total", "counter", "Changed sets of rules, by what became of them.");
    for (outcome, count) in [("took-over", reloads.took_over), ("refused", reloads.refused)] {
        page.row("millrace_rule_reloads_total", &[("outcome", outcome)], count);
    }
}

fn sinks(page: &mut Page, board: &Board) {
    let ledgers = board.ledgers();
    page.head("millrace_sink_points_offered_total", "counter", "Points handed to a sink.");
    for ledger in &ledgers {
        page.row("millrace_sink_points_offered_total", &[("sink", &ledger.sink)], ledger.offered);
    }
    page.head("millrace_sink_points_written_total", "counter", "Points that a sink's server took.");
    for ledger in &ledgers {
        page.row("millrace_sink_points_written_total", &[("sink", &ledger.sink)], ledger.written);
    }
    page.head("millrace_sink_points_dropped_total", "counter", "Points given up, by reason.");
    for ledger in &ledgers {
        for (reason, count) in &ledger.dropped {
            page.row("millrace_sink_points_dropped_total", &[("sink", &ledger.sink), ("reason", reason)], count);
        }
    }
    page.head("millrace_sink_encode_seconds_total", "counter", "Time in encoding and compressing.");
    for ledger in &ledgers {
        let seconds = ledger.encode_ns as f64 / 1e9;
        page.row("millrace_sink_encode_seconds_total", &[("sink", &ledger.sink)], seconds);
    }
    page.head("millrace_sink_points_queued", "gauge", "Points that wait.");
    for ledger in &ledgers {
        page.row("millrace_sink_points_queued", &[("sink", &ledger.sink)], ledger.queued);
    }
    page.head("millrace_sink_imbalance", "gauge", "Offered - written - dropped - queued; anything but 0 is a defect.");
    for ledger in &ledgers {
        page.row("millrace_sink_imbalance", &[("sink", &ledger.sink)], ledger.imbalance);
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string can't fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.row(name, &[], value);
    }
}
