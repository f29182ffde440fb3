//! What the real Heapster wrote into InfluxDB, what is stored there by us, and where they differ.
//!
//! What may differ is the log sink's list of patches, said in measurements and tags, and
//! `influxdb/patches.tsv` for what no metric set has: the properties of a database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MetricSets, Patch};
use crate::fixtures::influxd::Influxd;

/// Labels that Heapster kept out of InfluxDB.
const NO_TAGS: [&str; 4] = ["namespace_id", "pod_id", "hostname", "host_id"];
/// Milliseconds that Heapster's `uptime` may be ahead of the cycle's time: it asked the kubelets five
/// seconds after the cycle's end, and took the time of each answer.
pub(super) const LATENESS: std::ops::Range<i64> = 5_000..6_000;

/// A run of Heapster whose writes were recorded.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// The recording's name.
    pub name: &'static str,
    /// The database.
    pub database: &'static str,
    /// The options of the sink, after the `?`.
    pub options: &'static str,
    /// The tag of this name on every point.
    pub cluster_name: &'static str,
    /// Whether measurements have fields.
    pub with_fields: bool,
}

/// Heapster with nothing but its defaults.
pub const DEFAULT: Mode =
    Mode { name: "default", database: "k8s", options: "", cluster_name: "default", with_fields: false };

/// Heapster with nearly every option set.
pub const WITH_FIELDS: Mode = Mode {
    name: "withfields",
    database: "k8sf",
    options: "db=k8sf&withfields=true&disable_counter_metrics=true&retention=7d&cluster_name=prod&user=u1&pw=p1",
    cluster_name: "prod",
    with_fields: true,
};

/// A series, and a field of it.
type Field = (String, String);

/// All that is in a database, and what the server says of it.
#[derive(Debug, Default)]
pub struct Dump {
    /// Databases, retention policies, types of fields, tags of measurements, users, continuous queries.
    pub properties: BTreeMap<String, String>,
    /// The times of the batches in ascending order, ns since the epoch.
    pub times: Vec<i64>,
    /// The values of each field by the number of the batch, from 1, in the server's own digits.
    points: BTreeMap<Field, BTreeMap<u64, String>>,
}

impl Dump {
    /// The points' number.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points.values().map(BTreeMap::len).sum()
    }

    /// The series.
    #[must_use]
    pub fn series(&self) -> BTreeSet<&str> {
        self.points.keys().map(|(series, _)| series.as_str()).collect()
    }
}

/// What Heapster wrote.
///
/// # Errors
/// The file is missing or no recording.
pub fn recorded(mode: Mode) -> anyhow::Result<Dump> {
    parse(&std::fs::read_to_string(crate::recorded::folder().join(format!("influxdb/{}.tsv", mode.name)))?)
}

fn parse(text: &str) -> anyhow::Result<Dump> {
    let mut dump = Dump::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["property", what, value] => drop(dump.properties.insert(what.to_owned(), value.to_owned())),
            ["times", ref times @ ..] => {
                let nanoseconds = |time: &&str| {
                    let time: jiff::Timestamp = time.parse()?;
                    anyhow::Ok(i64::try_from(time.as_nanosecond())?)
                };
                dump.times = times.iter().map(nanoseconds).collect::<Result<_, _>>()?;
            }
            ["point", series, field, ref values @ ..] => {
                let values = (1..).zip(values.iter().map(|value| (*value).to_owned()));
                let values = values.filter(|(_, value)| value != "-").collect();
                dump.points.insert((series.to_owned(), field.to_owned()), values);
            }
            _ => anyhow::bail!("this is not in a recording: `{line}`"),
        }
    }
    Ok(dump)
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Statement>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    name: String,
    tags: BTreeMap<String, String>,
    columns: Vec<String>,
    // As the server writes them, since a reader of numbers may miss the last bit.
    values: Vec<Vec<Box<RawValue>>>,
}

/// All that a server holds in a database.
///
/// # Errors
/// The server refuses a query, or answers with something else.
pub async fn stored(server: &Influxd, database: &str) -> anyhow::Result<Dump> {
    let mut dump = Dump { properties: properties(server, database).await, ..Dump::default() };
    let answer = server.answer(database, "SELECT * FROM /.*/ GROUP BY *").await.map_err(anyhow::Error::msg)?;
    let answer: Answer = serde_json::from_str(&answer)?;
    let mut rows = Vec::new();
    for series in answer.results.iter().flat_map(|statement| &statement.series) {
        let tags = series.tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let key = series_key(&series.name, tags);
        for row in &series.values {
            let mut row = series.columns.iter().zip(row.iter().map(|value| value.get()));
            let (_, time) = row.next().context("a row has a time")?;
            let time: i64 = time.parse()?;
            for (field, value) in row.filter(|(_, value)| *value != "null") {
                rows.push(((key.clone(), field.clone()), time, value.to_owned()));
            }
        }
    }
    dump.times = rows.iter().map(|(_, time, _)| *time).collect::<BTreeSet<_>>().into_iter().collect();
    for (field, time, value) in rows {
        let rank = (1..).zip(&dump.times).find(|(_, other)| **other == time).context("a time has a rank")?.0;
        dump.points.entry(field).or_default().insert(rank, value);
    }
    let rows = server.rows(database, "SHOW SERIES").await;
    let known: BTreeSet<&str> = rows.iter().filter_map(|row| row["key"].as_str()).collect();
    anyhow::ensure!(known == dump.series(), "the server's list of series is another than its points have");
    Ok(dump)
}

async fn properties(server: &Influxd, database: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (statement, column, what) in [
        ("SHOW DATABASES", "name", "database {}"),
        ("SHOW USERS", "user", "user {}"),
        ("SHOW CONTINUOUS QUERIES", "name", "continuous query {}"),
        ("SHOW RETENTION POLICIES", "name", "retention policy {}"),
        ("SHOW FIELD KEYS", "fieldKey", "field {} of {measurement}"),
        ("SHOW TAG KEYS", "tagKey", "tag {} of {measurement}"),
    ] {
        for (measurement, row) in server.named_rows(database, statement).await {
            let text = |column: &str| row[column].as_str().map_or_else(|| row[column].to_string(), str::to_owned);
            let name = what.replace("{measurement}", &measurement).replacen("{}", &text(column), 1);
            match statement {
                "SHOW RETENTION POLICIES" => {
                    for property in ["duration", "shardGroupDuration", "replicaN", "default"] {
                        found.insert(format!("{name} {property}"), text(property));
                    }
                }
                "SHOW FIELD KEYS" => drop(found.insert(name, text("fieldType"))),
                _ => drop(found.insert(name, "present".to_owned())),
            }
        }
    }
    found
}

/// As the server names it. Empty tags are none.
fn series_key<'a>(measurement: &str, tags: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let escaped = |text: &str, special: &[char]| {
        let escape = |c: char| special.contains(&c).then_some('\\').into_iter().chain([c]);
        text.chars().flat_map(escape).collect::<String>()
    };
    let mut key = escaped(measurement, &[',', ' ']);
    for (name, value) in tags.filter(|(_, value)| !value.is_empty()) {
        let special = [',', '=', ' '];
        // Writing to a string can't fail.
        let _ = write!(key, ",{}={}", escaped(name, &special), escaped(value, &special));
    }
    key
}

/// One difference: of a point, or, with batch 0, of a property.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The number of the batch, from 1.
    pub batch: u64,
    /// The series and the field, or the property.
    pub what: String,
    /// The recorded value; `-` if it was absent.
    pub recorded: String,
    /// Ours; `-` if it is absent.
    pub ours: String,
}

/// Every difference between what Heapster wrote and what we did. Floats are compared to the last
/// bit, and printed with the log sink's six decimals.
///
/// Of the wall clock there are the times, compared by rank, and `uptime`, whose two values must
/// give the same start of the entity, but for the seconds by which Heapster was late.
#[must_use]
pub fn differences(recorded: &Dump, ours: &Dump) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    let mut differ = |batch, what: String, recorded: Option<String>, ours: Option<String>| {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        found.insert(Difference { batch, what, recorded: text(recorded), ours: text(ours) });
    };
    if recorded.times.len() != ours.times.len() {
        differ(0, "number of times".into(), Some(recorded.times.len().to_string()), Some(ours.times.len().to_string()));
    }
    let properties: BTreeSet<&String> = recorded.properties.keys().chain(ours.properties.keys()).collect();
    for what in properties {
        let (theirs, mine) = (recorded.properties.get(what), ours.properties.get(what));
        if theirs != mine {
            differ(0, what.clone(), theirs.cloned(), mine.cloned());
        }
    }
    let fields: BTreeSet<&Field> = recorded.points.keys().chain(ours.points.keys()).collect();
    for key in fields {
        let (series, field) = key;
        let both = [recorded, ours].map(|dump| dump.points.get(key));
        let ranks: BTreeSet<u64> = both.iter().flatten().flat_map(|values| values.keys().copied()).collect();
        for rank in ranks {
            let values = both.map(|values| values.and_then(|values| values.get(&rank)));
            let [Some(theirs), Some(mine)] = values else {
                let [theirs, mine] = values.map(|value| value.map(|value| printed(&[recorded, ours], key, value)));
                differ(rank, point(series, field), theirs, mine);
                continue;
            };
            let same = if series.starts_with("uptime,") {
                same_start(rank, (recorded, theirs), (ours, mine))
            } else {
                theirs == mine
            };
            if !same {
                let [theirs, mine] = [theirs, mine].map(|value| printed(&[recorded, ours], key, value));
                differ(rank, point(series, field), Some(theirs), Some(mine));
            }
        }
    }
    found
}

fn point(series: &str, field: &str) -> String {
    format!("{series} {field}")
}

/// A value as the log sink would print it.
fn printed(dumps: &[&Dump], (series, field): &Field, value: &str) -> String {
    let measurement = series.split(',').next().unwrap_or_default();
    let kind = format!("field {field} of {measurement}");
    let float = dumps.iter().any(|dump| dump.properties.get(&kind).is_some_and(|kind| kind == "float"));
    match value.parse::<f64>() {
        Ok(value) if float => format!("{value:.6}"),
        _ => value.to_owned(),
    }
}

/// Whether two values of `uptime` tell of the same start.
fn same_start(batch: u64, (recorded, theirs): (&Dump, &str), (ours, mine): (&Dump, &str)) -> bool {
    let start = |dump: &Dump, uptime: &str| {
        let time = dump.times.get(usize::try_from(batch).ok()?.checked_sub(1)?)?;
        time.div_euclid(1_000_000).checked_sub(uptime.parse().ok()?)
    };
    let (Some(theirs), Some(mine)) = (start(recorded, theirs), start(ours, mine)) else { return false };
    mine.checked_sub(theirs).is_some_and(|late| LATENESS.contains(&late))
}

/// The differences that the lists of patches allow in a run of this many batches.
///
/// # Errors
/// A list can't be read, or has a patch for something that InfluxDB has not.
pub fn allowed(mode: Mode, batches: u64) -> anyhow::Result<BTreeSet<Difference>> {
    let patches = super::patches()?;
    let mut allowed: BTreeSet<Difference> = own_patches(mode)?.into_iter().collect();
    for batch in 1..=batches {
        let sets = super::recorded(batch)?;
        let patches: Vec<&Patch> = patches.iter().filter(|patch| patch.batch == batch).collect();
        for patch in &patches {
            let Some((kind, metric)) = patch.what.split_once(' ') else { continue };
            if kind == "label" {
                anyhow::ensure!(!sets.contains_key(&patch.set), "a changed label is two series: {patch:?}");
                continue;
            }
            anyhow::ensure!(kind == "metric", "no rule says what this is in InfluxDB: {patch:?}");
            let (measurement, field) = match metric.split_once('/') {
                Some(both) if mode.with_fields => both,
                _ => (metric, "value"),
            };
            let series = series_of(mode, &sets, &patches, &patch.set, measurement);
            let (recorded, ours) = (patch.recorded.clone(), patch.ours.clone());
            allowed.insert(Difference { batch, what: point(&series, field), recorded, ours });
        }
    }
    Ok(allowed)
}

/// The series of a metric set's metric: its tags are the recorded labels, or, of a set that only
/// we have, the labels that the patches give it.
fn series_of(mode: Mode, sets: &MetricSets, patches: &[&Patch], set: &str, measurement: &str) -> String {
    let mut tags: BTreeMap<&str, &str> = BTreeMap::from([("cluster_name", mode.cluster_name)]);
    let recorded = sets.get(set).into_iter().flat_map(|set| &set.labels);
    tags.extend(recorded.map(|(name, value)| (name.as_str(), value.as_str())));
    let labels = patches.iter().filter(|patch| patch.set == set);
    tags.extend(labels.filter_map(|patch| Some((patch.what.strip_prefix("label ")?, patch.ours.as_str()))));
    series_key(measurement, tags.into_iter().filter(|(name, _)| !NO_TAGS.contains(name)))
}

/// `influxdb/patches.tsv`: the mode, the property, its recorded value, ours, and the numbers in
/// "Differences from Heapster" that allow it.
fn own_patches(mode: Mode) -> anyhow::Result<Vec<Difference>> {
    let mut patches = Vec::new();
    let text = std::fs::read_to_string(crate::recorded::folder().join("influxdb/patches.tsv"))?;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, what, recorded, ours, because] = columns[..] else {
            anyhow::bail!("five columns belong in `{line}`");
        };
        super::numbers(because).with_context(|| format!("in `{line}`"))?;
        let (what, recorded, ours) = (what.to_owned(), recorded.to_owned(), ours.to_owned());
        if name == mode.name {
            patches.push(Difference { batch: 0, what, recorded, ours });
        }
    }
    Ok(patches)
}

#[cfg(test)]
#[path = "influxdb_tests.rs"]
mod tests;
