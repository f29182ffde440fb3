//! Carries an edit out and prints the rows.

use std::collections::BTreeMap;

use crate::batch::{Symbol, span};
use crate::types::{Level, Value, ValueType};
use crate::{Batch, wit};

/// Carries an edit out, row by row and without haste.
pub(super) fn rows(whole: &Batch, edit: &wit::Edit) -> Vec<String> {
    let batch = &whole.raw;
    let names = Names { whole, batch, edit };
    let mut rows = Vec::new();
    for row in 0..batch.entities.level.len() {
        if edit.keep_entities.get(row) == Some(&0) {
            continue;
        }
        let mut labels = names.labels(&batch.entities, row);
        for change in (0..edit.relabel_entity.len()).filter(|&at| edit.relabel_entity[at] as usize == row) {
            let name = names.symbol(edit.relabel_name[change]);
            if edit.relabel_value[change] == u32::MAX {
                labels.remove(&name);
            } else {
                labels.insert(name, names.symbol(edit.relabel_value[change]));
            }
        }
        let head = names.head(batch.entities.level[row], &labels);
        for point in span(&batch.entities.point_ends, row) {
            if edit.keep_points.get(point) != Some(&0) {
                rows.push(format!("{head} {}", names.point(&batch.points, point)));
            }
        }
        for point in (0..edit.added_entity.len()).filter(|&at| edit.added_entity[at] as usize == row) {
            rows.push(format!("{head} {}", names.point(&edit.added, point)));
        }
    }
    for row in 0..edit.new_entities.level.len() {
        let head = names.head(edit.new_entities.level[row], &names.labels(&edit.new_entities, row));
        for point in span(&edit.new_entities.point_ends, row) {
            rows.push(format!("{head} {}", names.point(&edit.new_points, point)));
        }
    }
    rows
}

/// Finds the strings behind ids that may be the batch's or the edit's.
struct Names<'a> {
    whole: &'a Batch,
    batch: &'a wit::Batch,
    edit: &'a wit::Edit,
}

impl Names<'_> {
    fn symbol(&self, id: u32) -> String {
        let old = self.batch.symbols.ends.len();
        let added = &self.edit.new_symbols;
        match (id as usize).checked_sub(old) {
            None => self.whole.text(Symbol(id)).to_owned(),
            Some(row) => String::from_utf8_lossy(&added.text[span(&added.ends, row)]).into_owned(),
        }
    }

    fn labels(&self, entities: &wit::Entities, row: usize) -> BTreeMap<String, String> {
        span(&entities.label_ends, row)
            .map(|at| (self.symbol(entities.label_names[at]), self.symbol(entities.label_values[at])))
            .collect()
    }

    fn head(&self, level: u8, labels: &BTreeMap<String, String>) -> String {
        let level = Level::from_byte(level).map_or_else(|| format!("level {level}"), |level| level.to_string());
        format!("{level} {}", braced(labels.iter().map(|(name, value)| (name.clone(), value.clone()))))
    }

    fn point(&self, points: &wit::Points, row: usize) -> String {
        let old = self.batch.metrics.name.len();
        let (metrics, metric) = match (points.metric[row] as usize).checked_sub(old) {
            None => (&self.batch.metrics, points.metric[row] as usize),
            Some(metric) => (&self.edit.new_metrics, metric),
        };
        let value = match Value::from_bits(
            points.bits[row],
            ValueType::from_byte(metrics.value[metric]).unwrap_or(ValueType::Int),
        ) {
            Value::Int(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
        };
        format!("{}{} = {value}", word(&self.symbol(metrics.name[metric])), self.own_labels(points.labels[row]))
    }

    fn own_labels(&self, set: u32) -> String {
        if set == 0 {
            return String::new();
        }
        let old = self.batch.label_sets.ends.len();
        let (sets, row) = match (set as usize).checked_sub(old) {
            None => (&self.batch.label_sets, set as usize),
            Some(row) => (&self.edit.new_label_sets, row),
        };
        braced(span(&sets.ends, row).map(|at| (self.symbol(sets.names[at]), self.symbol(sets.values[at]))))
    }
}

fn braced(labels: impl Iterator<Item = (String, String)>) -> String {
    let labels: Vec<String> = labels
        .map(|(name, value)| {
            // A name ends at the first `=`.
            let name = if name.contains('=') { quoted(&name) } else { word(&name) };
            format!("{name}={}", word(&value))
        })
        .collect();
    format!("{{{}}}", labels.join(","))
}

/// Text as it is, or as a JSON string where its end could not be told.
fn word(text: &str) -> String {
    let plain = |c: char| !matches!(c, ',' | '{' | '}' | '"') && !c.is_control();
    if text.chars().all(plain) && text.trim() == text { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_whose_end_could_not_be_told_is_quoted() {
        for (text, want) in [
            ("web", "web"),
            ("", ""),
            ("a=b c", "a=b c"),
            ("a,b", r#""a,b""#),
            ("{", r#""{""#),
            ("say \"hi\"", r#""say \"hi\"""#),
            (" a", r#"" a""#),
            ("a\nb", r#""a\nb""#),
        ] {
            assert_eq!(word(text), want);
        }
        assert_eq!(braced([("a=b".to_owned(), "c".to_owned())].into_iter()), r#"{"a=b"=c}"#);
    }
}
