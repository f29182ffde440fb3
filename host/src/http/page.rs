//! The page at `/`, and the JSON that it asks for every few seconds.
//!
//! Each answer is bounded, however large the cluster is: nodes come in pages, of what is used there are the
//! first by rank. The page is a few files in this program and asks nobody else for anything; those who don't
//! ask for HTML get the list of paths.

mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::reply::{JSON, in_pieces};
use super::{model, ops};
use crate::reloads::ReloadStatus;
use crate::sinks::LedgerSnapshot;
use crate::status::{Board, Counters, CycleStatus, NodeStatus, Snapshot};
use crate::store::{StoreReader, StoreStatus};
use usage::{Asked, LONGEST_SEARCH};

/// Nodes in one answer.
const NODES: usize = 1000;
/// Nodes without points that the overview names.
const TROUBLED: usize = 20;
/// Rankings that are made at one time, on a thread beside the runtime.
static RANKING: Semaphore = Semaphore::const_new(1);
/// How long one is waited for; the page asks again with its next look.
const PATIENCE: Duration = Duration::from_secs(3);

const INDEX: &str = include_str!("page/index.html");
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// What it loads: the names under `/page/`, the type, the content.
const FILES: [(&str, &str, &str); 6] = [
    ("page.css", STYLE, include_str!("page/page.css")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("ask.js", SCRIPT, include_str!("page/ask.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("parts.js", SCRIPT, include_str!("page/parts.js")),
    ("usage.js", SCRIPT, include_str!("page/usage.js")),
];
/// Only what this server has, no script or style within the page, and no other page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// What the page is answered from.
#[derive(Clone)]
pub(super) struct Paged {
    /// The state after each cycle.
    pub board: Arc<Board>,
    /// `None`: nothing is kept.
    pub store: Option<StoreReader>,
}

/// The page and its JSON.
pub(super) fn routes(paged: Paged) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/page/{name}", get(asset))
        .route("/api/v1/page", get(overview))
        .route("/api/v1/page/nodes", get(nodes))
        .route("/api/v1/page/usage", get(used))
        .with_state(paged)
}

/// The page for browsers, the list of paths for everybody else.
async fn index(headers: HeaderMap) -> Response {
    let mut response =
        if wants_html(&headers) { file("text/html; charset=utf-8", INDEX) } else { ops::index().await.into_response() };
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("accept"));
    response
}

fn wants_html(headers: &HeaderMap) -> bool {
    let mut asked = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_html = |range: &str| range.split(';').next().is_some_and(|kind| kind.trim() == "text/html");
    asked.any(|value| value.split(',').any(is_html))
}

async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => file(kind, content),
        None => model::nowhere(),
    }
}

fn file(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}

/// An answer, which is compressed for browsers: a thousand nodes are much alike.
fn json(headers: &HeaderMap, what: &impl Serialize) -> Response {
    match serde_json::to_vec(what) {
        Ok(body) => in_pieces(headers, JSON, std::iter::once(body), None),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// `/api/v1/status` without what grows with the cluster.
#[derive(Serialize)]
struct Overview<'a> {
    version: &'static str,
    uptime_seconds: u64,
    resolution_ms: u64,
    ready: bool,
    not_ready: Option<String>,
    cycle: Option<&'a CycleStatus>,
    counters: &'a Counters,
    nodes: Nodes<'a>,
    sinks: Vec<LedgerSnapshot>,
    reloads: Option<ReloadStatus>,
    store: Option<StoreStatus>,
}

/// The nodes of the last cycle in figures.
#[derive(Serialize)]
struct Nodes<'a> {
    total: usize,
    /// How many are in each state.
    states: BTreeMap<&'static str, usize>,
    /// The first of those without points.
    troubled: Vec<&'a NodeStatus>,
}

impl<'a> Nodes<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut states = BTreeMap::new();
        for node in &snapshot.nodes {
            *states.entry(node.state).or_default() += 1;
        }
        let troubled = snapshot.nodes.iter().filter(|node| node.state != "ok").take(TROUBLED).collect();
        Self { total: snapshot.nodes.len(), states, troubled }
    }
}

async fn overview(State(Paged { board, .. }): State<Paged>, headers: HeaderMap) -> Response {
    let (snapshot, not_ready) = (board.snapshot(), board.ready().err());
    let overview = Overview {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: board.uptime().as_secs(),
        resolution_ms: u64::try_from(board.resolution().as_millis()).unwrap_or(u64::MAX),
        ready: not_ready.is_none(),
        not_ready,
        cycle: snapshot.cycle.as_ref(),
        counters: &snapshot.counters,
        nodes: Nodes::of(&snapshot),
        sinks: board.ledgers(),
        reloads: board.reloads(),
        store: board.store(),
    };
    json(&headers, &overview)
}

/// Where a page of nodes begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    #[serde(default)]
    from: usize,
}

/// A node on the map.
#[derive(Serialize)]
struct Tile {
    name: String,
    state: &'static str,
    failed_cycles: u64,
    took_ms: f64,
    points: u64,
}

/// Some of the nodes.
#[derive(Serialize)]
struct Map {
    cycle: u64,
    total: usize,
    from: usize,
    nodes: Vec<Tile>,
}

/// Nodes in the order of their names, so many at a time.
async fn nodes(
    State(Paged { board, .. }): State<Paged>,
    Query(From { from }): Query<From>,
    headers: HeaderMap,
) -> Response {
    let snapshot = board.snapshot();
    let tile = |node: &NodeStatus| Tile {
        name: node.name.to_string(),
        state: node.state,
        failed_cycles: node.failed_cycles,
        took_ms: node.took_ms.round(),
        points: node.points,
    };
    let map = Map {
        cycle: snapshot.cycle.as_ref().map_or(0, |cycle| cycle.number),
        total: snapshot.nodes.len(),
        from,
        nodes: snapshot.nodes.iter().skip(from).take(NODES).map(tile).collect(),
    };
    json(&headers, &map)
}

/// Those that use most, with their last minutes.
async fn used(State(Paged { store, .. }): State<Paged>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let Some(store) = store else { return model::off() };
    if asked.search.len() > LONGEST_SEARCH {
        let text = format!("`search` has {} bytes; use at most {LONGEST_SEARCH}\n", asked.search.len());
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    // However many look at the page, one of them is ranked for at a time.
    let Ok(Ok(ranking)) = timeout(PATIENCE, RANKING.acquire()).await else { return model::busy() };
    let ranked = tokio::task::spawn_blocking(move || {
        let _ranking = ranking;
        usage::ranked(&store.snapshot(), &asked)
    });
    match ranked.await {
        Ok(ranked) => json(&headers, &ranked),
        Err(_) => model::busy(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_for_those_who_ask_for_html() {
        for (accept, want) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json"), false),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), true),
            (Some("application/xhtml+xml, text/html;q=0.9"), true),
        ] {
            let headers: HeaderMap =
                accept.map(|it| (header::ACCEPT, header::HeaderValue::from_static(it))).into_iter().collect();
            assert_eq!(wants_html(&headers), want, "{accept:?}");
        }
    }

    #[test]
    fn what_the_page_loads_is_there() {
        let named = |text: &str, before: &str| -> Vec<String> {
            let found = text.split(before).skip(1);
            found.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
        };
        let mut wanted =
            [named(INDEX, "=\"page/"), FILES.iter().flat_map(|(.., text)| named(text, "from \"./")).collect()].concat();
        wanted.sort_unstable();
        wanted.dedup();
        let mut there: Vec<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        there.sort_unstable();
        assert_eq!(wanted, there);
    }

    #[test]
    fn the_page_is_small_and_has_nothing_that_its_policy_forbids() {
        let size = INDEX.len() + FILES.iter().map(|(.., content)| content.len()).sum::<usize>();
        assert!(size < 150_000, "{size}");
        for forbidden in ["<style", "style=", "onclick", "onload", "javascript:", "http://", "https://"] {
            assert!(!INDEX.contains(forbidden), "{forbidden}");
        }
        for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
            for (name, _, content) in FILES {
                assert!(!content.contains(forbidden), "{name}: {forbidden}");
            }
        }
    }
}
