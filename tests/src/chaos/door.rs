//! The door in front of a server: it lets requests through, or does not, and remembers what was
//! asked and what was granted. Without a server behind it takes everything itself.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures::FutureExt;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::lines;
use super::plan::Fault;

/// How long the port may be somebody else's.
const DEADLINE: Duration = Duration::from_secs(30);
/// What a server that is [`Fault::TooLarge`] takes, bytes.
const MOST: usize = 2_000;

/// What went through.
#[derive(Debug, Default)]
pub struct Book {
    /// Keys of all points that were asked to be written.
    pub asked: lines::Keys,
    /// Keys of all points of requests that were answered with success, one for every time.
    pub granted: Vec<String>,
    /// Bodies that nobody could read.
    pub nonsense: Vec<String>,
}

/// A door.
pub struct Door {
    address: SocketAddr,
    room: Arc<Room>,
    /// `None` while connections are refused.
    listener: Option<Arc<TcpListener>>,
    listening: Option<JoinHandle<()>>,
}

struct Room {
    /// `None` takes everything itself.
    behind: Option<String>,
    client: reqwest::Client,
    fault: Mutex<Option<Fault>>,
    book: Mutex<Book>,
}

impl Door {
    /// Opens one in front of the server at this URL, or one with nothing behind.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn open(behind: Option<String>) -> std::io::Result<Self> {
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build();
        let client = client.map_err(std::io::Error::other)?;
        let room = Arc::new(Room { behind, client, fault: Mutex::default(), book: Mutex::default() });
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = listener.local_addr()?;
        let listening = Some(tokio::spawn(listen(listener.clone(), room.clone())));
        Ok(Self { address, room, listener: Some(listener), listening })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What went through so far.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.room.book()
    }

    /// Does something else from now on; `None` lets all through. Requests that hang are let go.
    ///
    /// # Errors
    /// The port can't be had again.
    pub async fn set(&mut self, fault: Option<Fault>) -> std::io::Result<()> {
        *self.room.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        if let Some(listening) = self.listening.take() {
            listening.abort();
            _ = listening.await;
        }
        if fault == Some(Fault::Refuse) {
            self.listener = None;
            return Ok(());
        }
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => Arc::new(self.bind_again().await?),
        };
        self.listening = Some(tokio::spawn(listen(listener.clone(), self.room.clone())));
        self.listener = Some(listener);
        Ok(())
    }

    /// Somebody's connection may have been given the port meanwhile.
    async fn bind_again(&self) -> std::io::Result<TcpListener> {
        let until = Instant::now() + DEADLINE;
        loop {
            match TcpListener::bind(self.address).await {
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                bound => return bound,
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// Aborting it ends its connections too.
async fn listen(listener: Arc<TcpListener>, room: Arc<Room>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, room.clone()));
        while connections.join_next().now_or_never().flatten().is_some() {}
    }
}

async fn serve(stream: TcpStream, room: Arc<Room>) {
    let answer = |request| {
        let room = room.clone();
        async move { room.answer(request).await }
    };
    // A connection that ends in an error is what this is for.
    _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer))
        .await;
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("as planned")]
struct Cut;

impl Room {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<axum::body::Body>, Cut> {
        let fault = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(axum::body::Body::new(body), usize::MAX).await.map_err(|_| Cut)?;
        let is_write = head.uri.path() == "/write";
        let keys = if is_write { self.read(&body) } else { Vec::new() };
        match fault {
            Some(Fault::Status(status)) => return Ok(refusal(status)),
            Some(Fault::TooLarge) if body.len() > MOST => return Ok(refusal(413)),
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::Slow(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            _ => {}
        }
        self.book().asked.extend(keys.iter().cloned());
        let answer = match &self.behind {
            None => {
                Response::builder().status(StatusCode::NO_CONTENT).body(axum::body::Body::empty()).map_err(|_| Cut)?
            }
            Some(behind) => self.pass_on(behind, &head, body).await?,
        };
        if fault == Some(Fault::LostAnswer) {
            return Err(Cut);
        }
        if answer.status().is_success() {
            self.book().granted.extend(keys);
        }
        Ok(answer)
    }

    fn read(&self, body: &Bytes) -> Vec<String> {
        let mut text = String::new();
        let read = match body.starts_with(&[0x1f, 0x8b]) {
            true => GzDecoder::new(&body[..]).read_to_string(&mut text),
            false => (&body[..]).read_to_string(&mut text),
        };
        let keys = read.map_err(|error| error.to_string()).and_then(|_| lines::keys(&text));
        keys.unwrap_or_else(|error| {
            self.book().nonsense.push(error);
            Vec::new()
        })
    }

    async fn pass_on(
        &self,
        behind: &str,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<Response<axum::body::Body>, Cut> {
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut headers = head.headers.clone();
        headers.remove(http::header::HOST);
        let request = self.client.request(head.method.clone(), format!("{behind}{target}")).headers(headers).body(body);
        let answer = request.send().await.map_err(|_| Cut)?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers().iter().filter(|(name, _)| name.as_str() != "transfer-encoding") {
            response = response.header(name, value);
        }
        let body = answer.bytes().await.map_err(|_| Cut)?;
        response.body(body.into()).map_err(|_| Cut)
    }
}

fn refusal(status: u16) -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::from("{\"error\":\"as planned\"}"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if matches!(status, 429 | 503) {
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    response
}
