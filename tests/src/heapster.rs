//! What the real Heapster's log sink printed, what ours prints, and the list of differences that
//! are allowed.

pub mod influxdb;
pub mod kafka;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Deserialize;

/// One metric set: an entity with its values as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricSet {
    /// When the entity started, RFC 3339; empty if unknown.
    pub created: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Metrics without labels of their own; floats with six decimals.
    pub metrics: BTreeMap<String, String>,
    /// `name{label=value,…}` of metrics with labels of their own.
    pub labelled: BTreeMap<String, String>,
}

/// Metric sets by Heapster's keys.
pub type MetricSets = BTreeMap<String, MetricSet>;

#[derive(Deserialize)]
struct RecordedSet {
    labels: BTreeMap<String, String>,
    metrics: BTreeMap<String, String>,
    labeled: Vec<(String, BTreeMap<String, String>, String)>,
    create_time: String,
}

/// The recording of one batch.
///
/// # Errors
/// The file is missing or no recording.
pub fn recorded(number: u64) -> anyhow::Result<MetricSets> {
    let path = crate::recorded::folder().join(format!("log-sink/batch-{number}.json"));
    let sets: BTreeMap<String, RecordedSet> = serde_json::from_slice(&std::fs::read(path)?)?;
    Ok(sets.into_iter().map(|(key, set)| (key, set.into())).collect())
}

impl From<RecordedSet> for MetricSet {
    fn from(set: RecordedSet) -> Self {
        let labelled = set.labeled.into_iter().map(|(name, labels, value)| (labelled_name(&name, &labels), value));
        // "2024-03-01 10:56:40 +0000 UTC 17092…"; the year 1 is Go's zero time.
        let mut words = set.create_time.split(' ');
        let created = match (words.next(), words.next()) {
            (Some("0001-01-01"), _) | (None, _) | (_, None) => String::new(),
            (Some(day), Some(time)) => format!("{day}T{time}Z"),
        };
        Self { created, labels: set.labels, metrics: set.metrics, labelled: labelled.collect() }
    }
}

fn labelled_name(name: &str, labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// Reads what our log sink printed: the metric sets of each cycle, in order. A set that stands
/// twice in a cycle is an error.
///
/// # Errors
/// A line that the log sink does not print.
pub fn parse_log(text: &str) -> anyhow::Result<Vec<MetricSets>> {
    let mut cycles: BTreeMap<String, MetricSets> = BTreeMap::new();
    let (mut cycle, mut set, mut section) = (String::new(), String::new(), "");
    let mut labelled: Option<(String, String, BTreeMap<String, String>)> = None;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(header) = line.strip_prefix("DataBatch     Timestamp: ") {
            cycle = header.split(' ').next().unwrap_or_default().to_owned();
            continue;
        }
        let sets = cycles.entry(cycle.clone()).or_default();
        if let Some(key) = line.strip_prefix("MetricSet: ") {
            set = key.to_owned();
            anyhow::ensure!(sets.insert(set.clone(), MetricSet::default()).is_none(), "`{set}` stands twice");
            continue;
        }
        let Some(current) = sets.get_mut(&set) else { continue };
        let name_and_value = || line.trim_start().split_once(" = ").or_else(|| line.trim_start().split_once(" ="));
        match line {
            "   Labels:" | "   Metrics:" | "   Labeled Metrics:" => section = line.trim(),
            "" => {}
            _ if line.starts_with("   Create time: ") => current.created = line["   Create time: ".len()..].to_owned(),
            _ => {
                let (name, value) = name_and_value().ok_or_else(|| anyhow::anyhow!("no value in `{line}`"))?;
                let (name, value) = (name.to_owned(), value.to_owned());
                match section {
                    "Labels:" => drop(current.labels.insert(name, value)),
                    "Metrics:" => drop(current.metrics.insert(name, value)),
                    _ if line.starts_with("         ") => {
                        if let Some((_, _, labels)) = &mut labelled {
                            labels.insert(name, value);
                        }
                    }
                    _ => labelled = Some((name, value, BTreeMap::new())),
                }
            }
        }
        let more = lines.peek().is_some_and(|next| next.starts_with("         "));
        if !more && let Some((name, value, labels)) = labelled.take() {
            current.labelled.insert(labelled_name(&name, &labels), value);
        }
    }
    Ok(cycles.into_values().collect())
}

/// One allowed difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Batch, from 1.
    pub batch: u64,
    /// The set's key.
    pub set: String,
    /// `label NAME`, `metric NAME`, `labelled NAME{…}`, or `set` for the whole set.
    pub what: String,
    /// The recorded value; `-` if it was absent.
    pub recorded: String,
    /// Ours; `-` if it is absent.
    pub ours: String,
    /// The numbers in "Differences from Heapster" that allow it; empty for one that was only found.
    pub because: Vec<u32>,
}

/// Reads the patch list: tab-separated columns as in [`Patch`], `#` begins a comment.
///
/// # Errors
/// A line with other columns, or a number that is not in the list of differences.
pub fn patches() -> anyhow::Result<Vec<Patch>> {
    let text = std::fs::read_to_string(crate::recorded::folder().join("patches.tsv"))?;
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse_patch).collect()
}

fn parse_patch(line: &str) -> anyhow::Result<Patch> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [batch, set, what, recorded, ours, because] = columns[..] else {
        anyhow::bail!("six columns belong in `{line}`");
    };
    let because = numbers(because).with_context(|| format!("in `{line}`"))?;
    let (set, what) = (set.to_owned(), what.to_owned());
    let (recorded, ours) = (recorded.to_owned(), ours.to_owned());
    Ok(Patch { batch: batch.parse()?, set, what, recorded, ours, because })
}

/// The numbers in "Differences from Heapster" that a patch names.
fn numbers(because: &str) -> anyhow::Result<Vec<u32>> {
    let numbers = because.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    anyhow::ensure!(numbers.iter().all(|number| (1..=18).contains(number)), "no difference has such a number");
    Ok(numbers)
}

/// Every difference between a recorded batch and ours, but for `uptime`, whose value is the time
/// of the day of the run; `because` is empty.
#[must_use]
pub fn differences(batch: u64, recorded: &MetricSets, ours: &MetricSets) -> Vec<Patch> {
    let mut found = Vec::new();
    let keys: BTreeSet<&String> = recorded.keys().chain(ours.keys()).collect();
    let nothing = MetricSet::default();
    for key in keys {
        let (theirs, mine) = (recorded.get(key), ours.get(key));
        let mut differ = |what: String, recorded: Option<&String>, ours: Option<&String>| {
            if recorded != ours {
                let text = |value: Option<&String>| value.map_or_else(|| "-".to_owned(), String::clone);
                let (recorded, ours) = (text(recorded), text(ours));
                found.push(Patch { batch, set: key.clone(), what, recorded, ours, because: Vec::new() });
            }
        };
        let present = "present".to_owned();
        differ("set".to_owned(), theirs.map(|_| &present), mine.map(|_| &present));
        let (theirs, mine) = (theirs.unwrap_or(&nothing), mine.unwrap_or(&nothing));
        differ("created".to_owned(), Some(&theirs.created), Some(&mine.created));
        for (kind, theirs, mine) in [
            ("label", &theirs.labels, &mine.labels),
            ("metric", &theirs.metrics, &mine.metrics),
            ("labelled", &theirs.labelled, &mine.labelled),
        ] {
            let names: BTreeSet<&String> = theirs.keys().chain(mine.keys()).collect();
            for name in names {
                let both = theirs.contains_key(name) && mine.contains_key(name);
                if !(both && kind == "metric" && name == "uptime") {
                    differ(format!("{kind} {name}"), theirs.get(name), mine.get(name));
                }
            }
        }
    }
    found
}

/// Patches as lines of the list.
#[must_use]
pub fn lines(patches: &[Patch]) -> String {
    let mut text = String::new();
    for Patch { batch, set, what, recorded, ours, because } in patches {
        let because = because.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        // Writing to a string can't fail.
        let _ = writeln!(text, "{batch}\t{set}\t{what}\t{recorded}\t{ours}\t{because}");
    }
    text
}
