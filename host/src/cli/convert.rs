//! `millrace convert`: the TOML that Heapster's flags mean. Passwords that were `$VAR` stay references, and their
//! variables need not be set where this runs.

use std::process::ExitCode;

use super::{EXIT_CONFIG, load, print, print_error, print_warnings, toml_text};
use crate::config::{Inputs, Loaded, Outside};

/// Exit code 0 or 78.
pub fn convert(inputs: &Inputs) -> ExitCode {
    let outside = Outside { resolve_secrets: false, ..Outside::real() };
    let Some(Loaded { config, warnings }) = load(inputs, &outside) else {
        return ExitCode::from(EXIT_CONFIG);
    };
    print_warnings(&warnings);
    match toml_text(&config) {
        Ok(text) => print(text.trim_end()),
        Err(error) => {
            print_error(&format!("the configuration cannot be written as TOML: {error}"));
            ExitCode::from(EXIT_CONFIG)
        }
    }
}
