//! HTTP: reads published state and never calls into the pipeline.
//!
//! Whoever connects is bounded: in how many connections there are, in how long a request's head may
//! take, and in how long one connection may live, whatever is done on it.

mod metrics;
mod ops;
mod process;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::status::Board;

/// How long nothing is accepted after the system refused a connection, for want of files mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Connections at one time; more wait in the system's queue.
    connections: usize,
    /// From the connection, or the end of the last answer, to the end of a request's head.
    head: Duration,
    /// After that the connection takes no more requests.
    life: Duration,
    /// And after this, too, it ends in the middle of an answer.
    last_answer: Duration,
}

/// Scrapers that keep their connection come every 15 to 60 seconds.
const LIMITS: Limits = Limits {
    connections: 256,
    head: Duration::from_secs(20),
    life: Duration::from_secs(120),
    last_answer: Duration::from_secs(20),
};

/// Opens the port.
///
/// # Errors
/// It is taken, or the address is not this machine's.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until the task is aborted, which ends all connections.
pub async fn serve(listener: TcpListener, board: Arc<Board>) {
    accept(listener, router(board), LIMITS).await;
}

async fn accept(listener: TcpListener, router: Router, limits: Limits) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // Nobody closes the semaphore.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    converse(stream, router, limits).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "HTTP connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, to its end. What goes wrong on it is the client's business.
async fn converse(stream: TcpStream, router: Router, limits: Limits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    if timeout(limits.life, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(limits.last_answer, connection).await;
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    /// More than the system's buffers hold on both sides.
    const LARGE: usize = 64 << 20;

    async fn server(limits: Limits) -> (SocketAddr, JoinSet<()>) {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "ok")).route("/large", get(async || vec![0; LARGE]));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, router, limits));
        (address, task)
    }

    fn limits() -> Limits {
        let short = Duration::from_millis(200);
        Limits { connections: 2, head: short, life: Duration::from_secs(60), last_answer: short }
    }

    async fn answered(stream: &mut TcpStream) -> bool {
        let mut head = [0; 15];
        stream.write_all(REQUEST).await.is_ok()
            && stream.read_exact(&mut head).await.is_ok()
            && head == *b"HTTP/1.1 200 OK"
    }

    /// Reads until the server closes; fails the test if it does not.
    async fn closes(mut stream: TcpStream) {
        let mut rest = Vec::new();
        // A reset is as good an end as any.
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("it is closed");
    }

    #[tokio::test]
    async fn a_client_that_sends_no_whole_request_makes_room_for_others() {
        let (address, _server) = server(limits()).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HT").await.unwrap();
        // Both places are taken; the third waits until they are free again.
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_secs(20), answered(&mut third)).await.unwrap());
        let _ = silent.write_all(b"G").await;
        closes(silent).await;
        closes(slow).await;
    }

    #[tokio::test]
    async fn a_connection_ends_when_its_time_is_over() {
        let long = Duration::from_secs(60);
        let (address, _server) = server(Limits { head: long, life: Duration::from_millis(300), ..limits() }).await;
        let mut kept = TcpStream::connect(address).await.unwrap();
        assert!(answered(&mut kept).await);
        closes(kept).await;
        let mut reads_nothing = TcpStream::connect(address).await.unwrap();
        reads_nothing.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        sleep_until_closed(&mut reads_nothing).await;
    }

    /// Sends requests that nobody reads until the server has gone away.
    async fn sleep_until_closed(stream: &mut TcpStream) {
        let gone = async {
            while stream.write_all(REQUEST).await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), gone).await.expect("it is closed");
    }
}
