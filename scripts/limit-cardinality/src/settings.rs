//! The settings.

use std::collections::BTreeMap;

use millrace_sdk::{Globs, Level, Refusal};

/// For operators; the host shows it.
pub const SCHEMA: &str = r#"{"type":"object","required":["metrics","top"],"additionalProperties":false,"properties":{
"metrics":{"type":"array","items":{"type":"string"},"description":"patterns of metrics"},
"top":{"type":"integer","minimum":1,"maximum":10000,"description":"series that stay, of each metric in each group"},
"by":{"type":"array","items":{"type":"string"},"description":"labels that make a group: name, or new=name"},
"levels":{"type":"array","default":["container"],"items":{"enum":["cluster","node","namespace","pod","container","system-container","other"]}},
"other-labels":{"type":"object","additionalProperties":{"type":"string"},"default":{"series":"other"}},
"max-groups":{"type":"integer","default":10000,"minimum":1,"maximum":100000}}}"#;

/// `[settings]` of the rule.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The metrics to limit.
    pub metrics: Globs,
    /// The series that stay.
    pub top: usize,
    /// The labels that make a group.
    #[serde(default)]
    pub by: Vec<String>,
    /// The entities whose points count.
    #[serde(default = "containers")]
    pub levels: Vec<Level>,
    #[serde(default = "series")]
    other_labels: BTreeMap<String, String>,
    /// Groups of one cycle.
    #[serde(default = "max_groups")]
    pub max_groups: usize,
}

fn containers() -> Vec<Level> {
    vec![Level::Container]
}

fn series() -> BTreeMap<String, String> {
    BTreeMap::from([("series".to_owned(), "other".to_owned())])
}

fn max_groups() -> usize {
    10_000
}

impl Settings {
    /// The labels of the rest.
    pub fn other_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.other_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses what would limit nothing, or give a row two labels of one name.
    pub fn check<'a>(&'a self, mut groups: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
        if self.metrics.is_empty() {
            return Err("`metrics` is empty; name metrics, or patterns such as `memory/*`".into());
        }
        if !(1..=10_000).contains(&self.top) {
            return Err(format!("`top` is {}; use 1 to 10000", self.top).into());
        }
        if self.levels.is_empty() {
            return Err("`levels` is empty; name levels, or leave it out for containers".into());
        }
        if self.other_labels.is_empty() || self.other_labels.keys().any(String::is_empty) {
            return Err(
                "`other-labels` is empty or holds an empty name; name a label, such as `pod_name = \"other\"`".into()
            );
        }
        if let Some(label) = groups.find(|label| self.other_labels.contains_key(*label)) {
            return Err(format!("`other-labels` holds `{label}`, which `by` groups by").into());
        }
        if !(1..=100_000).contains(&self.max_groups) {
            return Err(format!("`max-groups` is {}; use 1 to 100000", self.max_groups).into());
        }
        Ok(())
    }
}
