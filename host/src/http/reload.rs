//! Reading the rules again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::ops;
use super::places::Place;
use crate::reloads::{Asked, ReloadEnd, Reloads};

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

/// What is known of reloads.
pub(super) async fn reloads(State(state): State<Reloading>) -> Response {
    ops::json(StatusCode::OK, &state.reloads.status())
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
        return ops::json(StatusCode::ACCEPTED, &json!({ "status": "/api/v1/rules/reload" }));
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
            ops::json(code, &outcome)
        }
        Ok(Err(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not decided: the process is stopping, or too many wait already\n")
                .into_response()
        }
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            "not decided yet, since no cycle with answers has ended; /api/v1/rules/reload says how it goes on\n",
        )
            .into_response(),
    }
}
