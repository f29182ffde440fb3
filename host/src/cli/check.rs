//! `millrace check`: what the configuration means, or everything that is wrong with it. Opens no connection.

use std::process::ExitCode;

use super::{EXIT_CONFIG, load, print, print_warnings};
use crate::config::{Inputs, Loaded, Outside};

/// Exit code 0 or 78.
pub fn check(inputs: &Inputs, outside: &Outside) -> ExitCode {
    let Some(Loaded { config, warnings }) = load(inputs, outside) else {
        return ExitCode::from(EXIT_CONFIG);
    };
    print_warnings(&warnings);
    print(&format!("configuration is good\n{config}"))
}
