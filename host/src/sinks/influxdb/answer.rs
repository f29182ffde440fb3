//! Answers that InfluxDB gives of writes that it took in part. It tells many cases apart by its error text
//! alone, so the text is looked at here, in `v1` and in `v2`, and nowhere else.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::sinks::{AttemptError, DropReason};

/// How many lines were refused. Servers say it in three ways: how many they dropped (1.x and 2.x, but 1.x says 0 of
/// lines that it could not parse; of those it quotes each), how many of the `lines` they took (Cloud), or a list (3).
pub fn partial(text: &str, reason: String, lines: impl FnOnce() -> u64) -> AttemptError {
    let records = listed(text).or_else(|| Some(lines().saturating_sub(taken(text)?))).unwrap_or_else(|| {
        let dropped = number(text.rsplit("dropped=").next().unwrap_or_default());
        let unparsed = text.matches("unable to parse").count() as u64;
        dropped.unwrap_or(0).max(unparsed)
    });
    let expired = text.contains("points beyond retention policy");
    let why = if expired { DropReason::Expired } else { DropReason::Partial };
    AttemptError::Partial { reason, records: records.max(1), why }
}

/// The lines that are listed one by one.
fn listed(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Listing {
        data: Vec<IgnoredAny>,
    }
    serde_json::from_str(text).ok().map(|listing: Listing| listing.data.len() as u64)
}

/// `partial write error (5 written): …`, or `accepted`.
fn taken(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("partial write error (")?;
    let (count, _) = rest.split_once(')')?;
    number(count).filter(|_| count.ends_with(" written") || count.ends_with(" accepted"))
}

/// The digits at the beginning.
fn number(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
