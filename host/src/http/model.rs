//! Heapster's model API and its export, answered from the store.
//!
//! Paths are read in `route`, queries in `query`, answers made in `answer` and `export`, all without I/O;
//! how they are sent is in `super::reply`.

pub(super) mod answer;
mod export;
pub(super) mod query;
pub(super) mod route;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::reply::{JSON, PIECE, accepts_gzip, accepts_json, in_pieces};
use super::turns;
use crate::store::StoreReader;
use route::Ask;

/// Where the model API stands.
pub(super) const PREFIX: &str = "/api/v1/model";

/// What the model API answers from.
#[derive(Debug, Clone)]
pub(super) struct Modelled {
    /// `None`: nothing is kept.
    pub store: Option<StoreReader>,
    /// Whether the export has anything in it.
    pub export: bool,
}

/// A route of the model.
pub(super) async fn model(State(modelled): State<Modelled>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let Some(ask) = route::parse(path) else { return nowhere() };
    let Some(store) = &modelled.store else { return off() };
    if !accepts_json(&headers) {
        return unacceptable();
    }
    let query = match query::parse(uri.query().unwrap_or_default()) {
        Ok(query) => query,
        Err(text) => return (StatusCode::BAD_REQUEST, text).into_response(),
    };
    let snapshot = store.snapshot();
    match ask {
        Ask::PodList(namespace, pods, metric) => {
            let Some(turn) = turns::turn().await else { return busy() };
            in_pieces(&headers, JSON, answer::pod_list(snapshot, namespace, pods, metric, query), Some(turn))
        }
        ask => whole(&headers, &answer::answer(&snapshot, &ask, &query)),
    }
}

/// The newest values of everything.
pub(super) async fn export(State(modelled): State<Modelled>, headers: HeaderMap) -> Response {
    let Some(store) = &modelled.store else { return off() };
    if !accepts_json(&headers) {
        return unacceptable();
    }
    if !modelled.export {
        return whole(&headers, &serde_json::Value::Array(Vec::new()));
    }
    let Some(turn) = turns::turn().await else { return busy() };
    in_pieces(&headers, JSON, export::pieces(store.snapshot()), Some(turn))
}

/// What there is in it.
pub(super) async fn schema(headers: HeaderMap) -> Response {
    if accepts_json(&headers) { whole(&headers, &export::schema()) } else { unacceptable() }
}

pub(super) fn nowhere() -> Response {
    (StatusCode::NOT_FOUND, "404: Page Not Found").into_response()
}

pub(super) fn off() -> Response {
    (StatusCode::NOT_FOUND, "404: nothing is kept: [store] keep is 0, or --disable-metric-sink is given\n")
        .into_response()
}

pub(super) fn busy() -> Response {
    let wait = [(header::RETRY_AFTER, turns::RETRY_AFTER)];
    (StatusCode::SERVICE_UNAVAILABLE, wait, format!("503: {}\n", turns::BUSY)).into_response()
}

pub(super) fn unacceptable() -> Response {
    (StatusCode::NOT_ACCEPTABLE, "406: Not Acceptable").into_response()
}

/// A small answer.
fn whole(headers: &HeaderMap, what: &serde_json::Value) -> Response {
    let body = format!("{what:#}\n").into_bytes();
    if body.len() <= PIECE && !accepts_gzip(headers) {
        return ([(header::CONTENT_TYPE, JSON)], body).into_response();
    }
    in_pieces(headers, JSON, std::iter::once(body), None)
}
