//! Writes into a case what came out of a run, in place: remarks and the order of keys stay.

use std::ops::Range;

use toml::Spanned;

use super::raw::{RawBatch, RawCase};
use super::run::Found;
use super::{Case, Outcome};
use crate::batch::rows::{Detail, Row};

/// Why a case can't be blessed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBlessed {
    /// The runs of the calls differ from those of the file.
    #[error("its rows are no batch, and only you can mend them")]
    Unfit,
    /// The text does not hold what was written into it.
    #[error(
        "is written in a form that can't be changed in place; write [[cycle]] and [[cycle.batch]] as tables of their own"
    )]
    Form,
}

/// The file's text with what came out in the place of what was wanted.
///
/// # Errors
/// [`NotBlessed`]; the file is better left alone then.
pub fn bless(text: &str, case: &Case, outcome: &Outcome) -> Result<String, NotBlessed> {
    let raw = RawCase::read(text).map_err(|_| NotBlessed::Form)?;
    let mut writing = Writing { text, detail: case.detail, changes: Vec::new() };
    let mut found = outcome.found.iter();
    if let Some(Found::Refused(reason)) = outcome.found.first() {
        match raw.refused {
            Some(at) => writing.replace(at.span(), &quoted(reason)),
            // It has cycles then, which say nothing about a rule that does not start.
            None => return Err(NotBlessed::Form),
        }
        return writing.done();
    }
    if raw.refused.is_some() {
        return Err(NotBlessed::Form);
    }
    for cycle in &raw.cycle {
        let header = cycle.span();
        let cycle = cycle.get_ref();
        if let Some(rows) = &cycle.rows {
            let Some(Found::Batch(got)) = found.next() else { return Err(NotBlessed::Unfit) };
            writing.call(["want", "error"], [cycle.want.as_ref(), cycle.error.as_ref()], rows.span().end, got);
        }
        for batch in &cycle.batch {
            let Some(Found::Batch(got)) = found.next() else { return Err(NotBlessed::Unfit) };
            let RawBatch { rows, want, error, .. } = batch.get_ref();
            writing.call(["want", "error"], [want.as_ref(), error.as_ref()], rows.span().end, got);
        }
        let Some(Found::Finish(got)) = found.next() else { return Err(NotBlessed::Unfit) };
        let said = [cycle.finish.as_ref(), cycle.finish_error.as_ref()];
        if said.iter().any(Option::is_some) || !matches!(got, Ok(rows) if rows.is_empty()) {
            // After the cycle's own keys, before its batches.
            let own = [&cycle.rows, &cycle.want, &cycle.error].into_iter().flatten().map(|at| at.span().end).max();
            writing.call(["finish", "finish-error"], said, own.unwrap_or(header.start), got);
        }
    }
    writing.done()
}

struct Writing<'t> {
    text: &'t str,
    detail: Detail,
    changes: Vec<(Range<usize>, String)>,
}

impl Writing<'_> {
    /// Writes what a call gave: over what was said of it, or on a line of its own after `after`.
    fn call(
        &mut self,
        keys: [&str; 2],
        said: [Option<&Spanned<String>>; 2],
        after: usize,
        got: &Result<Vec<Row>, String>,
    ) {
        let (right, value) = match got {
            Ok(rows) => (0, self.block(rows)),
            Err(error) => (1, quoted(error)),
        };
        match (said[right], said[1 - right]) {
            // An error that was wanted by a part of its text stays as its author wrote it.
            (Some(at), _) if right == 1 && got.as_ref().is_err_and(|error| error.contains(at.get_ref())) => {}
            (Some(at), _) => self.replace(at.span(), &value),
            (None, Some(other)) => {
                // The other key goes, from its line's start.
                let span = other.span();
                let start = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
                self.replace(start..span.end, &format!("{} = {value}", keys[right]));
            }
            (None, None) => {
                let end = self.text[after..].find('\n').map_or(self.text.len(), |at| after + at);
                self.replace(end..end, &format!("\n{} = {value}", keys[right]));
            }
        }
    }

    fn replace(&mut self, at: Range<usize>, with: &str) {
        self.changes.push((at, with.to_owned()));
    }

    fn block(&self, rows: &[Row]) -> String {
        let mut lines: Vec<String> = rows.iter().map(|row| row.text(self.detail)).collect();
        lines.sort_unstable();
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
        if text.is_empty() {
            "''".to_owned()
        } else if text.contains("'''") {
            quoted(&text)
        } else {
            format!("'''\n{text}'''")
        }
    }

    fn done(mut self) -> Result<String, NotBlessed> {
        // Stable: of two at one place the first is written first.
        self.changes.sort_by_key(|(at, _)| at.start);
        let (mut out, mut end) = (String::with_capacity(self.text.len()), 0);
        for (at, with) in &self.changes {
            out.push_str(self.text.get(end..at.start).ok_or(NotBlessed::Form)?);
            out.push_str(with);
            end = at.end;
        }
        out.push_str(self.text.get(end..).ok_or(NotBlessed::Form)?);
        // What can't be read back must not be written.
        Case::read(&out).map_err(|_| NotBlessed::Form)?;
        Ok(out)
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
