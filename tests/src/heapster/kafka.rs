//! What the real Heapster wrote into Kafka, message by message, and where ours differ. What may
//! differ is the log sink's list of patches.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::Patch;
use super::influxdb::LATENESS;

/// A metric of an entity: the set's key, and the name, with the labels of its own.
type Series = (String, String);

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    value: String,
    /// All labels, in the message's own words.
    tags: String,
}

/// The messages of a run.
#[derive(Debug, Default)]
pub struct Messages {
    /// The batches' times in ascending order, RFC 3339.
    pub times: Vec<String>,
    messages: BTreeMap<(u64, Series), Message>,
}

impl Messages {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    fn add(&mut self, batch: u64, name: &str, value: &str, tags: &str) -> anyhow::Result<()> {
        let series = series(name, tags)?;
        let message = Message { value: value.to_owned(), tags: tags.to_owned() };
        let twice = self.messages.insert((batch, series), message);
        anyhow::ensure!(twice.is_none(), "{name} of {tags} stands twice in batch {batch}");
        Ok(())
    }
}

/// What Heapster wrote.
///
/// # Errors
/// The file is missing or no recording.
pub fn recorded() -> anyhow::Result<Messages> {
    let text = std::fs::read_to_string(crate::recorded::folder().join("kafka.tsv"))?;
    let (mut all, mut tags) = (Messages::default(), "");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["times", ref times @ ..] => all.times = times.iter().map(|&time| time.to_owned()).collect(),
            ["tags", text] => tags = text,
            ["value", name, ref values @ ..] => {
                for (batch, value) in (1..).zip(values).filter(|(_, value)| **value != "-") {
                    all.add(batch, name, value, tags)?;
                }
            }
            _ => anyhow::bail!("this is not in a recording: `{line}`"),
        }
    }
    Ok(all)
}

/// What stands in a topic: the values of all its messages, each of which must be laid out as
/// Heapster's, byte for byte.
///
/// # Errors
/// A message that is not.
pub fn parse(values: &[String]) -> anyhow::Result<Messages> {
    let mut parts = Vec::new();
    for text in values {
        let split = || {
            let (name, rest) =
                text.strip_prefix("{\"MetricsName\":\"")?.split_once("\",\"MetricsValue\":{\"value\":")?;
            let (value, rest) = rest.split_once("},\"MetricsTimestamp\":\"")?;
            let (time, tags) = rest.split_once("\",\"MetricsTags\":")?;
            Some((time, name, value, tags.strip_suffix('}')?))
        };
        parts.push(split().with_context(|| format!("not laid out as Heapster's: {text}"))?);
    }
    let times: BTreeSet<&str> = parts.iter().map(|(time, ..)| *time).collect();
    let mut all = Messages { times: times.iter().map(|&time| time.to_owned()).collect(), ..Messages::default() };
    for (time, name, value, tags) in parts {
        let batch = (1..).zip(&times).find(|(_, known)| **known == time).context("a time has a rank")?.0;
        all.add(batch, name, value, tags)?;
    }
    Ok(all)
}

/// The set's key in the log sink's words, and the metric with its own labels.
fn series(name: &str, tags: &str) -> anyhow::Result<Series> {
    let tags: BTreeMap<String, String> = serde_json::from_str(tags).with_context(|| tags.to_owned())?;
    let tag = |name: &str| tags.get(name).map_or("", String::as_str);
    let [node, namespace] = ["nodename", "namespace_name"].map(tag);
    let [pod, container] = ["pod_name", "container_name"].map(tag);
    let key = match tag("type") {
        "cluster" => "cluster".to_owned(),
        "node" => format!("node:{node}"),
        "sys_container" => format!("node:{node}/container:{container}"),
        "ns" => format!("namespace:{namespace}"),
        "pod" => format!("namespace:{namespace}/pod:{pod}"),
        "pod_container" => format!("namespace:{namespace}/pod:{pod}/container:{container}"),
        other => anyhow::bail!("no set is of the type `{other}`"),
    };
    let own = ["resource_id", "make", "model", "accelerator_id"];
    let own: String = own.iter().filter_map(|name| tags.get(*name).map(|value| format!(" {name}={value}"))).collect();
    Ok((key, format!("{name}{own}")))
}

/// One difference: batch, set, `metric NAME` or `tags of NAME`, the recorded text and ours.
pub type Difference = (u64, String, String, String, String);

/// Every difference between what Heapster wrote and what we did.
///
/// Of the wall clock there are the times, compared by rank, and `uptime`, whose two values must give
/// the same start of the entity, but for the seconds by which Heapster was late.
#[must_use]
pub fn differences(recorded: &Messages, ours: &Messages) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    let keys: BTreeSet<_> = recorded.messages.keys().chain(ours.messages.keys()).collect();
    for key in keys {
        let (batch, (set, metric)) = key;
        let both = [recorded, ours].map(|all| all.messages.get(key));
        let mut differ = |what: String, texts: [Option<&str>; 2]| {
            let [theirs, mine] = texts.map(|text| text.unwrap_or("-").to_owned());
            found.insert((*batch, set.clone(), what, theirs, mine));
        };
        if let [Some(theirs), Some(mine)] = both
            && theirs.tags != mine.tags
        {
            differ(format!("tags of {metric}"), [Some(&theirs.tags), Some(&mine.tags)]);
        }
        let values = both.map(|message| message.map(|message| message.value.as_str()));
        let same = match values {
            [Some(theirs), Some(mine)] if metric == "uptime" => same_start(*batch, (recorded, theirs), (ours, mine)),
            [theirs, mine] => theirs == mine,
        };
        if !same {
            differ(format!("metric {metric}"), values);
        }
    }
    found
}

/// Whether two values of `uptime` tell of the same start.
fn same_start(batch: u64, (recorded, theirs): (&Messages, &str), (ours, mine): (&Messages, &str)) -> bool {
    let start = |all: &Messages, uptime: &str| {
        let time: jiff::Timestamp = all.times.get(usize::try_from(batch).ok()?.checked_sub(1)?)?.parse().ok()?;
        time.as_millisecond().checked_sub(uptime.parse().ok()?)
    };
    let (Some(theirs), Some(mine)) = (start(recorded, theirs), start(ours, mine)) else { return false };
    mine.checked_sub(theirs).is_some_and(|late| LATENESS.contains(&late))
}

/// The differences that the list of patches allows in a run of this many batches, in its digits.
///
/// # Errors
/// The list can't be read, or has a patch for something that a message has not.
pub fn allowed(batches: u64) -> anyhow::Result<BTreeSet<Difference>> {
    let mut allowed = BTreeSet::new();
    for Patch { batch, set, what, recorded, ours, .. } in super::patches()? {
        // A set and its labels are in messages only where there are values.
        if batch <= batches && what.starts_with("metric ") {
            allowed.insert(printed(&(batch, set, what, recorded, ours)));
        }
    }
    Ok(allowed)
}

/// A difference with its values as the log sink prints floats: with six decimals.
#[must_use]
pub fn printed((batch, set, what, recorded, ours): &Difference) -> Difference {
    let print = |text: &String| match text.parse::<f64>() {
        Ok(value) => format!("{value:.6}"),
        Err(_) => text.clone(),
    };
    (*batch, set.clone(), what.clone(), print(recorded), print(ours))
}
