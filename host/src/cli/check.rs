//! `millrace check`: what the configuration and the rules mean, or everything that is wrong with them. Opens no
//! connection.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use super::{EXIT_CONFIG, load, print, print_error, print_warnings};
use crate::app;
use crate::batch::TypeRegistry;
use crate::config::{Inputs, Loaded, Outside};
use crate::http::check_certificates;

/// Exit code 0 or 78.
pub fn check(inputs: &Inputs, outside: &Outside) -> ExitCode {
    let Some(Loaded { config, warnings, changes }) = load(inputs, outside) else {
        return ExitCode::from(EXIT_CONFIG);
    };
    print_warnings(warnings.iter().chain(&changes));
    if let Err(error) = check_certificates(&config.http) {
        print_error(&error.to_string());
        return ExitCode::from(EXIT_CONFIG);
    }
    let chain = match app::rules(&config, Arc::new(TypeRegistry::default())) {
        Ok(loaded) => {
            print_warnings(&loaded.warnings);
            loaded.chain
        }
        Err(error) => {
            print_error(&format!("{error}"));
            return if error.is_configuration() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE };
        }
    };
    let mut text = format!("configuration is good\n{config}");
    for (at, rule) in chain.rules().iter().enumerate() {
        let head = if at == 0 { "chain" } else { "" };
        // Writing to a string can't fail.
        let _ = write!(text, "\n{head:<12}{} {}", rule.name(), rule.description().version);
    }
    for shadow in chain.shadows() {
        let _ = write!(text, "\n{:<12}{} {} (beside the chain)", "shadow", shadow.rule.name, shadow.rule.version);
    }
    print(&text)
}
