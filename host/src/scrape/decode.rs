//! One kubelet's answer and the inventory's facts, joined into a batch. It adds nothing up and
//! reckons no rates; what it leaves out it counts.

mod budget;
mod duplicates;
mod entities;
mod seen;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;

use crate::batch::{Batch, Cycle, TypeRegistry};
use crate::kube::{NodeFacts, PodFacts};

use super::failure::ScrapeFailure;
use super::number::Nanos;
use super::summary::{ContainerStats, FsStats, PodStats, Summary};
use entities::Entities;
use writer::Writer;

/// How much one node may say. Over a bound the whole answer is refused.
#[derive(Debug, Clone, Copy)]
pub struct DecodeBounds {
    /// JSON objects in the body: keeps what a small hostile body unfolds to in memory small.
    pub objects: usize,
    /// Entities of the batch.
    pub entities: usize,
    /// Points of the batch.
    pub points: usize,
    /// Bytes of distinct strings of the batch.
    pub text: usize,
}

impl Default for DecodeBounds {
    /// Some ten times what a node of 500 pods says.
    fn default() -> Self {
        Self { objects: 100_000, entities: 20_000, points: 1_000_000, text: 16 << 20 }
    }
}

/// What became of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    /// Points of the batch.
    pub points: u64,
    /// Values beyond i64, dropped: wrapped counters are real.
    pub over_range: u64,
    /// Values that were none: negative, fractional or text where a whole number belongs, broken times.
    pub malformed: u64,
    /// Pods, containers, interfaces and volumes that stood twice, dropped.
    pub duplicates: u64,
    /// Pods and containers without a name, dropped.
    pub nameless: u64,
    /// Custom metrics of a type that nobody knows, dropped.
    pub unknown_kind: u64,
    /// Metrics whose name is taken by another value type, dropped.
    pub type_conflicts: u64,
    /// Values whose metric has a name too many or too long, left out.
    pub names_left_out: u64,
    /// Labels of objects over a bound, left out.
    pub labels_left_out: u64,
}

/// A batch and its counts.
#[derive(Debug)]
pub struct Decoded {
    /// The facts of one node.
    pub batch: Batch,
    /// What was left out of it.
    pub counts: DecodeCounts,
}

/// Decodes `body` and joins it with what the API server says: `pods` are those bound to `node`.
///
/// # Errors
/// [`ScrapeFailure::Body`] if it is no Summary, [`ScrapeFailure::NameMismatch`] if it is another
/// node's, [`ScrapeFailure::OverBound`] if it says more than `bounds` allow.
// Every argument has another owner: body, node and pods, inventory, clock, configuration, process.
#[allow(clippy::too_many_arguments)]
pub fn decode(
    body: &[u8],
    node: &NodeFacts,
    pods: &[Arc<PodFacts>],
    namespace_uid: impl Fn(&str) -> Option<Arc<str>>,
    cycle: &Cycle,
    bounds: &DecodeBounds,
    types: &TypeRegistry,
) -> Result<Decoded, ScrapeFailure> {
    let summary = parse(body, bounds)?;
    if let Some(stats) = &summary.node
        && !stats.name.is_empty()
        && *stats.name != *node.name
    {
        return Err(ScrapeFailure::NameMismatch { asked: node.name.to_string(), answered: stats.name.to_string() });
    }
    let base = base(&summary).unwrap_or(cycle.time);
    let mut entities = Entities::new(Writer::new(node, base, body.len(), bounds, types), node);
    entities.node(summary.node.as_ref())?;

    let known: HashMap<(&str, &str), &PodFacts> =
        pods.iter().map(|pod| ((&*pod.namespace, &*pod.name), &**pod)).collect();
    let reported = summary.pods.as_deref().unwrap_or_default();
    let kept = duplicates::pods(reported, &known, entities.counts());
    let mut seen: HashMap<(&str, &str), ()> = HashMap::with_capacity(kept.len());
    for stats in kept {
        let key = duplicates::key(stats);
        seen.insert(key, ());
        entities.pod(key, Some(stats), known.get(&key).copied(), &namespace_uid)?;
    }
    for pod in pods {
        let key = (&*pod.namespace, &*pod.name);
        if !seen.contains_key(&key) {
            entities.pod(key, None, Some(pod), &namespace_uid)?;
        }
    }
    Ok(entities.finish())
}

/// Reads a Summary within the bounds.
///
/// # Errors
/// [`ScrapeFailure::Body`], [`ScrapeFailure::OverBound`].
pub(crate) fn parse<'a>(body: &'a [u8], bounds: &DecodeBounds) -> Result<Summary<'a>, ScrapeFailure> {
    let objects = memchr::memchr_iter(b'{', body).count();
    if objects > bounds.objects {
        return Err(ScrapeFailure::OverBound { what: "objects", bound: bounds.objects });
    }
    // Checked once for all, the text's strings need no check of their own.
    let text = std::str::from_utf8(body).map_err(|error| ScrapeFailure::Body(format!("no UTF-8: {error}")))?;
    let summary: Summary<'_> = serde_json::from_str(text).map_err(|error| ScrapeFailure::Body(broken(text, &error)))?;
    if summary.node.is_none() && summary.pods.is_none() {
        return Err(ScrapeFailure::Body(
            "JSON, but no Summary: neither `node` nor `pods`; is this the kubelet's port?".to_owned(),
        ));
    }
    Ok(summary)
}

/// Says what came instead of a Summary, as far as one can see.
fn broken(text: &str, error: &serde_json::Error) -> String {
    let start = text.trim_start();
    if start.is_empty() {
        return "an empty body; look at the kubelet's log, or at the proxy before it".to_owned();
    }
    if start.starts_with('<') {
        return "HTML instead of JSON; a proxy may have answered in the kubelet's place".to_owned();
    }
    if error.is_eof() {
        return format!(
            "the JSON ends in the middle, after {} bytes; look at the kubelet's log, or at the proxy before it",
            text.len()
        );
    }
    format!("{error}; no kubelet says this: look who listens at its address")
}

/// The node's own clock: its CPU's time, else its memory's, else the first time there is.
fn base(summary: &Summary<'_>) -> Option<i64> {
    let node = summary.node.as_ref();
    let cpu = node.and_then(|node| node.cpu.as_ref()?.time.get());
    let memory = || node.and_then(|node| node.memory.as_ref()?.time.get());
    let rest = || {
        let of_node = node.into_iter().flat_map(|node| {
            let runtime = node.runtime.as_ref();
            let images = runtime.and_then(|runtime| fs_time(runtime.image_fs.as_ref()));
            let own = [
                node.network.as_ref().and_then(|network| network.time.get()),
                fs_time(node.fs.as_ref()),
                images,
                node.rlimit.as_ref().and_then(|rlimit| rlimit.time.get()),
                node.swap.as_ref().and_then(|swap| swap.time.get()),
            ];
            own.into_iter().flatten().chain(node.system_containers.iter().filter_map(container_time))
        });
        let pods = summary.pods.as_deref().unwrap_or_default();
        of_node.chain(pods.iter().filter_map(pod_time)).next()
    };
    cpu.or_else(memory).or_else(rest).map(|Nanos(time)| time)
}

fn fs_time(fs: Option<&FsStats>) -> Option<Nanos> {
    fs?.time.get()
}

fn container_time(container: &ContainerStats<'_>) -> Option<Nanos> {
    let cpu = container.cpu.as_ref().and_then(|cpu| cpu.time.get());
    let memory = || container.memory.as_ref().and_then(|memory| memory.time.get());
    cpu.or_else(memory).or_else(|| fs_time(container.rootfs.as_ref())).or_else(|| fs_time(container.logs.as_ref()))
}

fn pod_time(pod: &PodStats<'_>) -> Option<Nanos> {
    let cpu = pod.cpu.as_ref().and_then(|cpu| cpu.time.get());
    cpu.or_else(|| pod.memory.as_ref()?.time.get())
        .or_else(|| pod.network.as_ref()?.time.get())
        .or_else(|| pod.containers.iter().find_map(container_time))
        .or_else(|| pod.volumes.iter().find_map(|volume| volume.time.get()))
}
