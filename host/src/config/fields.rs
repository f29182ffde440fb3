//! Walks over one table of the configuration and turns its values into checked types.
//! Every getter pushes what is wrong and returns `None`; the caller goes on with its default, so that all
//! errors are found in one run. Does not know what the keys mean.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};
use url::Url;

use super::outside::Outside;
use super::problems::{Problems, closest, quoted};
use super::secret::{Origin, Secret, expand};
use super::urls::{redacted, server_url};
use super::values;

/// A file that holds one secret has no business to be larger, bytes.
const MAX_SECRET: usize = 64 << 10;
/// How the values are written.
enum Style {
    /// TOML, with its types.
    Toml,
    /// Options of a Heapster URI: every value a text.
    Options {
        /// Our key → the one Heapster had for it.
        names: &'static [(&'static str, &'static str)],
        /// Secret options that were one `$VAR` and nothing else → `${VAR}`.
        references: BTreeMap<String, String>,
    },
}

/// One table, and which of its keys somebody asked for.
pub struct Fields<'a> {
    table: Table,
    at: String,
    style: Style,
    asked: RefCell<BTreeSet<String>>,
    /// Where secrets come from.
    pub outside: &'a Outside,
    /// Where errors go.
    pub problems: &'a Problems,
}

impl<'a> Fields<'a> {
    /// A TOML table; `at` is its key path, empty for the whole file.
    pub fn toml(table: Table, at: impl Into<String>, outside: &'a Outside, problems: &'a Problems) -> Self {
        Self { table, at: at.into(), style: Style::Toml, asked: RefCell::default(), outside, problems }
    }

    /// The options of a Heapster URI; `at` is the flag and its key (`--sink=influxdb`).
    pub fn options(
        table: Table,
        at: impl Into<String>,
        names: &'static [(&'static str, &'static str)],
        references: BTreeMap<String, String>,
        outside: &'a Outside,
        problems: &'a Problems,
    ) -> Self {
        let style = Style::Options { names, references };
        Self { table, at: at.into(), style, asked: RefCell::default(), outside, problems }
    }

    /// The key as messages name it.
    pub fn path(&self, key: &str) -> String {
        let name = self.spelled(key);
        match &self.style {
            Style::Toml if self.at.is_empty() => name.to_owned(),
            Style::Toml => format!("{}.{name}", self.at),
            Style::Options { .. } => format!("{}:?{name}", self.at),
        }
    }

    /// Whether the key is there at all.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(self.spelled(key))
    }

    /// Reports a value that only the caller can judge.
    pub fn bad(&self, key: &str, value: &str, remedy: &str) {
        self.problems.bad(&self.path(key), value, remedy);
    }

    /// A text that is not empty.
    pub fn string(&self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        if text.is_empty() {
            self.problems.push(format!("`{}` is empty; fill it or leave it out", self.path(key)));
            return None;
        }
        Some(text)
    }

    /// A text that may be empty.
    pub fn text(&self, key: &str) -> Option<String> {
        let value = self.take(key)?;
        match value.as_str() {
            Some(text) if text.contains('\0') => self.wrong(key, value, "leave out the zero character"),
            Some(text) => Some(text.to_owned()),
            None => self.wrong(key, value, "write a text in quotes"),
        }
    }

    /// A password: `key` with `${VAR}` expanded, or the text of the file that `key-file` names.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}-file");
        let file = self.path_of(&file_key);
        let Some(value) = self.take(key) else {
            return self.secret_file(&file_key, file?);
        };
        if self.has(&file_key) {
            self.problems.push(format!(
                "`{}` and `{}` are both given; leave one out",
                self.path(key),
                self.path(&file_key)
            ));
        }
        let Some(text) = value.as_str() else {
            self.problems.push(format!("`{}` is not a text; write it in quotes", self.path(key)));
            return None;
        };
        if let Style::Options { references, .. } = &self.style {
            let reference = references.get(self.spelled(key)).map(|name| Origin::Text(name.clone()));
            return Some(match reference {
                Some(origin) => Secret::new(text.to_owned(), origin),
                None => Secret::literal(text),
            });
        }
        if !text.is_empty() && !text.contains("${") {
            let at = self.path(key);
            self.problems.warn(format!("`{at}` is written out; `${{VAR}}` or `{at}-file` keeps it out of the file"));
        }
        let origin = Origin::Text(text.to_owned());
        if !self.outside.resolve_secrets {
            return Some(Secret::new(String::new(), origin));
        }
        match expand(text, &self.outside.env) {
            Ok(value) => Some(Secret::new(value, origin)),
            Err(remedy) => {
                self.problems.push(format!("`{}` {remedy}", self.path(key)));
                None
            }
        }
    }

    /// True or false.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        let read = match &self.style {
            Style::Toml => value.as_bool(),
            Style::Options { .. } => value.as_str().and_then(values::go_bool),
        };
        read.or_else(|| self.wrong(key, value, "write true or false"))
    }

    /// A whole number within the range.
    pub fn integer(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let read = match &self.style {
            Style::Toml => value.as_integer().and_then(|number| u64::try_from(number).ok()),
            Style::Options { .. } => value.as_str().and_then(|text| text.parse().ok()),
        };
        let remedy = || format!("use a whole number from {} to {}", range.start(), range.end());
        read.filter(|number| range.contains(number)).or_else(|| self.wrong(key, value, &remedy()))
    }

    /// A duration such as `1m 30s`, within the range.
    pub fn duration(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let value = self.take(key)?;
        let Some(read) = value.as_str().and_then(|text| humantime::parse_duration(text.trim()).ok()) else {
            return self.wrong(key, value, "write a text such as \"10s\", \"500ms\" or \"1m 30s\"");
        };
        let remedy = if read < *range.start() {
            format!("use at least {}", humantime::format_duration(*range.start()))
        } else {
            format!("use at most {}", humantime::format_duration(*range.end()))
        };
        if range.contains(&read) { Some(read) } else { self.wrong(key, value, &remedy) }
    }

    /// A size such as `64MiB`, within the range, bytes.
    pub fn bytes(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let read = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            other => other.as_str().and_then(values::bytes),
        };
        let Some(read) = read else {
            return self.wrong(key, value, "write a size such as \"64MiB\" or a number of bytes");
        };
        let (least, most) = (values::bytes_text(*range.start()), values::bytes_text(*range.end()));
        if range.contains(&read) { Some(read) } else { self.wrong(key, value, &format!("use {least} to {most}")) }
    }

    /// The root of an HTTP server: scheme, host, port, nothing else.
    pub fn url(&self, key: &str) -> Option<Url> {
        let text = self.string(key)?;
        match server_url(&text) {
            Ok(url) => Some(url),
            Err(remedy) => {
                self.bad(key, &redacted(&text), &remedy);
                None
            }
        }
    }

    /// A path that is not empty. Whether it exists is found when it is opened.
    pub fn path_of(&self, key: &str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.take(key)?;
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meaning)| *meaning);
        found.or_else(|| {
            let list: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.wrong(key, value, &format!("use {}", list.join(" or ")))
        })
    }

    /// A list of texts, none of them empty; a single text is a list of one.
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let texts: Option<Vec<String>> =
            items.iter().map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned)).collect();
        texts.or_else(|| self.wrong(key, value, "write a list of texts, none of them empty"))
    }

    /// Either a text or a number, for keys that take both.
    pub fn raw(&self, key: &str) -> Option<&Value> {
        self.take(key)
    }

    /// A table of this table; an absent one is empty.
    pub fn table(&self, key: &str) -> Fields<'a> {
        let table = match self.take(key) {
            Some(Value::Table(table)) => table.clone(),
            Some(other) => self.wrong(key, other, &format!("write a table: [{}]", self.path(key))).unwrap_or_default(),
            None => Table::new(),
        };
        Fields::toml(table, self.path(key), self.outside, self.problems)
    }

    /// A list of tables; an absent one is empty.
    pub fn tables(&self, key: &str) -> Vec<Fields<'a>> {
        let remedy = || format!("write tables: [[{}]]", self.path(key));
        let items = match self.take(key) {
            Some(Value::Array(items)) => items,
            Some(other) => return self.wrong(key, other, &remedy()).unwrap_or_default(),
            None => return Vec::new(),
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{}[{index}]", self.path(key));
            match item {
                Value::Table(table) => {
                    tables.push(Fields::toml(table.clone(), at, self.outside, self.problems));
                }
                other => self.problems.bad(&at, &shown(other), &remedy()),
            }
        }
        tables
    }

    /// Every key with its text, for tables whose keys the user chooses.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (key, value) in &self.table {
            self.asked.borrow_mut().insert(key.clone());
            match value.as_str() {
                Some(text) => pairs.push((key.clone(), text.to_owned())),
                None => self.bad(key, &shown(value), "write a text in quotes"),
            }
        }
        pairs
    }

    /// Reports every key that nobody asked for. Their values are not shown: one may be a misspelt password.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.table.keys().filter(|key| !asked.contains(*key)) {
            let known: Vec<&str> = asked.iter().map(String::as_str).collect();
            let hint = closest(key, known.iter().copied()).map(|near| format!("did you mean `{near}`? "));
            let what = if matches!(self.style, Style::Toml) { "key" } else { "option" };
            self.problems.push(format!(
                "`{}` is not a known {what}; {}known: {}",
                quoted(&self.path(key)),
                hint.unwrap_or_default(),
                known.join(", "),
            ));
        }
    }

    fn secret_file(&self, key: &str, file: PathBuf) -> Option<Secret> {
        if !self.outside.resolve_secrets {
            return Some(Secret::new(String::new(), Origin::File(file)));
        }
        let text = match (self.outside.read)(&file) {
            Ok(text) => text,
            Err(error) => {
                self.bad(key, &file.to_string_lossy(), &format!("the file cannot be read: {error}"));
                return None;
            }
        };
        if text.len() > MAX_SECRET {
            self.bad(key, &file.to_string_lossy(), "the file is over 64 KiB; name one that holds the secret only");
            return None;
        }
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Some(Secret::new(text.strip_suffix('\r').unwrap_or(text).to_owned(), Origin::File(file)))
    }

    /// The key as this table's user writes it.
    fn spelled<'k>(&self, key: &'k str) -> &'k str {
        let Style::Options { names, .. } = &self.style else {
            return key;
        };
        names.iter().find(|(ours, _)| *ours == key).map_or(key, |(_, theirs)| theirs)
    }

    fn take(&self, key: &str) -> Option<&Value> {
        let key = self.spelled(key);
        self.asked.borrow_mut().insert(key.to_owned());
        self.table.get(key)
    }

    fn wrong<T>(&self, key: &str, value: &Value, remedy: &str) -> Option<T> {
        self.bad(key, &shown(value), remedy);
        None
    }
}

/// A value as messages show it: texts without quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
