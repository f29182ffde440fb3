//! Reading cases, and blessing them with what a run gave.

use std::time::Duration;

use super::run::{Found, Outcome};
use super::{Case, NotBlessed, Wanted, bless};
use crate::batch::rows::{Descriptors, Row, parse};

fn rows(text: &str) -> Vec<Row> {
    parse(text, &Descriptors::new()).unwrap()
}

const CASE: &str = "\
description = \"two cycles\" # said
[settings]
floor = 5
[metrics]
\"cpu/usage\" = { kind = \"cumulative\", unit = \"ns\" }
[[cycle]]
window = \"10s\"
rows = '''
pod {a=1} cpu/usage = 1
'''
# what comes out
want = '''
pod {a=1} cpu/usage = 9
'''
[[cycle]]
[[cycle.batch]]
node = \"b\"
rows = 'pod {a=2} cpu/usage = 2'
[[cycle.batch]]
node = \"c\"
rows = 'pod {a=3} cpu/usage = 3' # one line
want = ''
";

fn outcome(found: Vec<Found>) -> Outcome {
    Outcome { problems: vec![], found, took: Duration::ZERO }
}

#[test]
fn a_case_is_read() {
    let case = Case::read(CASE).unwrap();
    assert_eq!(case.description, "two cycles");
    assert_eq!(case.settings["floor"], 5);
    let first = &case.cycles[0];
    assert_eq!((first.window, first.batches.len()), (Duration::from_secs(10), 1));
    assert_eq!(first.finish, Wanted::Rows(vec![]));
    assert_eq!(first.cycle(false).time, 1_767_225_610_000_000_000);
    let second = &case.cycles[1];
    assert_eq!((second.batches[1].node.as_str(), second.cycle(true).nodes_answered), ("c", 2));
    assert_eq!(second.batches[0].want, None);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cycle = "[[cycle]]\nrows = '''\n";
    for (text, want) in [
        ("", "has no [[cycle]] and no `refused`"),
        ("refused = 'x'\n[[cycle]]\n", "take the cycles away"),
        ("[[cycles]]\n", "unknown field `cycles`"),
        ("[[cycle]]\nwants = ''\n", "unknown field `wants`"),
        ("[[cycle]]\nwant = ''\n", "cycle 1: has no `rows`"),
        ("[[cycle]]\nrows = ''\n[[cycle.batch]]\nrows = ''\n", "move `node`, `rows`"),
        ("[[cycle]]\n[[cycle.batch]]\nrows = ''\n[[cycle.batch]]\nrows = ''\n", "two batches of node `node-a`"),
        ("[[cycle]]\nrows = ''\nwant = ''\nerror = ''\n", "has `want` and `error`"),
        ("[[cycle]]\nfinish = ''\nfinish-error = ''\n", "has `finish` and `finish-error`"),
        ("[[cycle]]\nwindow = '1ms'\n", "`window` is `1ms`"),
        ("[metrics]\nx = { kind = 'sum' }\n[[cycle]]\n", "`kind` is `sum`; write `gauge` or `cumulative`"),
        (&format!("{cycle}pod {{}} x = 1\npdo {{}} x = 1\n'''"), "line 4: `pdo` is no level"),
        ("[[cycle]]\nrows = ''\nwant = 'pod {}'\n", "without a metric"),
        ("settings = { x = nan }\n[[cycle]]\n", "`settings.x`"),
    ] {
        let problems = Case::read(text).unwrap_err().join("\n");
        assert!(problems.contains(want), "{text}: {problems}");
    }
}

#[test]
fn what_came_out_is_written_in_its_place() {
    let case = Case::read(CASE).unwrap();
    let blessed = bless(
        CASE,
        &case,
        &outcome(vec![
            Found::Batch(Ok(rows("pod {a=1} cpu/usage = 1"))),
            Found::Finish(Ok(vec![])),
            Found::Batch(Ok(rows("pod {b=2} cpu/usage = 2\npod {a=2} cpu/usage = 2"))),
            Found::Batch(Err("refuses the batch: oddly".into())),
            Found::Finish(Ok(rows("other {} sum = 5"))),
        ]),
    )
    .unwrap();
    let wanted = CASE
        .replace("cpu/usage = 9", "cpu/usage = 1")
        .replace("[[cycle]]\n[[", "[[cycle]]\nfinish = '''\nother {} sum = 5\n'''\n[[")
        .replace("cpu/usage = 2'", "cpu/usage = 2'\nwant = '''\npod {a=2} cpu/usage = 2\npod {b=2} cpu/usage = 2\n'''")
        .replace("want = ''\n", "error = \"refuses the batch: oddly\"\n");
    assert_eq!(blessed, wanted);
}

#[test]
fn a_wanted_part_of_an_error_stays_and_times_are_written_where_the_case_has_some() {
    let text = "[[cycle]]\nrows = 'pod {} x = 1 @ 1s'\nerror = 'odd'\nfinish = ''\n";
    let case = Case::read(text).unwrap();
    let made = Found::Finish(Ok(rows("pod {} x = 1 @ 0s")));
    let blessed = bless(text, &case, &outcome(vec![Found::Batch(Err("an odd thing".into())), made])).unwrap();
    assert_eq!(blessed, text.replace("finish = ''", "finish = '''\npod {} x = 1 @ 0ms\n'''"));
}

#[test]
fn a_form_that_can_not_be_changed_in_place_is_left_alone() {
    let text = "cycle = [{ rows = 'pod {} x = 1' }]\n";
    let case = Case::read(text).unwrap();
    let found = vec![Found::Batch(Ok(rows("pod {} x = 2"))), Found::Finish(Ok(vec![]))];
    assert_eq!(bless(text, &case, &outcome(found)), Err(NotBlessed::Form));
}
