//! What keys and values of labels may be, and what Kubernetes says of those that are none.

use std::collections::BTreeSet;

const NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const PREFIX: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// # Errors
/// What is wrong with a key.
pub fn key(key: &str) -> Result<(), String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts[..] {
        [name] => Some(name),
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty");
            } else {
                if prefix.len() > 253 {
                    wrong.push("prefix part must be no more than 253 characters");
                }
                if !prefix.split('.').all(is_dns_label) {
                    wrong.push(PREFIX);
                }
            }
            Some(name)
        }
        _ => {
            wrong.push(QUALIFIED);
            None
        }
    };
    if let Some(name) = name {
        if name.is_empty() {
            wrong.push("name part must be non-empty");
        }
        if name.len() > 63 {
            wrong.push("name part must be no more than 63 characters");
        }
        if !is_name(name) {
            wrong.push(NAME);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(invalid("<nil>", key, &wrong.join("; "))) }
}

/// # Errors
/// What is wrong with the values for a key; all of it.
pub fn values(key: &str, values: &BTreeSet<String>, numbers: bool) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (place, value) in values.iter().enumerate() {
        if numbers && value.parse::<i64>().is_err() {
            let reason = "for 'Gt', 'Lt' operators, the value must be an integer";
            wrong.push(invalid(&format!("values[{place}]"), value, reason));
        }
    }
    for (place, value) in values.iter().enumerate() {
        let mut reasons = Vec::new();
        if value.len() > 63 {
            reasons.push("must be no more than 63 characters");
        }
        if !value.is_empty() && !is_name(value) {
            reasons.push(VALUE);
        }
        if !reasons.is_empty() {
            wrong.push(invalid(&format!("values[{place}][{key}]"), value, &reasons.join("; ")));
        }
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        more => Err(format!("[{}]", more.join(", "))),
    }
}

fn invalid(path: &str, value: &str, reason: &str) -> String {
    format!("{path}: Invalid value: {}: {reason}", serde_json::Value::from(value))
}

fn is_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_dns_label(text: &str) -> bool {
    let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(letter)
        && bytes.last().is_some_and(letter)
        && bytes.iter().all(|byte| letter(byte) || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_qualified_names() {
        let long = "k".repeat(64);
        let prefix = format!("{}/a", "p".repeat(254));
        for (text, want) in [
            ("app", None),
            ("app.kubernetes.io/name", None),
            ("A_b-c.9", None),
            ("-a", Some(NAME)),
            ("a/b/c", Some(QUALIFIED)),
            ("Prefix/a", Some(PREFIX)),
            ("a..b/c", Some(PREFIX)),
            ("/a", Some("prefix part must be non-empty")),
            ("a/", Some("name part must be non-empty; ")),
            (&long, Some("name part must be no more than 63 characters")),
            (&prefix, Some("prefix part must be no more than 253 characters")),
            ("é", Some(NAME)),
        ] {
            let error = key(text).err();
            assert_eq!(error.is_some(), want.is_some(), "{text}: {error:?}");
            if let (Some(error), Some(want)) = (error, want) {
                assert!(error.starts_with("<nil>: Invalid value: ") && error.contains(want), "{text}: {error}");
            }
        }
    }

    #[test]
    fn values_are_names_or_empty_and_all_faults_are_told() {
        let set = |all: &[&str]| all.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(values("k", &set(&["", "a", "a.b_c-9"]), false), Ok(()));
        assert_eq!(values("k", &set(&["_"]), false), Err(format!("values[0][k]: Invalid value: \"_\": {VALUE}")));
        let both = values("k", &set(&["-1-", "a-"]), true).unwrap_err();
        assert!(both.starts_with("[values[0]: Invalid value: \"-1-\": for 'Gt'"), "{both}");
        assert_eq!(both.matches("Invalid value").count(), 4, "{both}");
        assert!(values("k", &set(&[&"v".repeat(64)]), false).unwrap_err().contains("no more than 63 characters"));
    }
}
