//! HTTP: reads published state and never calls into the pipeline.
//!
//! Whoever connects is bounded: in how many connections there are, in how long a request's head may
//! take, and in how long one connection may live, whatever is done on it. A newcomer is never kept
//! waiting: when all places are taken it gets the one that is missed least.

mod certificate;
mod chain;
mod exposition;
mod failures;
mod guard;
mod historical;
mod metrics;
mod model;
mod ops;
mod page;
mod paths;
mod places;
mod port;
mod process;
mod record;
mod reload;
mod reply;
mod resource;
mod tap;
mod tls;
mod turns;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::auth::Presented;
use crate::recordings::Recordings;
use crate::reloads::Reloads;
use crate::rules::Failures;
use crate::status::Board;
use crate::store::StoreReader;
use crate::taps::Taps;
use crate::throttle::Throttle;
pub use certificate::CertificateError;
use failures::Failing;
pub use historical::Historical;
use model::Modelled;
use places::{Place, Places};
pub use port::{Port, PortError, check_certificates};
use record::Recorded;
use reload::Reloading;
use resource::Resourced;
use tap::Tapped;

/// How long nothing is accepted after the system refused a connection, for want of files mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Connections at one time.
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

/// Where batches can be looked at.
#[derive(Clone)]
pub struct Batches {
    /// Whole cycles of them, on their way into the chain.
    pub recordings: Arc<Recordings>,
    /// Those that go by.
    pub taps: Arc<Taps>,
}

/// What HTTP shows, and may ask for.
#[derive(Clone)]
pub struct Shown {
    /// The state after each cycle.
    pub board: Arc<Board>,
    /// Where batches can be looked at; `None`: they are not shown.
    pub batches: Option<Batches>,
    /// Where reloads are asked for.
    pub reloads: Arc<Reloads>,
    /// What rules failed on last.
    pub failures: Arc<Failures>,
    /// What Heapster's API is answered from; `None`: nothing is kept.
    pub store: Option<StoreReader>,
    /// Whether `metric-export` has anything in it.
    pub export: bool,
    /// What Heapster's historical API is answered from; `None`: there is none.
    pub historical: Option<Arc<Historical>>,
}

/// Answers until the task is aborted, which ends all connections.
pub async fn serve(port: Port, shown: Shown) {
    let guarded = router(shown).layer(middleware::from_fn_with_state(port.guard.clone(), guard::check));
    accept(&port.listener, port.tls.as_ref(), guarded, LIMITS).await;
}

async fn accept(listener: &TcpListener, tls: Option<&TlsAcceptor>, router: Router, limits: Limits) {
    let mut connections = JoinSet::new();
    let (mut places, mut evictions) = (Places::default(), Throttle::default());
    loop {
        let accepted = listener.accept().await;
        while let Some(ended) = connections.try_join_next_with_id() {
            places.free(ended.map_or_else(|failed| failed.id(), |(id, ())| id));
        }
        match accepted {
            Ok((stream, peer)) => {
                // Answers of several small writes would wait for the client's acknowledgement, 40 ms each.
                let _ = stream.set_nodelay(true);
                if places.taken() >= limits.connections
                    && let Some(peer) = places.evict()
                    && let Some(more) = evictions.pass()
                {
                    let most = limits.connections;
                    warn!(%peer, most, more, "all HTTP connections are taken; the busiest client's oldest is closed");
                }
                let place = Place::default();
                let task = connections.spawn(greet(stream, tls.cloned(), router.clone(), limits, place.clone()));
                places.take(peer.ip(), place, task);
            }
            Err(error) => {
                warn!(%error, "HTTP connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The handshake where there is one, then the conversation.
async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, limits: Limits, place: Place) {
    let Some(tls) = tls else { return converse(stream, None, router, limits, place).await };
    // What goes wrong in it is the client's business, too: scanners knock at every port.
    if let Ok(Ok(stream)) = timeout(limits.head, tls.accept(stream)).await {
        let presented = tls::presented(&stream);
        converse(stream, presented, router, limits, place).await;
    }
}

/// One connection, to its end. What goes wrong on it is the client's business.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    presented: Option<Presented>,
    router: Router,
    limits: Limits,
    place: Place,
) {
    let router = TowerToHyperService::new(router);
    let theirs = place.clone();
    let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        theirs.use_now();
        if let Some(cleaned) = paths::cleaned(request.uri()) {
            *request.uri_mut() = cleaned;
        }
        request.extensions_mut().insert(theirs.clone());
        if let Some(presented) = &presented {
            request.extensions_mut().insert(presented.clone());
        }
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    if timeout(limits.life, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let last = Instant::now() + limits.last_answer;
        let last = place.held().map_or(last, |held| last.max(held.into()));
        let _ = timeout_at(last, connection).await;
    }
}

fn router(Shown { board, batches, reloads, failures, store, export, historical }: Shown) -> Router {
    let resolution = board.resolution();
    let failing = Failing { board: board.clone(), failures };
    let (record, tap, failed) = match batches {
        Some(Batches { recordings, taps }) => (
            get(record::record).with_state(Recorded { recordings, resolution }),
            get(tap::tap).with_state(Tapped { taps, board: Arc::clone(&board) }),
            get(failures::recording).with_state(failing.clone()),
        ),
        None => (get(record::off), get(tap::off), get(record::off)),
    };
    Router::new()
        .route("/api/v1/status", get(ops::status))
        .route("/api/v1/rules", get(chain::all))
        .route("/api/v1/rules/{name}", get(chain::one))
        .route("/healthz", get(ops::healthz))
        .route("/healthz/healthz", get(ops::healthz))
        .route("/livez", get(ops::livez))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/record", record)
        .route("/api/v1/tap", tap)
        .route("/api/v1/rules/{name}/failures", get(failures::list).with_state(failing))
        .route("/api/v1/rules/{name}/failures/recording", failed)
        .route("/api/v1/rules/{name}/shadow", get(chain::shadow))
        .route(
            "/api/v1/rules/reload",
            post(reload::reload).get(reload::reloads).with_state(Reloading { reloads, resolution }),
        )
        .with_state(Arc::clone(&board))
        .merge(page::routes(page::Paged { board: Arc::clone(&board), store: store.clone() }))
        .merge(resource::routes(Resourced { board, store: store.clone() }))
        .merge(exposition::routes(store.clone()))
        .merge(heapsters(Modelled { store, export }))
        .merge(historical::routes(historical))
}

/// The routes that were Heapster's.
fn heapsters(modelled: Modelled) -> Router {
    let model = || get(model::model);
    Router::new()
        .route(model::PREFIX, model())
        .route("/api/v1/model/", model())
        .route("/api/v1/model/{*path}", model())
        .route("/api/v1/metric-export", get(model::export))
        .route("/api/v1/metric-export/", get(model::export))
        .route("/api/v1/metric-export-schema", get(model::schema))
        .route("/api/v1/metric-export-schema/", get(model::schema))
        .with_state(modelled)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    /// More than the system's buffers hold on both sides.
    const LARGE: usize = 64 << 20;

    async fn server(limits: Limits) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "ok")).route("/large", get(async || vec![0; LARGE]));
        let mut task = JoinSet::new();
        task.spawn(async move { accept(&listener, None, router, limits).await });
        (address, task)
    }

    fn limits() -> Limits {
        let short = Duration::from_millis(200);
        Limits { connections: 2, head: short, life: Duration::from_secs(60), last_answer: short }
    }

    /// Asks, and reads the whole answer.
    async fn answered(stream: &mut TcpStream) -> bool {
        let mut answer = Vec::new();
        if stream.write_all(REQUEST).await.is_err() {
            return false;
        }
        while !answer.ends_with(b"\r\n\r\nok") {
            let Ok(byte) = stream.read_u8().await else { return false };
            answer.push(byte);
        }
        answer.starts_with(b"HTTP/1.1 200 OK")
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
        // Both places are taken; the third gets the oldest, and the other ends by itself.
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_secs(20), answered(&mut third)).await.unwrap());
        let _ = silent.write_all(b"G").await;
        closes(silent).await;
        closes(slow).await;
    }

    /// Connects from an address of this machine.
    async fn from(client: [u8; 4], server: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((client, 0))).unwrap();
        socket.connect(server).await.unwrap()
    }

    #[tokio::test]
    async fn half_sent_requests_of_one_client_hold_up_nobody() {
        const GREEDY: [u8; 4] = [127, 0, 0, 1];
        // Nothing ends by its own time here.
        let long = Duration::from_secs(3600);
        let most = Limits { connections: 64, head: long, life: long, last_answer: long };
        let (address, _server) = server(most).await;
        let mut kept = from([127, 0, 0, 3], address).await;
        assert!(answered(&mut kept).await);
        let mut half_sent = VecDeque::new();
        for number in 0..900 {
            let mut stream = from(GREEDY, address).await;
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            // Twice as many as there are places.
            half_sent.push_back(stream);
            half_sent.drain(..half_sent.len().saturating_sub(128));
            if number % 300 < 2 || number == 899 {
                for probe in [[127, 0, 0, 2], GREEDY] {
                    let answer = async { answered(&mut from(probe, address).await).await };
                    let answer = timeout(Duration::from_secs(10), answer).await;
                    assert_eq!(answer, Ok(true), "{probe:?} after {number}");
                }
            }
        }
        assert!(answered(&mut kept).await, "a client with one connection keeps it");
        closes(half_sent.pop_front().unwrap()).await;
    }

    #[tokio::test]
    async fn answers_that_nobody_reads_hold_up_nobody() {
        let long = Duration::from_secs(3600);
        let (address, _server) = server(Limits { connections: 4, head: long, life: long, last_answer: long }).await;
        let mut unread = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            unread.push(stream);
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        assert_eq!(timeout(Duration::from_secs(10), answered(&mut probe)).await, Ok(true));
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

    #[tokio::test]
    async fn an_answer_that_said_so_outlives_the_connection_s_time() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = async |place: axum::Extension<Place>| {
            place.hold_until(std::time::Instant::now() + Duration::from_secs(60));
            sleep(Duration::from_millis(300)).await;
            "ok"
        };
        let life = Duration::from_millis(50);
        let limits = Limits { life, last_answer: life, ..limits() };
        let mut task = JoinSet::new();
        let router = Router::new().route("/", get(slow));
        task.spawn(async move { accept(&listener, None, router, limits).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_secs(20), answered(&mut stream)).await.unwrap());
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
