//! One copy of every string that many objects share: label keys, images, namespaces, node names.

use std::sync::Arc;

use hashbrown::HashSet;

/// Hands out shared strings and forgets those that nobody holds any more.
#[derive(Debug, Default)]
pub(super) struct Interner {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
}

/// Below this many strings a sweep isn't worth its time.
const SWEEP_FLOOR: usize = 4096;

impl Interner {
    /// The shared copy of `text`.
    pub(super) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at.max(SWEEP_FLOOR) {
            self.known.retain(|string| Arc::strong_count(string) > 1);
            self.sweep_at = self.known.len() * 2;
        }
        let fresh: Arc<str> = text.into();
        self.known.insert(Arc::clone(&fresh));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_are_shared_and_unused_ones_forgotten() {
        let mut interner = Interner::default();
        let held = interner.get("app");
        assert!(Arc::ptr_eq(&held, &interner.get("app")));
        for number in 0..3 * SWEEP_FLOOR {
            interner.get(&number.to_string());
        }
        assert!(interner.known.len() <= SWEEP_FLOOR);
        assert!(Arc::ptr_eq(&held, &interner.get("app")));
    }
}
