//! A node's kubelet: `/stats/summary`, right or wrong as the failure kit says.

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use hyper::{Request, body::Incoming};

use super::{
    access::Access,
    clock::Clock,
    config::Shape,
    door::{Mistreatment, Site},
    failure::Failure,
    journal::{Entry, Journal, Target, count},
    roster::Roster,
    spoil::spoiled,
    summary::Summaries,
    tls::ServerTls,
    world::World,
};

/// Most bytes of padding sent at once.
const CHUNK: usize = 64 << 10;
const DRIP_PAUSE: Duration = Duration::from_millis(100);
const DRIP: Bytes = Bytes::from_static(&[b' '; 1024]);
const PADDING: Bytes = Bytes::from_static(&[b'x'; CHUNK]);

/// What all servers of a cluster share.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) clock: Clock,
    pub(super) summaries: Summaries,
    pub(super) journal: Journal,
    pub(super) access: Access,
    /// `Bearer …`, as it must be in the header.
    pub(super) authorization: Option<String>,
    /// When the cluster came up, in its own time.
    pub(super) began: i64,
}

impl Cluster {
    /// Whether the request brings the token, if one is needed.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        self.authorization.as_deref().is_none_or(|wanted| given == Some(wanted.as_bytes()))
    }

    pub(super) fn note(&self, target: Target, uri: &Uri, headers: &HeaderMap, status: u16) {
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        self.journal.note(Entry {
            target,
            path: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            status,
            user_agent: user_agent.unwrap_or_default().to_owned(),
        });
    }
}

/// One node's kubelet.
pub(super) struct Kubelet {
    cluster: Arc<Cluster>,
    node: usize,
    tls: Option<ServerTls>,
    state: Mutex<State>,
    answers: AtomicU64,
}

#[derive(Default)]
struct State {
    roster: Option<Arc<Roster>>,
    failure: Option<Failure>,
    /// Of the last body, to reserve the next one's.
    size: usize,
}

impl Site for Kubelet {
    fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    fn mistreatment(&self) -> Option<Mistreatment> {
        match self.failure() {
            Some(Failure::Reset) => Some(Mistreatment::Reset),
            Some(Failure::Blackhole) => Some(Mistreatment::Silence),
            _ => None,
        }
    }

    fn connected(&self) {
        count(&self.cluster.journal.connections, 1);
    }

    fn resumed(&self) {
        count(&self.cluster.journal.resumed, 1);
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path != "/stats/summary" && path != "/stats/summary/" {
            let healthy = path == "/healthz";
            let status = if healthy { StatusCode::OK } else { StatusCode::NOT_FOUND };
            return self.said(&request, plain(status, if healthy { "ok" } else { "404 page not found\n" }));
        }
        count(&self.cluster.journal.scrapes, 1);
        if request.method() != Method::GET {
            return self.said(&request, plain(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed"));
        }
        if !self.cluster.knows(request.headers()) {
            return self.said(&request, plain(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        let answers = self.answers.fetch_add(1, Ordering::Relaxed);
        let failure = self.failure();
        // Connections from before a black hole opened fall silent like the new ones.
        if let Some(Failure::Never | Failure::Blackhole) = failure {
            self.cluster.note(Target::Kubelet(self.node), request.uri(), request.headers(), 0);
            std::future::pending::<()>().await;
        }
        if let Some(Failure::Slow(time)) = failure {
            tokio::time::sleep(time).await;
        }
        let response = self.failed(failure).unwrap_or_else(|| self.summary(&request, failure, answers));
        self.said(&request, response)
    }
}

impl Kubelet {
    pub(super) fn new(cluster: Arc<Cluster>, node: usize, tls: Option<ServerTls>) -> Self {
        Self { cluster, node, tls, state: Mutex::default(), answers: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.state().failure
    }

    pub(super) fn set_failure(&self, failure: Option<Failure>) {
        self.state().failure = failure;
    }

    /// The right body at second `at`.
    pub(super) fn body(&self, at: i64, skew: i64) -> Vec<u8> {
        let (roster, size) = {
            let mut state = self.state();
            let size = state.size;
            match &state.roster {
                Some(roster) if roster.serves(at) => (Arc::clone(roster), size),
                _ => {
                    let roster = Arc::new(Roster::new(&self.cluster.world, self.node, at));
                    state.roster = Some(Arc::clone(&roster));
                    (roster, size)
                }
            }
        };
        let body = self.cluster.summaries.body(&roster, at, skew, size);
        // Times and figures grow by a digit now and then.
        self.state().size = body.len() + body.len() / 64;
        body
    }

    fn said(&self, request: &Request<Incoming>, mut response: Response<Body>) -> Response<Body> {
        if let Some(date) = self.skewed_date() {
            response.headers_mut().insert(header::DATE, date);
        }
        self.cluster.note(Target::Kubelet(self.node), request.uri(), request.headers(), response.status().as_u16());
        response
    }

    /// What a clock that is wrong puts into the header.
    fn skewed_date(&self) -> Option<http::HeaderValue> {
        let skew = self.failure()?.skew(self.cluster.began)?;
        let time = jiff::Timestamp::from_second(self.cluster.clock.now() + skew).ok()?;
        let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()?;
        text.parse().ok()
    }

    /// Answers that are not made of a body.
    fn failed(&self, failure: Option<Failure>) -> Option<Response<Body>> {
        match failure? {
            Failure::Unauthorized => Some(plain(StatusCode::UNAUTHORIZED, "Unauthorized")),
            Failure::Forbidden => {
                let what = match self.cluster.world.config.shape {
                    Shape::V1_25 => "subresource=stats",
                    Shape::V1_34 => "subresource(s)=[stats]",
                };
                let text = format!("Forbidden (user=system:anonymous, verb=get, resource=nodes, {what})");
                Some(plain(StatusCode::FORBIDDEN, &text))
            }
            Failure::NotFound => Some(plain(StatusCode::NOT_FOUND, "404 page not found\n")),
            Failure::Internal => {
                let text = "Internal Error: failed to list pod stats: failed to list all container stats: rpc error: code = \
                    Unavailable desc = connection error\n";
                Some(plain(StatusCode::INTERNAL_SERVER_ERROR, text))
            }
            Failure::NeverBody => Some(json_body(dripping(&self.cluster.world.node_name(self.node)))),
            Failure::Huge(bytes) => Some(json_body(padded(self.body(self.cluster.clock.now(), 0), bytes))),
            _ => None,
        }
    }

    fn summary(&self, request: &Request<Incoming>, failure: Option<Failure>, answers: u64) -> Response<Body> {
        let skew = failure.and_then(|failure| failure.skew(self.cluster.began)).unwrap_or(0);
        let right = self.body(self.cluster.clock.now(), skew);
        let body = failure.map_or_else(|| right.clone(), |failure| spoiled(failure, right.clone(), answers));
        count(&self.cluster.journal.summary_bytes, body.len());
        if !self.cluster.world.config.gzip || !accepts_gzip(request.headers()) {
            return json_body(Body::from(body));
        }
        match compressed(&body) {
            Ok(packed) => {
                let mut response = json_body(Body::from(packed));
                response.headers_mut().insert(header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
                response
            }
            Err(_) => json_body(Body::from(body)),
        }
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| coding.trim().starts_with("gzip"))
}

fn compressed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// A plain text answer.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", Body::from(text.to_owned()))
}

/// 200 with JSON.
pub(super) fn json_body(body: Body) -> Response<Body> {
    answer(StatusCode::OK, "application/json", body)
}

/// An answer of that media type.
pub(super) fn answer(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}

/// The start of a document, then blanks for ever.
fn dripping(name: &str) -> Body {
    let start = Bytes::from(format!("{{\"node\": {{\"nodeName\": \"{name}\"}}, \"pods\": ["));
    Body::from_stream(stream::unfold(Some(start), |start| async move {
        match start {
            Some(start) => Some((Ok::<_, std::io::Error>(start), None)),
            None => {
                tokio::time::sleep(DRIP_PAUSE).await;
                Some((Ok(DRIP), None))
            }
        }
    }))
}

/// The document with one more field, a text that brings it to `bytes`.
fn padded(mut body: Vec<u8>, bytes: u64) -> Body {
    body.pop();
    body.extend_from_slice(b", \"padding\": \"");
    let end = Bytes::from_static(b"\"}");
    let left = bytes.saturating_sub((body.len() + end.len()) as u64);
    let parts = [Bytes::from(body)].into_iter();
    let chunks = (0..left.div_ceil(CHUNK as u64)).map(move |index| {
        let length = (left - index * CHUNK as u64).min(CHUNK as u64);
        PADDING.slice(..length as usize)
    });
    Body::from_stream(stream::iter(parts.chain(chunks).chain([end]).map(Ok::<_, std::io::Error>)))
}
