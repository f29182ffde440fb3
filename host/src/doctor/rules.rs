//! The rules: read, compiled and configured, as at a start.

use std::sync::Arc;
use std::time::Instant;

use super::cluster::millis;
use crate::app::{self, AppError};
use crate::batch::TypeRegistry;
use crate::config::Config;
use crate::finding::{Finding, Status};
use crate::rules::{Chain, CompiledRule, tame};

/// Of what a rule calls its version, bytes.
const VERSION_BYTES: usize = 100;

/// Loads all of them.
pub(super) async fn examine(config: Config) -> Vec<Finding> {
    // Compiling takes seconds of a processor.
    let loading = tokio::task::spawn_blocking(move || load(&config));
    loading.await.unwrap_or_else(|error| {
        let remedy = "this is a defect of Millrace: run `millrace check` and report what it prints";
        vec![Finding::failure("rules.loaded", "", &error.to_string(), remedy)]
    })
}

fn load(config: &Config) -> Vec<Finding> {
    let begin = Instant::now();
    let loaded = match app::rules(config, Arc::new(TypeRegistry::default())) {
        Ok(loaded) => loaded,
        Err(error) => return refused(&error),
    };
    let took = begin.elapsed();
    let mut findings = told(&loaded.chain);
    let rules = if findings.len() == 1 { "rule" } else { "rules" };
    let says = format!("{} {rules} loaded in {}", findings.len(), millis(took));
    findings.insert(0, Finding::ok("rules.all", "", &says).took(took));
    let warnings = loaded.warnings.iter();
    findings.extend(warnings.map(|text| Finding::of_sentence("rules.warning", "", Status::Warning, text)));
    findings
}

fn refused(error: &AppError) -> Vec<Finding> {
    let remedy = "see `millrace rule inspect FILE` and `millrace check`; nothing runs without all rules";
    let AppError::Rules(problems) = error else {
        return vec![Finding::failure("rules.loaded", "", &error.to_string(), remedy)];
    };
    let told = problems.iter().map(|problem| Finding::failure("rules.loaded", &problem.place, &problem.what, remedy));
    told.collect()
}

fn told(chain: &Chain) -> Vec<Finding> {
    let in_chain = chain.rules().iter().map(|rule| {
        let version = rule.version();
        one(rule.name(), &rule.description().version, &version.compiled)
    });
    let shadows = chain.shadows();
    let beside = shadows.iter().map(|shadow| {
        let says = format!("{}, beside the chain", shadow.rule.version);
        Finding::ok("rules.loaded", &shadow.rule.name, &says)
    });
    in_chain.chain(beside).collect()
}

fn one(name: &str, version: &str, compiled: &CompiledRule) -> Finding {
    let (bytes, took) = (compiled.size(), compiled.compile_time());
    let says = format!("{version}, {} kB, compiled in {}", bytes.div_ceil(1000), millis(took));
    Finding::ok("rules.loaded", name, &says)
        .took(took)
        .fact("bytes", bytes)
        .fact("version", tame(version, VERSION_BYTES))
}
