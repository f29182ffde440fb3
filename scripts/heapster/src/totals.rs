//! Namespaces from their pods, and the cluster from its namespaces.
//!
//! A pod counts once a cycle, as in Heapster, which had one set for each namespace and name. Two
//! kubelets report one name when a pod moved and the old node has not cleaned up. Then the one
//! counts that the API server binds to its node. A pod that is bound to no node that reports it (it
//! is about to be deleted, or the watch is behind) counts by its report; of several such reports
//! that of the first node by name. Nodes are summed by what runs on them, whatever its name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use millrace_sdk::prelude::*;

use crate::metrics::Output;
use crate::pod::Origin;
use crate::sums::Sums;

/// What namespaces and the cluster have; usage first, then requests and limits.
const SUMMED: [Output; 6] = [
    Output::CpuUsageRate,
    Output::MemoryUsage,
    Output::CpuRequest,
    Output::CpuLimit,
    Output::MemoryRequest,
    Output::MemoryLimit,
];
const USAGE: usize = 2;

type Row = [Option<i64>; SUMMED.len()];

/// A pod as the totals see it.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    pub node: &'a str,
    pub namespace: &'a str,
    pub namespace_id: Option<&'a str>,
    pub name: &'a str,
    pub origin: Origin,
    /// Requests and limits of a finished pod count nowhere (10).
    pub requests_count: bool,
}

/// The sums of the cycle at hand.
#[derive(Debug, Default)]
pub struct Totals {
    cycle: u64,
    namespaces: BTreeMap<Box<str>, Namespace>,
    /// Hashes of the keys of pods that are bound to the node that reports them.
    bound: HashSet<u64>,
    hasher: RandomState,
    /// Pods that are reported by a node they are not bound to, by the hash of their key.
    unbound: HashMap<u64, Unbound>,
}

#[derive(Debug, Default)]
struct Namespace {
    id: Option<Box<str>>,
    sums: Row,
}

#[derive(Debug)]
struct Unbound {
    node: Box<str>,
    namespace: Box<str>,
    namespace_id: Option<Box<str>>,
    sums: Row,
}

impl Totals {
    /// Forgets a cycle that never came to its end.
    pub fn begin(&mut self, cycle: u64) {
        if self.cycle != cycle {
            self.cycle = cycle;
            self.namespaces.clear();
            self.bound.clear();
            self.unbound.clear();
        }
    }

    /// Adds a pod.
    pub fn add_pod(&mut self, pod: &Counted<'_>, sums: &Sums) {
        let mut row = Row::default();
        let counted = if pod.requests_count { SUMMED.len() } else { USAGE };
        for (sum, &output) in row.iter_mut().zip(&SUMMED).take(counted) {
            *sum = sums.int(output);
        }
        if pod.origin == Origin::Api {
            // What is only bound has no usage that could count twice.
            return self.add(pod.namespace, pod.namespace_id, &row);
        }
        let key = self.hasher.hash_one((pod.namespace, pod.name));
        if pod.origin == Origin::Both {
            self.bound.insert(key);
            return self.add(pod.namespace, pod.namespace_id, &row);
        }
        if self.unbound.get(&key).is_none_or(|known| pod.node < &*known.node) {
            let unbound = Unbound {
                node: pod.node.into(),
                namespace: pod.namespace.into(),
                namespace_id: pod.namespace_id.map(Into::into),
                sums: row,
            };
            self.unbound.insert(key, unbound);
        }
    }

    fn add(&mut self, namespace: &str, id: Option<&str>, row: &Row) {
        let namespace = match self.namespaces.get_mut(namespace) {
            Some(known) => known,
            None => self.namespaces.entry(namespace.into()).or_default(),
        };
        if namespace.id.is_none() {
            namespace.id = id.map(Into::into);
        }
        for (sum, &value) in namespace.sums.iter_mut().zip(row) {
            add(sum, value);
        }
    }

    /// Adds the namespaces and the cluster to the edit, and forgets them.
    pub fn emit(&mut self, edit: &mut Edit) {
        let bound = std::mem::take(&mut self.bound);
        for (key, pod) in std::mem::take(&mut self.unbound) {
            if !bound.contains(&key) {
                self.add(&pod.namespace, pod.namespace_id.as_deref(), &pod.sums);
            }
        }
        if self.namespaces.is_empty() {
            return;
        }
        let metrics = SUMMED.map(|output| edit.metric(output.descriptor()));
        let mut cluster = Row::default();
        for (name, namespace) in std::mem::take(&mut self.namespaces) {
            let labels =
                [("namespace_id", namespace.id.as_deref().unwrap_or("")), ("namespace_name", &*name), ("type", "ns")];
            let mut entity = edit.add_entity(Level::Namespace, &labels);
            for ((sum, metric), total) in namespace.sums.into_iter().zip(metrics).zip(&mut cluster) {
                add(total, sum);
                if let Some(sum) = sum {
                    entity = entity.point(metric, sum);
                }
            }
        }
        let mut entity = edit.add_entity(Level::Cluster, &[("type", "cluster")]);
        for (sum, metric) in cluster.into_iter().zip(metrics) {
            if let Some(sum) = sum {
                entity = entity.point(metric, sum);
            }
        }
    }
}

fn add(sum: &mut Option<i64>, value: Option<i64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0).saturating_add(value));
    }
}
