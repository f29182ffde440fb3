//! Field and label selectors, as far as the simulated resources have fields.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::store::Item;

/// One condition of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Has(String),
    HasNot(String),
}

/// Both selectors of a request; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    fields: Vec<Term>,
    labels: Vec<Term>,
}

#[derive(Deserialize)]
struct Labelled {
    metadata: Labels,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Selector {
    /// # Errors
    /// The message of the 400 a real server answers.
    pub(super) fn parse(fields: Option<&str>, labels: Option<&str>) -> Result<Self, String> {
        let fields = split(fields.unwrap_or_default()).map(field_term).collect::<Result<Vec<_>, _>>()?;
        let labels = split(labels.unwrap_or_default()).map(label_term).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { fields, labels })
    }

    pub(super) fn selects(&self, item: &Item) -> bool {
        let fields = self.fields.iter().all(|term| match term {
            Term::Is(key, value) => item.field(key) == value,
            Term::IsNot(key, value) => item.field(key) != value,
            _ => false,
        });
        if !fields || self.labels.is_empty() {
            return fields;
        }
        // Rare enough to read them from the object again rather than to keep them beside it.
        let labels = serde_json::from_slice::<Labelled>(&item.json).map(|object| object.metadata.labels);
        let labels = labels.unwrap_or_default();
        self.labels.iter().all(|term| match term {
            Term::Is(key, value) => labels.get(key) == Some(value),
            Term::IsNot(key, value) => labels.get(key) != Some(value),
            Term::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Term::NotIn(key, values) => !labels.get(key).is_some_and(|value| values.contains(value)),
            Term::Has(key) => labels.contains_key(key),
            Term::HasNot(key) => !labels.contains_key(key),
        })
    }
}

/// Parts between commas, but not between those within parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |letter| {
        depth = match letter {
            '(' => depth + 1,
            ')' => depth.saturating_sub(1),
            _ => depth,
        };
        letter == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn comparison(part: &str) -> Option<Term> {
    let owned = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
    if let Some((key, value)) = part.split_once("!=").map(owned) {
        return Some(Term::IsNot(key, value));
    }
    let (key, value) = part.split_once("==").or_else(|| part.split_once('=')).map(owned)?;
    Some(Term::Is(key, value))
}

fn field_term(part: &str) -> Result<Term, String> {
    let term = comparison(part).ok_or_else(|| format!("invalid selector: '{part}'; can't understand '{part}'"))?;
    let (Term::Is(key, _) | Term::IsNot(key, _)) = &term else {
        return Err(format!("invalid selector: '{part}'"));
    };
    if Item::FIELDS.contains(&key.as_str()) { Ok(term) } else { Err(format!("field label not supported: {key}")) }
}

fn label_term(part: &str) -> Result<Term, String> {
    if let Some(term) = comparison(part) {
        return Ok(term);
    }
    if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => Ok(Term::In(key.to_owned(), values)),
            [key, "notin"] => Ok(Term::NotIn(key.to_owned(), values)),
            _ => Err(format!("unable to parse requirement: `{part}`")),
        };
    }
    match part.strip_prefix('!') {
        _ if part.contains(char::is_whitespace) => Err(format!("unable to parse requirement: `{part}`")),
        Some(key) => Ok(Term::HasNot(key.to_owned())),
        None => Ok(Term::Has(part.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Item {
        let body = br#"{"metadata":{"name":"p","namespace":"ns","labels":{"app":"web","tier":"backend"}},
            "spec":{"nodeName":"node-1"},"status":{"phase":"Running"}}"#;
        Item::read(body.to_vec()).unwrap()
    }

    #[test]
    fn selectors_select() {
        for (fields, labels, want) in [
            ("", "", true),
            ("spec.nodeName=node-1", "", true),
            ("spec.nodeName==node-2", "", false),
            ("status.phase!=Running", "", false),
            ("metadata.namespace=ns,metadata.name=p,status.phase=Running", "", true),
            ("", "app=web,tier!=frontend", true),
            ("", "app in (web, api),tier", true),
            ("", "app notin (web,api)", false),
            ("", "!app", false),
            ("", "!other", true),
            ("", "other", false),
        ] {
            let selector = Selector::parse(Some(fields), Some(labels)).unwrap();
            assert_eq!(selector.selects(&pod()), want, "{fields} {labels}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (fields, labels) in [("spec.nope=1", ""), ("metadata.name", ""), ("", "a b"), ("", "a of (b)")] {
            assert!(Selector::parse(Some(fields), Some(labels)).is_err(), "{fields} {labels}");
        }
    }
}
