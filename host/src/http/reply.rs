//! How answers of Heapster's and Kubernetes' APIs are sent: what a client accepts, compression, bodies in
//! pieces. What is in them is not its business.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::turns::{self, Turn};

/// The content type of most answers.
pub(super) const JSON: &str = "application/json";
/// Pieces are gathered up to so many bytes before they are sent.
pub(super) const PIECE: usize = 64 << 10;

/// Whether JSON will do.
pub(super) fn accepts_json(headers: &HeaderMap) -> bool {
    let mut asked = headers.get_all(header::ACCEPT).iter().peekable();
    let is_json = |range: &str| {
        let kind = range.split(';').next().unwrap_or_default().trim();
        kind.is_empty() || kind == "*/*" || kind == "application/*" || kind == "application/json"
    };
    asked.peek().is_none() || asked.any(|value| value.to_str().is_ok_and(|text| text.split(',').any(is_json)))
}

/// Whether the body may be compressed.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let refused = |weight: &str| weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
    let is_gzip = |coding: &str| {
        let mut parts = coding.split(';');
        parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case("gzip")) && !parts.any(refused)
    };
    let mut asked = headers.get_all(header::ACCEPT_ENCODING).iter();
    asked.any(|value| value.to_str().is_ok_and(|text| text.split(',').any(is_gzip)))
}

/// An answer that is made while it is sent, compressed if that is asked for. A long one has a turn.
pub(super) fn in_pieces(
    headers: &HeaderMap,
    kind: &'static str,
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
    turn: Option<Turn>,
) -> Response {
    let packed =
        Packed { pieces, gzip: accepts_gzip(headers).then(|| GzEncoder::new(Vec::new(), Compression::fast())) };
    let gzip = packed.gzip.is_some();
    let body = Body::from_stream(turns::pieces(packed, turn));
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    let answer = response.headers_mut();
    answer.insert(header::VARY, header::HeaderValue::from_static("accept, accept-encoding"));
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
