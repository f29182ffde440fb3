//! Templates: text with `$1`, `${1}`, `$name` and `${name}` for what groups of a regular expression
//! matched, read as Go's `regexp.Expand` reads them.

use regex_lite::Captures;

/// A template, taken to pieces once.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
    /// Whether a `$` stood for nothing; it is text then.
    pub malformed: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Group(usize),
    Named(String),
}

impl Template {
    /// Reads a template.
    pub fn parse(mut template: &str) -> Self {
        let (mut pieces, mut text, mut malformed) = (Vec::new(), String::new(), false);
        while let Some((before, after)) = template.split_once('$') {
            text.push_str(before);
            template = after;
            if let Some(rest) = after.strip_prefix('$') {
                text.push('$');
                template = rest;
            } else if let Some((name, rest)) = reference(after) {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(match name.parse() {
                    Ok(group) if name.bytes().all(|byte| byte.is_ascii_digit()) => Piece::Group(group),
                    _ => Piece::Named(name.to_owned()),
                });
                template = rest;
            } else {
                malformed = true;
                text.push('$');
            }
        }
        text.push_str(template);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Self { pieces, malformed }
    }

    /// Fills it in. A group that is not there or did not match is empty.
    pub fn expand(&self, captures: &Captures<'_>) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(group) => out.push_str(captures.get(*group).map_or("", |found| found.as_str())),
                Piece::Named(name) => out.push_str(captures.name(name).map_or("", |found| found.as_str())),
            }
        }
        out
    }
}

/// The name of a group behind a `$`, as long as it gets, and what is left.
fn reference(after: &str) -> Option<(&str, &str)> {
    let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = match after.strip_prefix('{') {
        None => after.split_at(word(after)),
        Some(braced) => {
            let (name, rest) = braced.split_at(word(braced));
            (name, rest.strip_prefix('}')?)
        }
    };
    (!name.is_empty()).then_some((name, rest))
}
