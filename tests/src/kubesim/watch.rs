//! Watches: the changes after a version, as a stream of JSON lines.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use serde_json::json;
use tokio::{sync::watch::Receiver, time::Instant};

use super::{
    api::{Api, Ask, Refusal, typed},
    kubelet::json_body,
    objects,
    store::{Change, Item, Resource, Store},
};

/// Changes taken from the history at once.
const AT_ONCE: usize = 256;
/// Bytes gathered before they are sent.
const PIECE: usize = 128 << 10;
/// How long a watch lasts if its client sets no time; real servers draw one from 30 to 60 minutes.
const LONGEST: Duration = Duration::from_secs(1800);

/// Answers a watch.
pub(super) fn answer(api: &Api, ask: Ask) -> Result<Response<Body>, Refusal> {
    let config = &api.cluster.world.config;
    let initial_events = ask.param("sendInitialEvents").map(|_| ask.flag("sendInitialEvents"));
    if initial_events.is_some() {
        check_initial_events(&ask, config.watch_list)?;
    }
    let newest = api.store.version();
    let asked = ask.version()?;
    let subscription = api.store.subscribe();
    let snapshot = match (initial_events, asked) {
        (Some(true), Some(version)) if version > newest => return Err(Refusal::too_new(version, newest)),
        (Some(true), _) | (None, None | Some(0)) => Some(api.store.snapshot(ask.resource)),
        _ => None,
    };
    let version = snapshot.as_ref().map_or(asked.filter(|asked| *asked > 0).unwrap_or(newest), |state| state.version);
    let items = snapshot.map(|snapshot| snapshot.items.iter().map(Arc::clone).collect::<VecDeque<_>>());
    let bookmarks = ask.flag("allowWatchBookmarks");
    let seconds = ask.param("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).filter(|seconds| *seconds > 0);
    let lasts = seconds.map_or(LONGEST, Duration::from_secs).min(LONGEST * 48);
    let watch = Watch {
        store: Arc::clone(&api.store),
        subscription,
        ask,
        version,
        end_of_initial: bookmarks && initial_events == Some(true),
        initial: items.unwrap_or_default(),
        bookmark_every: bookmarks.then_some(config.bookmark_every),
        next_bookmark: Instant::now() + config.bookmark_every,
        deadline: Instant::now() + lasts,
        ended: false,
    };
    let pieces = stream::unfold(watch, |mut watch| async move {
        let piece = watch.next().await?;
        Some((Ok::<_, std::io::Error>(piece), watch))
    });
    Ok(json_body(Body::from_stream(pieces)))
}

fn check_initial_events(ask: &Ask, watch_list: bool) -> Result<(), Refusal> {
    let refuse = |detail: &str| {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {detail}");
        Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", &message))
    };
    if !watch_list {
        return refuse(
            "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        );
    }
    if ask.param("resourceVersionMatch") != Some("NotOlderThan") {
        return refuse(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    Ok(())
}

struct Watch {
    store: Arc<Store>,
    subscription: Receiver<u64>,
    ask: Ask,
    /// Everything up to this version is told.
    version: u64,
    /// Objects still to be told as if they were new.
    initial: VecDeque<Arc<Item>>,
    /// Whether the bookmark that ends them is still to come.
    end_of_initial: bool,
    bookmark_every: Option<Duration>,
    next_bookmark: Instant,
    deadline: Instant,
    ended: bool,
}

impl Watch {
    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.ended {
                return None;
            }
            let piece = self.ready();
            if !piece.is_empty() {
                return Some(piece.into());
            }
            let version = self.version;
            tokio::select! {
                newer = self.subscription.wait_for(|newest| *newest > version) => self.ended = newer.is_err(),
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmark_every.is_some() => {
                    self.next_bookmark = Instant::now() + self.bookmark_every.unwrap_or(LONGEST);
                    return Some(bookmark(self.ask.resource, self.version, false).into());
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    self.ended = true;
                    return self.bookmark_every.map(|_| bookmark(self.ask.resource, self.version, false).into());
                }
            }
        }
    }

    /// What can be told without waiting.
    fn ready(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        while let Some(item) = self.initial.pop_front() {
            if self.ask.wants(&item) {
                event("ADDED", self.ask.resource, &item, &mut piece);
            }
            if piece.len() >= PIECE {
                return piece;
            }
        }
        if self.end_of_initial {
            self.end_of_initial = false;
            piece.extend_from_slice(&bookmark(self.ask.resource, self.version, true));
        }
        while piece.len() < PIECE {
            let Some((changes, upto)) = self.store.changes(self.ask.resource, self.version, AT_ONCE) else {
                self.ended = true;
                piece.extend_from_slice(&gone(self.version));
                break;
            };
            for change in &changes {
                self.tell(change, &mut piece);
            }
            self.version = upto;
            if changes.len() < AT_ONCE {
                break;
            }
        }
        piece
    }

    /// To a watch with a selector, an object that leaves the selection is deleted, one that enters it is new.
    fn tell(&self, change: &Change, piece: &mut Vec<u8>) {
        let before = change.before.as_ref().is_some_and(|item| self.ask.wants(item));
        let after = !change.deleted && self.ask.wants(&change.after);
        let kind = match (before, after) {
            (false, false) => return,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        event(kind, self.ask.resource, &change.after, piece);
    }
}

fn event(kind: &str, resource: Resource, item: &Item, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    typed(resource, item, out);
    out.extend_from_slice(b"}\n");
}

fn bookmark(resource: Resource, version: u64, ends_initial: bool) -> Vec<u8> {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if ends_initial {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let spec = if resource == Resource::Pods { json!({"containers": null}) } else { json!({}) };
    let object = json!({"kind": resource.kind(), "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {}});
    line(&json!({"type": "BOOKMARK", "object": object}))
}

/// The history does not reach back so far. Comes within a 200, as the watch cache sends it.
fn gone(version: u64) -> Vec<u8> {
    let message = format!("too old resource version: {version}");
    line(&json!({"type": "ERROR", "object": objects::refusal(410, "Expired", &message)}))
}

fn line(value: &serde_json::Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}
