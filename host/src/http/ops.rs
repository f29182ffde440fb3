//! Status and health.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::status::Board;

/// What there is to see.
pub(super) async fn index() -> &'static str {
    "Millrace\n\n/api/v1/status  last cycle, nodes, rules, sinks (JSON)\n/metrics        the same as Prometheus counters\n/api/v1/record  batches of the next cycle, for `millrace rule record`\n/healthz /livez /readyz\n"
}

/// Everything, as JSON.
pub(super) async fn status(State(board): State<Arc<Board>>) -> Response {
    match serde_json::to_vec_pretty(&board.status()) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Heapster's check: 500 unless the last batch is young and has something in it.
pub(super) async fn healthz(State(board): State<Arc<Board>>) -> Response {
    answer(board.ready(), StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether a restart would help.
pub(super) async fn livez(State(board): State<Arc<Board>>) -> Response {
    answer(board.alive(), StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether the last cycle delivered points.
pub(super) async fn readyz(State(board): State<Arc<Board>>) -> Response {
    answer(board.ready(), StatusCode::SERVICE_UNAVAILABLE)
}

fn answer(state: Result<(), String>, code: StatusCode) -> Response {
    match state {
        Ok(()) => "ok".into_response(),
        Err(reason) => (code, reason + "\n").into_response(),
    }
}
