//! Encodes what was offered, batch by batch, on a blocking thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::sinks::Published;
use crate::sinks::chunk::{Chunk, Chunker};
use crate::sinks::ledger::Dropped;
use crate::sinks::queue::Intake;
use crate::sinks::spool::{Kept, Unspooled};
use crate::text::{MESSAGE_BYTES, tame};

use super::Shared;

pub(super) async fn run(shared: Arc<Shared>) {
    let mut chunker = Chunker::new(shared.limits()).reusing(shared.spares.clone());
    loop {
        shared.intake_ready.notified().await;
        let worker = shared.clone();
        let work = tokio::task::spawn_blocking(move || {
            drain_intake(&worker, &mut chunker);
            chunker
        });
        match work.await {
            Ok(back) => chunker = back,
            // Only when the runtime shuts down: a panic of the sink is caught further down.
            Err(_) => return,
        }
    }
}

fn drain_intake(shared: &Shared, chunker: &mut Chunker) {
    loop {
        // A guard in a `while let` would be held for the whole turn.
        let next = shared.queue().next_intake();
        let began = Instant::now();
        let is_flush = matches!(next, Some(Intake::Flush));
        let dropped = match next {
            Some(Intake::Batch(published)) => encode(shared, chunker, &published),
            Some(Intake::Flush) => {
                chunker.close();
                Dropped::default()
            }
            None => return,
        };
        let closed = chunker.take_closed();
        let chunks = closed.into_iter().map(|raw| raw.pack(shared.sink.as_ref(), &shared.spares));
        let chunks: Vec<Kept> = chunks.map(|chunk| keep(shared, chunk)).collect();
        if is_flush {
            expire(shared);
        }
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut queue = shared.queue();
        queue.ledger.encode_ns += took;
        queue.encoded(chunks, &dropped, chunker.size_bytes());
        drop(queue);
        shared.chunks_ready.notify_one();
        shared.settled.notify_waiters();
    }
}

/// Puts a chunk into the spool, if there is one.
fn keep(shared: &Shared, chunk: Chunk) -> Kept {
    let Some(spool) = &shared.spool else { return Kept::Memory(chunk) };
    let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
    let room = shared.queue().has_room(chunk.size_bytes());
    let (toll, kept) = spool.append(chunk, room);
    shared.queue().pay(&toll);
    drop(spool);
    kept.unwrap_or_else(|Unspooled { chunk, error }| {
        shared.spool_failed(&error);
        shared.queue().ledger.spool_errors += 1;
        Kept::Memory(chunk)
    })
}

fn expire(shared: &Shared) {
    if let Some(spool) = &shared.spool {
        let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
        let toll = spool.expire();
        shared.queue().pay(&toll);
    }
}

fn encode(shared: &Shared, chunker: &mut Chunker, published: &Published) -> Dropped {
    let Published { cycle, batch } = published;
    chunker.begin(shared.limits());
    let encoded = catch_unwind(AssertUnwindSafe(|| shared.sink.encode(cycle, batch, chunker)));
    let dropped = chunker.end(batch.points.len() as u64);
    if encoded.is_err() {
        let (sink, origin) = (&shared.name, tame(batch.origin.name(), MESSAGE_BYTES));
        tracing::error!(sink, origin, "encoding failed; the rest of the batch is dropped");
        shared.queue().ledger.error(format!("encoding the batch of `{origin}` failed"));
    }
    dropped
}
