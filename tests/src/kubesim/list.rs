//! Lists: whole, or in pages that all show the state of the first.

use std::sync::Arc;

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    api::{Ask, Refusal},
    kubelet::json_body,
    selector::Selector,
    store::{Item, Snapshot, Store},
};

/// Bytes of a list gathered before they are sent.
const PIECE: usize = 128 << 10;
const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new \
    list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results.";

/// What a continue token says. Opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// Version of the snapshot; 0: the newest, after an expired token.
    rv: u64,
    /// The last key already sent.
    after: String,
}

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// Answers a list.
pub(super) fn answer(store: &Store, max_page: usize, ask: &Ask) -> Result<Response<Body>, Refusal> {
    let (snapshot, after) = state(store, ask)?;
    let limit = ask.param("limit").and_then(|limit| limit.parse::<usize>().ok()).filter(|limit| *limit > 0);
    // Lists at version 0 come from the watch cache, which knows no pages.
    let limit = limit.filter(|_| ask.param("resourceVersion") != Some("0")).map(|limit| limit.min(max_page));
    let first = snapshot.items.partition_point(|item| after.as_ref().is_some_and(|after| item.key <= *after));
    let wanted = snapshot.items[first..].iter().filter(|item| ask.wants(item));
    let mut page: Vec<_> = wanted.take(limit.map_or(usize::MAX, |limit| limit + 1)).map(Arc::clone).collect();
    let mut metadata = json!({"resourceVersion": snapshot.version.to_string()});
    if let Some(limit) = limit.filter(|limit| page.len() > *limit) {
        page.truncate(limit);
        let after = page.last().map(|item| item.key.clone()).unwrap_or_default();
        if ask.selector == Selector::default() && ask.namespace.is_none() {
            metadata["remainingItemCount"] = json!(snapshot.items.len() - first - limit);
        }
        metadata["continue"] = json!(Token { rv: snapshot.version, after }.encode());
        store.keep(ask.resource, snapshot);
    }
    let kind = ask.resource.kind();
    let head = format!("{{\"kind\":\"{kind}List\",\"apiVersion\":\"v1\",\"metadata\":{metadata},\"items\":[");
    Ok(json_body(pieces(head.into_bytes(), page)))
}

/// The state to show, and the key after which to go on.
fn state(store: &Store, ask: &Ask) -> Result<(Snapshot, Option<String>), Refusal> {
    if let Some(text) = ask.param("continue") {
        if ask.version()?.is_some_and(|version| version > 0) {
            let message = "specifying resource version is not allowed when using continue";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message));
        }
        let wrong = || Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", "continue key is not valid");
        let Token { rv, after } = Token::decode(text).ok_or_else(wrong)?;
        if rv == 0 {
            return Ok((store.snapshot(ask.resource), Some(after)));
        }
        return match store.kept(ask.resource, rv) {
            Some(snapshot) => Ok((snapshot, Some(after))),
            None => Err(Refusal::expired(TOO_OLD, Some(&Token { rv: 0, after }.encode()))),
        };
    }
    let snapshot = store.snapshot(ask.resource);
    let Some(version) = ask.version()? else { return Ok((snapshot, None)) };
    if version > snapshot.version {
        return Err(Refusal::too_new(version, snapshot.version));
    }
    if ask.param("resourceVersionMatch") == Some("Exact") && version != snapshot.version {
        let kept = store.kept(ask.resource, version);
        let message = format!("The resourceVersion for the provided list is too old: {version}");
        return kept.map(|kept| (kept, None)).ok_or_else(|| Refusal::expired(&message, None));
    }
    Ok((snapshot, None))
}

/// The list's body, made piece by piece while it is sent.
fn pieces(head: Vec<u8>, page: Vec<Arc<Item>>) -> Body {
    let begin = (Some(head), page.into_iter().enumerate().peekable());
    Body::from_stream(stream::unfold(begin, |(head, mut items)| async move {
        let mut piece = match head {
            Some(head) => head,
            None if items.peek().is_none() => return None,
            None => Vec::with_capacity(PIECE + (8 << 10)),
        };
        while let Some((index, item)) = items.next_if(|_| piece.len() < PIECE) {
            if index > 0 {
                piece.push(b',');
            }
            piece.extend_from_slice(&item.json);
        }
        if items.peek().is_none() {
            piece.extend_from_slice(b"]}");
        }
        Some((Ok::<_, std::io::Error>(Bytes::from(piece)), (None, items)))
    }))
}
