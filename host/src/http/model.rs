//! Heapster's model API and its export, answered from the store.
//!
//! Here is what is HTTP in it: what a client accepts, compression, bodies in pieces. Paths are read in
//! `route`, queries in `query`, answers made in `answer` and `export`, all without I/O.

mod answer;
mod export;
mod query;
mod route;

use std::convert::Infallible;
use std::io::Write as _;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::store::StoreReader;
use route::Ask;

/// Where the model API stands.
pub(super) const PREFIX: &str = "/api/v1/model";
/// Pieces are gathered up to so many bytes before they are sent.
const PIECE: usize = 64 << 10;

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
            in_pieces(&headers, answer::pod_list(snapshot, namespace, pods, metric, query))
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
    in_pieces(&headers, export::pieces(store.snapshot()))
}

/// What there is in it.
pub(super) async fn schema(headers: HeaderMap) -> Response {
    if accepts_json(&headers) { whole(&headers, &export::schema()) } else { unacceptable() }
}

fn nowhere() -> Response {
    (StatusCode::NOT_FOUND, "404: Page Not Found").into_response()
}

fn off() -> Response {
    (StatusCode::NOT_FOUND, "404: nothing is kept: [store] keep is 0, or --disable-metric-sink is given\n")
        .into_response()
}

fn unacceptable() -> Response {
    (StatusCode::NOT_ACCEPTABLE, "406: Not Acceptable").into_response()
}

/// Whether JSON will do.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut asked = headers.get_all(header::ACCEPT).iter().peekable();
    let is_json = |range: &str| {
        let kind = range.split(';').next().unwrap_or_default().trim();
        kind.is_empty() || kind == "*/*" || kind == "application/*" || kind == "application/json"
    };
    asked.peek().is_none() || asked.any(|value| value.to_str().is_ok_and(|text| text.split(',').any(is_json)))
}

/// Whether the body may be compressed.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let refused = |weight: &str| weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
    let is_gzip = |coding: &str| {
        let mut parts = coding.split(';');
        parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case("gzip")) && !parts.any(refused)
    };
    let mut asked = headers.get_all(header::ACCEPT_ENCODING).iter();
    asked.any(|value| value.to_str().is_ok_and(|text| text.split(',').any(is_gzip)))
}

/// A small answer.
fn whole(headers: &HeaderMap, what: &serde_json::Value) -> Response {
    let body = format!("{what:#}\n").into_bytes();
    if body.len() <= PIECE && !accepts_gzip(headers) {
        return ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    in_pieces(headers, std::iter::once(body))
}

/// An answer that is made while it is sent, compressed if that is asked for.
fn in_pieces(headers: &HeaderMap, pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Response {
    let packed =
        Packed { pieces, gzip: accepts_gzip(headers).then(|| GzEncoder::new(Vec::new(), Compression::fast())) };
    let gzip = packed.gzip.is_some();
    let body = Body::from_stream(futures::stream::iter(packed.fuse().map(Ok::<_, Infallible>)));
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    let answer = response.headers_mut();
    answer.insert(header::VARY, header::HeaderValue::from_static("accept-encoding"));
    if gzip {
        answer.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    response
}

/// Small pieces as larger ones, compressed or not.
struct Packed<I> {
    pieces: I,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Vec<u8>>> Iterator for Packed<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut ready = Vec::new();
        while ready.len() < PIECE {
            let Some(piece) = self.pieces.next() else {
                let rest = self.gzip.take().and_then(|gzip| gzip.finish().ok()).unwrap_or_default();
                ready.extend_from_slice(&rest);
                return (!ready.is_empty()).then_some(ready);
            };
            match &mut self.gzip {
                None => ready.extend_from_slice(&piece),
                // Writing to memory does not fail.
                Some(gzip) => {
                    let _ = gzip.write_all(&piece);
                    ready.append(gzip.get_mut());
                }
            }
        }
        Some(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: header::HeaderName, value: Option<&'static str>) -> HeaderMap {
        value.map(|value| (name, header::HeaderValue::from_static(value))).into_iter().collect()
    }

    #[test]
    fn what_a_client_accepts_is_read() {
        for (accept, want) in [
            (None, true),
            (Some("*/*"), true),
            (Some("application/json"), true),
            (Some("text/html, application/json;q=0.5"), true),
            (Some("text/plain"), false),
            (Some("application/xml"), false),
        ] {
            assert_eq!(accepts_json(&asking(header::ACCEPT, accept)), want, "{accept:?}");
        }
        for (encoding, want) in [
            (None, false),
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("identity"), false),
        ] {
            assert_eq!(accepts_gzip(&asking(header::ACCEPT_ENCODING, encoding)), want, "{encoding:?}");
        }
    }

    #[test]
    fn pieces_are_one_body_compressed_or_not() {
        let pieces = || (0..20_000).map(|number| format!("{number},").into_bytes());
        let whole: Vec<u8> = pieces().flatten().collect();
        let plain: Vec<Vec<u8>> = Packed { pieces: pieces(), gzip: None }.fuse().collect();
        assert!(plain.len() > 1 && plain.concat() == whole);
        let gzip = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        let packed: Vec<u8> = Packed { pieces: pieces(), gzip }.fuse().flatten().collect();
        let mut back = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut back).unwrap();
        assert!(back == whole && packed.len() < whole.len());
    }
}
