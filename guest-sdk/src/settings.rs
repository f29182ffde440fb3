//! Reads a rule's settings, a JSON object, and says which key is wrong.
//!
//! A JSON reader of our own, for two reasons. Its errors name the path of the key
//! (`steps[2].regex`), where others name a column of text that the author of the settings never
//! saw, because the host made it from TOML. And it makes a rule smaller by some 40 KB: it has no
//! floats in it unless the settings have.

mod deserialize;
mod reader;

use std::fmt::{self, Display};

use serde::de::{self, DeserializeOwned, Expected, Unexpected};

use reader::Reader;

/// Reads settings.
///
/// # Errors
/// The key's path, and what is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    let mut reader = Reader::new(json);
    let read = T::deserialize(&mut reader).and_then(|settings| match reader.peek() {
        None => Ok(settings),
        Some(_) => Err(reader.broken()),
    });
    read.map_err(|Wrong(reason)| match reader.path() {
        path if path.is_empty() => reason,
        path => format!("`{path}`: {reason}"),
    })
}

/// What is wrong.
#[derive(Debug)]
struct Wrong(String);

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(reason: T) -> Self {
        Self(reason.to_string())
    }

    // serde's own would bring the formatting of floats into every rule: 20 KB.
    fn invalid_type(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid type: {}, expected {expected}", Got(got)))
    }

    fn invalid_value(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid value: {}, expected {expected}", Got(got)))
    }
}

struct Got<'g>(Unexpected<'g>);

impl Display for Got<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "boolean `{value}`"),
            Unexpected::Unsigned(value) => write!(f, "integer `{value}`"),
            Unexpected::Signed(value) => write!(f, "integer `{value}`"),
            Unexpected::Float(_) => f.write_str("a number with a fraction"),
            Unexpected::Str(value) => write!(f, "string \"{value}\""),
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a table"),
            Unexpected::Other(other) => f.write_str(other),
            _ => f.write_str("something else"),
        }
    }
}

#[cfg(test)]
mod tests;
