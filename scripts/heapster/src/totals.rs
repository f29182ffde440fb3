//! Namespaces from their pods, and the cluster from its namespaces.

use std::collections::BTreeMap;

use millrace_sdk::prelude::*;

use crate::metrics::Output;
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

/// The sums of the cycle at hand.
#[derive(Debug, Default)]
pub struct Totals {
    cycle: u64,
    namespaces: BTreeMap<Box<str>, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    id: Option<Box<str>>,
    sums: Row,
}

impl Totals {
    /// Forgets a cycle that never came to its end.
    pub fn begin(&mut self, cycle: u64) {
        if self.cycle != cycle {
            self.cycle = cycle;
            self.namespaces.clear();
        }
    }

    /// Adds a pod. Requests and limits of a finished pod count nowhere (10).
    pub fn add_pod(&mut self, namespace: &str, id: Option<&str>, pod: &Sums, requests_count: bool) {
        let namespace = match self.namespaces.get_mut(namespace) {
            Some(known) => known,
            None => self.namespaces.entry(namespace.into()).or_default(),
        };
        if namespace.id.is_none() {
            namespace.id = id.map(Into::into);
        }
        let counted = if requests_count { SUMMED.len() } else { USAGE };
        for (sum, &output) in namespace.sums.iter_mut().zip(&SUMMED).take(counted) {
            add(sum, pod.int(output));
        }
    }

    /// Adds the namespaces and the cluster to the edit, and forgets them.
    pub fn emit(&mut self, edit: &mut Edit) {
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
