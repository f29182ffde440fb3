//! The batches that rules failed on last, for reading and for `millrace rule replay --failures`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;

use super::{chain, ops};
use crate::rules::Failures;
use crate::status::Board;

/// What the handlers need.
#[derive(Clone)]
pub(super) struct Failing {
    pub board: Arc<Board>,
    pub failures: Arc<Failures>,
}

impl Failing {
    /// Answers 404 for a rule that is not there and has not failed.
    fn unknown(&self, rule: &str) -> Option<Response> {
        let snapshot = self.board.snapshot();
        let mut names = snapshot.rules.iter().chain(snapshot.shadows.iter().map(|shadow| &shadow.rule));
        let known = self.failures.of(rule).is_some() || names.any(|it| it.name == rule);
        (!known).then(|| chain::unknown(&snapshot, rule))
    }
}

/// The last failures of a rule, without the batches.
pub(super) async fn list(State(state): State<Failing>, Path(rule): Path<String>) -> Response {
    if let Some(refusal) = state.unknown(&rule) {
        return refusal;
    }
    let of = state.failures.of(&rule).unwrap_or_default();
    ops::json(StatusCode::OK, &json!({ "rule": rule, "failures": of.failures, "last": of.last }))
}

/// The batches, as a recording.
pub(super) async fn recording(State(state): State<Failing>, Path(rule): Path<String>) -> Response {
    if let Some(refusal) = state.unknown(&rule) {
        return refusal;
    }
    let Some(parts) = state.failures.recording(&rule) else {
        let error = format!("no batch is kept on which the rule `{rule}` failed");
        return ops::json(StatusCode::NOT_FOUND, &json!({ "error": error }));
    };
    let parts = stream::iter(parts.into_iter().map(Ok::<_, std::io::Error>));
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(parts)).into_response()
}
