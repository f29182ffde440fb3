//! Status and health.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::status::Board;

/// What there is to see, for those who don't want the page.
pub(super) async fn index() -> &'static str {
    "\
Millrace: a page for browsers here, and

/api/v1/status      last cycle, nodes, rules, sinks (JSON)
/api/v1/rules       the rules in order (JSON)
/api/v1/rules/NAME  one of them; NAME/failures: what it failed on last
/api/v1/model/…     Heapster's model: nodes, namespaces, pods, their metrics (JSON)
/api/v1/historical/… the same from InfluxDB, and aggregations in buckets of time (JSON)
/apis/…             the metrics APIs, for kubectl top and autoscalers (JSON)
/metrics            what is counted, for Prometheus
/metrics/cluster    what the last cycle found in the cluster, for Prometheus
/api/v1/record      batches of the next cycle, for `millrace rule record`
/api/v1/tap         rows as they go by, for `millrace tap`
/healthz /livez /readyz
"
}

/// Everything, as JSON.
pub(super) async fn status(State(board): State<Arc<Board>>) -> Response {
    json(StatusCode::OK, &board.status())
}

/// An answer for people and programs alike.
pub(super) fn json(code: StatusCode, what: &impl Serialize) -> Response {
    match serde_json::to_vec_pretty(what) {
        Ok(mut body) => {
            body.push(b'\n');
            (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Heapster's check: 500 unless the last batch is young and has something in it.
pub(super) async fn healthz(State(board): State<Arc<Board>>) -> Response {
    answer(board.ready(), StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether a restart would help.
pub(super) async fn livez(State(board): State<Arc<Board>>) -> Response {
    answer(board.alive(), StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether the last cycle delivered points. With `?verbose` rule by rule and sink by sink, in the
/// form of Kubernetes' own checks.
pub(super) async fn readyz(State(board): State<Arc<Board>>, RawQuery(query): RawQuery) -> Response {
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part == "verbose=true"));
    let ready = board.ready();
    if !verbose {
        return answer(ready, StatusCode::SERVICE_UNAVAILABLE);
    }
    let code = if ready.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, checks(&board, &ready)).into_response()
}

fn checks(board: &Board, ready: &Result<(), String>) -> String {
    let mut page = String::new();
    let mut line = |what: &str, trouble: Option<String>| {
        let _ = match trouble {
            None => writeln!(page, "[+]{what} ok"),
            Some(trouble) => writeln!(page, "[-]{what} {trouble}"),
        };
    };
    line("cycle", ready.as_ref().err().cloned());
    for rule in &board.snapshot().rules {
        let last = || rule.stats.last_fault.as_ref().map_or("", |fault| &fault.text);
        let parked = || rule.parked_until.map(|cycle| format!("left alone until cycle {cycle}: {}", last()));
        let halted = rule.halted.then(|| format!("halted, nothing gets past it: {}", last()));
        line(&format!("rule {}", rule.name), halted.or_else(parked));
    }
    for ledger in board.ledgers() {
        let failing = ledger
            .failing
            .then(|| format!("failing: {}", ledger.last_error.as_ref().map_or("", |error| &error.message)));
        line(&format!("sink {}", ledger.sink), failing);
    }
    page + if ready.is_ok() { "readyz check passed\n" } else { "readyz check failed\n" }
}

fn answer(state: Result<(), String>, code: StatusCode) -> Response {
    match state {
        Ok(()) => "ok".into_response(),
        Err(reason) => (code, reason + "\n").into_response(),
    }
}
