//! Which rules run, and the settings of the bundled heapster rule that flags can give. Settings of other rules stand
//! in files beside them.

use std::path::PathBuf;

use serde_json::{Map, Value};
use toml::Table;

use super::fields::Fields;
use super::problems::Problems;

/// `[rules]`, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RulesConfig {
    /// Directories of rules, whose files together form the chain.
    pub dirs: Vec<PathBuf>,
    /// Directory of the bundled rules; `None` looks beside the binary.
    pub bundled: Option<PathBuf>,
    /// Settings of the bundled heapster rule: `label-separator`, `ignore-labels`, `store-labels`, `extras`. Only what
    /// was given.
    pub heapster: Map<String, Value>,
}

/// Reads `[rules]`.
pub fn from_toml(fields: Fields<'_>) -> RulesConfig {
    let heapster = fields.table("heapster");
    let mut config = RulesConfig {
        dirs: fields.strings("dir").unwrap_or_default().into_iter().map(PathBuf::from).collect(),
        bundled: fields.path_of("bundled"),
        heapster: Map::new(),
    };
    if let Some(separator) = heapster.text("label-separator") {
        config.set_label_separator(&separator);
    }
    for label in heapster.strings("ignore-labels").unwrap_or_default() {
        config.add_ignored_label(&heapster.path("ignore-labels"), &label, fields.problems);
    }
    for label in heapster.strings("store-labels").unwrap_or_default() {
        config.add_stored_label(&heapster.path("store-labels"), &label, fields.problems);
    }
    if let Some(extras) = heapster.boolean("extras") {
        config.heapster.insert("extras".to_owned(), extras.into());
    }
    heapster.finish();
    fields.finish();
    config
}

impl RulesConfig {
    /// Sets what joins labels.
    pub fn set_label_separator(&mut self, separator: &str) {
        self.heapster.insert("label-separator".to_owned(), separator.into());
    }

    /// Adds a label that the joined text leaves out.
    pub fn add_ignored_label(&mut self, at: &str, label: &str, problems: &Problems) {
        if label.is_empty() {
            problems.push(format!("`{at}` is empty; name a label"));
            return;
        }
        self.add("ignore-labels", label);
    }

    /// Adds a label that is stored on its own too: `name`, or `new=name`.
    pub fn add_stored_label(&mut self, at: &str, label: &str, problems: &Problems) {
        let (new, name) = label.split_once('=').unwrap_or((label, label));
        if new.is_empty() || name.is_empty() || name.contains('=') {
            problems.bad(at, label, "write NAME or NEW=NAME");
            return;
        }
        self.add("store-labels", label);
    }

    fn add(&mut self, key: &str, label: &str) {
        let list = self.heapster.entry(key).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(labels) = list {
            labels.push(label.into());
        }
    }

    /// The same as `[rules]`, defaults left out.
    pub fn to_toml(&self) -> Table {
        let mut table = Table::new();
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        match self.dirs.as_slice() {
            [] => {}
            [one] => drop(table.insert("dir".to_owned(), text(one).into())),
            many => drop(table.insert("dir".to_owned(), many.iter().map(text).collect::<Vec<_>>().into())),
        }
        if let Some(path) = &self.bundled {
            table.insert("bundled".to_owned(), text(path).into());
        }
        if let Some(settings) = toml::Value::try_from(&self.heapster).ok().filter(|_| !self.heapster.is_empty()) {
            table.insert("heapster".to_owned(), settings);
        }
        table
    }
}
