//! Name patterns for settings: `*` stands for any text, `?` for any one character.

use serde::Deserialize;

use crate::{Batch, Metric};

/// Patterns for names of metrics, labels or namespaces, read from a list of strings in the settings.
///
/// `*` stands for any text, also across `/`, and also for none; `?` for any one character;
/// everything else for itself. A pattern matches whole names.
///
/// ```
/// use millrace_sdk::Globs;
///
/// let globs = Globs::new(&["cpu/*", "memory/usage"]);
/// assert!(globs.matches("cpu/usage_rate"));
/// assert!(!globs.matches("memory/usage_bytes"));
///
/// #[derive(serde::Deserialize)]
/// struct Settings { metrics: Globs }
/// let settings: Settings = serde_json::from_str(r#"{"metrics":["network/*"]}"#).unwrap();
/// assert!(settings.metrics.matches("network/rx"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Globs {
    patterns: Vec<String>,
}

impl Globs {
    /// These patterns.
    ///
    /// ```
    /// assert!(millrace_sdk::Globs::new(&["kube-*"]).matches("kube-system"));
    /// ```
    #[must_use]
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Self {
        Self { patterns: patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect() }
    }

    /// Whether there are no patterns: then nothing matches.
    ///
    /// ```
    /// assert!(millrace_sdk::Globs::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns as they were written.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Globs::new(&["a*", "b"]).patterns(), ["a*", "b"]);
    /// ```
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether any pattern matches the whole name. Names that begin with `__` are facts for rules:
    /// only a pattern that begins so too matches them, so that `*` starves no later rule.
    ///
    /// ```
    /// let all = millrace_sdk::Globs::new(&["*"]);
    /// assert!(all.matches("cpu/usage"));
    /// assert!(!all.matches("__request/cpu"));
    /// ```
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let private = name.starts_with("__");
        self.patterns.iter().any(|pattern| (!private || pattern.starts_with("__")) && matches(pattern, name))
    }

    /// Whether each metric of a batch matches, in the order of [`Metric::index`]: names are looked
    /// at once a batch and not once a point.
    ///
    /// ```
    /// use millrace_sdk::{Globs, testing};
    ///
    /// let batch = testing::sample();
    /// let chosen = Globs::new(&["memory/*"]).metrics(&batch);
    /// let points = batch.all().flat_map(|entity| entity.points());
    /// assert!(points.filter(|point| chosen[point.metric().index()]).all(|point| point.name() == "memory/usage"));
    /// ```
    #[must_use]
    pub fn metrics(&self, batch: &Batch) -> Vec<bool> {
        batch.metrics().map(|metric: Metric| self.matches(batch.metric_name(metric))).collect()
    }
}

/// Time grows with pattern × name and no faster: after a mismatch only the last `*` is tried again.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern_left, mut name_left) = (pattern.chars(), name.chars());
    let mut last_star = None;
    loop {
        let name_rest = name_left.clone();
        match (pattern_left.next(), name_left.next()) {
            (Some('*'), _) => {
                name_left = name_rest.clone();
                last_star = Some((pattern_left.clone(), name_rest));
                continue;
            }
            (None, None) => return true,
            (Some('?'), Some(_)) => continue,
            (Some(want), Some(got)) if want == got => continue,
            _ => {}
        }
        // One character more for the last star, if there is one and there are characters left.
        let Some((after, mut from)) = last_star.take() else { return false };
        if from.next().is_none() {
            return false;
        }
        pattern_left = after.clone();
        name_left = from.clone();
        last_star = Some((after, from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_whole_names() {
        for (pattern, name, want) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("*/usage", "cpu/usage", true),
            ("*/usage", "cpu/usage_rate", false),
            ("cpu/*_rate", "cpu/usage_rate", true),
            ("*a*b*c*", "xaxbxcx", true),
            ("*a*b*c*", "xaxcxbx", false),
            ("???", "äöü", true),
            ("???", "äö", false),
            ("*ab", "aab", true),
            ("a**b", "ab", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        assert!(!matches(&"*a".repeat(40), &format!("{}b", "a".repeat(4000))));
    }
}
