//! What can go wrong in a call, by type: each variant is another remedy.

use std::time::Duration;

use serde::Serialize;
use wasmtime::{Trap, WasmBacktrace};

use super::limits::OverMemory;
use super::tame;
use crate::batch::EditError;

/// Longest function name in a message, bytes.
const PLACE_BYTES: usize = 200;

/// The remedy where the code of a rule is wrong.
const MEND: &str = "the rule is broken: mend it, or take its file away";

/// Which of a rule's functions was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Instantiation, with the module's start function.
    Start,
    /// `describe`.
    Describe,
    /// `configure`.
    Configure,
    /// `process`.
    Process,
    /// `finish`.
    Finish,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Process => "process",
            Self::Finish => "finish",
        })
    }
}

/// Why a call gave no usable answer. After any but [`Fault::Refused`] the instance is gone.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The rule's code stopped by itself: a panic, a wild pointer, a recursion without end.
    #[error("`{call}` trapped: {trap}{}{}; {MEND}", in_place(place.as_deref()), in_words(said.as_deref()))]
    Trapped {
        /// Where.
        call: Call,
        /// How.
        trap: Trap,
        /// The innermost function, where the module names it.
        place: Option<String>,
        /// The last error line that the rule logged in the call: a panic's message.
        said: Option<String>,
    },
    /// It ran out of time.
    #[error("`{call}` took longer than {limit:?} and was stopped; raise `limits.{}`, or make the rule do less", limit_of(*call))]
    TimedOut {
        /// Where.
        call: Call,
        /// The limit that ended it.
        limit: Duration,
    },
    /// It wanted more memory than it may have.
    #[error("`{call}` wants {wanted} bytes of memory and may have {limit}; raise `limits.memory`, or look for what grows{}", in_words(said.as_deref()))]
    OutOfMemory {
        /// Where.
        call: Call,
        /// What it would hold, bytes.
        wanted: usize,
        /// What it may hold, bytes.
        limit: usize,
        /// The last error line that the rule logged in the call.
        said: Option<String>,
    },
    /// The answer could not be read: pointers outside its memory, or more bytes than any edit may have.
    #[error("the answer of `{call}` can't be read: {reason}; {MEND}")]
    Unreadable {
        /// Where.
        call: Call,
        /// What the reader met.
        reason: String,
    },
    /// The module does not have the interface's functions with the interface's types.
    #[error(
        "does not fit the interface millrace:rule@{}: {reason}; build it with the SDK of that version",
        super::INTERFACE_VERSION
    )]
    Unfit {
        /// What is missing or different.
        reason: String,
    },
    /// The rule says that its settings are wrong.
    #[error("refuses its settings: {0}")]
    Settings(String),
    /// The rule says that it can't work on this batch. Its instance stays usable.
    #[error("refuses the batch: {0}")]
    Refused(String),
    /// The rule says that it is broken.
    #[error("gives up: {0}")]
    Fatal(String),
    /// The edit does not fit its batch.
    #[error("answers an edit that does not fit its batch: {0}; {MEND}")]
    InvalidEdit(#[source] EditError),
    /// The edit adds more than it may.
    #[error("answers an edit that is too big: {0}; let the rule add less, in more batches or in `finish`")]
    TooBig(#[source] EditError),
}

/// The sort of a [`Fault`], for counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// [`Fault::Trapped`].
    Trap,
    /// [`Fault::TimedOut`].
    Timeout,
    /// [`Fault::OutOfMemory`].
    Memory,
    /// [`Fault::Unreadable`].
    Unreadable,
    /// [`Fault::Unfit`].
    Unfit,
    /// [`Fault::Settings`].
    Settings,
    /// [`Fault::Refused`].
    Refused,
    /// [`Fault::Fatal`].
    Fatal,
    /// [`Fault::InvalidEdit`].
    InvalidEdit,
    /// [`Fault::TooBig`].
    TooBig,
}

impl FaultKind {
    /// The word that counters and pages use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Unreadable => "unreadable",
            Self::Unfit => "unfit",
            Self::Settings => "settings",
            Self::Refused => "refused",
            Self::Fatal => "fatal",
            Self::InvalidEdit => "invalid_edit",
            Self::TooBig => "too_big",
        }
    }
}

impl Fault {
    /// Its sort.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Trapped { .. } => FaultKind::Trap,
            Self::TimedOut { .. } => FaultKind::Timeout,
            Self::OutOfMemory { .. } => FaultKind::Memory,
            Self::Unreadable { .. } => FaultKind::Unreadable,
            Self::Unfit { .. } => FaultKind::Unfit,
            Self::Settings(_) => FaultKind::Settings,
            Self::Refused(_) => FaultKind::Refused,
            Self::Fatal(_) => FaultKind::Fatal,
            Self::InvalidEdit(_) => FaultKind::InvalidEdit,
            Self::TooBig(_) => FaultKind::TooBig,
        }
    }

    /// What wasmtime's error for a call means. `said` is the rule's last error line.
    pub(super) fn of_call(error: &wasmtime::Error, call: Call, limit: Duration, said: Option<String>) -> Self {
        if let Some(&OverMemory { wanted, limit }) = error.downcast_ref() {
            return Self::OutOfMemory { call, wanted, limit, said };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::TimedOut { call, limit },
            Some(&trap) => Self::Trapped { call, trap, place: place(error), said },
            None if call == Call::Start => Self::Unfit { reason: one_line(error) },
            None => Self::Unreadable { call, reason: one_line(error) },
        }
    }
}

impl From<EditError> for Fault {
    fn from(error: EditError) -> Self {
        match error {
            EditError::TooMuch(..) => Self::TooBig(error),
            other => Self::InvalidEdit(other),
        }
    }
}

fn one_line(error: &wasmtime::Error) -> String {
    tame(&error.root_cause().to_string(), 1000)
}

fn place(error: &wasmtime::Error) -> Option<String> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    let name = frames.iter().find_map(|frame| frame.func_name())?;
    Some(tame(name, PLACE_BYTES))
}

fn in_place(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(" in `{place}`"))
}

fn in_words(said: Option<&str>) -> String {
    said.map_or_else(String::new, |said| format!("; the rule said: {said}"))
}

fn limit_of(call: Call) -> &'static str {
    if call == Call::Process { "process" } else { "finish" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_call_the_place_and_what_the_rule_said() {
        let fault = Fault::Trapped {
            call: Call::Process,
            trap: Trap::UnreachableCodeReached,
            place: Some("sum".to_owned()),
            said: Some("index out of bounds".to_owned()),
        };
        assert_eq!(
            fault.to_string(),
            "`process` trapped: wasm trap: wasm `unreachable` instruction executed in `sum`; \
             the rule said: index out of bounds; the rule is broken: mend it, or take its file away"
        );
    }

    #[test]
    fn errors_of_a_call_are_told_apart_by_type() {
        let of = |error: wasmtime::Error, call| Fault::of_call(&error, call, Duration::from_secs(1), None).kind();
        for (name, error, call, want) in [
            ("interrupt", Trap::Interrupt.into(), Call::Process, FaultKind::Timeout),
            ("trap", Trap::StackOverflow.into(), Call::Finish, FaultKind::Trap),
            (
                "memory",
                wasmtime::Error::new(OverMemory { wanted: 2, limit: 1 }).context("growing"),
                Call::Process,
                FaultKind::Memory,
            ),
            ("anything else in a call", wasmtime::Error::msg("x"), Call::Process, FaultKind::Unreadable),
            ("anything else at the start", wasmtime::Error::msg("x"), Call::Start, FaultKind::Unfit),
        ] {
            assert_eq!(of(error, call), want, "{name}");
        }
    }
}
