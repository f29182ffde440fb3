//! Every string of a batch, once, under an id.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// One UTF-8 text and the end offsets of its strings. String `i` is `text[ends[i-1]..ends[i]]`.
/// Equal strings have equal ids; the empty string is a value like any other.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    text: String,
    ends: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Symbols {
    /// The id of `string`, added if it is new. Ids are dense, from 0.
    pub fn intern(&mut self, string: &str) -> u32 {
        let hash = self.hash(string);
        self.find_hashed(hash, string).unwrap_or_else(|| self.push_hashed(hash, string))
    }

    /// The id of `string`, if the batch has it.
    #[must_use]
    pub fn find(&self, string: &str) -> Option<u32> {
        self.find_hashed(self.hash(string), string)
    }

    pub(super) fn hash(&self, string: &str) -> u64 {
        self.hasher.hash_one(string)
    }

    pub(super) fn find_hashed(&self, hash: u64, string: &str) -> Option<u32> {
        self.index.find(hash, |&id| lookup(&self.text, &self.ends, id) == string).copied()
    }

    /// Adds a string that is not there yet.
    pub(super) fn push_hashed(&mut self, hash: u64, string: &str) -> u32 {
        let id = self.ends.len() as u32;
        self.text.push_str(string);
        self.ends.push(self.text.len() as u32);
        let (text, ends, hasher) = (&self.text, &self.ends, &self.hasher);
        self.index.insert_unique(hash, id, |&other| hasher.hash_one(lookup(text, ends, other)));
        id
    }

    /// The string under `id`; empty for an id that was never given out.
    #[must_use]
    pub fn get(&self, id: u32) -> &str {
        lookup(&self.text, &self.ends, id)
    }

    /// How many strings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text column.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The column of end offsets, bytes.
    #[must_use]
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4 + self.index.capacity() * 5
    }

    /// Gives back what only interning needs. `find` answers nothing afterwards.
    pub fn seal(&mut self) {
        self.index = HashTable::new();
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

fn lookup<'a>(text: &'a str, ends: &[u32], id: u32) -> &'a str {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends.get(id - 1).copied().unwrap_or(0) as usize };
    let end = ends.get(id).copied().unwrap_or(start as u32) as usize;
    text.get(start..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_have_equal_ids() {
        let mut symbols = Symbols::default();
        let (a, empty, b) = (symbols.intern("a"), symbols.intern(""), symbols.intern("bé"));
        assert_eq!((symbols.intern("a"), symbols.intern(""), symbols.intern("bé")), (a, empty, b));
        assert_eq!((symbols.get(a), symbols.get(empty), symbols.get(b)), ("a", "", "bé"));
        assert_eq!(symbols.find("x"), None);
        assert_eq!(symbols.get(99), "");
    }
}
