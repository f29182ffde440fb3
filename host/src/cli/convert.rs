//! `millrace convert`: the TOML that Heapster's flags mean. Passwords that were `$VAR` stay references, and their
//! variables need not be set where this runs.

use std::process::ExitCode;

use super::{EXIT_CONFIG, load, print, print_error, print_warnings, toml_text};
use crate::config::secret::Origin;
use crate::config::{Config, Inputs, Loaded, Outside, Target};

const NOBODY: &str = "no user was given for InfluxDB: Heapster sent root and root, and the file names nobody; \
                      add username and password to it if your database asks for them";

/// Exit code 0 or 78.
pub fn convert(inputs: &Inputs) -> ExitCode {
    let outside = Outside { resolve_secrets: false, ..Outside::real() };
    let Some(Loaded { config, warnings, changes }) = load(inputs, &outside) else {
        return ExitCode::from(EXIT_CONFIG);
    };
    let nobody = sends_root(&config).then(|| NOBODY.to_owned());
    print_warnings(warnings.iter().chain(&changes).chain(&nobody));
    match toml_text(&config) {
        Ok(text) => print(text.trim_end()),
        Err(error) => {
            print_error(&format!("the configuration cannot be written as TOML: {error}"));
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Whether a database is told Heapster's own user and password, which the file leaves out.
fn sends_root(config: &Config) -> bool {
    let mut passwords: Vec<_> = config.historical.iter().map(|historical| &historical.password).collect();
    for sink in &config.sinks {
        if let Target::Influxdb(influxdb) = &sink.target {
            passwords.push(&influxdb.password);
        }
    }
    passwords.iter().any(|password| *password.origin() == Origin::Heapster)
}
