//! All findings together: in order, counted, as text for people and as JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::finding::{Finding, Status};

/// Of the JSON: it rises when something there changes its meaning or goes.
const VERSION: u32 = 1;
/// The parts, in the order in which one depends on the other.
const SECTIONS: [(&str, &str); 8] = [
    ("settings", "Configuration"),
    ("rules", "Rules"),
    ("api", "API server"),
    ("rights", "Rights"),
    ("aggregation", "Aggregation layer"),
    ("kubelets", "Kubelets"),
    ("sinks", "Sinks"),
    ("process", "This process"),
];
/// Kubelets that are well have a line each up to so many.
const MOST_WELL: usize = 20;
/// Lines of one check with one remedy.
const MOST_ALIKE: usize = 10;
/// Before what belongs to the line above it.
const INDENT: &str = "         ";

/// What doctor found.
#[derive(Debug)]
pub struct Report {
    findings: Vec<Finding>,
}

/// How many findings there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// All is well.
    pub ok: usize,
    /// Worth knowing.
    pub note: usize,
    /// Not as it should be.
    pub warning: usize,
    /// Does not work.
    pub failure: usize,
}

#[derive(Serialize)]
struct Document<'d> {
    version: u32,
    millrace: &'static str,
    outcome: Status,
    counts: Counts,
    checks: &'d [Finding],
}

impl Report {
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        let place = |finding: &Finding| SECTIONS.iter().position(|(id, _)| *id == finding.section());
        // Stable: within a section they stay as they were found.
        findings.sort_by_key(place);
        Self { findings }
    }

    /// One that says why nothing could be looked at.
    #[must_use]
    pub fn refused(errors: &[String], warnings: &[String]) -> Self {
        let check = "settings.refused";
        let failures = errors.iter().map(|error| Finding::of_sentence(check, "", Status::Failure, error));
        let warnings = warnings.iter().map(|text| Finding::of_sentence("settings.warning", "", Status::Warning, text));
        Self::new(failures.chain(warnings).collect())
    }

    /// All findings, section by section.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many there are of each kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for finding in &self.findings {
            *match finding.status {
                Status::Ok => &mut counts.ok,
                Status::Note => &mut counts.note,
                Status::Warning => &mut counts.warning,
                Status::Failure => &mut counts.failure,
            } += 1;
        }
        counts
    }

    /// The worst of all findings, notes aside.
    #[must_use]
    pub fn outcome(&self) -> Status {
        let worst = self.findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
        if worst == Status::Note { Status::Ok } else { worst }
    }

    /// For programs.
    ///
    /// # Errors
    /// Never; the library's signature has one.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&Document {
            version: VERSION,
            millrace: env!("CARGO_PKG_VERSION"),
            outcome: self.outcome(),
            counts: self.counts(),
            checks: &self.findings,
        })
    }

    /// For people, with colours or without.
    #[must_use]
    pub fn text(&self, colours: bool) -> String {
        let mut out = String::new();
        for (id, title) in SECTIONS {
            let findings: Vec<&Finding> = self.findings.iter().filter(|finding| finding.section() == id).collect();
            if findings.is_empty() {
                continue;
            }
            out.push_str(title);
            out.push('\n');
            let well = findings.iter().filter(|finding| is_well(finding)).count();
            let shown: Vec<&Finding> =
                findings.into_iter().filter(|finding| well <= MOST_WELL || !is_well(finding)).collect();
            for alike in shown.chunk_by(|a, b| a.check == b.check && a.status == b.status && a.remedy == b.remedy) {
                write_alike(&mut out, alike, colours);
            }
            out.push('\n');
        }
        out.push_str(&self.summary());
        out
    }

    fn summary(&self) -> String {
        let Counts { ok, note, warning, failure } = self.counts();
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (notes, warnings, failures) = (count(note, "note"), count(warning, "warning"), count(failure, "failure"));
        let verdict = match self.outcome() {
            Status::Failure => "something does not work",
            Status::Warning => "it works, with a flaw",
            Status::Ok | Status::Note => "all is well",
        };
        format!("{ok} ok, {notes}, {warnings}, {failures}: {verdict}")
    }
}

fn is_well(finding: &Finding) -> bool {
    finding.check == "kubelets.answers" && finding.status == Status::Ok
}

/// Lines that differ in what they are about, and what helps against all of them.
fn write_alike(out: &mut String, alike: &[&Finding], colours: bool) {
    let Some(first) = alike.first() else { return };
    let most = if first.status == Status::Ok { usize::MAX } else { MOST_ALIKE };
    for finding in alike.iter().take(most) {
        let word = word(finding.status, colours);
        let subject = if finding.subject.is_empty() { String::new() } else { format!("{}: ", finding.subject) };
        // Writing to a string can't fail.
        let _ = writeln!(out, "  {word} {subject}{}", finding.says);
        if let Some(manifest) = &finding.manifest {
            for line in manifest.lines() {
                let _ = writeln!(out, "{INDENT}{line}");
            }
        }
    }
    if alike.len() > most {
        let _ = writeln!(out, "{INDENT}and {} more like these (`--output json` has them all)", alike.len() - most);
    }
    if let Some(remedy) = &first.remedy {
        let _ = writeln!(out, "{INDENT}-> {remedy}");
    }
}

fn word(status: Status, colours: bool) -> String {
    let (word, colour) = match status {
        Status::Ok => ("ok   ", "32"),
        Status::Note => ("note ", "36"),
        Status::Warning => ("WARN ", "33"),
        Status::Failure => ("FAIL ", "31"),
    };
    if colours { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelets(count: usize) -> Vec<Finding> {
        (0..count).map(|n| Finding::ok("kubelets.answers", &format!("n{n}"), "12 ms")).collect()
    }

    #[test]
    fn findings_stand_in_their_sections_and_remedies_once() {
        let report = Report::new(vec![
            Finding::ok("sinks.write", "influxdb", "it takes writes"),
            Finding::failure("kubelets.refused", "n1", "refused", "start it"),
            Finding::failure("kubelets.refused", "n2", "refused", "start it"),
            Finding::note("rights.grant", "", "this grants it").manifest("a: 1\nb: 2\n".to_owned()),
        ]);
        assert_eq!(
            report.text(false),
            "Rights\n  note  this grants it\n         a: 1\n         b: 2\n\nKubelets\n  FAIL  n1: refused\n  \
             FAIL  n2: refused\n         -> start it\n\nSinks\n  ok    influxdb: it takes writes\n\n\
             1 ok, 1 note, 0 warnings, 2 failures: something does not work"
        );
        assert!(report.text(true).contains("\u{1b}[31mFAIL"));
    }

    #[test]
    fn a_large_cluster_does_not_fill_the_screen() {
        let mut findings = kubelets(300);
        findings
            .extend((0..300).map(|n| Finding::failure("kubelets.refused", &format!("x{n}"), "refused", "start it")));
        let text = Report::new(findings).text(false);
        assert!(text.lines().count() < 20, "{text}");
        assert!(text.contains("and 290 more like these"), "{text}");
        assert_eq!(Report::new(kubelets(20)).text(false).matches("12 ms").count(), 20);
    }

    #[test]
    fn the_outcome_is_the_worst_and_the_json_has_everything() {
        let ok = Finding::ok("api.answers", "", "well").took(std::time::Duration::from_micros(12_340));
        let note = Finding::note("rights.proxy", "", "may");
        let warning = Finding::warning("api.clock", "", "off", "set it").fact("ahead_s", 9);
        let outcome = |findings: &[&Finding]| Report::new(findings.iter().map(|&one| one.clone()).collect()).outcome();
        assert_eq!(outcome(&[]), Status::Ok);
        assert_eq!(outcome(&[&ok, &note]), Status::Ok);
        assert_eq!(outcome(&[&ok, &warning, &note]), Status::Warning);
        let json = Report::new(vec![ok, note, warning]).json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["version"], &json["outcome"]), (&1.into(), &"warning".into()));
        assert_eq!(json["counts"], serde_json::json!({"ok": 1, "note": 1, "warning": 1, "failure": 0}));
        assert_eq!(
            json["checks"][0],
            serde_json::json!({"check": "api.answers", "subject": "", "status": "ok", "says": "well", "took_ms": 12.3})
        );
        assert_eq!(json["checks"][1]["facts"]["ahead_s"], 9);
    }
}
