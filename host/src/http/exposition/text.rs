//! A plan as text, piece by piece.

use std::hash::BuildHasher as _;
use std::io::Write as _;

use hashbrown::{DefaultHashBuilder, HashSet};

use super::plan::{Family, Line, Plan};
use crate::batch::Value;
use crate::http::metrics::format::Format;
use crate::prometheus::{Form, Labels, info};

/// Lines of a piece.
const LINES: usize = 256;

/// The text of a plan.
pub struct Page {
    plan: Plan,
    format: Format,
    next: usize,
    /// The family whose head stands already.
    open: Option<usize>,
    /// Hashes of the label sets that it has: no series may stand twice.
    seen: HashSet<u64>,
    hasher: DefaultHashBuilder,
    ended: bool,
}

impl Page {
    pub fn new(plan: Plan, format: Format) -> Self {
        let (seen, hasher) = (HashSet::new(), DefaultHashBuilder::default());
        Self { plan, format, next: 0, open: None, seen, hasher, ended: false }
    }

    fn line(&mut self, line: Line, out: &mut Vec<u8>) {
        let Some(family) = self.plan.families.get(line.family as usize) else { return };
        let is_open =
            self.open.and_then(|open| self.plan.families.get(open)).is_some_and(|it| it.name() == family.name());
        if !is_open {
            self.seen.clear();
            head(self.format, family, out);
        }
        self.open = Some(line.family as usize);
        let before = out.len();
        match write(&self.plan, family, line, out) {
            Some(labels) if self.seen.insert(self.hasher.hash_one(&out[labels.0..labels.1])) => {}
            _ => {
                self.plan.left_out += 1;
                out.truncate(before);
            }
        }
    }

    /// What is said of the page itself.
    fn end(&self, out: &mut Vec<u8>) {
        let (snapshot, left_out) = (&self.plan.snapshot, self.plan.left_out);
        let gauge = |name: &str, help: &str, value: f64, out: &mut Vec<u8>| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        };
        if snapshot.cycle() > 0 {
            let time = snapshot.time() as f64 / 1e9;
            gauge("heapster_cycle_time_seconds", "End of the cycle that this page is of, since the epoch.", time, out);
            let help = "Points of the cycle that are not on this page: a series of theirs is there, or the name is another type's.";
            gauge("heapster_points_left_out", help, left_out as f64, out);
        }
        if self.format == Format::OpenMetrics {
            out.extend_from_slice(b"# EOF\n");
        }
    }
}

impl Iterator for Page {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while out.is_empty() && self.next < self.plan.lines.len() {
            let end = (self.next + LINES).min(self.plan.lines.len());
            for at in self.next..end {
                self.line(self.plan.lines[at], &mut out);
            }
            self.next = end;
        }
        if out.is_empty() && !std::mem::replace(&mut self.ended, true) {
            self.end(&mut out);
        }
        (!out.is_empty()).then_some(out)
    }
}

/// What stands before a family's lines.
fn head(format: Format, family: &Family, out: &mut Vec<u8>) {
    let (name, open) = (family.name(), format == Format::OpenMetrics);
    let (suffix, kind, help) = match family {
        Family::Metric(mapped) => match mapped.form {
            Form::Counter => (if open { "" } else { "_total" }, "counter", &*mapped.help),
            Form::Gauge => ("", "gauge", &*mapped.help),
        },
        Family::Info(_) if open => ("", "info", "What it is."),
        Family::Info(_) => ("_info", "gauge", "What it is."),
    };
    let _ = writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
}

/// One line; where its labels stand.
fn write(plan: &Plan, family: &Family, line: Line, out: &mut Vec<u8>) -> Option<(usize, usize)> {
    let entity = plan.snapshot.nth(line.source as usize, 0)?.entity(line.entity as usize)?;
    out.extend_from_slice(family.name().as_bytes());
    match (family, line.place()) {
        (Family::Info(_), _) => {
            let (_, described) = info(entity.level(), entity.labels())?;
            out.extend_from_slice(b"_info");
            let at = labels(&described, out);
            out.extend_from_slice(b" 1\n");
            Some(at)
        }
        (Family::Metric(mapped), Some(place)) => {
            let values = plan.values.get(line.source as usize)?.as_ref()?;
            let sample = entity.sample_at(place, values)?;
            if mapped.form == Form::Counter {
                out.extend_from_slice(b"_total");
            }
            let at = labels(&Labels::of_entity(entity.labels()).with(sample.labels()), out);
            out.push(b' ');
            match sample.value {
                Value::Int(int) if mapped.is_plain() => {
                    out.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
                }
                value => number(mapped.value(value), out),
            }
            out.push(b'\n');
            Some(at)
        }
        (Family::Metric(_), None) => None,
    }
}

fn number(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

/// `{name="value",…}`, or nothing; where it stands.
fn labels(labels: &Labels<'_>, out: &mut Vec<u8>) -> (usize, usize) {
    let start = out.len();
    for (name, value) in labels.iter() {
        out.push(if out.len() == start { b'{' } else { b',' });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        for byte in value.bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'"' => out.extend_from_slice(b"\\\""),
                b'\n' => out.extend_from_slice(b"\\n"),
                other => out.push(other),
            }
        }
        out.push(b'"');
    }
    if out.len() > start {
        out.push(b'}');
    }
    (start, out.len())
}
