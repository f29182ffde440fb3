//! Text with holes: the fixed parts of a body are laid out once, a request only copies them and writes numbers between.
//!
//! Knows the layout of kubelets' JSON (one space a level), but not its fields.

use super::clock::TimeText;

/// What goes into a hole; the number is an index into the matching list of [`Values`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Hole {
    Number(usize),
    /// A number of hundredths, written as a decimal.
    Hundredths(usize),
    /// Seconds since 1970.
    Time(usize),
    Text(usize),
}

/// What to fill the holes with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) numbers: &'a [u64],
    pub(super) times: &'a [i64],
    pub(super) texts: &'a [&'a str],
}

/// Fixed text with holes.
#[derive(Debug, Default)]
pub(super) struct Template {
    text: Vec<u8>,
    /// Each hole stands before the text's byte of that index.
    holes: Vec<(usize, Hole)>,
}

impl Template {
    /// Appends the filled template.
    pub(super) fn fill(&self, values: &Values<'_>, time_text: &mut TimeText, out: &mut Vec<u8>) {
        let mut done = 0;
        let mut digits = itoa::Buffer::new();
        for &(upto, hole) in &self.holes {
            out.extend_from_slice(&self.text[done..upto]);
            done = upto;
            match hole {
                Hole::Number(index) => out.extend_from_slice(digits.format(values.numbers[index]).as_bytes()),
                Hole::Hundredths(index) => hundredths(values.numbers[index], out),
                Hole::Time(index) => out.extend_from_slice(time_text.of(values.times[index])),
                Hole::Text(index) => out.extend_from_slice(values.texts[index].as_bytes()),
            }
        }
        out.extend_from_slice(&self.text[done..]);
    }
}

fn hundredths(value: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(value / 100).as_bytes());
    match (value / 10 % 10, value % 10) {
        (0, 0) => {}
        (tens, 0) => out.extend_from_slice(&[b'.', b'0' + tens as u8]),
        (tens, ones) => out.extend_from_slice(&[b'.', b'0' + tens as u8, b'0' + ones as u8]),
    }
}

/// Draws a template field by field.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    template: Template,
    depth: usize,
    after_first: bool,
}

impl Sketch {
    /// Starts in the middle of a document: the next field is `depth` levels deep, and `after_first` of its object.
    pub(super) fn within(depth: usize, after_first: bool) -> Self {
        Self { depth, after_first, ..Self::default() }
    }

    /// Starts with an element of a list at that depth: an open object.
    pub(super) fn element(depth: usize) -> Self {
        let mut sketch = Self::within(depth, false);
        sketch.indent();
        sketch.raw("{");
        sketch.depth += 1;
        sketch
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.template.text.extend_from_slice(text.as_bytes());
    }

    fn indent(&mut self) {
        self.template.text.resize(self.template.text.len() + self.depth, b' ');
    }

    fn hole(&mut self, hole: Hole) {
        self.template.holes.push((self.template.text.len(), hole));
    }

    fn key(&mut self, key: &str) {
        self.raw(if self.after_first { ",\n" } else { "\n" });
        self.indent();
        self.raw(&format!("\"{key}\": "));
        self.after_first = true;
    }

    /// `"key": {`
    pub(super) fn open(&mut self, key: &str) {
        self.key(key);
        self.raw("{");
        self.depth += 1;
        self.after_first = false;
    }

    /// `}`
    pub(super) fn close(&mut self) {
        self.depth -= 1;
        self.raw("\n");
        self.indent();
        self.raw("}");
        self.after_first = true;
    }

    /// `"key": [` followed by elements made with [`Sketch::item`] or by other templates.
    pub(super) fn open_list(&mut self, key: &str) {
        self.key(key);
        self.raw("[");
        self.depth += 1;
        self.after_first = false;
    }

    /// `{`, an element of the open list.
    pub(super) fn item(&mut self) {
        self.raw(if self.after_first { ",\n" } else { "\n" });
        self.indent();
        self.raw("{");
        self.depth += 1;
        self.after_first = false;
    }

    /// `]`
    pub(super) fn close_list(&mut self) {
        self.depth -= 1;
        self.raw("\n");
        self.indent();
        self.raw("]");
        self.after_first = true;
    }

    pub(super) fn number(&mut self, key: &str, index: usize) {
        self.key(key);
        self.hole(Hole::Number(index));
    }

    pub(super) fn hundredths(&mut self, key: &str, index: usize) {
        self.key(key);
        self.hole(Hole::Hundredths(index));
    }

    pub(super) fn time(&mut self, key: &str, index: usize) {
        self.key(key);
        self.raw("\"");
        self.hole(Hole::Time(index));
        self.raw("\"");
    }

    /// A text between quotes, with a fixed part before the hole.
    pub(super) fn text(&mut self, key: &str, before: &str, index: usize) {
        self.key(key);
        self.raw(&format!("\"{before}"));
        self.hole(Hole::Text(index));
        self.raw("\"");
    }

    /// A value that never changes, as JSON.
    pub(super) fn fixed(&mut self, key: &str, json: &str) {
        self.key(key);
        self.raw(json);
    }

    pub(super) fn done(self) -> Template {
        self.template
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_in_place() {
        let mut sketch = Sketch::element(0);
        sketch.text("name", "pod-", 0);
        sketch.open("cpu");
        sketch.time("time", 0);
        sketch.number("ns", 0);
        sketch.hundredths("avg", 1);
        sketch.close();
        sketch.open_list("list");
        sketch.item();
        sketch.fixed("a", "null");
        sketch.close();
        sketch.close_list();
        sketch.close();
        let mut out = Vec::new();
        let values = Values { numbers: &[u64::MAX, 307], times: &[60], texts: &["x"] };
        sketch.done().fill(&values, &mut TimeText::new(), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\n \"name\": \"pod-x\",\n \"cpu\": {\n  \"time\": \"1970-01-01T00:01:00Z\",\n  \"ns\": 18446744073709551615,\n  \
             \"avg\": 3.07\n },\n \"list\": [\n  {\n   \"a\": null\n  }\n ]\n}"
        );
    }

    #[test]
    fn hundredths_drop_trailing_zeros() {
        for (value, want) in [(0, "0"), (5, "0.05"), (50, "0.5"), (8212, "82.12"), (10_000, "100")] {
            let mut out = Vec::new();
            hundredths(value, &mut out);
            assert_eq!(out, want.as_bytes());
        }
    }
}
