//! HTTP: reads published state and never calls into the pipeline.

mod metrics;
mod ops;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::error;

use crate::status::Board;

/// Opens the port.
///
/// # Errors
/// It is taken, or the address is not this machine's.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until the task is aborted.
pub async fn serve(listener: TcpListener, board: Arc<Board>) {
    if let Err(error) = axum::serve(listener, router(board)).await {
        error!(%error, "HTTP server ended");
    }
}

fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/", get(ops::index))
        .route("/api/v1/status", get(ops::status))
        .route("/healthz", get(ops::healthz))
        .route("/livez", get(ops::livez))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(board)
}
