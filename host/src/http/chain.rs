//! The rules as the last cycle left them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::ops;
use crate::rules::RuleStatus;
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
}

/// All of them in order.
pub(super) async fn all(State(board): State<Arc<Board>>) -> Response {
    let snapshot = board.snapshot();
    let cycle = snapshot.cycle.as_ref().map_or(0, |cycle| cycle.number);
    ops::json(StatusCode::OK, &Chain { cycle, rules: placed(&snapshot).collect() })
}

/// One by its name.
pub(super) async fn one(State(board): State<Arc<Board>>, Path(name): Path<String>) -> Response {
    let snapshot = board.snapshot();
    match placed(&snapshot).find(|placed| placed.rule.name == name) {
        Some(placed) => ops::json(StatusCode::OK, &placed),
        None => unknown(&snapshot, &name),
    }
}

/// Whether there is a rule of this name, in the chain or beside it.
pub(super) fn is_rule(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.rules.iter().any(|rule| rule.name == name)
}

/// There is no rule of this name; here are those that there are.
pub(super) fn unknown(snapshot: &Snapshot, name: &str) -> Response {
    let names: Vec<&str> = snapshot.rules.iter().map(|rule| &*rule.name).collect();
    let error = format!("there is no rule `{}`; there are: {}", tame(name, 100), names.join(", "));
    ops::json(StatusCode::NOT_FOUND, &json!({ "error": error, "rules": names }))
}

fn placed(snapshot: &Snapshot) -> impl Iterator<Item = Placed<'_>> {
    snapshot.rules.iter().enumerate().map(|(at, rule)| Placed { order: at + 1, rule })
}
