//! The new strings of an edit, each under the id that it has in the batch once the edit is applied.
//! Equal strings have equal ids afterwards, so that labels are compared by their ids alone.

use hashbrown::HashTable;

use super::columns::span;
use super::edit::Edit;
use super::symbols::Symbols;

/// What each new string is called in the batch.
pub(super) struct NewStrings {
    old: usize,
    ids: Vec<u32>,
    /// Hash and row of those that the batch does not have, in the order of their ids.
    fresh: Vec<(u64, u32)>,
}

impl NewStrings {
    /// Hashes each string once. `text` is the edit's, and its ends are checked.
    pub(super) fn of(symbols: &Symbols, text: &str, edit: &Edit) -> Self {
        let rows = edit.new_text_ends.len();
        let (old, mut ids) = (symbols.len(), Vec::with_capacity(rows));
        let mut fresh: Vec<(u64, u32)> = Vec::new();
        let mut index: HashTable<u32> = HashTable::new();
        let string = |row: u32| text.get(span(&edit.new_text_ends, row as usize)).unwrap_or("");
        for row in 0..rows as u32 {
            let hash = symbols.hash(string(row));
            if let Some(id) = symbols.find_hashed(hash, string(row)) {
                ids.push(id);
                continue;
            }
            let known = index.find(hash, |&at| {
                let (other, row_of_other) = fresh[at as usize];
                other == hash && string(row_of_other) == string(row)
            });
            let at = known.copied().unwrap_or_else(|| {
                let at = fresh.len() as u32;
                fresh.push((hash, row));
                index.insert_unique(hash, at, |&other| fresh[other as usize].0);
                at
            });
            ids.push(old as u32 + at);
        }
        Self { old, ids, fresh }
    }

    /// How many strings the batch has once these are in it.
    pub(super) fn count(&self) -> usize {
        self.old + self.fresh.len()
    }

    /// The id in the batch of an id of the edit.
    pub(super) fn id(&self, id: u32) -> u32 {
        match (id as usize).checked_sub(self.old) {
            None => id,
            Some(row) => self.ids[row],
        }
    }

    /// Puts the strings into the batch's symbols.
    pub(super) fn add_to(&self, symbols: &mut Symbols, edit: &Edit) {
        let text = std::str::from_utf8(&edit.new_text).unwrap_or("");
        for &(hash, row) in &self.fresh {
            symbols.push_hashed(hash, text.get(span(&edit.new_text_ends, row as usize)).unwrap_or(""));
        }
    }
}

/// Which ids one row has had already.
pub(super) struct Stamps {
    row_of: Vec<u32>,
    row: u32,
}

impl Stamps {
    /// For ids below `ids`.
    pub(super) fn new(ids: usize) -> Self {
        Self { row_of: vec![0; ids], row: 0 }
    }

    /// Begins a row.
    pub(super) fn next_row(&mut self) {
        self.row += 1;
    }

    /// Whether the row has had `id` before.
    pub(super) fn again(&mut self, id: u32) -> bool {
        std::mem::replace(&mut self.row_of[id as usize], self.row) == self.row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_have_equal_ids_and_known_ones_the_batchs() {
        let mut symbols = Symbols::default();
        let old = symbols.intern("old");
        let edit = Edit { new_text: "aoldab".into(), new_text_ends: vec![1, 4, 5, 6], ..Edit::default() };
        let strings = NewStrings::of(&symbols, "aoldab", &edit);
        let ids: Vec<u32> = (1..5).map(|id| strings.id(id)).collect();
        assert_eq!((ids, strings.id(0), strings.count()), (vec![1, 0, 1, 2], old, 3));
        strings.add_to(&mut symbols, &edit);
        assert_eq!((symbols.len(), symbols.find("a"), symbols.find("b")), (3, Some(1), Some(2)));
    }
}
