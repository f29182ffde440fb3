//! What stands twice in one block.

use std::hash::Hash;

use hashbrown::HashSet;

/// What one block has had already. Most have fewer than a dozen, and a scan of those costs less than
/// a hash.
#[derive(Debug)]
pub(super) struct Seen<T> {
    few: Vec<T>,
    many: HashSet<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { few: Vec::new(), many: HashSet::new() }
    }
}

impl<T: Copy + Eq + Hash> Seen<T> {
    /// Whether `item` was asked before; `of` is how many will be asked at most, always the same.
    pub(super) fn again(&mut self, item: T, of: usize) -> bool {
        if of > 32 {
            return !self.many.insert(item);
        }
        let again = self.few.contains(&item);
        if !again {
            self.few.push(item);
        }
        again
    }
}
