//! Points as keys that can be compared: measurement, tags and time. Every point of a cycle has its
//! own, as `with-fields` is off.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::fixtures::influxd::Influxd;

/// Points by their keys.
pub type Keys = BTreeSet<String>;

/// The keys of a body in line protocol.
///
/// # Errors
/// A line that is none.
pub fn keys(body: &str) -> Result<Vec<String>, String> {
    body.lines().map(|line| key(line).ok_or_else(|| format!("no line of the protocol: {line}"))).collect()
}

/// The time of a key, ns since 1970.
#[must_use]
pub fn time(key: &str) -> i64 {
    key.rsplit(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

fn key(line: &str) -> Option<String> {
    let mut parts = split(line, ' ').into_iter();
    let (series, _fields, time) = (parts.next()?, parts.next()?, parts.next()?);
    let mut series = split(series, ',').into_iter().map(plain);
    let measurement = series.next()?;
    let tags: Vec<String> = series.collect();
    Some(written(&measurement, tags, time.parse().ok()?))
}

fn written(measurement: &str, mut tags: Vec<String>, time: i64) -> String {
    tags.sort();
    format!("{measurement} {} {time}", tags.join("\u{1}"))
}

/// Splits at the separators that are not escaped.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut escaped, mut quoted) = (Vec::new(), 0, false, false);
    for (at, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == '"' {
            quoted = !quoted;
        } else if letter == separator && !quoted {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

fn plain(text: &str) -> String {
    let (mut plain, mut escaped) = (String::new(), false);
    for letter in text.chars() {
        if letter == '\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped && !matches!(letter, ',' | ' ' | '=' | '"' | '\\') {
            plain.push('\\');
        }
        escaped = false;
        plain.push(letter);
    }
    plain
}

/// Everything that a database holds.
///
/// # Errors
/// The server's words.
pub async fn stored(server: &Influxd, database: &str) -> Result<Keys, String> {
    let answer = server.try_query(database, "SELECT * FROM /.*/ GROUP BY *").await?;
    let mut keys = Keys::new();
    for series in answer["results"][0]["series"].as_array().into_iter().flatten() {
        let name = series["name"].as_str().unwrap_or_default();
        let tags: BTreeMap<String, String> = serde_json::from_value(series["tags"].clone()).unwrap_or_default();
        let tags: Vec<String> =
            tags.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| format!("{k}={v}")).collect();
        for row in series["values"].as_array().into_iter().flatten() {
            let time = row[0].as_i64().unwrap_or_default();
            let valued = row.as_array().is_some_and(|row| row[1..].iter().any(|value| *value != Value::Null));
            if valued && !keys.insert(written(name, tags.clone(), time)) {
                return Err(format!("stands twice: {name} {tags:?} {time}"));
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_tags_sorted() {
        let line = r#"cpu/usage\ rate,b=x\,y,a=q\=1 value=3i 17"#;
        assert_eq!(keys(line).unwrap(), ["cpu/usage rate a=q=1\u{1}b=x,y 17"]);
        assert_eq!(time(&keys(line).unwrap()[0]), 17);
        assert!(keys("nonsense").is_err());
    }
}
