//! Runs a case: every call through the runtime that clusters run, with the checks that they have.

use std::time::{Duration, Instant};

use super::{Case, CaseBatch, CaseCycle, Wanted};
use crate::batch::rows::{Row, build, rows};
use crate::batch::{NamedBy, Origin};
use crate::rules::component::CompiledRule;
use crate::rules::desk::Desk;
use crate::rules::fault::Fault;
use crate::rules::limits::Limits;

/// What came of a case.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that is not as the case wants it; empty: it passed.
    pub problems: Vec<Problem>,
    /// What every call gave, in order, for `--bless`.
    pub found: Vec<Found>,
    /// How long it took.
    pub took: Duration,
}

/// What one call gave.
#[derive(Debug)]
pub enum Found {
    /// `configure` was refused.
    Refused(String),
    /// What stands after `process` of one batch.
    Batch(Result<Vec<Row>, String>),
    /// What `finish` of one cycle adds.
    Finish(Result<Vec<Row>, String>),
}

/// Something that is not as the case wants it.
#[derive(Debug)]
pub struct Problem {
    /// Cycle, node and call.
    pub place: String,
    /// What it is.
    pub what: What,
}

/// The sorts of problems.
#[derive(Debug)]
pub enum What {
    /// Rows differ.
    Rows {
        /// Wanted, and did not come.
        missing: Vec<Row>,
        /// Came, and was not wanted.
        unexpected: Vec<Row>,
        /// Came as wanted.
        same: Vec<Row>,
    },
    /// It failed, and rows were wanted.
    Failed(String),
    /// It failed with another text than was wanted.
    OtherError {
        /// What its text should contain.
        wanted: String,
        /// What it said.
        got: String,
    },
    /// It should have failed.
    Succeeded {
        /// What its text should contain.
        wanted: String,
    },
    /// The case does not say what should come.
    Unsaid,
    /// The case's rows are no batch.
    Unfit(String),
}

/// Runs a case with a fresh instance of the rule.
#[must_use]
pub fn run(case: &Case, rule: &CompiledRule, name: &str) -> Outcome {
    let started = Instant::now();
    let mut running = Running { case, problems: Vec::new(), found: Vec::new() };
    let settings = serde_json::Value::Object(case.settings.clone()).to_string();
    match (Desk::start(rule, name, &settings, Limits::default()), &case.refused) {
        (Ok(mut desk), None) => case.cycles.iter().for_each(|cycle| running.cycle(&mut desk, cycle)),
        (Ok(_), Some(wanted)) => running.problem("configure", What::Succeeded { wanted: wanted.clone() }),
        (Err(fault), wanted) => running.refused(&fault, wanted.as_deref()),
    }
    Outcome { problems: running.problems, found: running.found, took: started.elapsed() }
}

struct Running<'c> {
    case: &'c Case,
    problems: Vec<Problem>,
    found: Vec<Found>,
}

impl Running<'_> {
    fn problem(&mut self, place: impl Into<String>, what: What) {
        self.problems.push(Problem { place: place.into(), what });
    }

    fn refused(&mut self, fault: &Fault, wanted: Option<&str>) {
        let got = said(fault);
        match (fault, wanted) {
            (Fault::Settings(reason), Some(wanted)) if reason.contains(wanted) => {}
            (_, Some(wanted)) => {
                self.problem("configure", What::OtherError { wanted: wanted.to_owned(), got });
            }
            (_, None) => self.problem("configure", What::Failed(got)),
        }
        if let Fault::Settings(reason) = fault {
            self.found.push(Found::Refused(reason.clone()));
        }
    }

    fn cycle(&mut self, desk: &mut Desk, cycle: &CaseCycle) {
        for batch in &cycle.batches {
            let place = if cycle.batches.len() > 1 {
                format!("cycle {}, {}", cycle.number, batch.node)
            } else {
                format!("cycle {}", cycle.number)
            };
            self.batch(desk, cycle, batch, place);
        }
        let at = cycle.cycle(true);
        let done = desk.finish(&at).map(|done| rows(&done.batch, at.time)).map_err(|fault| said(&fault));
        self.compare(format!("finish of cycle {}", cycle.number), Some(&cycle.finish), &done);
        self.found.push(Found::Finish(done));
    }

    fn batch(&mut self, desk: &mut Desk, cycle: &CaseCycle, batch: &CaseBatch, place: String) {
        let at = cycle.cycle(false);
        let built = build(&batch.rows, Origin::Node(batch.node.clone()), at.time, &self.case.metrics);
        let built = built.and_then(|built| {
            // The host knows its metrics before any rule does.
            for row in 0..built.metrics.len() as u32 {
                let name = built.symbols.get(built.metrics.name[row as usize]);
                let known = desk.types().check(name, built.metrics.value_type(row), NamedBy::Host);
                known.map_err(|conflict| conflict.to_string())?;
            }
            Ok(built)
        });
        let done = match built {
            Ok(built) => desk.process(&at, built).map(|done| rows(&done.batch, at.time)),
            Err(what) => return self.problem(place, What::Unfit(what)),
        };
        let done = done.map_err(|fault| said(&fault));
        self.compare(place, batch.want.as_ref(), &done);
        self.found.push(Found::Batch(done));
    }

    fn compare(&mut self, place: String, wanted: Option<&Wanted>, got: &Result<Vec<Row>, String>) {
        let what = match (wanted, got) {
            (None, _) => What::Unsaid,
            (Some(Wanted::Rows(wanted)), Ok(got)) => match differences(wanted, got) {
                Some(what) => what,
                None => return,
            },
            (Some(Wanted::Rows(_)), Err(error)) => What::Failed(error.clone()),
            (Some(Wanted::Error(wanted)), Err(error)) if error.contains(wanted) => return,
            (Some(Wanted::Error(wanted)), Err(error)) => {
                What::OtherError { wanted: wanted.clone(), got: error.clone() }
            }
            (Some(Wanted::Error(wanted)), Ok(_)) => What::Succeeded { wanted: wanted.clone() },
        };
        self.problem(place, what);
    }
}

/// The rule's own words where it has some, as a native test of it sees them.
fn said(fault: &Fault) -> String {
    match fault {
        Fault::Settings(reason) | Fault::Refused(reason) | Fault::Fatal(reason) => reason.clone(),
        fault => fault.to_string(),
    }
}

/// What differs, in any order; each row counts as often as it stands there.
fn differences(wanted: &[Row], got: &[Row]) -> Option<What> {
    let mut left: Vec<(String, &Row)> = got.iter().map(|row| (row.series(), row)).collect();
    left.sort_by(|a, b| a.0.cmp(&b.0));
    let mut taken = vec![false; left.len()];
    let (mut missing, mut same) = (Vec::new(), Vec::new());
    // Rows that name no times take what is left by those that do.
    let mut order: Vec<&Row> = wanted.iter().collect();
    order.sort_by_key(|row| row.started_at.is_none() && row.point.as_ref().is_none_or(|point| point.at_ms.is_none()));
    for row in order {
        let series = row.series();
        let first = left.partition_point(|(other, _)| *other < series);
        let found = left[first..].iter().take_while(|(other, _)| *other == series).enumerate();
        let found = found.map(|(at, _)| first + at).find(|&at| !taken[at] && row.wants(left[at].1));
        match found {
            Some(at) => {
                taken[at] = true;
                same.push(left[at].1.clone());
            }
            None => missing.push(row.clone()),
        }
    }
    let unexpected: Vec<Row> =
        left.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|((_, row), _)| (*row).clone()).collect();
    (!missing.is_empty() || !unexpected.is_empty()).then_some(What::Rows { missing, unexpected, same })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::rows::{Descriptors, Detail, parse};

    #[test]
    fn order_counts_for_nothing_and_number_does() {
        let rows = |text: &str| parse(text, &Descriptors::new()).unwrap();
        let text = |rows: Vec<Row>| rows.iter().map(|row| row.text(Detail::default())).collect::<Vec<_>>();
        let (one, two) = ("pod {a=1} x = 1", "pod {a=2} x = 2");
        assert!(differences(&rows(&format!("{one}\n{two}")), &rows(&format!("{two}\n{one}"))).is_none());
        let wanted = rows(&format!("{one}\n{one}"));
        let Some(What::Rows { missing, unexpected, same }) = differences(&wanted, &rows(&format!("{one}\n{two}")))
        else {
            panic!("they differ")
        };
        assert_eq!(
            (text(missing), text(unexpected), text(same)),
            (vec![one.into()], vec![two.into()], vec![one.into()])
        );
    }

    #[test]
    fn a_row_with_a_time_is_not_taken_by_one_without() {
        let rows = |text: &str| parse(text, &Descriptors::new()).unwrap();
        let wanted = rows("pod {} x = 1\npod {} x = 1 @ 2s");
        assert!(differences(&wanted, &rows("pod {} x = 1 @ 2s\npod {} x = 1 @ 7s")).is_none());
    }
}
