//! Rules in C.

use std::path::Path;

use super::{Built, Language};
use crate::cli::rule::console::{Console, Fail};
use crate::cli::rule::{Kind, NewArgs};

/// C.
pub(super) struct C;

impl Language for C {
    fn name(&self) -> &'static str {
        "c"
    }
    fn kinds(&self) -> &'static [Kind] {
        &[]
    }
    fn more_files(&self, _project: &NewArgs) -> Result<(Vec<(String, String)>, String), Fail> {
        Ok((vec![], String::new()))
    }
    fn owns(&self, _dir: &Path) -> bool {
        false
    }
    fn build(&self, _dir: &Path, _console: &Console) -> Result<Built, Fail> {
        Err(Fail::input(""))
    }
    fn missing_tools(&self) -> Option<String> {
        None
    }
}
