//! The table that `--live` shows in the terminal after each cycle, with the last log lines under it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::cycle::Done;
use crate::sinks::LedgerSnapshot;
use crate::status::Snapshot;
use crate::text::tame;

/// Clears the screen and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Log lines shown under the table.
const RECENT: usize = 6;
/// Of one log line or error, bytes: more would wrap, and push the table away.
const WIDTH: usize = 160;
/// Of one name, bytes; those of Kubernetes have 253 at most, and two of them make a pod's.
const NAME: usize = 510;

/// The table's place on standard output. While it is in a terminal the log is written under it, not
/// through it.
#[derive(Debug, Clone, Default)]
pub struct Screen(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// A table stands in a terminal.
    shown: bool,
    recent: VecDeque<String>,
}

impl Screen {
    /// Prints the table of a cycle. In a terminal it takes the place of the last one.
    pub(super) fn show(&self, done: &Done, snapshot: &Snapshot, sinks: &[LedgerSnapshot], address: &str) {
        let mut text = table(done, snapshot, sinks, address);
        let mut out = std::io::stdout().lock();
        let mut state = self.state();
        state.shown = out.is_terminal();
        if state.shown {
            text.insert_str(0, CLEAR);
            text.push('\n');
            text.extend(state.recent.iter().flat_map(|line| [line, "\n"]));
        }
        // A closed standard output is no reason to stop routing metrics.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// No table follows: log lines go to standard error again.
    pub(super) fn close(&self) {
        self.state().shown = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes whole log lines, as `tracing-subscriber` writes them.
impl Write for Screen {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut state = self.state();
        if !state.shown {
            std::io::stderr().write_all(line)?;
        }
        // What has more lines than one begins with the most important.
        let text = String::from_utf8_lossy(line);
        let first = text.lines().next().unwrap_or_default();
        state.recent.push_back(tame(first, WIDTH));
        if state.recent.len() > RECENT {
            state.recent.pop_front();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn table(done: &Done, snapshot: &Snapshot, sinks: &[LedgerSnapshot], address: &str) -> String {
    let (cycle, mut text) = (&done.cycle, String::new());
    // Writing to a string can't fail.
    let _ = writeln!(text, "millrace  cycle {}  {}  http://{address}/api/v1/status", cycle.number, cycle.time);
    let _ = writeln!(
        text,
        "  nodes {}/{}   pods {}   containers {}   points {} scraped, {} published",
        cycle.nodes_answered,
        cycle.nodes_asked,
        cycle.pods,
        cycle.containers,
        cycle.points_scraped,
        cycle.points_published
    );
    let stages = &cycle.stages;
    let _ = writeln!(
        text,
        "  time  scrape {:.0} ms   decode {:.1} ms   rules {:.1} ms   finish {:.1} ms   total {:.0} ms",
        stages.scrape_ms, stages.decode_ms, stages.rules_ms, stages.finish_ms, stages.total_ms
    );
    for rule in &snapshot.rules {
        let stats = &rule.stats;
        let calls = (stats.process_calls + stats.finish_calls).max(1);
        let micros = stats.time().as_micros() / u128::from(calls);
        let faults = stats.fault_count();
        let _ = writeln!(text, "  rule  {:<20} {micros:>6} µs a call   {faults} failures", tame(&rule.name, NAME));
    }
    for sink in sinks {
        let dropped: u64 = sink.dropped.values().sum();
        let state = if sink.failing { "failing" } else { "ok" };
        let _ = writeln!(
            text,
            "  sink  {:<20} {} written   {} queued   {dropped} dropped   {state}",
            sink.sink, sink.written, sink.queued
        );
    }
    for node in snapshot.nodes.iter().filter(|node| node.error.is_some()).take(3) {
        let error = tame(node.error.as_deref().unwrap_or_default(), WIDTH);
        let _ = writeln!(text, "  node  {:<20} {error}", tame(&node.name, NAME));
    }
    if done.top.is_empty() {
        let _ = writeln!(text, "  top pods: CPU rates come with the second cycle");
    } else {
        let _ = writeln!(text, "  {:<44} {:<16} {:>8} {:>12}", "top pods by CPU", "node", "CPU", "memory");
    }
    for pod in &done.top {
        let mebibytes = pod.memory_bytes / (1 << 20);
        let (name, node) = (tame(&pod.pod, NAME), tame(&pod.node, NAME));
        let _ = writeln!(text, "  {name:<44} {node:<16} {:>7}m {mebibytes:>9} Mi", pod.millicores);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::top::PodUsage;
    use crate::status::{CycleStatus, NodeStatus};

    const HOSTILE: &str = "\x1b]0;owned\x07\u{9b}2J\rok\nready";

    #[test]
    fn no_name_or_error_from_outside_moves_the_cursor() {
        let node = NodeStatus {
            name: HOSTILE.into(),
            state: "status",
            error: Some(HOSTILE.repeat(1000)),
            failed_cycles: 1,
            took_ms: 1.0,
            bytes: 0,
            points: 0,
        };
        let snapshot = Snapshot { nodes: vec![node], ..Snapshot::default() };
        let pod = PodUsage { millicores: 5, memory_bytes: 0, pod: HOSTILE.to_owned(), node: HOSTILE.to_owned() };
        let done = Done { cycle: CycleStatus::default(), top: vec![pod] };
        let table = table(&done, &snapshot, &[], "127.0.0.1:8082");
        assert!(table.matches("owned").count() < 20, "{table}");
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
        assert_eq!(table.lines().count(), 6, "{table}");

        let mut screen = Screen::default();
        screen.state().shown = true;
        screen.write_all(format!("{}\n", &HOSTILE[..HOSTILE.len() - 6]).as_bytes()).unwrap();
        let line = screen.state().recent.pop_back().unwrap();
        assert!(line.contains("owned") && !line.contains(char::is_control), "{line:?}");
    }
}
