//! The rules as the last cycle left them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::ops;
use crate::reloads::ReloadStatus;
use crate::rules::{RuleStatus, ShadowStatus};
use crate::status::{Board, Snapshot};
use crate::text::tame;

/// A rule with its place in the chain.
#[derive(Serialize)]
struct Placed<'a> {
    /// From 1.
    order: usize,
    #[serde(flatten)]
    rule: &'a RuleStatus,
}

#[derive(Serialize)]
struct Chain<'a> {
    /// The last cycle, by its number; 0 before the first.
    cycle: u64,
    rules: Vec<Placed<'a>>,
    /// Those that run beside the chain.
    shadows: &'a [ShadowStatus],
    reloads: Option<ReloadStatus>,
}

/// All of them in order.
pub(super) async fn all(State(board): State<Arc<Board>>) -> Response {
    let snapshot = board.snapshot();
    let cycle = snapshot.cycle.as_ref().map_or(0, |cycle| cycle.number);
    let chain =
        Chain { cycle, rules: placed(&snapshot).collect(), shadows: &snapshot.shadows, reloads: board.reloads() };
    ops::json(StatusCode::OK, &chain)
}

/// One by its name.
pub(super) async fn one(State(board): State<Arc<Board>>, Path(name): Path<String>) -> Response {
    let snapshot = board.snapshot();
    match placed(&snapshot).find(|placed| placed.rule.name == name) {
        Some(placed) => ops::json(StatusCode::OK, &placed),
        None => match snapshot.shadows.iter().find(|shadow| shadow.rule.name == name) {
            Some(shadow) => ops::json(StatusCode::OK, shadow),
            None => unknown(&snapshot, &name),
        },
    }
}

/// Whether there is a rule of this name, in the chain or beside it.
pub(super) fn is_rule(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.rules.iter().any(|rule| rule.name == name)
        || snapshot.shadows.iter().any(|shadow| shadow.rule.name == name)
}

/// What a rule in the shadow would have done.
pub(super) async fn shadow(State(board): State<Arc<Board>>, Path(name): Path<String>) -> Response {
    let snapshot = board.snapshot();
    if let Some(shadow) = snapshot.shadows.iter().find(|shadow| shadow.rule.name == name) {
        return ops::json(StatusCode::OK, shadow);
    }
    let names: Vec<_> = snapshot.shadows.iter().map(|shadow| &shadow.rule.name).collect();
    let error = format!(
        "no rule `{name}` runs in the shadow; `shadow = true` in the .toml file beside the .wasm file makes it do so"
    );
    ops::json(StatusCode::NOT_FOUND, &json!({ "error": error, "shadows": names }))
}

/// There is no rule of this name; here are those that there are.
pub(super) fn unknown(snapshot: &Snapshot, name: &str) -> Response {
    let shadows = snapshot.shadows.iter().map(|shadow| &shadow.rule);
    let names: Vec<&str> = snapshot.rules.iter().chain(shadows).map(|rule| &*rule.name).collect();
    let error = format!("there is no rule `{}`; there are: {}", tame(name, 100), names.join(", "));
    ops::json(StatusCode::NOT_FOUND, &json!({ "error": error, "rules": names }))
}

fn placed(snapshot: &Snapshot) -> impl Iterator<Item = Placed<'_>> {
    snapshot.rules.iter().enumerate().map(|(at, rule)| Placed { order: at + 1, rule })
}
