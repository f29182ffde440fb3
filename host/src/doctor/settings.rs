//! The configuration: it has been read; what of it is worth a word, and whether our own certificates are good.

use std::time::Duration;

use crate::config::{Config, Loaded};
use crate::finding::{Finding, Status};
use crate::http::check_certificates;

/// Kubelets measure every 10 to 15 s: who asks more often gets the same figures again.
const MEASURED_EVERY: Duration = Duration::from_secs(15);

/// Looks at what can be seen without asking anybody.
pub(super) fn examine(loaded: &Loaded) -> Vec<Finding> {
    let Loaded { config, warnings, changes } = loaded;
    let said = warnings.iter().map(|text| ("settings.warning", Status::Warning, text));
    let said = said.chain(changes.iter().map(|text| ("settings.changed", Status::Note, text)));
    let mut findings: Vec<Finding> =
        said.map(|(id, status, text)| Finding::of_sentence(id, "", status, text)).collect();
    match check_certificates(&config.http) {
        Ok(()) => {}
        Err(error) => {
            findings.push(Finding::of_sentence("settings.certificates", "", Status::Failure, &error.to_string()));
        }
    }
    findings.extend(pace(config));
    let sinks = config.sinks.len();
    if !findings.iter().any(|finding| finding.status > Status::Note) {
        let says = format!("every {}, {sinks} sinks", humantime::format_duration(config.resolution));
        findings.insert(0, Finding::ok("settings.read", "", &says));
    }
    findings
}

/// Whether kubelets can keep up with the resolution.
fn pace(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let resolution = humantime::format_duration(config.resolution);
    if config.resolution < MEASURED_EVERY {
        let says = format!(
            "kubelets measure every 10 to 15 s: with a resolution of {resolution} the same figures come again, \
             without a rate"
        );
        findings.push(Finding::note("settings.resolution", "", &says));
    }
    if let Some(timeout) = config.source.kubelet.timeout.filter(|timeout| *timeout >= config.resolution) {
        let says = format!(
            "the kubelet `timeout` ({}) is no shorter than the resolution ({resolution}): the cycle ends first",
            humantime::format_duration(timeout)
        );
        findings.push(Finding::warning("settings.timeout", "", &says, "lower it below 0.9 of the resolution"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_that_kubelets_cannot_keep_is_told() {
        let mut config = Config::default();
        let loaded = |config: &Config, warnings| Loaded { config: config.clone(), warnings, changes: Vec::new() };
        let checks = |config: &Config| {
            examine(&loaded(config, Vec::new())).iter().map(|finding| finding.check).collect::<Vec<_>>()
        };
        assert_eq!(checks(&config), ["settings.read"]);
        config.resolution = Duration::from_secs(5);
        assert_eq!(checks(&config), ["settings.read", "settings.resolution"]);
        config.source.kubelet.timeout = Some(Duration::from_secs(10));
        assert_eq!(checks(&config), ["settings.resolution", "settings.timeout"]);
        let warned = examine(&loaded(&Config::default(), vec!["`x` has lost its meaning; leave it out".to_owned()]));
        assert_eq!((warned[0].status, warned[0].remedy.as_deref()), (Status::Warning, Some("leave it out")));
    }
}
