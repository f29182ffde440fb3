//! One step. What a regular expression says of a value is remembered: the same few names come with
//! every entity, and the same pods in every cycle.

use std::collections::HashMap;
use std::rc::Rc;

use millrace_sdk::Level;
use regex_lite::{Captures, Regex};

use crate::labels::{Labels, Word};
use crate::md5;
use crate::template::Template;

/// What is remembered of one step, bytes of text. Then it starts anew.
const REMEMBERED: usize = 1 << 20;

/// A step that makes sense.
pub struct Step {
    /// What it does.
    pub action: Action,
    /// The labels it looks at.
    pub source: Vec<String>,
    /// Between their values.
    pub separator: String,
    /// The entities it is for; all if absent.
    pub levels: Option<Vec<Level>>,
}

/// What a step does.
pub enum Action {
    /// Drops what matches (`true`), or what does not.
    Drop(bool, Regex, Memory),
    /// Drops what equals the target (`true`), or what does not.
    DropEqual(bool, String),
    /// Writes a label.
    Replace { regex: Regex, target: Template, replacement: Template, known: Memory },
    /// Writes the hash of a value, modulo a number.
    HashMod(Rc<str>, u64),
    /// Writes a value in small letters, or (`true`) in capitals.
    Case(bool, Rc<str>),
    /// Copies labels by name.
    LabelMap { regex: Regex, replacement: Template, known: Memory },
    /// Removes the labels whose name matches (`true`), or does not.
    LabelDrop(bool, Regex, Memory),
}

/// What a regular expression says of a value: nothing where it does not match; else the name and
/// the value to write, empty where the action needs none.
type Found = Option<(Rc<str>, Rc<str>)>;

/// What is known of values met before.
#[derive(Default)]
pub struct Memory {
    known: HashMap<Box<str>, Found>,
    bytes: usize,
}

impl Memory {
    fn of(&mut self, value: &str, regex: &Regex, expand: &dyn Fn(&Captures<'_>) -> Found) -> Found {
        if let Some(known) = self.known.get(value) {
            return known.clone();
        }
        let found = regex.captures(value).and_then(|captures| expand(&captures));
        // With what a row of the table takes; what is found is seldom longer than the value.
        self.bytes += 2 * value.len() + 64;
        if self.bytes > REMEMBERED {
            self.known.clear();
            self.bytes = 0;
        }
        // Long values are hardly met twice.
        if value.len() <= 1024 {
            self.known.insert(value.into(), found.clone());
        }
        found
    }

    fn matches(&mut self, value: &str, regex: &Regex) -> bool {
        self.of(value, regex, &|_| Some((Rc::default(), Rc::default()))).is_some()
    }
}

impl Step {
    /// Whether it is for entities of this level.
    pub fn is_for(&self, level: Level) -> bool {
        self.levels.as_ref().is_none_or(|levels| levels.contains(&level))
    }

    /// Carries it out; `false` drops the entity. `joined` is room to write in.
    pub fn apply(&mut self, labels: &mut Labels<'_>, joined: &mut String) -> bool {
        joined.clear();
        for (at, label) in self.source.iter().enumerate() {
            if at > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(labels.get(label));
        }
        let value = joined.as_str();
        match &mut self.action {
            Action::Drop(matching, regex, known) => {
                return known.matches(value, regex) != *matching;
            }
            Action::DropEqual(equal, target) => return (labels.get(target) == value) != *equal,
            Action::Replace { regex, target, replacement, known } => {
                let expand = |captures: &Captures<'_>| {
                    let target = target.expand(captures);
                    (!target.is_empty()).then(|| (target.into(), replacement.expand(captures).into()))
                };
                if let Some((name, value)) = known.of(value, regex, &expand) {
                    labels.set(Word::New(name), Word::New(value));
                }
            }
            Action::HashMod(target, modulus) => {
                let hash = md5::second_half(value) % *modulus;
                labels.set(Word::New(Rc::clone(target)), Word::New(hash.to_string().into()));
            }
            Action::Case(upper, target) => {
                let value = if *upper { value.to_uppercase() } else { value.to_lowercase() };
                labels.set(Word::New(Rc::clone(target)), Word::New(value.into()));
            }
            Action::LabelMap { regex, replacement, known } => {
                let expand = |captures: &Captures<'_>| {
                    let mapped = replacement.expand(captures);
                    (!mapped.is_empty()).then(|| (mapped.into(), Rc::default()))
                };
                for (name, value) in labels.sorted() {
                    if let Some((mapped, _)) = known.of(name.text(), regex, &expand) {
                        labels.set(Word::New(mapped), value);
                    }
                }
            }
            Action::LabelDrop(matching, regex, known) => {
                for (name, _) in labels.sorted() {
                    if known.matches(name.text(), regex) == *matching {
                        labels.remove(name.text());
                    }
                }
            }
        }
        true
    }
}
