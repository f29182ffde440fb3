//! The rules: what those beside the chain would do, and reading all of them again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::places::Place;
use crate::reloads::{Asked, ReloadEnd, Reloads};
use crate::status::Board;

/// Beside two cycles, for reading and compiling.
const SLACK: Duration = Duration::from_secs(60);

/// What the handlers of reloading need.
#[derive(Clone)]
pub(super) struct Reloading {
    pub reloads: Arc<Reloads>,
    pub resolution: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Answer when it is decided.
    wait: Option<bool>,
}

/// What a rule in the shadow would have done.
pub(super) async fn shadow(State(board): State<Arc<Board>>, Path(name): Path<String>) -> Response {
    let snapshot = board.snapshot();
    if let Some(shadow) = snapshot.shadows.iter().find(|shadow| shadow.rule.name == name) {
        return Json(shadow).into_response();
    }
    let names: Vec<_> = snapshot.shadows.iter().map(|shadow| &shadow.rule.name).collect();
    let error = format!(
        "no rule `{name}` runs in the shadow; `shadow = true` in the .toml file beside the .wasm file makes it do so"
    );
    (StatusCode::NOT_FOUND, Json(json!({ "error": error, "shadows": names }))).into_response()
}

/// What is known of reloads.
pub(super) async fn reloads(State(state): State<Reloading>) -> Response {
    Json(state.reloads.status()).into_response()
}

/// Reads the rules again. With `?wait=true` the answer comes when the new set has taken over (200) or is
/// refused (409).
pub(super) async fn reload(
    State(state): State<Reloading>,
    Query(wanted): Query<Wanted>,
    place: Option<Extension<Place>>,
) -> Response {
    if wanted.wait != Some(true) {
        state.reloads.ask(Asked::Request(None));
        return (StatusCode::ACCEPTED, Json(json!({ "status": "/api/v1/rules/reload" }))).into_response();
    }
    let Some(outcome) = state.reloads.ask_and_wait() else {
        return (StatusCode::TOO_MANY_REQUESTS, "many reloads wait already; try again later\n").into_response();
    };
    // The cycle that is under way is not the shadow cycle; the next whole one is.
    let longest = state.resolution.saturating_mul(2).saturating_add(SLACK);
    if let Some(Extension(place)) = place {
        place.hold_until(Instant::now() + longest);
    }
    match timeout(longest, outcome).await {
        Ok(Ok(outcome)) => {
            let refused = outcome.outcome == ReloadEnd::Refused;
            let code = if refused { StatusCode::CONFLICT } else { StatusCode::OK };
            (code, Json(outcome)).into_response()
        }
        Ok(Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, "the process is stopping\n").into_response(),
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            "not decided yet, since no cycle with answers has ended; /api/v1/rules/reload says how it goes on\n",
        )
            .into_response(),
    }
}
