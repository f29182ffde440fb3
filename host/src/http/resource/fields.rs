//! Field selectors: Kubernetes' grammar, over the two fields that these objects have. Errors are in
//! Kubernetes' words.

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// A field selector; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    of_namespace: bool,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads one.
    ///
    /// # Errors
    /// Kubernetes' text for an answer of 400.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = split(text);
        // Of several mistakes Kubernetes tells the one that is first in this order.
        terms.sort_unstable();
        let terms = terms.into_iter().filter(|term| !term.is_empty());
        let terms: Vec<_> = terms.map(|term| read(term, text)).collect::<Result<_, _>>()?;
        let known = |(field, equal, value): (&str, bool, String)| match field {
            NAME => Ok(Term { of_namespace: false, equal, value }),
            NAMESPACE => Ok(Term { of_namespace: true, equal, value }),
            _ => Err(format!("{field:?} is not a known field selector: only {NAME:?}, {NAMESPACE:?}")),
        };
        terms.into_iter().map(known).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it selects this object; `namespace` is empty where there is none.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        self.0.iter().all(|term| (term.value == if term.of_namespace { namespace } else { name }) == term.equal)
    }
}

/// Terms between commas that no backslash stands before.
fn split(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Field, whether it must be equal, value.
fn read<'a>(term: &'a str, whole: &str) -> Result<(&'a str, bool, String), String> {
    for (place, _) in term.char_indices() {
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = term[place..].strip_prefix(operator) {
                return Ok((&term[..place], equal, unescape(value)?));
            }
        }
    }
    Err(format!("invalid selector: '{whole}'; can't understand '{term}'"))
}

fn unescape(text: &str) -> Result<String, String> {
    let (mut value, mut escaped) = (String::with_capacity(text.len()), false);
    for letter in text.chars() {
        match letter {
            '\\' | ',' | '=' if escaped => value.push(letter),
            _ if escaped => return Err(format!("invalid field selector: invalid escape sequence: \\{letter}")),
            '\\' => {
                escaped = true;
                continue;
            }
            // Kubernetes prints the letter's number.
            ',' | '=' => {
                let number = u32::from(letter);
                return Err(format!("invalid field selector: unescaped character in value: {number}"));
            }
            _ => value.push(letter),
        }
        escaped = false;
    }
    if escaped { Err("invalid field selector: invalid escape sequence: \\".to_owned()) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_selectors_select() {
        for (text, want) in [
            ("", true),
            (",", true),
            ("metadata.name=web", true),
            ("metadata.name==web,metadata.namespace=default", true),
            ("metadata.name=web,metadata.namespace!=default", false),
            ("metadata.name!=web", false),
            ("metadata.name!=w\\=eb", true),
            ("metadata.name=", false),
            ("metadata.namespace=default,,", true),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap().matches("default", "web"), want, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_in_kubernetes_words() {
        for (text, want) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("metadata.name=a,b", "invalid selector: 'metadata.name=a,b'; can't understand 'b'"),
            (
                "spec.nodeName=n",
                r#""spec.nodeName" is not a known field selector: only "metadata.name", "metadata.namespace""#,
            ),
            (
                " metadata.name=n",
                r#"" metadata.name" is not a known field selector: only "metadata.name", "metadata.namespace""#,
            ),
            ("metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
            ("metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b"),
            ("metadata.name=a\\", "invalid field selector: invalid escape sequence: \\"),
            ("=a", r#""" is not a known field selector: only "metadata.name", "metadata.namespace""#),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err(), want, "{text}");
        }
    }
}
