//! The process's own metrics for Prometheus: in OpenMetrics text where the scraper asks for it, else
//! in the older text format 0.0.4. docs/OPERATING.md names them all.
//!
//! A page is made of what is published already, when somebody asks: nothing is counted for it, and
//! the pipeline never waits for a scraper.

mod families;
pub(super) mod format;

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::{Registry, Unit};

use super::process;
use crate::kube::KindStatus;
use crate::rules::effect::Sides;
use crate::rules::{RuleStats, RuleStatus, ShadowStatus};
use crate::sinks::LedgerSnapshot;
use crate::status::{Board, Snapshot};
use families::Families;
use format::Format;

/// Everything that is counted.
pub(super) async fn metrics(State(board): State<Arc<Board>>, headers: HeaderMap) -> Response {
    let format = Format::asked_for(&headers);
    match page(&board) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], format.of(text)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// In OpenMetrics text.
fn page(board: &Arc<Board>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Published(Arc::clone(board))));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

/// What the board shows, as metrics.
struct Published(Arc<Board>);

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").finish_non_exhaustive()
    }
}

impl Collector for Published {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (board, mut to) = (&*self.0, Families::new(encoder));
        let snapshot = board.snapshot();
        own(&mut to, board)?;
        counted(&mut to, &snapshot)?;
        cycle(&mut to, &snapshot)?;
        watches(&mut to, board)?;
        rules(&mut to, &snapshot.rules)?;
        failures(&mut to, &snapshot.rules)?;
        shadows(&mut to, &snapshot.shadows)?;
        reloads(&mut to, board)?;
        store(&mut to, board)?;
        auth(&mut to, board)?;
        sinks(&mut to, &board.ledgers())
    }
}

fn own(to: &mut Families<'_>, board: &Board) -> fmt::Result {
    to.infos("millrace_build", "Which Millrace this is.", [[("version", env!("CARGO_PKG_VERSION"))]])?;
    to.gauge("millrace_ready", "Whether the last cycle delivered points.", None, u64::from(board.ready().is_ok()))?;
    let seconds = Some(&Unit::Seconds);
    to.gauge("millrace_uptime", "Since the process started.", seconds, board.uptime().as_secs())?;
    to.gauge("millrace_resolution", "Between two cycles.", seconds, board.resolution().as_secs_f64())?;
    let started = board.started_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    to.gauge("process_start_time", "When it started, since the epoch.", seconds, started.as_secs_f64())?;
    let Some(usage) = process::usage() else { return Ok(()) };
    to.counter("process_cpu", "CPU time, user and system.", seconds, usage.cpu.as_secs_f64())?;
    to.gauge("process_resident_memory", "Memory now.", Some(&Unit::Bytes), usage.resident)?;
    to.gauge("process_resident_memory_max", "The most memory so far.", Some(&Unit::Bytes), usage.peak)
}

fn counted(to: &mut Families<'_>, snapshot: &Snapshot) -> fmt::Result {
    let counters = &snapshot.counters;
    for (name, help, value) in [
        ("millrace_cycles", "Completed cycles.", counters.cycles),
        ("millrace_missed_ticks", "Ticks without a cycle.", counters.missed_ticks),
        ("millrace_scrapes", "Answers that became a batch.", counters.answers),
        ("millrace_points_scraped", "Points decoded.", counters.points_scraped),
        ("millrace_points_published", "Points handed to the sinks.", counters.points_published),
        ("millrace_points_private", "Points for rules only, kept from the sinks.", counters.points_private),
        ("millrace_points_lost", "Points lost by a defect of Millrace.", counters.points_lost),
        ("millrace_decode_over_range", "Values beyond i64, dropped.", counters.values_over_range),
        ("millrace_decode_malformed", "Values that were no numbers, dropped.", counters.values_malformed),
        ("millrace_decode_duplicates", "Pods and containers that stood twice.", counters.duplicates),
        ("millrace_decode_nameless", "Pods and containers without a name, dropped.", counters.nameless),
        ("millrace_decode_unknown_kind", "Custom metrics of an unknown type, dropped.", counters.unknown_kind),
        ("millrace_decode_type_conflicts", "Metrics with a second value type, dropped.", counters.type_conflicts),
        ("millrace_decode_names_left_out", "Values with a metric name too many.", counters.names_left_out),
        ("millrace_decode_labels_left_out", "Labels of objects over a bound.", counters.labels_left_out),
        ("millrace_panics", "Batches lost by a defect of Millrace.", counters.panics),
    ] {
        to.counter(name, help, None, value)?;
    }
    let failures = counters.failures.iter().map(|(reason, count)| ([("reason", *reason)], *count));
    to.counters("millrace_scrape_failures", "Nodes without points, by reason.", None, failures)
}

fn cycle(to: &mut Families<'_>, snapshot: &Snapshot) -> fmt::Result {
    let Some(cycle) = &snapshot.cycle else { return Ok(()) };
    let (stages, seconds) = (&cycle.stages, Some(&Unit::Seconds));
    to.gauge("millrace_nodes_asked", "Nodes asked in the last cycle.", None, cycle.nodes_asked as u64)?;
    to.gauge("millrace_nodes_answered", "Nodes that answered in it.", None, cycle.nodes_answered as u64)?;
    to.gauge("millrace_cycle", "How long it took.", seconds, stages.total_ms / 1e3)?;
    let stages = [
        ("scrape", stages.scrape_ms),
        ("decode", stages.decode_ms),
        ("rules", stages.rules_ms),
        ("finish", stages.finish_ms),
        ("tail", stages.tail_ms),
    ]
    .map(|(stage, ms)| ([("stage", stage)], ms / 1e3));
    to.gauges("millrace_stage", "Its stages; decode and rules are added up over all nodes.", seconds, stages)
}

fn watches(to: &mut Families<'_>, board: &Board) -> fmt::Result {
    let Some(watches) = board.inventory() else { return Ok(()) };
    let kinds = [("nodes", watches.nodes), ("pods", watches.pods), ("namespaces", watches.namespaces)];
    let each = |value: fn(&KindStatus) -> u64| {
        kinds.iter().map(move |(kind, watch)| ([("kind", *kind)], value(watch))).collect::<Vec<_>>()
    };
    let connected = each(|watch| u64::from(watch.connected));
    to.gauges("millrace_watch_connected", "Whether the API server's last answer was a good one.", None, connected)?;
    let objects = each(|watch| watch.objects as u64);
    to.gauges("millrace_watch_objects", "Objects known; of pods those bound to a node.", None, objects)?;
    let errors = each(|watch| watch.errors);
    to.counters("millrace_watch_errors", "Failed lists and watches of the API server.", None, errors)
}

/// What the rules did.
fn rules(to: &mut Families<'_>, rules: &[RuleStatus]) -> fmt::Result {
    let label = |rule: &RuleStatus| ("rule", rule.name.clone());
    let infos = rules.iter().map(|rule| {
        let RuleStatus { slot, version, digest, .. } = rule;
        [label(rule), ("slot", slot.clone()), ("version", version.clone()), ("digest", digest.clone())]
    });
    to.infos("millrace_rule", "The rules; version is what a rule says of itself.", infos)?;
    let durations = rules.iter().flat_map(|rule| {
        let RuleStats { process_time, finish_time, apply_time, .. } = rule.stats;
        [("process", process_time), ("finish", finish_time), ("apply", apply_time)]
            .map(|(call, times)| ([label(rule), ("call", call.to_owned())], times))
    });
    let help = "Time of one call of a rule, or of applying one edit.";
    to.histograms("millrace_rule_duration", help, Some(&Unit::Seconds), durations)?;
    let points_in = rules.iter().map(|rule| ([label(rule)], rule.stats.points_in));
    to.counters("millrace_rule_points_in", "Points given to a rule.", None, points_in)?;
    let points = rules.iter().flat_map(|rule| {
        let stats = &rule.stats;
        [
            ("added", stats.points_added),
            ("dropped", stats.points_dropped),
            ("merged", stats.points_merged),
            ("refused", stats.points_refused),
        ]
        .map(|(did, count)| ([label(rule), ("did", did.to_owned())], count))
    });
    to.counters("millrace_rule_points", "Points by what a rule's edits did with them.", None, points)?;
    let labels = rules.iter().map(|rule| ([label(rule)], rule.stats.relabelled));
    to.counters("millrace_rule_labels_changed", "Labels that a rule's edits set or removed.", None, labels)?;
    let memory = rules.iter().map(|rule| ([label(rule)], rule.memory_bytes));
    to.gauges("millrace_rule_memory", "The most that one instance held.", Some(&Unit::Bytes), memory)?;
    let limits = rules.iter().map(|rule| ([label(rule)], rule.limits.memory_bytes as u64));
    to.gauges("millrace_rule_memory_limit", "What one instance may hold.", Some(&Unit::Bytes), limits)?;
    let own = rules.iter().flat_map(|rule| {
        rule.counters.iter().map(move |(name, count)| ([label(rule), ("name", name.clone())], *count))
    });
    to.counters("millrace_rule_counter", "Counters of the rules' own.", None, own)
}

/// What went wrong with the rules.
fn failures(to: &mut Families<'_>, rules: &[RuleStatus]) -> fmt::Result {
    let label = |rule: &RuleStatus| ("rule", rule.name.clone());
    let each =
        |value: fn(&RuleStatus) -> u64| rules.iter().map(move |rule| ([label(rule)], value(rule))).collect::<Vec<_>>();
    let kinds = rules.iter().flat_map(|rule| {
        let kinds = rule.stats.faults.iter();
        kinds.map(move |(kind, count)| ([label(rule), ("kind", kind.as_str().to_owned())], *count))
    });
    to.counters("millrace_rule_failures", "Failed calls of a rule, by kind.", None, kinds)?;
    let batches = rules.iter().flat_map(|rule| {
        [("passed", rule.stats.batches_passed), ("lost", rule.stats.batches_lost)]
            .map(|(became, count)| ([label(rule), ("became", became.to_owned())], count))
    });
    let help = "Batches that a rule failed on, by what became of them.";
    to.counters("millrace_rule_failed_batches", help, None, batches)?;
    let lost = each(|rule| rule.stats.points_lost);
    to.counters("millrace_rule_points_lost", "Points of the lost batches.", None, lost)?;
    let instances = each(|rule| rule.stats.instances);
    to.counters("millrace_rule_instances", "Instances made; each after the first lost its state.", None, instances)?;
    let halted = each(|rule| u64::from(rule.halted));
    to.gauges("millrace_rule_halted", "Whether every batch stops at a rule since it failed.", None, halted)?;
    let parked = each(|rule| u64::from(rule.parked_until.is_some()));
    let help = "Whether a rule is left alone for some cycles since it went on failing.";
    to.gauges("millrace_rule_parked", help, None, parked)?;
    let lines = each(|rule| rule.lines_dropped);
    to.counters("millrace_rule_log_lines_dropped", "Log lines of a rule over the bound.", None, lines)?;
    let counts = each(|rule| rule.counts_refused);
    to.counters("millrace_rule_counts_refused", "Counts of a rule with a name too many or bad.", None, counts)
}

fn shadows(to: &mut Families<'_>, shadows: &[ShadowStatus]) -> fmt::Result {
    let last = || shadows.iter().filter_map(|shadow| Some((&*shadow.rule.name, shadow.last_cycle.as_ref()?)));
    let both = |rule, sides: Sides| {
        [("before", sides.before), ("after", sides.after)]
            .map(|(side, count)| ([("rule", rule), ("side", side)], count))
    };
    let points = last().flat_map(|(rule, effect)| both(rule, effect.points));
    to.gauges(
        "millrace_shadow_points",
        "Points of the last cycle before a rule in the shadow, and as it would hand them on.",
        None,
        points,
    )?;
    let series = last().flat_map(|(rule, effect)| both(rule, effect.series));
    to.gauges("millrace_shadow_series", "Different series of the last cycle, in the same way.", None, series)?;
    let failures = shadows.iter().map(|shadow| ([("rule", &*shadow.rule.name)], shadow.rule.stats.fault_count()));
    to.counters("millrace_shadow_failures", "Failed calls of a rule in the shadow.", None, failures)
}

fn reloads(to: &mut Families<'_>, board: &Board) -> fmt::Result {
    let Some(reloads) = board.reloads() else { return Ok(()) };
    to.gauge(
        "millrace_config_last_reload_successful",
        "Whether the rules that run are those that were read last.",
        None,
        u64::from(reloads.last_successful),
    )?;
    to.gauge(
        "millrace_config_last_reload_success_timestamp",
        "When a reload last ended without being refused, since the epoch.",
        Some(&Unit::Seconds),
        reloads.last_success_seconds,
    )?;
    let ended = [("took-over", reloads.took_over), ("refused", reloads.refused)];
    let ended = ended.map(|(outcome, count)| ([("outcome", outcome)], count));
    to.counters("millrace_rule_reloads", "Changed sets of rules, by what became of them.", None, ended)
}

fn auth(to: &mut Families<'_>, board: &Board) -> fmt::Result {
    let Some(auth) = board.auth() else { return Ok(()) };
    let counts = auth.all().map(|(result, count)| ([("result", result)], count));
    to.counters("millrace_http_authorizations", "Requests to the secure port, by what the check said.", None, counts)
}

fn store(to: &mut Families<'_>, board: &Board) -> fmt::Result {
    let Some(store) = board.store() else { return Ok(()) };
    to.gauge("millrace_store_memory", "Memory of the points kept.", Some(&Unit::Bytes), store.bytes)?;
    to.gauge("millrace_store_memory_limit", "Its bound.", Some(&Unit::Bytes), store.max_bytes)?;
    to.gauge("millrace_store_points", "Points kept.", None, store.points)?;
    to.gauge("millrace_store_cycles", "Cycles kept.", None, store.cycles as u64)?;
    let help = "Cycles that went before their time for want of memory.";
    to.counter("millrace_store_evicted_cycles", help, None, store.evicted_cycles)?;
    let help = "Points that came faster than they could be stored.";
    to.counter("millrace_store_points_missed", help, None, store.points_missed)
}

fn sinks(to: &mut Families<'_>, ledgers: &[LedgerSnapshot]) -> fmt::Result {
    let label = |ledger: &LedgerSnapshot| ("sink", ledger.sink.clone());
    let each = |value: fn(&LedgerSnapshot) -> u64| {
        ledgers.iter().map(move |ledger| ([label(ledger)], value(ledger))).collect::<Vec<_>>()
    };
    let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
    to.counters("millrace_sink_points_offered", "Points handed to a sink.", None, each(|sink| sink.offered))?;
    let help = "Points that an earlier process has left in the spool.";
    to.counters("millrace_sink_points_recovered", help, None, each(|sink| sink.recovered))?;
    to.counters("millrace_sink_points_written", "Points that its server took.", None, each(|sink| sink.written))?;
    let dropped = ledgers.iter().flat_map(|ledger| {
        let reasons = ledger.dropped.iter();
        reasons.map(move |(reason, count)| ([label(ledger), ("reason", (*reason).to_owned())], *count))
    });
    to.counters("millrace_sink_points_dropped", "Points given up, by reason.", None, dropped)?;
    let encode = ledgers.iter().map(|ledger| ([label(ledger)], ledger.encode_ns as f64 / 1e9));
    to.counters("millrace_sink_encode", "Time in encoding and compressing.", seconds, encode)?;
    to.gauges("millrace_sink_points_queued", "Points that wait.", None, each(|sink| sink.queued))?;
    to.gauges("millrace_sink_queue", "Memory of the queue.", bytes, each(|sink| sink.queued_bytes))?;
    to.gauges("millrace_sink_queue_limit", "Its bound.", bytes, each(|sink| sink.queue_bound_bytes))?;
    let help = "Those of the points that wait which are in the spool alone.";
    to.gauges("millrace_sink_points_spooled", help, None, each(|sink| sink.spooled))?;
    let help = "Those of the points that wait which would go with the process: they are in no spool.";
    to.gauges("millrace_sink_points_unsaved", help, None, each(|sink| sink.unsaved))?;
    to.gauges("millrace_sink_spool", "Length of the spool's files.", bytes, each(|sink| sink.spool_bytes))?;
    to.gauges(
        "millrace_sink_spool_limit",
        "Its bound; 0 without a spool.",
        bytes,
        each(|sink| sink.spool_bound_bytes),
    )?;
    let help = "How often the spool couldn't be written or read.";
    to.counters("millrace_sink_spool_errors", help, None, each(|sink| sink.spool_errors))?;
    let failing = each(|sink| u64::from(sink.failing));
    to.gauges("millrace_sink_failing", "Whether the last request failed.", None, failing)?;
    let imbalance = ledgers.iter().map(|ledger| ([label(ledger)], ledger.imbalance as f64));
    let help = "Offered and recovered, less written, dropped and queued; anything but 0 is a defect.";
    to.gauges("millrace_sink_imbalance", help, None, imbalance)
}

#[cfg(test)]
mod tests;
