//! `NAME.toml` beside `NAME.wasm`: a rule's settings, limits, and what its failures cost.
//! Pure: reads no file.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::component::Digest;
use super::limits::Limits;

/// The file name of the rule that makes Heapster's metrics.
pub const HEAPSTER: &str = "50-heapster.wasm";

/// What becomes of a batch that a rule fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It goes on unchanged.
    #[default]
    Pass,
    /// It is dropped.
    Drop,
    /// It is dropped, and so is every batch after it, until an operator acts.
    Halt,
}

/// A rule's settings, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// For the rule's `configure`.
    pub settings: Map<String, Value>,
    /// What it may use.
    pub limits: Limits,
    /// What becomes of a batch that it fails on.
    pub on_error: OnError,
    /// What its file's digest must be.
    pub digest: Option<Digest>,
    /// Whether it only runs beside the chain: what it would do is counted and shown, nothing is done.
    pub shadow: bool,
}

impl Manifest {
    /// What holds for the rule of this file name where nothing else is said.
    #[must_use]
    pub fn default_of(slot: &str) -> Self {
        let mut manifest = Self::default();
        if slot == HEAPSTER {
            // Raw rows without Heapster's labels must not reach a database, and its state grows
            // with the cluster.
            manifest.on_error = OnError::Drop;
            manifest.limits.memory_bytes = 512 << 20;
        }
        manifest
    }

    /// Reads a manifest; what it does not say is as in `self`. Answers every problem.
    ///
    /// # Errors
    /// One text a problem, each with its key.
    pub fn read(self, text: &str) -> Result<Self, Vec<String>> {
        let raw: RawManifest = toml::from_str(text).map_err(|error| vec![error.to_string().trim_end().to_owned()])?;
        raw.check(self)
    }
}

/// A manifest as the user writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawManifest {
    #[serde(default)]
    settings: toml::Table,
    #[serde(default)]
    limits: RawLimits,
    on_error: Option<OnError>,
    digest: Option<String>,
    shadow: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    memory: Option<String>,
    process: Option<String>,
    finish: Option<String>,
}

impl RawManifest {
    fn check(self, mut manifest: Manifest) -> Result<Manifest, Vec<String>> {
        let mut problems = match settings_json(self.settings) {
            Ok(settings) => {
                manifest.settings.extend(settings);
                Vec::new()
            }
            Err(problems) => problems,
        };
        let limits = &mut manifest.limits;
        for checked in [
            memory(self.limits.memory.as_deref()).map(|it| set(&mut limits.memory_bytes, it)),
            time("process", self.limits.process.as_deref(), 60).map(|it| set(&mut limits.process, it)),
            time("finish", self.limits.finish.as_deref(), 300).map(|it| set(&mut limits.finish, it)),
            digest(self.digest.as_deref()).map(|it| manifest.digest = it.or(manifest.digest)),
        ] {
            problems.extend(checked.err());
        }
        manifest.on_error = self.on_error.unwrap_or(manifest.on_error);
        manifest.shadow = self.shadow.unwrap_or(manifest.shadow);
        if problems.is_empty() { Ok(manifest) } else { Err(problems) }
    }
}

/// The `[settings]` of a TOML file as JSON, or what is wrong with each key.
pub(super) fn settings_json(settings: toml::Table) -> Result<Map<String, Value>, Vec<String>> {
    let (mut read, mut problems) = (Map::new(), Vec::new());
    for (key, value) in settings {
        match json(&format!("settings.{key}"), value) {
            Ok(value) => drop(read.insert(key, value)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn memory(text: Option<&str>) -> Result<Option<usize>, String> {
    const UNITS: [(&str, usize); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let Some(text) = text else { return Ok(None) };
    let bytes = UNITS.iter().find_map(|&(unit, factor)| {
        let number: usize = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(factor)
    });
    match bytes {
        Some(bytes) if (1 << 20..=4 << 30).contains(&bytes) => Ok(Some(bytes)),
        _ => Err(format!("`limits.memory` is `{text}`; write a size from \"1MiB\" to \"4GiB\"")),
    }
}

fn time(key: &str, text: Option<&str>, most_seconds: u64) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let range = Duration::from_millis(10)..=Duration::from_secs(most_seconds);
    match humantime::parse_duration(text) {
        Ok(time) if range.contains(&time) => Ok(Some(time)),
        _ => Err(format!("`limits.{key}` is `{text}`; write a duration from \"10ms\" to \"{most_seconds}s\"")),
    }
}

fn digest(text: Option<&str>) -> Result<Option<Digest>, String> {
    let Some(text) = text else { return Ok(None) };
    Digest::parse(text).map(Some).ok_or_else(|| {
        format!("`digest` is `{text}`; write \"sha256:\" and what `sha256sum` prints for the .wasm file")
    })
}

fn json(key: &str, value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| format!("`{key}` is `{number}`; write a finite number"))?,
        toml::Value::Array(items) => items.into_iter().map(|item| json(key, item)).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => table
            .into_iter()
            .map(|(name, item)| Ok((name.clone(), json(&format!("{key}.{name}"), item)?)))
            .collect::<Result<Map<_, _>, String>>()?
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_says_settings_limits_and_what_failures_cost() {
        let text = r#"
            on-error = "halt"
            shadow = true
            digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            [settings]
            floor = 1.5
            names = ["a", "b"]
            since = 2024-01-02T03:04:05Z
            deep = { er = true }
            [limits]
            memory = "256MiB"
            process = "250ms"
        "#;
        let manifest = Manifest::default().read(text).unwrap();
        assert_eq!(
            Value::Object(manifest.settings),
            json!({"floor": 1.5, "names": ["a", "b"], "since": "2024-01-02T03:04:05Z", "deep": {"er": true}})
        );
        assert_eq!(manifest.limits.memory_bytes, 256 << 20);
        assert_eq!(manifest.limits.process, Duration::from_millis(250));
        assert_eq!(manifest.limits.finish, Limits::default().finish);
        assert_eq!(manifest.on_error, OnError::Halt);
        assert!(manifest.shadow && !Manifest::default().shadow);
        assert_eq!(manifest.digest, Some(Digest::of(b"abc")));
    }

    #[test]
    fn every_problem_of_a_manifest_is_named() {
        let text = "digest = 'abc'\nsettings = { x = nan }\n\
                    limits = { memory = '8GiB', process = '2h', finish = 'soon' }";
        let problems = Manifest::default().read(text).unwrap_err();
        for want in ["`settings.x`", "`limits.memory` is `8GiB`", "`limits.process`", "`limits.finish`", "`digest`"] {
            assert!(problems.iter().any(|it| it.contains(want)), "{want}: {problems:?}");
        }
        assert_eq!(problems.len(), 5);
    }

    #[test]
    fn unknown_keys_are_errors() {
        for text in ["onerror = 'drop'", "limits = { cpu = '1s' }", "on-error = 'ignore'", "= 1"] {
            assert_eq!(Manifest::default().read(text).unwrap_err().len(), 1, "{text}");
        }
    }

    #[test]
    fn heapster_drops_what_it_fails_on() {
        let manifest = Manifest::default_of(HEAPSTER);
        assert_eq!(manifest.on_error, OnError::Drop);
        assert_eq!(manifest.limits.memory_bytes, 512 << 20);
        let manifest = manifest.read("on-error = 'pass'").unwrap();
        assert_eq!(manifest.on_error, OnError::Pass);
        assert_eq!(manifest.limits.memory_bytes, 512 << 20);
    }
}
