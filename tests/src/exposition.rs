//! A strict reader of Prometheus' text formats: OpenMetrics 1.0.0 and 0.0.4. What a lenient one would let pass (families
//! in two places, a series twice, types after their series) is an error.

use std::collections::{BTreeMap, BTreeSet};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' own, 0.0.4.
    Text,
}

/// One family.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family {
    /// As its TYPE line says.
    pub kind: String,
    /// As its HELP line says.
    pub help: String,
    /// Values by the name of the series and its labels.
    pub series: BTreeMap<Series, f64>,
}

/// A series: its name and its labels.
pub type Series = (String, BTreeMap<String, String>);

/// Reads a page.
///
/// # Errors
/// The line that is wrong, and what is wrong with it.
pub fn parse(page: &str, format: Format) -> Result<BTreeMap<String, Family>, String> {
    let page = match format {
        Format::OpenMetrics => page.strip_suffix("# EOF\n").ok_or("`# EOF` is not the last line")?,
        Format::Text => page,
    };
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut open, mut closed) = (String::new(), BTreeSet::new());
    for line in page.lines() {
        let wrong = |what: &str| Err(format!("{what}: {line}"));
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (Some(keyword), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
                return wrong("no line of ours");
            };
            if name != open {
                closed.insert(std::mem::replace(&mut open, name.to_owned()));
                if closed.contains(name) {
                    return wrong("the family stands in two places");
                }
            }
            let family = families.entry(name.to_owned()).or_default();
            let place = match keyword {
                "HELP" => &mut family.help,
                "TYPE" if ["counter", "gauge"].contains(&text) => &mut family.kind,
                "TYPE" if text == "info" && format == Format::OpenMetrics => &mut family.kind,
                _ => return wrong("unknown keyword or type"),
            };
            if !place.is_empty() || !family.series.is_empty() {
                return wrong("twice, or after a series");
            }
            *place = text.to_owned();
            continue;
        }
        let (name, labels, value) = sample(line).map_err(|what| format!("{what}: {line}"))?;
        let Some(family) = families.get_mut(&open) else { return wrong("a series without a family") };
        let suffix = match (format, family.kind.as_str()) {
            (Format::OpenMetrics, "counter") => "_total",
            (Format::OpenMetrics, "info") => "_info",
            _ => "",
        };
        if name.strip_suffix(suffix) != Some(open.as_str()) {
            return wrong("a series of another family");
        }
        if (family.kind == "counter") != name.ends_with("_total") {
            return wrong("only counters end in _total");
        }
        if family.kind == "counter" && !(value >= 0.0 && value.is_finite()) {
            return wrong("a counter's value");
        }
        if family.series.insert((name, labels), value).is_some() {
            return wrong("the series stands twice");
        }
    }
    match families.iter().find(|(_, it)| it.kind.is_empty() || it.help.is_empty() || it.series.is_empty()) {
        Some((name, _)) => Err(format!("{name} has no type, no help or no series")),
        None => Ok(families),
    }
}

/// `name{label="value",…} value`, and nothing more.
fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, f64), &'static str> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("bad name");
    }
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(label, false) || label.starts_with("__") {
                return Err("bad label name");
            }
            let (value, after) = quoted(after)?;
            if value.is_empty() || labels.insert(label.to_owned(), value).is_some() {
                return Err("a label that is empty or stands twice");
            }
            rest = match after.strip_prefix(',') {
                Some(more) => more,
                None => break rest = after.strip_prefix('}').ok_or("no closing brace")?,
            };
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let number = match value {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        other if other.bytes().all(|byte| b"0123456789.e+-".contains(&byte)) => {
            other.parse().map_err(|_| "bad value")?
        }
        _ => return Err("bad value"),
    };
    Ok((name.to_owned(), labels, number))
}

/// The value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('\\' | '"'))) => escaped,
                _ => return Err("bad escape"),
            }),
            other => value.push(other),
        }
    }
    Err("no closing quote")
}

fn is_name(name: &str, colons: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_strictly_right_is_an_error() {
        for (name, page, want) in [
            ("good", "# HELP a x\n# TYPE a gauge\na{b=\"c\\n\\\"\"} 1.5\na 2\n", ""),
            ("no type", "a 2\n", "a series without a family"),
            ("twice", "# HELP a x\n# TYPE a gauge\na 1\na 2\n", "the series stands twice"),
            (
                "apart",
                "# HELP a x\n# TYPE a gauge\na 1\n# HELP b x\n# TYPE b gauge\nb 1\n# TYPE a gauge\n",
                "the family",
            ),
            ("total", "# HELP a x\n# TYPE a counter\na 1\n", "only counters end in _total"),
            ("escape", "# HELP a x\n# TYPE a gauge\na{b=\"\\t\"} 1\n", "bad escape"),
            ("label", "# HELP a x\n# TYPE a gauge\na{1b=\"\"} 1\n", "bad label name"),
            ("time", "# HELP a x\n# TYPE a gauge\na 1 1000\n", "bad value"),
            ("empty", "# HELP a x\n# TYPE a gauge\n", "a has no type"),
        ] {
            let error = parse(page, Format::Text).err().unwrap_or_default();
            assert!(error.starts_with(want) && error.is_empty() == want.is_empty(), "{name}: {error}");
        }
        assert!(parse("# HELP a x\n# TYPE a counter\na_total 1\n# EOF\n", Format::OpenMetrics).is_ok());
        assert!(parse("", Format::OpenMetrics).is_err());
    }
}
