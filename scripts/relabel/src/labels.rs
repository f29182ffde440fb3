//! The labels of one entity on their way through the steps.

use std::rc::Rc;

use millrace_sdk::Symbol;
use millrace_sdk::prelude::*;

/// Changes to one entity; the host takes 256.
const MOST_CHANGES: usize = 250;
/// Longest value that is written, bytes.
const LONGEST: usize = 16 << 10;

/// Text of the batch, or of a step.
#[derive(Debug, Clone)]
pub enum Word<'b> {
    /// The batch's.
    Old(Symbol, &'b str),
    /// A step's.
    New(Rc<str>),
}

impl Word<'_> {
    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Self::Old(_, text) => text,
            Self::New(text) => text,
        }
    }

    fn symbol(&self, edit: &mut Edit) -> Symbol {
        match self {
            Self::Old(symbol, _) => *symbol,
            Self::New(text) => edit.symbol(&**text),
        }
    }
}

/// The labels of one entity.
pub struct Labels<'b> {
    rows: Vec<Row<'b>>,
    changes: usize,
    /// Changes that were not made, because there were too many or one was too long.
    pub refused: u64,
}

struct Row<'b> {
    name: Word<'b>,
    /// `None` = removed.
    value: Option<Word<'b>>,
    /// Whether the entity came with it.
    old: bool,
    changed: bool,
}

impl<'b> Labels<'b> {
    /// The labels as they came.
    pub fn of(batch: &'b Batch, entity: Entity<'b>) -> Self {
        let word = |symbol| Word::Old(symbol, batch.text(symbol));
        let row = |(name, value)| Row { name: word(name), value: Some(word(value)), old: true, changed: false };
        Self { rows: entity.label_symbols().map(row).collect(), changes: 0, refused: 0 }
    }

    /// A label's value; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        let row = self.rows.iter().find(|row| row.name.text() == name);
        row.and_then(|row| row.value.as_ref()).map_or("", Word::text)
    }

    /// Those that are there now, by name: the changes of a step are not seen by itself.
    pub fn sorted(&self) -> Vec<(Word<'b>, Word<'b>)> {
        let mut labels: Vec<(Word<'b>, Word<'b>)> = Vec::new();
        for (name, value) in self.rows.iter().filter_map(|row| Some((&row.name, row.value.clone()?))) {
            // In order already, or nearly; a sort would make the rule 6 KB larger.
            let before = labels.iter().rev().take_while(|(other, _)| other.text() > name.text()).count();
            labels.insert(labels.len() - before, (name.clone(), value));
        }
        labels
    }

    /// Writes a label; an empty value removes it.
    pub fn set(&mut self, name: Word<'b>, value: Word<'b>) {
        if value.text().is_empty() {
            return self.remove(name.text());
        }
        let at = self.rows.iter().position(|row| row.name.text() == name.text());
        let changed = at.is_some_and(|at| self.rows[at].changed);
        if value.text().len() > LONGEST || (!changed && self.changes >= MOST_CHANGES) {
            self.refused += 1;
            return;
        }
        self.changes += usize::from(!changed);
        match at {
            Some(at) => {
                self.rows[at].value = Some(value);
                self.rows[at].changed = true;
            }
            None => self.rows.push(Row { name, value: Some(value), old: false, changed: true }),
        }
    }

    /// Removes a label, if it is there.
    pub fn remove(&mut self, name: &str) {
        let Some(row) = self.rows.iter_mut().find(|row| row.name.text() == name && row.value.is_some()) else {
            return;
        };
        if !row.changed && self.changes >= MOST_CHANGES {
            self.refused += 1;
            return;
        }
        self.changes += usize::from(!row.changed);
        (row.value, row.changed) = (None, true);
    }

    /// Tells the edit what changed.
    pub fn write(&self, entity: Entity<'_>, edit: &mut Edit) {
        for row in self.rows.iter().filter(|row| row.changed) {
            let name = row.name.symbol(edit);
            match &row.value {
                Some(value) => {
                    let value = value.symbol(edit);
                    edit.set_label(entity, name, value);
                }
                None if row.old => edit.remove_label(entity, name),
                None => {}
            }
        }
    }
}
