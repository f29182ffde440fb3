//! Which of two things with one name counts. Kubelets list a dead container beside the living one,
//! and some list every container twice.

use hashbrown::HashMap;

use crate::kube::PodFacts;

use super::super::number::Nanos;
use super::super::summary::{ContainerStats, PodStats};
use super::DecodeCounts;

/// Longest name of a pod, namespace or container, bytes. Kubernetes allows 253; sinks write it on
/// every row.
const NAME_BYTES: usize = 1 << 10;

/// Start time, then CPU time: of two, the newer one counts. What has no time is oldest.
type Age = (Option<Nanos>, Option<Nanos>);

/// The pods that count, in the answer's order: of two with one name the one with the API server's
/// uid, else the newest. Those without a name, or with an endless one, are left out.
pub(super) fn pods<'s, 'a>(
    pods: &'s [PodStats<'a>],
    known: &HashMap<(&str, &str), &PodFacts>,
    counts: &mut DecodeCounts,
) -> Vec<&'s PodStats<'a>> {
    keep_best(
        pods,
        counts,
        key,
        |(namespace, name)| is_name(namespace) && is_name(name),
        |pod| {
            let uid = pod.pod.as_ref().map(|pod| &*pod.uid);
            let same = known.get(&key(pod)).is_some_and(|facts| Some(&*facts.uid) == uid);
            (same, (pod.start_time.get(), pod.cpu.as_ref().and_then(|cpu| cpu.time.get())))
        },
    )
}

/// The containers that count, in the answer's order: of two with one name the newest.
pub(super) fn containers<'s, 'a>(
    containers: &'s [ContainerStats<'a>],
    counts: &mut DecodeCounts,
) -> Vec<&'s ContainerStats<'a>> {
    keep_best(containers, counts, |container| &*container.name, |name| is_name(name), age)
}

/// Namespace and name.
pub(super) fn key<'s>(pod: &'s PodStats<'_>) -> (&'s str, &'s str) {
    pod.pod.as_ref().map_or(("", ""), |pod| (&*pod.namespace, &*pod.name))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES
}

fn age(container: &ContainerStats<'_>) -> Age {
    (container.start_time.get(), container.cpu.as_ref().and_then(|cpu| cpu.time.get()))
}

/// For every key the item of the highest rank (the first of equals), in the order of the items.
fn keep_best<'s, T, K: std::hash::Hash + Eq, R: Ord>(
    items: &'s [T],
    counts: &mut DecodeCounts,
    key: impl Fn(&'s T) -> K,
    is_named: impl Fn(&K) -> bool,
    rank: impl Fn(&'s T) -> R,
) -> Vec<&'s T> {
    if let [only] = items {
        let named = is_named(&key(only));
        counts.nameless += u64::from(!named);
        return if named { vec![only] } else { Vec::new() };
    }
    let mut kept: Vec<&T> = Vec::with_capacity(items.len());
    let mut places = Places::for_items(items.len());
    for item in items {
        let key = key(item);
        if !is_named(&key) {
            counts.nameless += 1;
            continue;
        }
        match places.of(key) {
            None => kept.push(item),
            Some(at) => {
                counts.duplicates += 1;
                if rank(item) > rank(kept[at]) {
                    kept[at] = item;
                }
            }
        }
    }
    kept
}

/// Which place each key has; the first one has 0. A scan of a few costs less than their hashes.
enum Places<K> {
    Few(Vec<K>),
    Many(HashMap<K, usize>),
}

impl<K: std::hash::Hash + Eq> Places<K> {
    fn for_items(count: usize) -> Self {
        if count <= 8 { Self::Few(Vec::with_capacity(count)) } else { Self::Many(HashMap::with_capacity(count)) }
    }

    /// The place of a key that was met before; `None` gives it the next one.
    fn of(&mut self, key: K) -> Option<usize> {
        match self {
            Self::Few(keys) => {
                let known = keys.iter().position(|known| *known == key);
                if known.is_none() {
                    keys.push(key);
                }
                known
            }
            Self::Many(places) => {
                let next = places.len();
                let place = *places.entry(key).or_insert(next);
                (place != next).then_some(place)
            }
        }
    }
}
