//! What a rule can ask of its host: lines in the log, and counters of its own.
//!
//! Natively the lines go to standard error and the counters nowhere, so that tests run.

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
                eprintln!(concat!(stringify!($name), ": {}"), message);
            }
        )+
    };
}

severities! {
    /// A line for whoever looks for the cause of something. The host takes 20 lines a call.
    debug => Debug,
    /// A line that an operator may care for.
    info => Info,
    /// Something is wrong, and the rule goes on.
    warn => Warn,
    /// Something is wrong, and the rule can't go on.
    error => Error,
}

/// Adds to a counter of the rule's own. It shows in the host's status under the rule's name; at
/// most 64 names.
pub fn count(name: &str, by: u64) {
    #[cfg(target_arch = "wasm32")]
    host_count(name, by);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (name, by);
}
