//! Long answers take turns: whoever asks for everything again and again, or asks and never reads, costs
//! the others neither their memory nor their cycles.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Long answers under way at one time.
const MOST: usize = 8;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a turn lasts; a client that has not read its answer by then gets no more of it.
const LENGTH: Duration = Duration::from_secs(60);
/// What whoever gets no turn is told to wait, seconds.
pub(super) const RETRY_AFTER: &str = "5";
/// And why.
pub(super) const BUSY: &str = "too many long answers are under way; try again in a few seconds";

static TURNS: Semaphore = Semaphore::const_new(MOST);

/// Pieces between two moments in which others go first: some 256 KiB, less than a millisecond.
const STRETCH: usize = 4;

/// The right to make and send a long answer; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: SemaphorePermit<'static>,
}

/// A turn; `None`: others take too long.
pub(super) async fn turn() -> Option<Turn> {
    let permit = timeout(PATIENCE, TURNS.acquire()).await.ok()?.ok()?;
    Some(Turn { _permit: permit })
}

/// The pieces as a stream. Each is made when it is asked for, and others go first now and then; with a turn, what
/// is left when that is over is given up with an error, whether anybody asks for it or not.
pub(super) fn pieces(
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
    turn: Option<Turn>,
) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static {
    let has_turn = turn.is_some();
    let held = Arc::new(Mutex::new(Some((pieces.fuse(), turn))));
    let end = has_turn.then(|| {
        let held = Arc::downgrade(&held);
        let end = async move {
            sleep(LENGTH).await;
            if let Some(held) = held.upgrade() {
                lock(&held).take();
            }
        };
        End(tokio::spawn(end).abort_handle())
    });
    futures::stream::unfold((held, end, 0), async |(held, end, count)| {
        // The first goes out together with the head of the answer.
        if count % STRETCH == 1 {
            tokio::task::yield_now().await;
        }
        let next = match &mut *lock(&held) {
            Some((pieces, _)) => pieces.next().map(Ok),
            None => Some(Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the answer was not read in time"))),
        };
        next.map(|next| (next, (held, end, count + 1)))
    })
}

/// Ends the wait for the end.
struct End(AbortHandle);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_few_and_end_by_themselves() {
        let many = || std::iter::repeat_n(vec![1], 10);
        let mut unread: Vec<_> = Vec::new();
        for _ in 0..MOST {
            let mut answer = Box::pin(pieces(many(), Some(turn().await.unwrap())));
            assert!(answer.next().await.unwrap().is_ok());
            unread.push(answer);
        }
        assert!(turn().await.is_none(), "all are taken by clients that do not read");
        sleep(LENGTH).await;
        assert!(turn().await.is_some(), "and they are over");
        assert!(unread[0].next().await.unwrap().is_err(), "who comes back is told");
        drop(unread);
        // One that is read to its end gives its turn back at once.
        let mut read = pin!(pieces(many(), Some(turn().await.unwrap())));
        let mut whole = 0;
        while let Some(piece) = read.next().await {
            whole += piece.unwrap().len();
        }
        assert_eq!(whole, 10);
    }
}
