//! Everything that is wrong with a configuration, collected, so that one run shows all of it.
//! Does not decide when to stop: the loader asks at the end.

use std::cell::{Cell, RefCell};
use std::fmt;

/// More than this many errors teach nobody anything; the rest is counted.
const MAX_SHOWN: usize = 200;
/// Longest piece of a value that is quoted back, characters.
const MAX_QUOTED: usize = 120;

/// The errors and warnings found so far. Shared by every walker over one configuration.
#[derive(Debug, Default)]
pub struct Problems {
    errors: RefCell<Vec<String>>,
    more: Cell<usize>,
    warnings: RefCell<Vec<String>>,
    changes: RefCell<Vec<String>>,
}

impl Problems {
    /// Adds an error; the text names the key, the value (never a secret's) and the remedy.
    pub fn push(&self, text: impl Into<String>) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < MAX_SHOWN {
            errors.push(text.into());
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    /// Adds an error of the common form: key, value, what to write instead.
    pub fn bad(&self, key: &str, value: &str, remedy: &str) {
        self.push(format!("`{key}` is `{}`; {remedy}", quoted(value)));
    }

    /// Adds a warning: accepted, but not as the user may think.
    pub fn warn(&self, text: impl Into<String>) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_SHOWN {
            warnings.push(text.into());
        }
    }

    /// Adds a change: something that works as it says, and did not in Heapster.
    pub fn change(&self, text: impl Into<String>) {
        let mut changes = self.changes.borrow_mut();
        if changes.len() < MAX_SHOWN {
            changes.push(text.into());
        }
    }

    /// The changes found so far, which are forgotten here.
    pub fn take_changes(&self) -> Vec<String> {
        self.changes.take()
    }

    /// True while nothing is wrong; warnings and changes do not count.
    pub fn is_empty(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// The warnings alone when nothing is wrong.
    ///
    /// # Errors
    /// [`Refused`] with every error and warning when anything is wrong.
    pub fn into_warnings(self) -> Result<Vec<String>, Refused> {
        let warnings = self.warnings.into_inner();
        let mut errors = self.errors.into_inner();
        if errors.is_empty() {
            return Ok(warnings);
        }
        if self.more.get() > 0 {
            errors.push(format!("… and {} more", self.more.get()));
        }
        Err(Refused { errors, warnings })
    }
}

/// A configuration that nothing can be started with: every error, one a line.
#[derive(Debug, thiserror::Error)]
pub struct Refused {
    /// What is wrong, in the order in which it was found.
    pub errors: Vec<String>,
    /// What was accepted but needs a word.
    pub warnings: Vec<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.errors.len() == 1;
        let what = if one { "problem" } else { "problems" };
        write!(f, "{} {what} in the configuration", self.errors.len())?;
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

/// A value as it may be shown: no control characters, not endless.
pub fn quoted(value: &str) -> String {
    let mut shown: String = value
        .chars()
        .take(MAX_QUOTED)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if value.chars().nth(MAX_QUOTED).is_some() {
        shown.push('…');
    }
    shown
}

/// The known name that the user most likely meant, if one is near enough to be worth naming.
pub fn closest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |name: &str| -> Vec<char> {
        name.chars().take(64).filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
    };
    let wrong = plain(wrong);
    known
        .into_iter()
        .map(|name| (distance(&wrong, &plain(name)), name))
        .filter(|&(far, name)| far <= name.len().max(3) / 3)
        .min_by_key(|&(far, _)| far)
        .map(|(_, name)| name)
}

/// Edits between two short words (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_name_is_suggested_only_when_near() {
        let known = ["withfields", "concurrency", "db"];
        for (wrong, want) in [
            ("with_fields", Some("withfields")),
            ("withFields", Some("withfields")),
            ("concurency", Some("concurrency")),
            ("bd", None),
            ("entirely-else", None),
        ] {
            assert_eq!(closest(wrong, known), want, "{wrong}");
        }
    }

    #[test]
    fn errors_are_bounded_and_counted() {
        let problems = Problems::default();
        for n in 0..MAX_SHOWN + 5 {
            problems.push(n.to_string());
        }
        let refused = problems.into_warnings().unwrap_err();
        assert_eq!(refused.errors.len(), MAX_SHOWN + 1);
        assert_eq!(refused.errors.last().unwrap(), "… and 5 more");
    }

    #[test]
    fn quoted_value_has_no_control_characters_and_an_end() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), MAX_QUOTED + 1);
    }
}
