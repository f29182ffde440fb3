//! The cluster whose every answer to the real Heapster was recorded: its API server and kubelets
//! are played back over HTTP, so that the real program can be compared with the real Heapster.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The nodes with a kubelet, and the last byte of their loopback address.
const KUBELETS: [(&str, u8); 5] =
    [("node-a", 11), ("node-b.example.com", 12), ("node-c", 13), ("node-d", 14), ("node-e", 15)];
/// Documents recorded for each kubelet; the last one is given again for ever.
const DOCUMENTS: usize = 4;

/// The folder of the recordings.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/heapster")
}

/// The recorded cluster, played back. Stops when it goes out of scope.
pub struct Recorded {
    api: SocketAddr,
    kubelet_port: u16,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    _servers: JoinSet<()>,
}

struct Kubelet {
    name: &'static str,
    scrapes: AtomicUsize,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Recorded {
    /// Starts the API server and the five kubelets on free ports of loopback addresses.
    ///
    /// # Errors
    /// No port is free on all five addresses.
    pub async fn start() -> std::io::Result<Self> {
        let (mut servers, asked) = (JoinSet::new(), Arc::default());
        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = api.local_addr()?;
        let router = Router::new().route("/api/v1/{kind}", get(list));
        servers.spawn(async move { axum::serve(api, router).await.unwrap_or_default() });

        let (kubelet_port, listeners) = Self::listeners().await?;
        for ((name, _), listener) in KUBELETS.into_iter().zip(listeners) {
            let kubelet = Kubelet { name, scrapes: AtomicUsize::new(0), asked: Arc::clone(&asked) };
            let router = Router::new().route("/stats/summary", get(summary)).with_state(Arc::new(kubelet));
            servers.spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        }
        Ok(Self { api: address, kubelet_port, asked, _servers: servers })
    }

    /// One port that is free on all five addresses.
    async fn listeners() -> std::io::Result<(u16, Vec<TcpListener>)> {
        let mut tries = 0;
        loop {
            let first = TcpListener::bind((Ipv4Addr::new(127, 0, 0, KUBELETS[0].1), 0)).await?;
            let port = first.local_addr()?.port();
            let mut listeners = vec![first];
            for (_, last) in &KUBELETS[1..] {
                match TcpListener::bind((Ipv4Addr::new(127, 0, 0, *last), port)).await {
                    Ok(listener) => listeners.push(listener),
                    Err(error) if tries > 20 => return Err(error),
                    Err(_) => break,
                }
            }
            if listeners.len() == KUBELETS.len() {
                return Ok((port, listeners));
            }
            tries += 1;
        }
    }

    /// `--source=…`, as Heapster was started for the recordings.
    #[must_use]
    pub fn source(&self, host_id_annotation: Option<&str>) -> String {
        let annotation = host_id_annotation.map(|key| format!("&host_id_annotation={key}")).unwrap_or_default();
        format!(
            "--source=kubernetes.summary_api:http://{}?inClusterConfig=false&kubeletHttps=false&kubeletPort={}&auth={annotation}",
            self.api, self.kubelet_port
        )
    }

    /// Where the API server listens.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// How often each kubelet was asked.
    #[must_use]
    pub fn asked(&self) -> HashMap<String, usize> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

/// A list of the API server; a watch stays open and never says anything, as in the recording.
async fn list(UrlPath(kind): UrlPath<String>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    if query.contains("sendInitialEvents") {
        return (StatusCode::UNPROCESSABLE_ENTITY, "sendInitialEvents is forbidden\n").into_response();
    }
    if query.contains("watch=true") || query.contains("watch=1") {
        return Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>()).into_response();
    }
    file(&folder().join("input").join(format!("{kind}.json")))
}

/// What the kubelet of `node` answered when it was asked for the `number`th time, from 1.
///
/// # Errors
/// The recording is missing.
pub fn body(node: &str, number: u64) -> std::io::Result<Vec<u8>> {
    let number = number.min(DOCUMENTS as u64);
    std::fs::read(folder().join("input/summary").join(node).join(format!("scrape-{number}.json")))
}

async fn summary(State(kubelet): State<Arc<Kubelet>>) -> Response {
    if let Ok(mut asked) = kubelet.asked.lock() {
        *asked.entry(kubelet.name.to_owned()).or_default() += 1;
    }
    if kubelet.name == "node-e" {
        return (StatusCode::INTERNAL_SERVER_ERROR, "Internal Error: failed to list pod stats\n").into_response();
    }
    let number = (kubelet.scrapes.fetch_add(1, Ordering::Relaxed) + 1).min(DOCUMENTS);
    file(&folder().join("input/summary").join(kubelet.name).join(format!("scrape-{number}.json")))
}

fn file(path: &Path) -> Response {
    match std::fs::read(path) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::NOT_FOUND, error.to_string()).into_response(),
    }
}
