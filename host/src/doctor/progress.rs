//! What is being done just now, for somebody who waits.

use std::sync::{Mutex, PoisonError};

/// The last thing that was begun.
#[derive(Debug, Default)]
pub struct Progress(Mutex<String>);

impl Progress {
    /// From now on this is being done.
    pub(super) fn at(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// What is being done.
    #[must_use]
    pub fn now(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
