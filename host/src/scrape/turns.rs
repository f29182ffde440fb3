//! How many kubelets are asked at one time, and how much of their answers is in memory.
//!
//! A turn lasts from the request to the end of decoding, so that rules which are slow slow the
//! asking down instead of filling the memory with bodies. A kubelet that is slow gives its turn to
//! others and goes on aside: however many hang, the others are asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A kubelet that has not answered for so long is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Slow kubelets that are waited for aside.
const ASIDE: usize = 1024;
/// What any answer may hold.
const FREE_BYTES: usize = 256 << 10;
/// What all larger answers may hold together, beyond that.
const LARGE_BYTES: usize = 512 << 20;
/// The unit in which that is shared out.
const UNIT_BYTES: usize = 64 << 10;

/// Gives turns.
#[derive(Debug)]
pub(super) struct Turns {
    asking: Arc<Semaphore>,
    aside: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A node's turn. It ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    /// Of `asking` or of `aside`; holding it is all.
    place: OwnedSemaphorePermit,
}

/// Room in memory for one body.
#[derive(Debug, Default)]
pub struct Room {
    units: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// `concurrency` turns at one time, for answers of at most `max_body` bytes.
    pub(super) fn new(concurrency: usize, max_body: usize) -> Self {
        let large = LARGE_BYTES.max(max_body) / UNIT_BYTES + 1;
        Self {
            asking: Arc::new(Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            aside: Arc::new(Semaphore::new(ASIDE)),
            large: Arc::new(Semaphore::new(large.min(u32::MAX as usize))),
        }
    }

    /// Waits for a turn. `None` never happens: the turns are not closed.
    pub(super) async fn turn(&self) -> Option<Turn> {
        Arc::clone(&self.asking).acquire_owned().await.ok().map(|place| Turn { place })
    }

    /// Lets a slow one wait aside, if there is a place.
    pub(super) fn step_aside(&self, turn: &mut Turn) {
        if let Ok(place) = Arc::clone(&self.aside).try_acquire_owned() {
            turn.place = place;
        }
    }

    /// Waits until a body may have this many bytes.
    pub(super) async fn enlarge(&self, room: &mut Room, bytes: usize) {
        let units = bytes.saturating_sub(FREE_BYTES).div_ceil(UNIT_BYTES);
        let more = u32::try_from(units.saturating_sub(room.units)).unwrap_or(u32::MAX);
        if more == 0 {
            return;
        }
        if let Ok(permit) = Arc::clone(&self.large).acquire_many_owned(more).await {
            room.units = units;
            match &mut room.held {
                Some(held) => held.merge(permit),
                held => *held = Some(permit),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_bodies_wait_for_one_another_and_small_ones_for_nobody() {
        let turns = Turns::new(4, LARGE_BYTES);
        let (mut first, mut second, mut small) = (Room::default(), Room::default(), Room::default());
        turns.enlarge(&mut first, LARGE_BYTES).await;
        turns.enlarge(&mut small, FREE_BYTES).await;
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, turns.enlarge(&mut second, 10 << 20)).await.is_err());
        drop(first);
        turns.enlarge(&mut second, 10 << 20).await;
        turns.enlarge(&mut second, 11 << 20).await;
        drop(second);
        assert_eq!(turns.large.available_permits(), LARGE_BYTES / UNIT_BYTES + 1);
    }
}
