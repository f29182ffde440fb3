//! Pods and their containers: requests, limits, restarts, and a pod's values from its containers'.

use millrace_sdk::prelude::*;

use crate::Work;
use crate::labels::{Joined, Known};
use crate::metrics::Output;
use crate::reading::{Reading, rate_outputs};
use crate::sums::Sums;
use crate::totals::Counted;

/// What a pod's value is summed from where the kubelet gives none. Counters are not summed.
const SUMMED: [Output; 15] = [
    Output::CpuUsageRate,
    Output::PageFaultsRate,
    Output::MajorPageFaultsRate,
    Output::MemoryUsage,
    Output::MemoryWorkingSet,
    Output::MemoryRss,
    Output::EphemeralUsage,
    Output::CpuRequest,
    Output::CpuLimit,
    Output::MemoryRequest,
    Output::MemoryLimit,
    Output::EphemeralRequest,
    Output::EphemeralLimit,
    Output::RestartCount,
    Output::CpuUsage,
];

/// What a node's requests and limits are summed from.
const REQUESTED: [Output; 6] = [
    Output::CpuRequest,
    Output::CpuLimit,
    Output::MemoryRequest,
    Output::MemoryLimit,
    Output::EphemeralRequest,
    Output::EphemeralLimit,
];

/// Where a pod or container is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Reported, and not bound to this node at the API server.
    Kubelet,
    /// Bound, and not reported.
    Api,
    /// Bound and reported.
    Both,
}

impl<'b> Work<'b, '_> {
    /// One pod with its containers. `requests` sums what counts for the node.
    pub fn pod(&mut self, pod: Entity<'b>, containers: &[Entity<'b>], requests: &mut Sums) {
        let known = self.labels.known(self.batch, pod);
        let origin = self.origin(&known);
        let finished = matches!(self.text(known.phase), "Succeeded" | "Failed");
        if finished && origin == Origin::Api {
            // Neither its usage nor its requests count (10).
            self.edit.drop_entity(pod);
            containers.iter().for_each(|&container| self.edit.drop_entity(container));
            return;
        }
        let joined = (origin != Origin::Kubelet).then(|| self.join(pod));

        let (namespace, name) = (self.text(known.namespace_name), self.text(known.pod_name));
        let key = [self.batch.node().unwrap_or(""), namespace, name];
        let mut sums = Sums::default();
        for &container in containers {
            self.container(key, container, joined.as_ref(), &mut sums);
        }
        self.pod_values(key, pod, origin, &mut sums);

        self.set_labels(pod, self.labels.pod, joined.as_ref());
        if !finished {
            for output in REQUESTED {
                if let Some(value) = sums.get(output) {
                    requests.add(output, value);
                }
            }
        }
        let counted = Counted {
            node: key[0],
            namespace,
            namespace_id: known.namespace_id.map(|id| self.batch.text(id)),
            name,
            origin,
            requests_count: !finished,
        };
        self.totals.add_pod(&counted, &sums);
    }

    /// Adds the pod's rates, uptime and sums. Afterwards `sums` holds the pod's values.
    fn pod_values(&mut self, key: [&str; 3], pod: Entity<'b>, origin: Origin, sums: &mut Sums) {
        let reading = self.read(pod);
        let rates = self.rates(pod, &key, &reading);
        if origin != Origin::Api {
            self.uptime(pod);
        }
        let mut own = Sums::default();
        for (output, rate) in rate_outputs().zip(rates) {
            if let Some(rate) = rate {
                own.add(output, rate);
            }
        }
        for output in SUMMED {
            match (own.get(output).or(reading.point(output).map(Point::value)), sums.get(output)) {
                (Some(value), _) => own.set(output, value),
                (None, Some(sum)) if output != Output::CpuUsage => {
                    self.add(pod, output, sum);
                    own.set(output, sum);
                }
                _ => {}
            }
        }
        for &(metric, value) in sums.others() {
            self.edit.add(pod, metric, value);
        }
        *sums = own;
    }

    fn container(
        &mut self,
        [node, namespace, pod]: [&str; 3],
        container: Entity<'b>,
        joined: Option<&Joined<'b>>,
        sums: &mut Sums,
    ) {
        let known = self.labels.known(self.batch, container);
        let (origin, is_init) = (self.origin(&known), known.init.is_some());
        let reading = self.read(container);
        let name = self.text(known.container_name);
        let rates = self.rates(container, &[node, namespace, pod, name], &reading);
        if origin != Origin::Api {
            self.uptime(container);
        }
        for (output, rate) in rate_outputs().zip(rates) {
            if let Some(rate) = rate {
                sums.add(output, rate);
            }
        }
        for output in [Output::MemoryUsage, Output::MemoryWorkingSet, Output::MemoryRss] {
            if let Some(value) = reading.int(output) {
                sums.add(output, value);
            }
        }
        if let (Some(root), Some(logs)) = (reading.root_used, reading.logs_used) {
            self.add_summed(container, Output::EphemeralUsage, root.saturating_add(logs), sums);
        }
        // Heapster never looked init containers up: no requests, no image, no restarts.
        if joined.is_some() && origin != Origin::Kubelet && !is_init {
            self.enrich(container, &known, &reading, sums);
        }
        self.others(container, &reading, is_init, sums);
        self.set_labels(container, self.labels.pod_container, joined);
    }

    /// Requests and limits, 0 where unset; the image; how often it started.
    fn enrich(&mut self, container: Entity<'b>, known: &Known, reading: &Reading<'b>, sums: &mut Sums) {
        let (requests, limits) = (reading.first, reading.second);
        for (output, amount) in [
            (Output::CpuRequest, requests.cpu),
            (Output::CpuLimit, limits.cpu),
            (Output::MemoryRequest, requests.memory),
            (Output::MemoryLimit, limits.memory),
            (Output::EphemeralRequest, requests.ephemeral),
            (Output::EphemeralLimit, limits.ephemeral),
        ] {
            self.add_summed(container, output, amount.unwrap_or(0), sums);
        }
        if let (Origin::Both, Some(restarts)) = (self.origin(known), reading.restarts) {
            self.add_summed(container, Output::RestartCount, restarts, sums);
        }
        if let Some(image) = known.image {
            self.edit.set_label(container, self.labels.base_image, image);
        }
    }

    /// Users' own metrics stand already; requests of other resources become metrics of their own.
    fn others(&mut self, container: Entity<'b>, reading: &Reading<'b>, is_init: bool, sums: &mut Sums) {
        for &(metric, value) in &reading.other {
            let is_request = matches!(value, Value::Int(_));
            if is_request && is_init {
                continue;
            }
            if is_request {
                self.edit.add(container, metric, value);
            }
            sums.add_other(metric, value);
        }
    }

    fn add_summed(&mut self, entity: Entity<'b>, output: Output, value: i64, sums: &mut Sums) {
        self.add(entity, output, value);
        sums.add(output, value);
    }

    fn origin(&self, known: &Known) -> Origin {
        match known.origin.map(|origin| self.batch.text(origin)) {
            None | Some("kubelet") => Origin::Kubelet,
            Some("api") => Origin::Api,
            Some(_) => Origin::Both,
        }
    }
}
