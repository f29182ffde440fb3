//! Rows as they go by, for `millrace tap`: one JSON object a line, for as long as somebody reads.
//!
//! Everything is done here, on the listener's time: the chain only hands its batches over.

mod lines;
mod rate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant as Deadline, timeout_at};

use super::places::Place as Connection;
use super::{chain, ops};
use crate::status::Board;
use crate::taps::{At, Event, MAX_LISTENERS, Place, Tap, Taps};
use lines::{Filter, Lines};
use rate::Rate;

/// Longest stream.
const LONGEST: Duration = Duration::from_secs(3600);
/// Without a line for so long, one says that the connection is alive.
const SILENCE: Duration = Duration::from_secs(15);
/// How soon it is told what was left out.
const TELL: Duration = Duration::from_secs(1);
/// Rows a second, unless somebody asks for another number.
const RATE: u32 = 1000;
const MAX_RATE: u32 = 10_000;
/// Longest pattern, bytes.
const MAX_PATTERN: usize = 256;

/// What the handler needs.
#[derive(Clone)]
pub(super) struct Tapped {
    pub taps: Arc<Taps>,
    pub board: Arc<Board>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    rule: Option<String>,
    at: Option<WantedAt>,
    entity: Option<String>,
    metric: Option<String>,
    rate: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WantedAt {
    Before,
    After,
    Changes,
}

/// What there is instead where the configuration says so.
pub(super) async fn off() -> (StatusCode, &'static str) {
    let text =
        "tapping is turned off, as recording is; `record = true` under `[http]` of its configuration allows both\n";
    (StatusCode::FORBIDDEN, text)
}

/// Rows from now on.
pub(super) async fn tap(
    State(state): State<Tapped>,
    Query(wanted): Query<Wanted>,
    connection: Option<Extension<Connection>>,
) -> Response {
    let (place, filter, rate) = match wanted.check(&state.board) {
        Ok(checked) => checked,
        Err(refusal) => return *refusal,
    };
    let Some(tap) = state.taps.listen(place) else {
        let text = format!("{MAX_LISTENERS} taps are open; try again when one is closed\n");
        return (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    };
    if let Some(Extension(connection)) = connection {
        connection.hold_until(Instant::now() + LONGEST);
    }
    let flow = Flow { tap, lines: Lines::new(filter, Rate::new(rate)), ends: Deadline::now() + LONGEST, over: false };
    let parts = stream::unfold(flow, async |mut flow| Some((Ok::<_, std::io::Error>(flow.next().await?), flow)));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(parts)).into_response()
}

impl Wanted {
    fn check(self, board: &Board) -> Result<(Place, Filter, u32), Box<Response>> {
        let refuse = |why: String| Box::new(ops::json(StatusCode::BAD_REQUEST, &json!({ "error": why })));
        let rate = self.rate.unwrap_or(RATE);
        if !(1..=MAX_RATE).contains(&rate) {
            return Err(refuse(format!("`rate` is {rate}; ask for 1 to {MAX_RATE} rows a second")));
        }
        for (name, pattern) in [("entity", &self.entity), ("metric", &self.metric)] {
            if pattern.as_ref().is_some_and(|pattern| pattern.len() > MAX_PATTERN) {
                return Err(refuse(format!("`{name}` has more than {MAX_PATTERN} bytes")));
            }
        }
        let at = match self.at {
            Some(WantedAt::Before) => At::Before,
            Some(WantedAt::After) => At::After,
            Some(WantedAt::Changes) | None => At::Changes,
        };
        let place = match self.rule {
            Some(rule) => {
                let snapshot = board.snapshot();
                if !chain::is_rule(&snapshot, &rule) {
                    return Err(Box::new(chain::unknown(&snapshot, &rule)));
                }
                Place::Rule(rule, at)
            }
            None if self.at.is_some() => {
                return Err(refuse("`at` says where at a rule; name the rule, too".to_owned()));
            }
            None => Place::Sinks,
        };
        Ok((place, Filter { entity: self.entity, metric: self.metric }, rate))
    }
}

/// One stream on its way.
struct Flow {
    tap: Tap,
    lines: Lines,
    ends: Deadline,
    over: bool,
}

impl Flow {
    /// The next lines, some at a time.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let mut alive = Deadline::now() + SILENCE;
        loop {
            let tell = self.lines.left_out().map_or(alive, |since| alive.min((since + TELL).into()));
            match timeout_at(tell.min(self.ends), self.tap.next()).await {
                Ok(Some(Event::Seen(seen))) => self.lines.seen(&seen),
                Ok(Some(Event::Skipped(batches))) => self.lines.skipped(batches),
                Ok(None) => {
                    self.over = true;
                    self.lines.end("nothing of it was read for too long");
                }
                Err(_) if Deadline::now() >= self.ends => {
                    self.over = true;
                    self.lines.end("it was open for an hour");
                }
                Err(_) if self.lines.left_out().is_some() => self.lines.tell_left_out(),
                Err(_) => {
                    self.lines.alive();
                    alive = Deadline::now() + SILENCE;
                }
            }
            let lines = self.lines.take();
            if !lines.is_empty() {
                return Some(lines);
            }
        }
    }
}
