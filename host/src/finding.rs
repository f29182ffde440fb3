//! What a check has found: one line for a person, one object for a program.
//!
//! Not here: the checks, which are in [`crate::doctor`] and beside what they look at.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::text::{MESSAGE_BYTES, tame};

/// Of what a finding is about, bytes.
const SUBJECT_BYTES: usize = 253;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// It works, but not as well as it should, or not for long.
    Warning,
    /// Something that Millrace is configured to do does not work.
    Failure,
}

/// One result of one check. Whatever was said by others is tamed and bounded in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Which check, `section.what`; stable.
    pub check: &'static str,
    /// Of what: a node, a right, a sink. May be empty.
    pub subject: String,
    /// How it is.
    pub status: Status,
    /// What was found, one line.
    pub says: String,
    /// What to do about it, one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// YAML for `kubectl apply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// How long the answer took, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// The figures in the line, by name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

impl Finding {
    fn new(check: &'static str, subject: &str, status: Status, says: &str, remedy: Option<&str>) -> Self {
        Self {
            check,
            subject: tame(subject, SUBJECT_BYTES),
            status,
            says: tame(says, MESSAGE_BYTES),
            remedy: remedy.filter(|remedy| !remedy.is_empty()).map(|remedy| tame(remedy, MESSAGE_BYTES)),
            manifest: None,
            took_ms: None,
            facts: Map::new(),
        }
    }

    /// All is well.
    #[must_use]
    pub fn ok(check: &'static str, subject: &str, says: &str) -> Self {
        Self::new(check, subject, Status::Ok, says, None)
    }

    /// Worth knowing, or not checked.
    #[must_use]
    pub fn note(check: &'static str, subject: &str, says: &str) -> Self {
        Self::new(check, subject, Status::Note, says, None)
    }

    /// Not as it should be, and what helps.
    #[must_use]
    pub fn warning(check: &'static str, subject: &str, says: &str, remedy: &str) -> Self {
        Self::new(check, subject, Status::Warning, says, Some(remedy))
    }

    /// It does not work, and what helps.
    #[must_use]
    pub fn failure(check: &'static str, subject: &str, says: &str, remedy: &str) -> Self {
        Self::new(check, subject, Status::Failure, says, Some(remedy))
    }

    /// The same from a sentence that ends with its remedy, as most messages here do: `problem; remedy`.
    #[must_use]
    pub fn of_sentence(check: &'static str, subject: &str, status: Status, sentence: &str) -> Self {
        let (says, remedy) = sentence.rsplit_once("; ").map_or((sentence, None), |(says, rest)| (says, Some(rest)));
        Self::new(check, subject, status, says, remedy)
    }

    /// With the time that the answer took.
    #[must_use]
    pub fn took(mut self, took: Duration) -> Self {
        self.took_ms = Some((took.as_secs_f64() * 1e4).round() / 10.0);
        self
    }

    /// With a figure.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// With advice, where there is none yet.
    #[must_use]
    pub fn remedy(mut self, remedy: &str) -> Self {
        self.remedy = Some(tame(remedy, MESSAGE_BYTES));
        self
    }

    /// With YAML that helps. It must not hold text from outside that was not looked at.
    #[must_use]
    pub fn manifest(mut self, manifest: String) -> Self {
        self.manifest = Some(manifest);
        self
    }

    /// The part of the report that it belongs to.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.check.split_once('.').map_or(self.check, |(section, _)| section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_is_tamed_and_a_sentence_is_parted_from_its_remedy() {
        let hostile = format!("a\u{1b}[2J\n{}", "x".repeat(1 << 20));
        let finding =
            Finding::of_sentence("sinks.write", &hostile, Status::Failure, &format!("{hostile}; check `url`"));
        assert!(finding.subject.len() < 300 && finding.says.len() < 1100, "{}", finding.says.len());
        assert!(!finding.says.contains(char::is_control) && !finding.subject.contains(char::is_control));
        assert_eq!((finding.remedy.as_deref(), finding.section()), (Some("check `url`"), "sinks"));
        let bare = Finding::of_sentence("sinks.write", "", Status::Warning, "503");
        assert_eq!((bare.says.as_str(), bare.remedy), ("503", None));
    }
}
