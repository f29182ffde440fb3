//! Lists and watches one kind of object for ever, and puts what it sees on a [`Shelf`].
//!
//! A streaming list comes first: it costs the API server little and us one object at a time. A
//! server that refuses or doesn't know it is asked by pages from then on. While no server answers,
//! what is on the shelf stays there.

use std::fmt::Display;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use kube::Client;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Request;
use rand::Rng;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::lite::{Kind, Page};
use super::status::Live;
use crate::causes::described;

/// Where a watcher puts objects. The first list is gathered apart and replaces everything at once.
pub(super) trait Shelf<K>: Send + 'static {
    /// A list begins: forget what was gathered before.
    fn begin(&mut self);
    /// One object of the list.
    fn list(&mut self, object: &K);
    /// The list is complete: it replaces what was there.
    fn listed(&mut self);
    /// An object was added or changed.
    fn put(&mut self, object: &K);
    /// An object is gone.
    fn remove(&mut self, object: &K);
    /// How many objects there are.
    fn len(&self) -> usize;
}

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// How long the server keeps one watch open, seconds.
const WATCH_SECONDS: u32 = 290;
/// A watch that is silent for longer than the server keeps it is dead.
const WATCH_SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// One page, headers to last byte.
const PAGE_DEADLINE: Duration = Duration::from_secs(60);
/// A server that knows streaming lists sends them without a pause; one that merely ignores the
/// option opens a watch and goes silent.
const STREAMING_SILENCE: Duration = Duration::from_secs(5);
/// Opening a watch.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// A watch that ends sooner counts as a failure, or a broken proxy would be asked without a pause.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

type Events<K> = futures::stream::BoxStream<'static, kube::Result<WatchEvent<K>>>;

/// Why a list or watch did not go on.
enum Halt {
    /// Asking again may help.
    Failed(String),
    /// The server has no streaming lists.
    NotStreaming(&'static str),
    /// The version is too old: list again.
    Expired,
}

impl Halt {
    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 410 => Self::Expired,
            kube::Error::Api(status) if status.code == 401 => Self::Failed(
                "the API server refuses the credentials (401): check the service account's token".to_owned(),
            ),
            kube::Error::Api(status) if status.code == 403 => Self::Failed(format!(
                "{}: the ClusterRole needs `get`, `list` and `watch` on `nodes`, `pods` and `namespaces`",
                status.message
            )),
            other => Self::Failed(described(other)),
        }
    }
}

/// Watches one kind until the task is dropped.
pub(super) async fn run<K: Kind, S: Shelf<K>>(
    client: Client,
    shelf: S,
    live: std::sync::Arc<Live>,
    done: impl Fn() + Send + 'static,
) {
    let mut watcher = Watcher {
        client,
        shelf,
        live,
        backoff: Backoff::default(),
        failing_since: None,
        kind: std::marker::PhantomData::<fn() -> K>,
    };
    let mut streaming = true;
    loop {
        watcher.live.list_begins();
        watcher.shelf.begin();
        let listed = if streaming { watcher.list_streaming().await } else { watcher.list_pages().await };
        match listed {
            Ok((version, stream)) => {
                watcher.shelf.listed();
                watcher.live.heard();
                watcher.answered();
                watcher.live.synced();
                debug!(kind = K::NAME, objects = watcher.shelf.len(), "list complete");
                done();
                let began = Instant::now();
                watcher.follow(version, stream).await;
                if began.elapsed() < SHORTEST_WATCH {
                    watcher.failed("the watch expired as soon as the list was complete").await;
                }
            }
            Err(Halt::NotStreaming(why)) => {
                info!(kind = K::NAME, why, "API server has no streaming lists; listing by pages");
                streaming = false;
            }
            Err(Halt::Expired) => watcher.failed("the list expired before it was complete").await,
            Err(Halt::Failed(error)) => watcher.failed(error).await,
        }
    }
}

struct Watcher<K, S> {
    client: Client,
    shelf: S,
    live: std::sync::Arc<Live>,
    backoff: Backoff,
    /// The first failure after the last answer.
    failing_since: Option<Instant>,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K: Kind, S: Shelf<K>> Watcher<K, S> {
    /// Counts and logs a failure, then waits.
    async fn failed(&mut self, error: impl Display) {
        let error = error.to_string();
        let wait = self.backoff.next();
        // An outage of an hour is some hundred lines at a wait of at most 30 s.
        warn!(kind = K::NAME, %error, ?wait, "API server failed; keeping what is known");
        self.live.failed(error);
        self.failing_since.get_or_insert_with(Instant::now);
        tokio::time::sleep(wait).await;
    }

    /// The API server does what it is asked; objects may follow much later.
    fn answered(&mut self) {
        self.live.answered();
        if let Some(since) = self.failing_since.take() {
            info!(kind = K::NAME, after = ?since.elapsed(), "API server answers again");
        }
    }

    async fn open(&self, version: &str, streaming: bool) -> Result<Events<K>, Halt> {
        let params =
            WatchParams { timeout: Some(WATCH_SECONDS), send_initial_events: streaming, ..WatchParams::default() };
        let request = Request::new(K::PATH).watch(&params, version).map_err(|error| Halt::Failed(described(&error)))?;
        match timeout(OPEN_DEADLINE, self.client.request_events::<K>(request)).await {
            Ok(Ok(events)) => Ok(events.boxed()),
            Ok(Err(kube::Error::Api(status))) if streaming && matches!(status.code, 400 | 405 | 422) => {
                Err(Halt::NotStreaming("it refuses sendInitialEvents"))
            }
            Ok(Err(error)) => Err(Halt::of(&error)),
            Err(_) if streaming => Err(Halt::NotStreaming("it does not answer sendInitialEvents")),
            Err(_) => Err(Halt::Failed(format!("no answer to a watch within {OPEN_DEADLINE:?}"))),
        }
    }

    /// The whole list as the beginning of a watch, which then goes on.
    async fn list_streaming(&mut self) -> Result<(String, Option<Events<K>>), Halt> {
        let opening = self.open("0", true);
        let mut events = match timeout(STREAMING_SILENCE, opening).await {
            Ok(events) => events?,
            Err(_) => return Err(Halt::NotStreaming("it does not answer sendInitialEvents")),
        };
        loop {
            let Ok(event) = timeout(STREAMING_SILENCE, events.next()).await else {
                return Err(Halt::NotStreaming("it sends no end of the list"));
            };
            match event {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    self.live.event();
                    self.shelf.list(&object);
                }
                Some(Ok(WatchEvent::Bookmark(mark)))
                    if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") =>
                {
                    return Ok((mark.metadata.resource_version, Some(events)));
                }
                Some(Ok(WatchEvent::Bookmark(_) | WatchEvent::Deleted(_))) => {}
                Some(Ok(WatchEvent::Error(status))) => {
                    return Err(Halt::of(&kube::Error::Api(status)));
                }
                Some(Err(error)) => return Err(Halt::of(&error)),
                None => {
                    return Err(Halt::NotStreaming("it ends the watch before the list is complete"));
                }
            }
        }
    }

    /// The whole list, page by page. Without a resource version: with `0` the server would ignore
    /// the limit and send every pod of the cluster in one answer.
    async fn list_pages(&mut self) -> Result<(String, Option<Events<K>>), Halt> {
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let request = Request::new(K::PATH).list(&params).map_err(|error| Halt::Failed(described(&error)))?;
            let text = match timeout(PAGE_DEADLINE, self.client.request_text(request)).await {
                Ok(answer) => answer.map_err(|error| Halt::of(&error))?,
                Err(_) => {
                    return Err(Halt::Failed(format!("no complete list within {PAGE_DEADLINE:?}")));
                }
            };
            let page: Page<K> =
                serde_json::from_str(&text).map_err(|error| Halt::Failed(format!("the list is no list: {error}")))?;
            drop(text);
            for object in page.items.iter().flatten() {
                self.live.event();
                self.shelf.list(object);
            }
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(next) => params.continue_token = Some(next),
                None => return Ok((page.metadata.resource_version.unwrap_or_default(), None)),
            }
        }
    }

    /// Follows changes from `version` on, over as many watches as it takes, until it expires.
    async fn follow(&mut self, mut version: String, mut stream: Option<Events<K>>) {
        loop {
            let opened = Instant::now();
            let events = match stream.take() {
                Some(events) => Ok(events),
                None => self.open(&version, false).await,
            };
            let halt = match events {
                Ok(events) => {
                    self.answered();
                    self.read(events, &mut version).await
                }
                Err(halt) => Some(halt),
            };
            match halt {
                Some(Halt::Expired) => return,
                Some(Halt::Failed(error)) => self.failed(error).await,
                Some(Halt::NotStreaming(why)) => self.failed(why).await,
                None if opened.elapsed() < SHORTEST_WATCH => self.failed("the API server ends watches at once").await,
                None => self.backoff.reset(),
            }
        }
    }

    /// Reads one watch to its end. `None`: it ended as watches do.
    async fn read(
        &mut self,
        events: impl Stream<Item = kube::Result<WatchEvent<K>>>,
        version: &mut String,
    ) -> Option<Halt> {
        let mut events = pin!(events);
        loop {
            let Ok(event) = timeout(WATCH_SILENCE, events.next()).await else {
                return Some(Halt::Failed("the watch fell silent".to_owned()));
            };
            let seen = match event? {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.live.event();
                    self.shelf.put(&object);
                    object.meta().resource_version.clone()
                }
                Ok(WatchEvent::Deleted(object)) => {
                    self.live.event();
                    self.shelf.remove(&object);
                    object.meta().resource_version.clone()
                }
                Ok(WatchEvent::Bookmark(mark)) => {
                    self.live.heard();
                    mark.metadata.resource_version
                }
                Ok(WatchEvent::Error(status)) => return Some(Halt::of(&kube::Error::Api(status))),
                Err(error) => return Some(Halt::of(&error)),
            };
            if !seen.is_empty() {
                *version = seen;
            }
            self.backoff.reset();
        }
    }
}

/// Waits that double from 200 ms to 30 s, each shortened by up to half at random.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);

    fn next(&mut self) -> Duration {
        let full = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Backoff::FIRST && waits.iter().all(|wait| *wait <= Backoff::LONGEST));
        assert!(waits[39] >= Backoff::LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= Backoff::FIRST);
    }
}
