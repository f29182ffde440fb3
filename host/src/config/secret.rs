//! Passwords: where they come from and that they are never shown.
//! Does not wipe memory: the process that may read its memory may read its files too.

use std::fmt;
use std::path::PathBuf;

/// A secret text. Neither `Debug` nor any message shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    origin: Origin,
}

/// How the user wrote a secret, so that it can be written again without spelling it out.
#[derive(Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration itself, perhaps with `${VAR}` in it.
    Text(String),
    /// In a file of its own.
    File(PathBuf),
    /// Nowhere: it is what Heapster sent if nothing was said.
    Heapster,
}

impl Secret {
    /// A secret whose text stood where it is used.
    pub fn literal(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { origin: Origin::Text(value.replace("${", "$${")), value }
    }

    /// What Heapster sent where nobody had written anything.
    pub fn of_heapster(value: &str) -> Self {
        Self { value: value.to_owned(), origin: Origin::Heapster }
    }

    /// A secret and how it was written.
    pub fn new(value: String, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// The secret itself, for the one request that needs it.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Whether there is no secret at all; one that was not resolved is not empty.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty() && matches!(&self.origin, Origin::Text(text) if text.is_empty())
    }

    /// How the user wrote it.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Replaces each `${VAR}`; `$${` stands for `${` itself, every other `$` for itself.
///
/// # Errors
/// The remedy, naming the variable that is not set or the bracket that is not closed.
pub fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((name, after)) = rest[at + 2..].split_once('}') else {
            return Err("has `${` without `}`; write `${NAME}`, or `$${` for the two characters".to_owned());
        };
        out.push_str(&variable(name, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Replaces `$VAR` and `${VAR}` as Heapster did.
///
/// # Errors
/// The remedy, naming the variable that is not set or the `$` that begins no name.
pub fn expand_shell(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, left) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').ok_or("has `${` without `}`; write `${NAME}`, or `%24` for a `$`")?,
            None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        if name.is_empty() {
            return Err("has a `$` that begins no variable; write `%24` for a `$`".to_owned());
        }
        out.push_str(&variable(name, env)?);
        rest = left;
    }
    out.push_str(rest);
    Ok(out)
}

/// The name in a text that is one `$VAR` or `${VAR}` and nothing else.
pub fn whole_reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let name = name.strip_prefix('{').map_or(Some(name), |inner| inner.strip_suffix('}'))?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

fn variable(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    env(name).ok_or_else(|| format!("uses the environment variable `{name}`, which is not set; set it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "PW").then(|| "s3cret".to_owned())
    }

    #[test]
    fn references_are_expanded() {
        for (name, expand, text, want) in [
            ("braces", expand as fn(&str, &dyn Fn(&str) -> Option<String>) -> _, "a${PW}b", Ok("as3cretb")),
            ("bare dollar is itself in toml", expand, "a$PWb$", Ok("a$PWb$")),
            ("escaped", expand, "a$${PW}", Ok("a${PW}")),
            ("unset", expand, "${NO}", Err("uses the environment variable `NO`, which is not set; set it")),
            ("heapster's bare name", expand_shell, "x=$PW&y", Ok("x=s3cret&y")),
            ("heapster's braces", expand_shell, "${PW}1", Ok("s3cret1")),
            ("lone dollar", expand_shell, "a$&", Err("has a `$` that begins no variable; write `%24` for a `$`")),
        ] {
            assert_eq!(expand(text, &env), want.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn debug_never_shows_the_secret() {
        assert_eq!(format!("{:?}", Secret::literal("s3cret")), "Secret(…)");
    }

    #[test]
    fn whole_reference_is_only_a_reference() {
        for (text, want) in
            [("$PW", Some("PW")), ("${PW}", Some("PW")), ("x$PW", None), ("$PW-x", None), ("$", None), ("${", None)]
        {
            assert_eq!(whole_reference(text), want, "{text}");
        }
    }
}
