//! Batches as they enter the chain, of whole cycles, for `millrace rule record`.

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
use tokio::time::{Instant as Deadline, timeout_at};

use super::places::Place;
use crate::recordings::{MAX_CYCLES, MAX_LISTENERS, Recording, Recordings};

/// Beside the cycles themselves, for one that is late and for a slow connection.
const SLACK: Duration = Duration::from_secs(60);

/// What the handler needs.
#[derive(Clone)]
pub(super) struct Recorded {
    pub recordings: Arc<Recordings>,
    pub resolution: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    cycles: Option<u32>,
}

/// What there is instead where the configuration says so.
pub(super) async fn off() -> (StatusCode, &'static str) {
    (StatusCode::FORBIDDEN, "recording is turned off; `record = true` under `[http]` of its configuration allows it\n")
}

/// The next `cycles` cycles, from the beginning of one.
pub(super) async fn record(
    State(state): State<Recorded>,
    Query(wanted): Query<Wanted>,
    place: Option<Extension<Place>>,
) -> Response {
    let cycles = wanted.cycles.unwrap_or(1);
    if !(1..=MAX_CYCLES).contains(&cycles) {
        return (StatusCode::BAD_REQUEST, format!("`cycles` is {cycles}; ask for 1 to {MAX_CYCLES}\n")).into_response();
    }
    let Some(recording) = state.recordings.listen(cycles) else {
        let text = format!("{MAX_LISTENERS} recordings are under way; try again when one is done\n");
        return (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    };
    // The one that is under way is not recorded.
    let longest = state.resolution.saturating_mul(cycles + 1).saturating_add(SLACK);
    if let Some(Extension(place)) = place {
        place.hold_until(Instant::now() + longest);
    }
    let deadline = Deadline::now() + longest;
    let parts = stream::unfold(recording, move |recording| next(recording, deadline));
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(parts)).into_response()
}

async fn next(mut recording: Recording, deadline: Deadline) -> Option<(Result<Bytes, std::io::Error>, Recording)> {
    match timeout_at(deadline, recording.next()).await {
        Ok(part) => part.map(|part| (Ok(part), recording)),
        // An answer that breaks off is no whole recording.
        Err(_) => Some((Err(std::io::ErrorKind::TimedOut.into()), recording)),
    }
}
