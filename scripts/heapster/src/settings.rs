//! The settings: Heapster's label flags, and one of our own.

use millrace_sdk::Refusal;

/// For operators; the host shows it.
pub const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"properties":{
"label-separator":{"type":"string","default":",","description":"between the key:value pairs of the label `labels`"},
"ignore-labels":{"type":"array","items":{"type":"string"},"description":"labels left out of `labels`"},
"store-labels":{"type":"array","items":{"type":"string"},"description":"labels also stored as labels of their own: `name`, or `new=name`"},
"extras":{"type":"boolean","default":false,"description":"keep values that Heapster had no name for"}}}"#;

/// `[settings]` of the rule.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Between the pairs of the label `labels`. Heapster's `--label-separator`.
    pub label_separator: String,
    /// Labels left out of `labels`. Heapster's `--ignore-label`.
    pub ignore_labels: Vec<String>,
    /// Labels also stored as labels of their own, `name` or `new=name`. Heapster's `--store-label`.
    pub store_labels: Vec<String>,
    /// Whether values that Heapster had no name for are kept (16).
    pub extras: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { label_separator: ",".to_owned(), ignore_labels: vec![], store_labels: vec![], extras: false }
    }
}

impl Settings {
    /// Refuses a stored label without a name.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.stored().find(|(new, old)| new.is_empty() || old.is_empty()) {
            Some(_) => Err("`store-labels` holds an empty name; write `name` or `new=name`".into()),
            None => Ok(()),
        }
    }

    /// The stored labels: the new name, and the object's.
    pub fn stored(&self) -> impl Iterator<Item = (&str, &str)> {
        self.store_labels.iter().map(|label| label.split_once('=').unwrap_or((label, label)))
    }
}
