//! One chunk on its way: its records are handed to librdkafka in waves, and every one of them is
//! waited for.
//!
//! A wave is mostly the whole chunk. But librdkafka sends many records in one batch, also of several
//! chunks, and a broker that finds a batch too large refuses all of them: such records go again in
//! smaller waves, at last each while nothing else is on its way, so that only those are lost that are
//! too large by themselves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::BaseRecord;
use tokio::sync::{Notify, RwLock};

use super::client::Connection;
use super::failure::{self, Fate};
use super::records;
use crate::sinks::{AttemptError, DropReason};

/// Waves of all chunks are not made smaller than this for good, whatever one record's neighbours cost.
const SMALLEST_KEPT: usize = 64 << 10;
/// How long a full queue of librdkafka is waited for before the next look at it.
const QUEUE_FULL: Duration = Duration::from_millis(2);

/// What all chunks on their way share.
pub struct Lanes {
    /// Each wave has it with others, and who must be alone to itself.
    road: RwLock<()>,
    /// Bytes of a wave at most; less after a broker has found a batch too large.
    most: AtomicUsize,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { road: RwLock::new(()), most: AtomicUsize::new(usize::MAX) }
    }
}

impl Lanes {
    /// Bytes of a wave at most.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn shrink(&self, most: usize) {
        self.most.fetch_min(most.max(SMALLEST_KEPT), Ordering::Relaxed);
    }

    /// A chunk found nothing too large: the next one may be sent in larger waves.
    fn grow(&self) {
        let most = self.most();
        // Where another chunk has changed it meanwhile, that is newer.
        let larger = most.saturating_add(most / 8);
        _ = self.most.compare_exchange(most, larger, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A record that was not taken.
#[derive(Debug, Clone, Copy)]
struct Failure {
    record: usize,
    code: Code,
    /// librdkafka has refused it by itself, whatever it would have been sent with.
    here: bool,
}

/// What one wave waits for.
#[derive(Default)]
struct Pending {
    /// Records without an answer, and one more while they are being handed over.
    open: AtomicUsize,
    failures: Mutex<Vec<Failure>>,
    done: Notify,
    /// Nobody waits any more.
    abandoned: AtomicBool,
}

impl Pending {
    fn fail(&self, failure: Failure) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }

    fn close_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

/// Travels through librdkafka with a record.
pub struct Ticket {
    pending: Arc<Pending>,
    record: usize,
}

impl Ticket {
    /// A broker has taken the record, or it has failed with a code.
    pub fn settle(&self, failure: Option<Code>) {
        if let Some(code) = failure {
            self.pending.fail(Failure { record: self.record, code, here: false });
        }
        self.pending.close_one();
    }

    /// librdkafka does not take it.
    fn refuse(&self, code: Code) {
        self.pending.fail(Failure { record: self.record, code, here: true });
        self.pending.close_one();
    }
}

/// Takes back what is not yet sent when the attempt is given up, so that it does not arrive while its
/// chunk waits to be sent again.
struct Abandon<'a> {
    connection: &'a Connection,
    pending: &'a Pending,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if self.pending.open.load(Ordering::Acquire) > 0 {
            self.pending.abandoned.store(true, Ordering::Release);
            self.connection.purge();
        }
    }
}

/// A chunk that is sent.
pub struct Waves<'a> {
    connection: Arc<Connection>,
    lanes: &'a Lanes,
    body: Arc<Vec<u8>>,
    /// Bytes of a wave at most.
    most: usize,
    /// Records that no smaller wave can hold, and that go alone.
    suspects: VecDeque<usize>,
    lost: Vec<(usize, DropReason)>,
    left: Vec<usize>,
    /// Why records are left, and whether an operator has to act.
    error: Option<(Code, bool)>,
}

impl<'a> Waves<'a> {
    /// All of a chunk.
    pub fn new(connection: Arc<Connection>, lanes: &'a Lanes, body: Vec<u8>) -> Self {
        let (most, suspects) = (lanes.most(), VecDeque::new());
        Self {
            connection,
            lanes,
            body: Arc::new(body),
            most,
            suspects,
            lost: Vec::new(),
            left: Vec::new(),
            error: None,
        }
    }

    /// Sends all of it, once.
    ///
    /// # Errors
    /// [`AttemptError`]: what was not taken.
    pub async fn send(&mut self) -> Result<(), AttemptError> {
        let Some(sizes) =
            records::parse(&self.body).map(|all| all.iter().map(records::Record::len).collect::<Vec<_>>())
        else {
            return Err(AttemptError::Permanent { reason: "the chunk is damaged".to_owned() });
        };
        let began = self.most;
        let mut waiting: VecDeque<usize> = (0..sizes.len()).collect();
        while self.left.is_empty() {
            let (wave, alone) = if waiting.is_empty() {
                let Some(suspect) = self.suspects.pop_front() else { break };
                (vec![suspect], true)
            } else {
                (self.next_wave(&mut waiting, &sizes), false)
            };
            let size = wave.iter().map(|&record| sizes[record]).sum();
            for record in self.wave(wave, size, alone).await.into_iter().rev() {
                waiting.push_front(record);
            }
        }
        self.left.extend(waiting);
        self.left.extend(std::mem::take(&mut self.suspects));
        if self.most == began && self.left.is_empty() {
            self.lanes.grow();
        }
        self.outcome(sizes.len())
    }

    /// As many as fit, and one at least.
    fn next_wave(&self, waiting: &mut VecDeque<usize>, sizes: &[usize]) -> Vec<usize> {
        let mut bytes = 0;
        let fits = |&&record: &&usize| {
            bytes += sizes[record];
            bytes <= self.most
        };
        let count = waiting.iter().take_while(fits).count().max(1);
        waiting.drain(..count).collect()
    }

    /// Sends some records; gives those that are to be sent again in smaller waves.
    async fn wave(&mut self, wave: Vec<usize>, size: usize, alone: bool) -> Vec<usize> {
        let (_with_others, _to_itself);
        if alone {
            _to_itself = self.lanes.road.write().await;
        } else {
            _with_others = self.lanes.road.read().await;
        }
        let pending = Arc::new(Pending { open: AtomicUsize::new(1), ..Pending::default() });
        let (connection, body, tickets) = (self.connection.clone(), self.body.clone(), pending.clone());
        let is_single = wave.len() == 1;
        {
            let abandon = Abandon { connection: &self.connection, pending: &pending };
            let handing_over = tokio::task::spawn_blocking(move || hand_over(&connection, &body, &wave, &tickets));
            // It neither panics nor is it aborted.
            drop(handing_over.await);
            while pending.open.load(Ordering::Acquire) > 0 {
                pending.done.notified().await;
            }
            drop(abandon);
        }
        let mut failures = std::mem::take(&mut *pending.failures.lock().unwrap_or_else(PoisonError::into_inner));
        failures.sort_unstable_by_key(|failure| failure.record);
        let mut again = Vec::new();
        for Failure { record, code, here } in failures {
            match failure::fate(code) {
                Fate::TooLarge if here || alone => self.lost.push((record, DropReason::TooLarge)),
                Fate::TooLarge if is_single => self.suspects.push_back(record),
                Fate::TooLarge => again.push(record),
                Fate::Lost(why) => self.lost.push((record, why)),
                fate @ (Fate::Later | Fate::Refused) => {
                    self.left.push(record);
                    self.error = Some((code, fate == Fate::Refused));
                }
            }
        }
        if !again.is_empty() {
            self.most = (self.most.min(size) / 2).max(1);
            self.lanes.shrink(self.most);
        }
        again
    }

    fn outcome(&mut self, records: usize) -> Result<(), AttemptError> {
        self.left.sort_unstable();
        self.lost.sort_unstable_by_key(|(record, _)| *record);
        let (left, lost) = (std::mem::take(&mut self.left), std::mem::take(&mut self.lost));
        if left.is_empty() && lost.is_empty() {
            return Ok(());
        }
        let reason = match self.error {
            Some((code, refused)) => {
                self.connection.distrust();
                let error = failure::of_topic(code, self.connection.topic());
                if refused && left.len() == records {
                    return Err(error);
                }
                error.to_string()
            }
            None => format!("the brokers refuse {} of {records} records for good: {}", lost.len(), why(&lost)),
        };
        if left.len() == records {
            return Err(AttemptError::Transient { reason, retry_after: None });
        }
        Err(AttemptError::Unfinished { reason, retry_after: None, left, lost })
    }
}

fn why(lost: &[(usize, DropReason)]) -> &'static str {
    match lost.first() {
        Some((_, DropReason::TooLarge)) => "too large; `max-message` and the topic's max.message.bytes bound them",
        Some((_, DropReason::Expired)) => "the topic takes no times so long ago, or ahead (message.timestamp.*)",
        _ => "no valid records for this topic, which may want keys",
    }
}

/// Blocks while librdkafka's queue is full.
fn hand_over(connection: &Connection, body: &[u8], wave: &[usize], pending: &Arc<Pending>) {
    let records = records::parse(body).unwrap_or_default();
    let producer = connection.producer();
    for &number in wave {
        let Some(record) = records.get(number) else { continue };
        pending.open.fetch_add(1, Ordering::AcqRel);
        connection.state().handed_over();
        let mut ticket = Box::new(Ticket { pending: pending.clone(), record: number });
        loop {
            let message = BaseRecord {
                topic: connection.topic(),
                partition: None,
                payload: Some(record.value),
                key: record.key,
                timestamp: Some(record.time_ms),
                headers: None,
                delivery_opaque: ticket,
            };
            let Err((error, message)) = producer.send(message) else { break };
            ticket = message.delivery_opaque;
            let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
            if code == Code::QueueFull && !pending.is_abandoned() {
                std::thread::sleep(QUEUE_FULL);
                continue;
            }
            connection.state().came_back(false);
            ticket.refuse(code);
            break;
        }
        if pending.is_abandoned() {
            connection.purge();
            break;
        }
    }
    // Where a fatal error has ended the producer, all that comes later would fail as well.
    pending.close_one();
}
