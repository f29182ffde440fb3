//! What a rule did to one batch, entity by entity, for people: an entity stands once, under a short
//! name, and below it what changed.

use std::collections::{BTreeMap, HashMap};

use super::super::console::{Console, Paint, tamed};
use crate::batch::Batch;
use crate::batch::rows::{Detail, Row, level_word};

/// The rows of one entity, and its labels.
#[derive(Default)]
struct Thing {
    labels: BTreeMap<String, String>,
    points: BTreeMap<String, i64>,
    count: usize,
}

/// The things of one short name, before and after.
type Pair = [Option<Thing>; 2];

/// Prints the differences; whether there were any.
pub(super) fn tell(before: &[Row], after: &[Row], console: &Console) -> bool {
    let mut order = Vec::new();
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    for (side, rows) in [before, after].into_iter().enumerate() {
        for row in rows {
            let name = short_name(row);
            let pair = pairs.entry(name.clone()).or_insert_with(|| {
                order.push(name);
                Pair::default()
            });
            pair[side].get_or_insert_default().add(row);
        }
    }
    let mut any = false;
    for name in order {
        any |= match pairs.remove(&name) {
            Some([Some(before), None]) => {
                let points = before.count;
                console.line(console.paint(Paint::Bad, format!("- {name}   with {points} points")));
                true
            }
            Some([None, Some(after)]) => {
                console.line(console.paint(Paint::Good, format!("+ {name}")));
                for (point, _) in after.points {
                    console.line(console.paint(Paint::Good, format!("    + {point}")));
                }
                true
            }
            Some([Some(before), Some(after)]) => changed(&name, &before, &after, console),
            _ => false,
        };
    }
    any
}

impl Thing {
    fn add(&mut self, row: &Row) {
        self.labels.extend(row.labels.iter().cloned());
        let Some(point) = &row.point else { return };
        let bare = Row { level: row.level, labels: vec![], started_at: None, point: Some(point.clone()) };
        let text = bare.text(Detail::default());
        let text = text.split_once("{} ").map_or(text.as_str(), |(_, point)| point);
        *self.points.entry(tamed(text)).or_default() += 1;
        self.count += 1;
    }
}

fn changed(name: &str, before: &Thing, after: &Thing, console: &Console) -> bool {
    let mut lines = Vec::new();
    for (label, value) in &before.labels {
        if after.labels.get(label) != Some(value) {
            lines.push((false, tamed(&format!("label {label}={value}"))));
        }
    }
    for (label, value) in &after.labels {
        if before.labels.get(label) != Some(value) {
            lines.push((true, tamed(&format!("label {label}={value}"))));
        }
    }
    let mut points: BTreeMap<&str, i64> = before.points.iter().map(|(point, count)| (point.as_str(), -count)).collect();
    for (point, count) in &after.points {
        *points.entry(point).or_default() += count;
    }
    for (point, count) in points.into_iter().filter(|(_, count)| *count != 0) {
        for _ in 0..count.unsigned_abs() {
            lines.push((count > 0, point.to_owned()));
        }
    }
    if lines.is_empty() {
        return false;
    }
    console.line(format!("  {name}"));
    for (comes, line) in lines {
        let (paint, mark) = if comes { (Paint::Good, '+') } else { (Paint::Bad, '-') };
        console.line(console.paint(paint, format!("    {mark} {line}")));
    }
    true
}

/// `container shop/web-1/app`; what has none of the names shows all its labels.
fn short_name(row: &Row) -> String {
    let path = row.path();
    let level = level_word(row.level);
    tamed(&if path.starts_with(&format!("{level} {{")) { path } else { format!("{level} {path}") })
}

/// The rows of a batch.
pub(super) fn rows_of(batch: Option<&Batch>, time: i64) -> Vec<Row> {
    batch.map(|batch| crate::batch::rows::rows(batch, time)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::rows::{Descriptors, parse};

    #[test]
    fn a_name_is_short_where_it_can_be() {
        for (row, want) in [
            ("container {container_name=c,namespace_name=n,nodename=x,pod_name=p} m = 1", "container n/p/c"),
            ("system-container {container_name=kubelet,nodename=x} m = 1", "system-container x/kubelet"),
            ("cluster {type=cluster} m = 1", "cluster {type=cluster}"),
            ("other {namespace_name=a,team=b} m = 1", "other {namespace_name=a,team=b}"),
        ] {
            let row = parse(row, &Descriptors::new()).unwrap().remove(0);
            assert_eq!(short_name(&row), want);
        }
    }
}
