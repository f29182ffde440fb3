//! What a rule can ask of the host: a log line, and a counter of its own. Both bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{Level, warn};

use super::bindings::host::{Host, Severity};
use super::limits::MemoryWatch;
use super::stats::Meters;
use super::tame;

/// Lines one call may log.
const LINES_PER_CALL: u32 = 20;
/// Longest line, bytes; the rest is cut.
pub(super) const LINE_BYTES: usize = 4 << 10;

/// What belongs to one instance on the host's side.
pub(super) struct HostState {
    rule: Arc<str>,
    meters: Arc<Meters>,
    pub(super) memory: MemoryWatch,
    lines_left: u32,
    lines_dropped: u64,
    /// The last line of severity error in this call: a panic's message comes this way.
    said: Option<String>,
}

impl HostState {
    pub(super) fn new(rule: Arc<str>, memory_bytes: usize, meters: Arc<Meters>) -> Self {
        Self {
            rule,
            memory: MemoryWatch::new(memory_bytes, Arc::clone(&meters)),
            meters,
            lines_left: LINES_PER_CALL,
            lines_dropped: 0,
            said: None,
        }
    }

    pub(super) fn begin_call(&mut self) {
        self.lines_left = LINES_PER_CALL;
        self.lines_dropped = 0;
        self.said = None;
    }

    pub(super) fn end_call(&mut self) {
        if self.lines_dropped > 0 {
            let (rule, dropped) = (&*self.rule, self.lines_dropped);
            self.meters.lines_dropped.fetch_add(dropped, Ordering::Relaxed);
            let shadow = self.meters.shadow.load(Ordering::Relaxed);
            warn!(target: "rule", rule, shadow, dropped, "rule logs too much; the rest of this call's lines is dropped");
        }
    }

    /// The last error line of this call.
    pub(super) fn said(&self) -> Option<String> {
        self.said.clone()
    }
}

impl Host for HostState {
    fn log(&mut self, severity: Severity, message: String) {
        let counted = self.lines_left > 0;
        if matches!(severity, Severity::Error) {
            self.said = Some(tame(&message, LINE_BYTES));
        }
        if !counted {
            self.lines_dropped += 1;
            return;
        }
        self.lines_left -= 1;
        let level = match severity {
            Severity::Debug => Level::DEBUG,
            Severity::Info => Level::INFO,
            Severity::Warn => Level::WARN,
            Severity::Error => Level::ERROR,
        };
        write_line(level, &self.rule, self.meters.shadow.load(Ordering::Relaxed), &message);
    }

    fn count(&mut self, name: String, by: u64) {
        self.meters.count(&name, by);
    }
}

fn write_line(level: Level, rule: &str, shadow: bool, message: &str) {
    // Of a rule in its place, which nearly all are, the field would be noise.
    let shadow = shadow.then_some(true);
    macro_rules! line {
        ($level:ident) => {
            if tracing::enabled!(target: "rule", Level::$level) {
                tracing::event!(target: "rule", Level::$level, rule, shadow, "{}", tame(message, LINE_BYTES));
            }
        };
    }
    match level {
        Level::ERROR => line!(ERROR),
        Level::WARN => line!(WARN),
        Level::INFO => line!(INFO),
        _ => line!(DEBUG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> HostState {
        HostState::new("r".into(), 1, Arc::default())
    }

    #[test]
    fn lines_past_the_bound_are_counted_and_the_last_error_is_kept() {
        let mut state = state();
        state.begin_call();
        for _ in 0..25 {
            state.log(Severity::Info, "again".to_owned());
        }
        state.log(Severity::Error, "panicked\nhere".to_owned());
        state.end_call();
        assert_eq!(state.meters.lines_dropped.load(Ordering::Relaxed), 6);
        assert_eq!(state.said().as_deref(), Some("panicked\\nhere"));
        state.begin_call();
        assert_eq!(state.said(), None);
    }
}
