//! Who holds a connection, and who loses one when all are taken.
//!
//! Probes and scrapers bring whole requests at once and are few; so the client with the most
//! connections loses the one that has brought no request for the longest. A probe of the same
//! client is the youngest of all while it is answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::task::{AbortHandle, Id};

/// When a connection last brought a whole request's head, or was opened.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    used: Instant,
    /// An answer may go on until then.
    held: Option<Instant>,
}

impl Default for Place {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Times { used: Instant::now(), held: None })))
    }
}

impl Place {
    /// A request's head has come.
    pub(super) fn use_now(&self) {
        self.times().used = Instant::now();
    }

    /// The answer that begins takes longer than others do.
    pub(super) fn hold_until(&self, until: Instant) {
        self.times().held = Some(until);
    }

    /// Until when an answer may go on, if it was said.
    pub(super) fn held(&self) -> Option<Instant> {
        self.times().held
    }

    fn used(&self) -> Instant {
        self.times().used
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<Id, Taken>);

#[derive(Debug)]
struct Taken {
    client: IpAddr,
    place: Place,
    task: AbortHandle,
}

impl Places {
    /// How many connections there are.
    pub(super) fn taken(&self) -> usize {
        self.0.len()
    }

    /// Remembers a connection, which `task` serves.
    pub(super) fn take(&mut self, client: IpAddr, place: Place, task: AbortHandle) {
        self.0.insert(task.id(), Taken { client, place, task });
    }

    /// Forgets one that has ended.
    pub(super) fn free(&mut self, task: Id) {
        self.0.remove(&task);
    }

    /// Closes one; whose it was.
    pub(super) fn evict(&mut self) -> Option<IpAddr> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for taken in self.0.values() {
            *held.entry(taken.client).or_default() += 1;
        }
        let most = held.values().max().copied()?;
        let greedy = self.0.iter().filter(|(_, taken)| held.get(&taken.client) == Some(&most));
        let (&oldest, _) = greedy.min_by_key(|(_, taken)| taken.place.used())?;
        let taken = self.0.remove(&oldest)?;
        taken.task.abort();
        Some(taken.client)
    }
}
