//! `/metrics/cluster`: what the last cycle found in the cluster, for Prometheus, in both of its text formats.
//!
//! It is read from the store, so there is none where nothing is kept. Series bear no time: one that the last cycle has
//! not is not there, and Prometheus ends it. The lines of a family must stand together, and the store has them node by
//! node: `plan` sorts them, at 24 bytes a point, and `text` writes one after the other while they are sent.

mod plan;
mod text;

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::metrics::format::Format;
use super::reply::in_pieces;
use super::{model, turns};
use crate::store::StoreReader;
use plan::Plan;
use text::Page;

/// Pages that are made and sent at one time: each holds the plan of a whole cycle.
static PAGES: Semaphore = Semaphore::const_new(2);
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// Its route.
pub(super) fn routes(store: Option<StoreReader>) -> Router {
    Router::new().route("/metrics/cluster", get(page)).with_state(store)
}

async fn page(State(store): State<Option<StoreReader>>, headers: HeaderMap) -> Response {
    let Some(store) = store else { return model::off() };
    let (Some(turn), Some(permit)) = (turns::turn().await, permit().await) else { return model::busy() };
    let (snapshot, format) = (store.snapshot(), Format::asked_for(&headers));
    // Hundreds of milliseconds for a million points.
    let Ok(plan) = tokio::task::spawn_blocking(move || Plan::of(snapshot)).await else { return model::busy() };
    // The page goes on holding its permit.
    let pieces = Page::new(plan, format).inspect(move |_| {
        let _held = &permit;
    });
    in_pieces(&headers, format.content_type(), pieces, Some(turn))
}

async fn permit() -> Option<SemaphorePermit<'static>> {
    timeout(PATIENCE, PAGES.acquire()).await.ok()?.ok()
}
