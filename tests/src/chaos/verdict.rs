//! What became of every point.

use std::collections::BTreeSet;

use super::Report;
use super::door::Book;
use super::host::Life;
use super::lines::{Keys, time};
use super::plan::{Plan, RESOLUTION};

/// The sink under test, and the one that takes everything, by their places in the configuration.
const TESTED: usize = 0;
const CONTROL: usize = 1;
/// Keys that a message shows.
const SHOWN: usize = 3;

/// Holds the ledgers against what went through the doors and what the database has.
pub(super) fn judge(plan: &Plan, lives: &[Life], door: &Book, control: &Book, stored: &Keys, report: &mut Report) {
    let there: Keys = control.granted.iter().cloned().collect();
    let granted: Keys = door.granted.iter().cloned().collect();
    let mut wrong = |what: String| report.faults.push(what);

    for (name, book) in [("tested", door), ("control", control)] {
        if let Some(line) = book.nonsense.first() {
            wrong(format!("{name}: a body that cannot be read: {line}"));
        }
    }
    // What the server said that it took is there, once (`stored` is a set, and InfluxDB keeps one
    // point for a series and time), and nothing is there that was never asked to be written.
    expect_none(&mut wrong, "granted and not stored", granted.difference(stored));
    expect_none(&mut wrong, "stored and never asked for", stored.difference(&door.asked));

    let (mut written, mut dropped, mut recovered) = (0, 0, 0);
    for (at, life) in lives.iter().enumerate() {
        let (tested, control) = (life.ledger(TESTED), life.ledger(CONTROL));
        written += tested.written;
        dropped += tested.dropped();
        recovered += tested.recovered;
        if life.killed.is_none() {
            if tested.offered != control.offered {
                wrong(format!("life {at}: {} points offered, {} to the other sink", tested.offered, control.offered));
            }
            if control.written != control.offered {
                wrong(format!("life {at}: the sink that has no trouble lost points: {control:?}"));
            }
            if tested.queued != 0 {
                wrong(format!("life {at}: {} points left", tested.queued));
            }
        }
    }
    let kills = lives.iter().filter(|life| life.killed.is_some()).count();
    if kills == 0 && written != door.granted.len() as u64 {
        wrong(format!("{written} points written by the ledger, {} granted", door.granted.len()));
    }
    if written > door.granted.len() as u64 {
        wrong(format!("{written} points written by the ledgers, no more than {} granted", door.granted.len()));
    }
    let again = door.granted.len() - granted.len();
    if kills == 0 && !plan.jumps() && again > 0 {
        wrong(format!("{again} points were sent again though they had been granted"));
    }

    // What there was to be written and is not there was dropped, or went with a killed process.
    let missing: BTreeSet<&String> = there.difference(stored).collect();
    let window = i64::try_from(RESOLUTION.as_nanos()).unwrap_or(i64::MAX);
    let went_with =
        |key: &&&String| lives.iter().filter_map(|life| life.killed).any(|at| (at - window..=at).contains(&time(key)));
    let killed = missing.iter().filter(went_with).count() as u64;
    // What is in no spool goes with the process: all of memory, or what came while the disk was full.
    let waited: u64 = lives.iter().filter(|life| life.killed.is_some()).map(|life| life.ledger(TESTED).unsaved).sum();
    let unexplained = (missing.len() as u64 - killed).saturating_sub(dropped + waited);
    if unexplained > 0 {
        let some: Vec<_> = missing.iter().filter(|key| !went_with(key)).take(SHOWN).collect();
        wrong(format!(
            "{unexplained} points are missing, such as {some:?}; {} in all, {dropped} dropped",
            missing.len()
        ));
    }
    if kills == 0 && !plan.jumps() && missing.len() as u64 != dropped && !has_lost_answers(plan) {
        wrong(format!("{dropped} points dropped by the ledger, {} missing", missing.len()));
    }
    (report.points, report.dropped, report.killed, report.recovered) = (there.len() as u64, dropped, killed, recovered);
    if report.points == 0 {
        report.faults.push("there was nothing to be written".to_owned());
    }
}

/// Points whose answer was lost may be there and yet be dropped later on.
fn has_lost_answers(plan: &Plan) -> bool {
    use super::plan::Fault::{LostAnswer, PauseServer, Slow, StopServer};
    plan.events.iter().any(|event| matches!(event.fault, LostAnswer | PauseServer | Slow(_) | StopServer))
}

fn expect_none<'k>(wrong: &mut impl FnMut(String), what: &str, keys: impl Iterator<Item = &'k String>) {
    let keys: Vec<&String> = keys.collect();
    if !keys.is_empty() {
        wrong(format!("{} points {what}, such as {:?}", keys.len(), &keys[..keys.len().min(SHOWN)]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::host::Ledger;
    use super::super::plan::Queue;
    use super::*;

    const S: i64 = 1_000_000_000;

    fn ledger(offered: u64, written: u64, dropped: u64, queued: u64) -> Ledger {
        let text = json!({
            "sink": "s", "offered": offered, "recovered": 0, "written": written, "queued": queued,
            "imbalance": 0, "dropped": dropped,
        });
        serde_json::from_value(text).unwrap()
    }

    fn life(tested: Ledger, killed: Option<i64>) -> Life {
        let control = ledger(tested.offered, tested.offered, 0, 0);
        Life { ledgers: vec![tested, control], killed }
    }

    fn key(time: i64) -> String {
        format!("m tags {}", time * S)
    }

    /// Ten points were there, at seconds 0, 10, 20…; the first `stored` of them are stored, and those
    /// with these numbers were granted.
    fn faults(lives: &[Life], stored: &[i64], granted: &[i64]) -> Vec<String> {
        let plan =
            (0..).map(Plan::of).find(|plan| plan.queue == Queue::Spool && !plan.jumps() && !has_lost_answers(plan));
        let all: Vec<String> = (0..10).map(|number| key(number * 10)).collect();
        let pick = |numbers: &[i64]| numbers.iter().map(|number| key(number * 10)).collect::<Vec<_>>();
        let door = Book { asked: all.iter().cloned().collect(), granted: pick(granted), nonsense: Vec::new() };
        let control = Book { asked: Keys::new(), granted: all, nonsense: Vec::new() };
        let mut report = Report::default();
        judge(&plan.unwrap(), lives, &door, &control, &pick(stored).into_iter().collect(), &mut report);
        report.faults
    }

    #[test]
    fn what_is_accounted_for_is_no_fault_and_what_is_not_is() {
        let all: Vec<i64> = (0..10).collect();
        let whole = [life(ledger(10, 10, 0, 0), None)];
        assert_eq!(faults(&whole, &all, &all), Vec::<String>::new());
        let dropped = [life(ledger(10, 8, 2, 0), None)];
        assert_eq!(faults(&dropped, &all[..8], &all[..8]), Vec::<String>::new());
        // Killed at 90 s: what is of the last cycle went with it.
        let killed = [life(ledger(10, 9, 0, 1), Some(90 * S))];
        assert_eq!(faults(&killed, &all[..9], &all[..9]), Vec::<String>::new());

        for (name, lives, stored, granted, want) in [
            ("granted and lost", &whole, &all[..9], &all[..], "granted and not stored"),
            ("lost and not counted", &whole, &all[..9], &all[..9], "written by the ledger"),
            ("sent twice", &whole, &all[..], &[&all[..], &all[..1]].concat(), "sent again"),
            ("lost long before the kill", &killed, &all[1..], &all[1..], "points are missing"),
            ("dropped and yet there", &dropped, &all[..], &all[..8], "dropped by the ledger"),
        ] {
            let faults = faults(lives, stored, granted);
            assert!(faults.iter().any(|fault| fault.contains(want)), "{name}: {faults:?}");
        }
    }
}
