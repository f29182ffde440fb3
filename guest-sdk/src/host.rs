//! What a rule can ask of its host: lines in the log, and counters of its own.
//!
//! Natively the lines go to standard error, and both are kept for the test that runs:
//! [`testing::logged`](crate::testing::logged) and [`testing::counted`](crate::testing::counted).
//!
//! ```
//! use millrace_sdk::{host, testing};
//!
//! host::warn("no label `app` on 3 pods");
//! host::count("unlabelled_pods", 3);
//! assert_eq!(testing::logged(), ["warn: no label `app` on 3 pods"]);
//! assert_eq!(testing::counted("unlabelled_pods"), 3);
//! ```

#[cfg(target_arch = "wasm32")]
use crate::wit::host::{Severity, count as host_count, log as host_log};

macro_rules! severities {
    ($($(#[$doc:meta])* $name:ident => $severity:ident),+ $(,)?) => {
        $(
            $(#[$doc])*
            pub fn $name(message: &str) {
                #[cfg(target_arch = "wasm32")]
                host_log(Severity::$severity, message);
                #[cfg(not(target_arch = "wasm32"))]
                native::log(format!(concat!(stringify!($name), ": {}"), message));
            }
        )+
    };
}

severities! {
    /// A line for whoever looks for the cause of something. The host takes 20 lines a call.
    ///
    /// ```
    /// millrace_sdk::host::debug("12 entities without a namespace");
    /// ```
    debug => Debug,
    /// A line that an operator may care for.
    ///
    /// ```
    /// millrace_sdk::host::info("3 namespaces are dropped");
    /// ```
    info => Info,
    /// Something is wrong, and the rule goes on.
    ///
    /// ```
    /// millrace_sdk::host::warn("more than 10000 groups; the rest count as `other`");
    /// ```
    warn => Warn,
    /// Something is wrong, and the rule can't go on.
    ///
    /// ```
    /// millrace_sdk::host::error("the batch has no node");
    /// ```
    error => Error,
}

/// Adds to a counter of the rule's own. It shows in the host's status under the rule's name; at
/// most 64 names.
///
/// ```
/// millrace_sdk::host::count("dropped_pods", 2);
/// ```
pub fn count(name: &str, by: u64) {
    #[cfg(target_arch = "wasm32")]
    host_count(name, by);
    #[cfg(not(target_arch = "wasm32"))]
    native::count(name, by);
}

/// Keeps what was logged and counted on this thread. Each test runs on a thread of its own.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod native {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// A bench may log for hours.
    const LINES: usize = 1000;

    thread_local! {
        static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
        static COUNTED: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn log(line: String) {
        eprintln!("{line}");
        LOGGED.with_borrow_mut(|lines| {
            if lines.len() < LINES {
                lines.push(line);
            }
        });
    }

    pub(super) fn count(name: &str, by: u64) {
        COUNTED.with_borrow_mut(|counters| *counters.entry(name.to_owned()).or_default() += by);
    }

    pub(crate) fn take_logged() -> Vec<String> {
        LOGGED.take()
    }

    pub(crate) fn counted(name: &str) -> u64 {
        COUNTED.with_borrow(|counters| counters.get(name).copied().unwrap_or(0))
    }
}
