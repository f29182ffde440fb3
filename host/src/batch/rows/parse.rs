//! Reads rows, and builds a batch of them.

use std::collections::HashMap;

use super::super::builder::{BatchBuilder, Descriptor};
use super::super::columns::{Batch, Origin};
use super::super::types::{Kind, Level, Merge, UNKNOWN_AT, ValueType};
use super::super::view::Value;
use super::{Row, RowPoint};

/// Rows that one text may have: ten times a large node.
const MAX_ROWS: usize = 200_000;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct RowError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// Kind, unit, value type and merge of the metrics that rows name.
pub type Descriptors = HashMap<String, OwnedDescriptor>;

/// A [`Descriptor`] without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedDescriptor {
    /// Its unit.
    pub unit: String,
    /// Gauge or cumulative.
    pub kind: Kind,
    /// Integer or float.
    pub value: ValueType,
    /// How two values of one series combine.
    pub merge: Merge,
}

/// What tells entities apart: level, labels and start time.
type Identity<'r> = (Level, &'r [(String, String)], Option<i64>);

/// Reads one row a line; empty lines and those that begin with `#` count for nothing. A metric
/// that `metrics` does not name is a float where its value is written with a point or an exponent.
///
/// # Errors
/// [`RowError`] for the first line that is no row.
pub fn parse(text: &str, metrics: &Descriptors) -> Result<Vec<Row>, RowError> {
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |what: String| RowError { line: at + 1, what };
        if rows.len() == MAX_ROWS {
            return Err(error(format!("more than {MAX_ROWS} rows; split the case")));
        }
        rows.push(row(line, metrics).map_err(error)?);
    }
    Ok(rows)
}

/// A batch of these rows. Rows with equal level, labels and start time are one entity, which
/// stands where the first of them stands. `time` is the cycle's, ns since the epoch.
///
/// # Errors
/// What is wrong with one of the values.
pub fn build(rows: &[Row], origin: Origin, time: i64, metrics: &Descriptors) -> Result<Batch, String> {
    let mut order: Vec<Vec<&Row>> = Vec::new();
    let mut known: HashMap<Identity<'_>, usize> = HashMap::new();
    for row in rows {
        let at = *known.entry((row.level, &row.labels, row.started_at)).or_insert_with(|| {
            order.push(Vec::new());
            order.len() - 1
        });
        order[at].push(row);
    }
    let mut builder = BatchBuilder::new(origin, time);
    for rows in order {
        let Some(first) = rows.first() else { continue };
        builder.entity(first.level, first.started_at.unwrap_or(0));
        for (name, value) in &first.labels {
            let (name, value) = (builder.symbol(name), builder.symbol(value));
            builder.label(name, value);
        }
        for point in rows.iter().filter_map(|row| row.point.as_ref()) {
            add_point(&mut builder, point, metrics)?;
        }
    }
    Ok(builder.build())
}

fn add_point(builder: &mut BatchBuilder, point: &RowPoint, metrics: &Descriptors) -> Result<(), String> {
    let (value, bits) = match point.value {
        Value::Int(value) => (ValueType::Int, value.cast_unsigned()),
        Value::Float(value) => (ValueType::Float, value.to_bits()),
    };
    let name = &*point.metric;
    let descriptor = metrics.get(name).map_or(Descriptor { value, ..Descriptor::gauge(name, "") }, |known| {
        Descriptor { name, unit: &known.unit, kind: known.kind, value: known.value, merge: known.merge }
    });
    let metric = builder.metric(descriptor);
    if builder.value_type(metric) != value {
        return Err(format!("`{name}` has whole numbers and others; write all with a point, as in 1.0"));
    }
    let labels: Vec<(u32, u32)> =
        point.labels.iter().map(|(name, value)| (builder.symbol(name), builder.symbol(value))).collect();
    let set = builder.label_set(&labels);
    let at = match point.at_ms {
        None => UNKNOWN_AT,
        Some(ms) => i32::try_from(ms).map_err(|_| format!("`{ms}ms` is more than 24 days from the cycle's time"))?,
    };
    builder.point(metric, set, at, bits);
    Ok(())
}

/// Reads from the start of what is left.
struct Reader<'a> {
    left: &'a str,
}

fn row(line: &str, metrics: &Descriptors) -> Result<Row, String> {
    let mut reader = Reader { left: line };
    let level = reader.level()?;
    let (labels, started_at) = reader.labels()?;
    reader.space();
    if reader.left.is_empty() {
        return Ok(Row { level, labels, started_at, point: None });
    }
    let metric = reader.metric()?;
    let (own, started) = if reader.left.starts_with('{') { reader.labels()? } else { (Vec::new(), None) };
    if started.is_some() {
        return Err("`@started` belongs to the entity's labels, not to the point's".to_owned());
    }
    reader.space();
    reader.take('=', "after the metric's name comes ` = ` and its value")?;
    let value = value(reader.word(), metrics.get(&metric).map(|known| known.value))?;
    let at_ms = reader.at()?;
    reader.space();
    if !reader.left.is_empty() {
        return Err(format!("`{}` is too much", reader.left));
    }
    Ok(Row { level, labels, started_at, point: Some(RowPoint { metric, labels: own, value, at_ms }) })
}

impl Reader<'_> {
    fn space(&mut self) {
        self.left = self.left.trim_start();
    }

    fn take(&mut self, c: char, what: &str) -> Result<(), String> {
        self.left = self.left.strip_prefix(c).ok_or_else(|| format!("{what}; found `{}`", short(self.left)))?;
        self.space();
        Ok(())
    }

    fn level(&mut self) -> Result<Level, String> {
        let word = self.left.split([' ', '{']).next().unwrap_or_default();
        let level = [
            Level::Cluster,
            Level::Node,
            Level::Namespace,
            Level::Pod,
            Level::Container,
            Level::SystemContainer,
            Level::Other,
        ]
        .into_iter()
        .find(|&level| super::level_word(level) == word);
        let level = level.ok_or_else(|| {
            format!(
                "`{}` is no level; a row begins with cluster, node, namespace, pod, container, \
                 system-container or other, as in `pod {{pod_name=web}} memory/usage = 1`",
                short(word)
            )
        })?;
        self.left = &self.left[word.len()..];
        self.space();
        Ok(level)
    }

    /// `{name=value,…}`, sorted by name, and the start time that may be among them.
    #[allow(clippy::type_complexity, reason = "two things that stand in one place")]
    fn labels(&mut self) -> Result<(Vec<(String, String)>, Option<i64>), String> {
        self.take('{', "labels stand in braces, as in `pod {pod_name=web}`")?;
        let (mut labels, mut started) = (Vec::new(), None);
        loop {
            if let Some(rest) = self.left.strip_prefix('}') {
                self.left = rest;
                break;
            }
            if let Some(rest) = self.left.strip_prefix("@started=") {
                self.left = rest;
                started = Some(time(&self.text(",}", "a time")?)?);
            } else {
                let name = self.text("=,}", "a label's name")?;
                self.take('=', "after a label's name comes `=`")?;
                let value = self.text(",}", "")?;
                labels.push((name, value));
            }
            self.space();
            match self.left.strip_prefix(',') {
                Some(rest) => self.left = rest.trim_start(),
                None if self.left.starts_with('}') => {}
                None => return Err(format!("labels end with `}}`; found `{}`", short(self.left))),
            }
        }
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("label `{}` stands twice", pair[0].0));
        }
        Ok((labels, started))
    }

    /// A quoted string, or all up to one of `ends`. `what` names what must not be empty.
    fn text(&mut self, ends: &str, what: &str) -> Result<String, String> {
        if self.left.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(self.left).into_iter::<String>();
            let text = strings.next().and_then(Result::ok);
            let text = text.ok_or_else(|| format!("`{}` is no string in quotes", short(self.left)))?;
            let read = strings.byte_offset();
            self.left = &self.left[read..];
            return Ok(text);
        }
        let end = self.left.find(|c| ends.contains(c)).unwrap_or(self.left.len());
        let (text, rest) = self.left.split_at(end);
        let text = text.trim_end();
        if text.is_empty() && !what.is_empty() {
            return Err(format!("{what} is missing before `{}`", short(rest)));
        }
        self.left = rest;
        Ok(text.to_owned())
    }

    /// A metric's name, which ends at its labels or at ` = `.
    fn metric(&mut self) -> Result<String, String> {
        if self.left.starts_with('"') {
            return self.text("", "");
        }
        let ends = [self.left.find('{'), self.left.find(" = ")];
        let end = ends.into_iter().flatten().min().or_else(|| self.left.find('='));
        let (name, rest) = self.left.split_at(end.unwrap_or(self.left.len()));
        if name.trim_end().is_empty() {
            return Err(format!("a metric's name is missing before `{}`", short(rest)));
        }
        self.left = rest;
        Ok(name.trim_end().to_owned())
    }

    fn word(&mut self) -> &str {
        let end = self.left.find(char::is_whitespace).unwrap_or(self.left.len());
        let (word, rest) = self.left.split_at(end);
        self.left = rest;
        word
    }

    /// ` @ -500ms`, ms relative to the cycle's time.
    fn at(&mut self) -> Result<Option<i64>, String> {
        self.space();
        let Some(rest) = self.left.strip_prefix('@') else { return Ok(None) };
        self.left = rest.trim_start();
        let word = self.word();
        let read = |unit: &str| word.strip_suffix(unit).and_then(|number| number.parse::<i64>().ok());
        match read("ms").or_else(|| read("s").and_then(|seconds| seconds.checked_mul(1000))) {
            Some(ms) => Ok(Some(ms)),
            None => Err(format!("`@ {word}` is no time of measurement; write it as `@ -500ms` or `@ -2s`")),
        }
    }
}

fn value(word: &str, known: Option<ValueType>) -> Result<Value, String> {
    let is_int = word.strip_prefix(['-', '+']).unwrap_or(word).bytes().all(|byte| byte.is_ascii_digit());
    let kind = known.unwrap_or(if is_int { ValueType::Int } else { ValueType::Float });
    let parsed = match kind {
        ValueType::Int => word.parse().ok().map(Value::Int),
        ValueType::Float => word.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float),
    };
    parsed.ok_or_else(|| match kind {
        ValueType::Int => format!("`{word}` is no whole number from {} to {}", i64::MIN, i64::MAX),
        ValueType::Float => format!("`{word}` is no finite number"),
    })
}

fn time(text: &str) -> Result<i64, String> {
    let time: Option<jiff::Timestamp> = text.parse().ok();
    time.and_then(|time| i64::try_from(time.as_nanosecond()).ok())
        .ok_or_else(|| format!("`{text}` is no time; write it as 2026-01-01T00:00:00Z"))
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Detail, rows};
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_written() {
        let text = "\
            container {container_name=busy,pod_name=web} cpu/usage_rate = 50\n\
            node {} uptime = 1.5\n\
            pod {@started=2026-01-01T00:00:00Z,\"=d\"=a=b,a=,b c=\"x,y=\\\"z\\\"\"} fs/usage{resource_id=/,v w=1} = -7 @ -500ms\n\
            system-container {container_name=kubelet} \"odd = name\"{x=\" \"} = 0\n\
            system-container {container_name=kubelet} \"a{b\" = 0";
        let full = Detail { started: true, at: true };
        let time = 1_767_225_660_000_000_000;
        let parsed = parse(text, &Descriptors::new()).unwrap();
        let again: Vec<String> = parsed.iter().map(|row| row.text(full)).collect();
        assert_eq!(again.join("\n"), text);
        let batch = build(&parsed, Origin::Node("n".into()), time, &Descriptors::new()).unwrap();
        assert_eq!(rows(&batch, time), parsed);
    }

    #[test]
    fn rows_of_one_entity_need_not_stand_together() {
        let text = "pod {a=1} x = 1\npod {a=2} x = 2\n# a remark\n\npod {a=1} y = 3\nother {}";
        let parsed = parse(text, &Descriptors::new()).unwrap();
        let batch = build(&parsed, Origin::Node("n".into()), 0, &Descriptors::new()).unwrap();
        assert_eq!((batch.entities.len(), batch.points.len()), (3, 3));
        assert_eq!(batch.entities.point_ends, [2, 3, 3]);
    }

    #[test]
    fn what_is_no_row_is_named_with_its_line() {
        for (text, want) in [
            ("node {} x = 1\npodd {} x = 1", "line 2: `podd` is no level"),
            ("pod web = 1", "labels stand in braces"),
            ("pod {a} x = 1", "after a label's name comes `=`"),
            ("pod {a=1,a=2} x = 1", "label `a` stands twice"),
            ("pod {a=1 x = 1", "labels end with `}`"),
            ("pod {a=\"1} x = 1", "no string in quotes"),
            ("pod {a=1} x 1", "after the metric's name comes"),
            ("pod {a=1} x = one", "`one` is no finite number"),
            ("pod {a=1} x = NaN", "`NaN` is no finite number"),
            ("pod {a=1} x = 9223372036854775808", "is no whole number"),
            ("pod {a=1} x = 1 @ now", "no time of measurement"),
            ("pod {a=1} x = 1 2", "`2` is too much"),
            ("pod {@started=today} x = 1", "`today` is no time"),
            ("pod {} x{@started=2026-01-01T00:00:00Z} = 1", "belongs to the entity"),
            ("pod {=1} x = 1", "a label's name is missing"),
        ] {
            let error = parse(text, &Descriptors::new()).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn a_wanted_row_minds_times_only_where_it_names_them() {
        let row = |text: &str| parse(text, &Descriptors::new()).unwrap().remove(0);
        let got = row("pod {@started=2026-01-01T00:00:00Z} x = 1 @ 5ms");
        for (text, wanted) in [
            ("pod {} x = 1", true),
            ("pod {} x = 1 @ 5ms", true),
            ("pod {} x = 1 @ 6ms", false),
            ("pod {@started=2026-01-01T00:00:01Z} x = 1", false),
            ("pod {} x = 1.0", false),
            ("pod {} x", false),
        ] {
            let parsed = parse(text, &Descriptors::new());
            assert_eq!(parsed.is_ok_and(|rows| rows[0].wants(&got)), wanted, "{text}");
        }
    }

    #[test]
    fn a_descriptor_says_how_a_value_is_read() {
        let descriptor =
            OwnedDescriptor { unit: "s".into(), kind: Kind::Cumulative, value: ValueType::Float, merge: Merge::Max };
        let metrics = Descriptors::from([("x".to_owned(), descriptor)]);
        let rows = parse("pod {} x = 1", &metrics).unwrap();
        assert_eq!(rows[0].point.as_ref().unwrap().value, Value::Float(1.0));
        let batch = build(&rows, Origin::Node("n".into()), 0, &metrics).unwrap();
        assert_eq!((batch.metrics.kind[0], batch.metrics.merge[0]), (1, 2));
        let mixed = parse("pod {} y = 1\npod {} y = 1.5", &metrics).unwrap();
        assert!(build(&mixed, Origin::Node("n".into()), 0, &metrics).unwrap_err().contains("`y`"));
    }
}
