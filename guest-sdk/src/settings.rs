//! Says which key of the settings is wrong. serde's own message names the key only where it is
//! unknown or missing; where a value is of the wrong type it names a column of text that the
//! author of the settings never saw, because the host made it from TOML.

use std::fmt::Write as _;

/// The message for settings that could not be read: the key's path, and what is wrong with it.
pub(crate) fn explain(json: &str, error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let whole = error.to_string();
    let reason = whole.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&whole);
    let before = json.lines().take(line.saturating_sub(1)).map(|line| line.len() + 1).sum::<usize>();
    let path = path_at(json, before + column);
    let key = path.rsplit('.').next().unwrap_or("");
    if path.is_empty() || reason.contains(&format!("`{path}`")) {
        reason.to_owned()
    } else if let Some(parent) = path.strip_suffix(key).filter(|_| reason.contains(&format!("`{key}`"))) {
        format!("`{}`: {reason}", parent.trim_end_matches('.'))
    } else {
        format!("`{path}`: {reason}")
    }
}

/// One table or list that the text is inside of.
enum Inside {
    Table { key: String, in_key: bool },
    List { index: usize },
}

/// The path of the value that ends at, or goes over, byte `to`: `steps[2].regex`.
fn path_at(json: &str, to: usize) -> String {
    let bytes = json.as_bytes().get(..to.min(json.len())).unwrap_or_default();
    let mut inside: Vec<Inside> = Vec::new();
    let mut at = 0;
    // The error may stand on the bracket that closes a table: then the table is what is wrong.
    let end =
        bytes.len().saturating_sub(usize::from(bytes.last().is_some_and(|&byte| matches!(byte, b'}' | b']' | b','))));
    while at < end {
        match bytes[at] {
            b'"' => {
                let start = at + 1;
                at = start;
                while at < end && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if let Some(Inside::Table { key, in_key: true }) = inside.last_mut() {
                    *key = String::from_utf8_lossy(&bytes[start.min(end)..at.min(end)]).into_owned();
                }
            }
            b'{' => inside.push(Inside::Table { key: String::new(), in_key: true }),
            b'[' => inside.push(Inside::List { index: 0 }),
            b'}' | b']' => drop(inside.pop()),
            b':' => {
                if let Some(Inside::Table { in_key, .. }) = inside.last_mut() {
                    *in_key = false;
                }
            }
            b',' => match inside.last_mut() {
                Some(Inside::Table { key, in_key }) => {
                    key.clear();
                    *in_key = true;
                }
                Some(Inside::List { index }) => *index += 1,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    // What ends with the table itself is not the fault of its last key.
    if bytes.last() == Some(&b'}')
        && let Some(Inside::Table { key, .. }) = inside.last_mut()
    {
        key.clear();
    }
    let mut path = String::new();
    for inside in &inside {
        match inside {
            Inside::Table { key, .. } if !key.is_empty() => {
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(key);
            }
            Inside::Table { .. } => {}
            Inside::List { index } => {
                let _ = write!(path, "[{index}]");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[allow(dead_code)]
    struct Settings {
        min_millicores: i64,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        steps: Vec<Step>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Step {
        regex: String,
    }

    #[test]
    fn the_message_names_the_key() {
        for (json, want) in [
            (
                r#"{"min-millicors":5}"#,
                "unknown field `min-millicors`, expected one of `min-millicores`, `names`, `steps`",
            ),
            (r#"{"names":["a"]}"#, "missing field `min-millicores`"),
            (r#"{"min-millicores":"5"}"#, "`min-millicores`: invalid type: string \"5\", expected i64"),
            (
                r#"{"min-millicores":5.5,"names":[]}"#,
                "`min-millicores`: invalid type: floating point `5.5`, expected i64",
            ),
            (r#"{"min-millicores":5,"names":["a",7]}"#, "`names[1]`: invalid type: integer `7`, expected a string"),
            (r#"{"min-millicores":5,"names":{"a":1}}"#, "`names`: invalid type: map, expected a sequence"),
            (
                "{\"min-millicores\":5,\n\"steps\":[{\"regex\":\"a\"},{\"regex\":false}]}",
                "`steps[1].regex`: invalid type: boolean `false`, expected a string",
            ),
            (
                r#"{"min-millicores":5,"steps":[{"regex":"\"}"},{"regexp":"a"}]}"#,
                "`steps[1]`: unknown field `regexp`, expected `regex`",
            ),
            (r#"{"min-millicores":5,"steps":[{}]}"#, "`steps[0]`: missing field `regex`"),
        ] {
            let error = serde_json::from_str::<Settings>(json).unwrap_err();
            assert_eq!(explain(json, &error), want, "{json}");
        }
    }
}
