//! `millrace rule replay`: what a rule does to batches, row by row or in sum.

mod diff;

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::console::{Console, Fail, Paint, code, tamed};
use super::input::{Input, Subject, failed_on, inputs, subject};
use super::{Output, ReplayArgs, build};
use crate::batch::rows::{Detail, Row, level_word, rows};
use crate::batch::{Batch, Cycle, EditStats, Level, Origin};
use crate::rules::Fault;

/// Metrics that the summary names.
const NAMED: usize = 12;
/// Faults that are told one by one.
const TOLD_FAULTS: usize = 5;

/// What came of a replay.
#[derive(Default)]
struct Sum {
    batches: u64,
    points_in: u64,
    points_out: u64,
    stats: EditStats,
    totals: u64,
    faults: Vec<String>,
    fault_count: u64,
    /// Points before and after, by level and by metric.
    levels: BTreeMap<&'static str, [u64; 2]>,
    metrics: BTreeMap<String, [u64; 2]>,
}

/// Replays and tells.
pub(super) fn replay(args: &ReplayArgs, console: &Console) -> Result<ExitCode, Fail> {
    let engine = build::engine()?;
    let subject = subject(&engine, &args.input, console)?;
    let input = match &args.failures {
        Some(from) => Some(failed_on(from, &subject.name, console)?),
        None => inputs(&engine, &args.input, false, console)?.pop().map(|(_, input)| input),
    };
    let Some(input) = input else { return Err(Fail::input("there is nothing to replay")) };
    if input.lost > 0 {
        console.warn(format!("the recording lacks {} batches", input.lost));
    }
    let (about, cycles) = (input.about.clone(), input.cycles.len());
    let listed = args.rows || args.diff;
    let progress = (!listed).then(|| console.progress(format!("replaying {about}")));
    let mut lines = Vec::new();
    let sum = run(&subject, input, args, &mut lines, console)?;
    drop(progress);
    if args.input.output == Output::Json {
        console.json(&sum.json(&subject, &about, cycles, listed.then_some(lines)));
    } else if listed {
        // The sum is for people, the rows for whatever reads on.
        console.note(sum.line());
    } else {
        sum.tell(&subject, &about, cycles, console);
    }
    for fault in &sum.faults {
        console.warn(format!("the rule failed on {}", tamed(fault)));
    }
    if sum.fault_count > sum.faults.len() as u64 {
        console.warn(format!("the rule failed {} times in all", sum.fault_count));
    }
    Ok(code(sum.fault_count == 0))
}

fn run(
    subject: &Subject,
    input: Input,
    args: &ReplayArgs,
    lines: &mut Vec<Value>,
    console: &Console,
) -> Result<Sum, Fail> {
    let (mut desk, mut sum) = (subject.desk(&subject.compiled)?, Sum::default());
    let mut show = |cycle: &Cycle, of: &str, before: Option<&Batch>, after: &Batch| {
        if args.rows || args.diff {
            if args.input.output == Output::Json {
                lines.push(list(cycle, before, after, args).json(cycle, of));
                return;
            }
            console.line(console.paint(Paint::Bold, format!("# cycle {}, {of}", cycle.number)));
            let (was, is) = (diff::rows_of(before, cycle.time), diff::rows_of(Some(after), cycle.time));
            if args.rows {
                is.iter().for_each(|row| console.line(tamed(&row.text(Detail::default()))));
            } else if !diff::tell(&was, &is, console) {
                console.line("  no change");
            }
        }
    };
    for (cycle, batches) in input.cycles {
        let running = Cycle { nodes_answered: 0, ..cycle };
        for batch in batches {
            let of = name(&batch.origin);
            let before = (args.rows || args.diff).then(|| batch.clone());
            sum.before(&batch);
            match desk.process(&running, batch) {
                Ok(done) => {
                    sum.after(&done.batch, &done.stats);
                    show(&cycle, &of, before.as_ref(), &done.batch);
                }
                Err(fault) => sum.failed(&fault, &format!("{of} in cycle {}", cycle.number)),
            }
        }
        match desk.finish(&cycle) {
            Ok(done) => {
                sum.totals += done.batch.points.len() as u64;
                sum.after(&done.batch, &done.stats);
                if !done.batch.points.is_empty() {
                    show(&cycle, "finish", None, &done.batch);
                }
            }
            Err(fault) => sum.failed(&fault, &format!("finish of cycle {}", cycle.number)),
        }
    }
    Ok(sum)
}

fn name(origin: &Origin) -> String {
    match origin {
        Origin::Node(name) => format!("node {}", tamed(name)),
        Origin::Totals(rule) => format!("totals of {}", tamed(rule)),
    }
}

/// The rows of one batch that are shown, with a mark for what became of each.
struct Listed(Vec<(char, String)>);

fn list(cycle: &Cycle, before: Option<&Batch>, after: &Batch, args: &ReplayArgs) -> Listed {
    let text = |row: &Row| tamed(&row.text(Detail::default()));
    let texts = |batch: &Batch| rows(batch, cycle.time).iter().map(text).collect::<Vec<_>>();
    let now = texts(after);
    if !args.diff {
        return Listed(now.into_iter().map(|row| (' ', row)).collect());
    }
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for row in before.map(texts).unwrap_or_default() {
        *counts.entry(row).or_default() -= 1;
    }
    for row in now {
        *counts.entry(row).or_default() += 1;
    }
    let marked = counts.into_iter().flat_map(|(row, count)| {
        let mark = if count < 0 { '-' } else { '+' };
        std::iter::repeat_n((mark, row), usize::try_from(count.unsigned_abs()).unwrap_or(0))
    });
    Listed(marked.collect())
}

impl Listed {
    fn json(&self, cycle: &Cycle, of: &str) -> Value {
        let marked = |wanted: char| self.0.iter().filter(move |(mark, _)| *mark == wanted).map(|(_, row)| row.as_str());
        let mut shown = json!({"cycle": cycle.number, "of": of});
        for (key, mark) in [("rows", ' '), ("gone", '-'), ("come", '+')] {
            let rows: Vec<&str> = marked(mark).collect();
            if !rows.is_empty() {
                shown[key] = rows.into();
            }
        }
        shown
    }
}

impl Sum {
    fn before(&mut self, batch: &Batch) {
        self.batches += 1;
        self.points_in += batch.points.len() as u64;
        self.count(batch, 0);
    }

    fn after(&mut self, batch: &Batch, stats: &EditStats) {
        self.points_out += batch.points.len() as u64;
        self.count(batch, 1);
        let sum = &mut self.stats;
        sum.dropped_points += stats.dropped_points;
        sum.dropped_entities += stats.dropped_entities;
        sum.relabelled += stats.relabelled;
        sum.added_points += stats.added_points;
        sum.added_entities += stats.added_entities;
        sum.merged_points += stats.merged_points;
        sum.refused_points += stats.refused_points;
    }

    fn count(&mut self, batch: &Batch, side: usize) {
        for row in 0..batch.entities.len() {
            let level = Level::from_byte(batch.entities.level[row]).unwrap_or(Level::Other);
            self.levels.entry(level_word(level)).or_default()[side] += batch.points_of(row).len() as u64;
        }
        let mut counts = vec![0; batch.metrics.len()];
        batch.points.metric.iter().for_each(|&metric| counts[metric as usize] += 1);
        for (metric, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let name = batch.symbols.get(batch.metrics.name[metric]);
            match self.metrics.get_mut(name) {
                Some(sides) => sides[side] += count,
                None => {
                    let mut sides = [0; 2];
                    sides[side] = count;
                    self.metrics.insert(name.to_owned(), sides);
                }
            }
        }
    }

    fn failed(&mut self, fault: &Fault, of: &str) {
        self.fault_count += 1;
        if self.faults.len() < TOLD_FAULTS {
            self.faults.push(format!("{of}: {fault}"));
        }
    }

    fn line(&self) -> String {
        let EditStats { dropped_points, relabelled, added_points, merged_points, .. } = self.stats;
        format!(
            "{} batches: {} points in, {} out; {dropped_points} dropped, {added_points} added, {merged_points} merged, \
             {relabelled} labels changed",
            self.batches, self.points_in, self.points_out
        )
    }

    fn tell(&self, subject: &Subject, about: &str, cycles: usize, console: &Console) {
        let stats = &self.stats;
        console.line(format!(
            "{} on {about}: {cycles} cycles, {} batches",
            console.paint(Paint::Bold, &subject.name),
            self.batches
        ));
        let field = |name: &str, value: u64, more: String| console.line(format!("  {name:<16} {value:>10}{more}"));
        let of = |count: u64, what: &str| if count > 0 { format!("   ({count} {what})") } else { String::new() };
        field("points in", self.points_in, String::new());
        field("dropped", stats.dropped_points, of(stats.dropped_entities, "whole entities"));
        field("added", stats.added_points, of(self.totals, "by finish"));
        field("merged", stats.merged_points, String::new());
        field("points out", self.points_out, String::new());
        field("labels changed", stats.relabelled, String::new());
        if stats.refused_points > 0 {
            field("refused", stats.refused_points, "   (there is no room for their names)".to_owned());
        }
        let changed = |sides: &[u64; 2]| sides[0] != sides[1];
        let mut metrics: Vec<(&String, &[u64; 2])> = self.metrics.iter().filter(|(_, sides)| changed(sides)).collect();
        metrics.sort_by_key(|(_, sides)| std::cmp::Reverse(sides[0].abs_diff(sides[1])));
        let levels = self.levels.iter().filter(|(_, sides)| changed(sides));
        let levels = levels.map(|(level, sides)| (format!("level {level}"), sides));
        let more = metrics.len().saturating_sub(NAMED);
        let named = metrics.iter().take(NAMED).map(|(name, sides)| (tamed(name), *sides));
        let table: Vec<_> = levels.chain(named).collect();
        if table.is_empty() {
            return console.line("  as many points of every level and metric as before");
        }
        console.line(console.paint(Paint::Dim, format!("\n  {:<40} {:>9} {:>9}", "points of", "before", "after")));
        for (name, [before, after]) in table {
            console.line(format!("  {name:<40} {before:>9} {after:>9}"));
        }
        if more > 0 {
            console.line(format!("  … and {more} metrics more; --output json has all"));
        }
    }

    fn json(&self, subject: &Subject, about: &str, cycles: usize, listed: Option<Vec<Value>>) -> Value {
        let stats = &self.stats;
        let sides = |[before, after]: &[u64; 2]| json!({"before": before, "after": after});
        let metrics: BTreeMap<_, _> = self.metrics.iter().map(|(name, it)| (name, sides(it))).collect();
        let levels: BTreeMap<_, _> = self.levels.iter().map(|(name, it)| (name, sides(it))).collect();
        let mut shown = json!({
            "rule": subject.name, "digest": subject.compiled.digest().to_string(), "input": about, "cycles": cycles,
            "batches": self.batches, "points-in": self.points_in, "points-out": self.points_out,
            "dropped-points": stats.dropped_points, "dropped-entities": stats.dropped_entities,
            "relabelled": stats.relabelled, "added-points": stats.added_points,
            "added-entities": stats.added_entities, "merged-points": stats.merged_points,
            "finish-points": self.totals, "failures": self.fault_count, "first-failures": self.faults,
            "levels": levels, "metrics": metrics,
        });
        if let Some(listed) = listed {
            shown["listed"] = listed.into();
        }
        shown
    }
}
