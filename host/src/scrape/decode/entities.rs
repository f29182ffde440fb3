//! Entities: the node, its system containers, then each pod followed by its containers, each with
//! its labels, and what the API server knows of it as points.

use std::sync::Arc;

use crate::batch::{Level, UNKNOWN_AT};
use crate::kube::{ContainerFacts, NodeFacts, PodFacts};

use super::super::failure::ScrapeFailure;
use super::super::names::{self, Amounts, Fact};
use super::super::number::{Field, Nanos};
use super::super::summary::{ContainerStats, NodeStats, PodStats, VolumeStats};
use super::budget::LabelBudget;
use super::seen::Seen;
use super::writer::{Word, Writer};
use super::{DecodeCounts, Decoded, duplicates};

/// A label by its symbols.
type Label = (u32, u32);

/// Writes entities in the batch's order.
pub(super) struct Entities<'t> {
    writer: Writer<'t>,
    node: NodeLabels,
    budget: LabelBudget,
}

/// Labels of the node, which everything on it repeats.
struct NodeLabels {
    own: [Label; 3],
    api: Vec<Label>,
    capacity: crate::kube::Resources,
    allocatable: crate::kube::Resources,
}

/// Labels of a pod, which its containers repeat; in between stand those that differ.
struct PodLabels {
    before: Vec<Label>,
    after: Vec<Label>,
}

impl<'t> Entities<'t> {
    pub(super) fn new(mut writer: Writer<'t>, node: &NodeFacts) -> Self {
        let own = [("nodename", &node.name), ("hostname", &node.hostname), ("host_id", &node.host_id)];
        let own = own.map(|(name, value)| (writer.builder.symbol(name), writer.builder.symbol(value)));
        let mut budget = LabelBudget::default();
        let api = prefixed(&mut writer, &mut budget, names::LABEL, &node.labels, 1);
        let (capacity, allocatable) = (node.capacity.clone(), node.allocatable.clone());
        Self { writer, node: NodeLabels { own, api, capacity, allocatable }, budget }
    }

    pub(super) fn counts(&mut self) -> &mut DecodeCounts {
        &mut self.writer.counts
    }

    pub(super) fn finish(self) -> Decoded {
        let (batch, counts) = self.writer.finish();
        Decoded { batch, counts }
    }

    /// The node and its system containers.
    pub(super) fn node(&mut self, stats: Option<&NodeStats<'_>>) -> Result<(), ScrapeFailure> {
        self.open(Level::Node, stats.map(|stats| stats.start_time));
        let writer = &mut self.writer;
        for (name, value) in self.node.own.iter().chain(&self.node.api) {
            writer.builder.label(*name, *value);
        }
        if let Some(stats) = stats {
            writer.cpu(stats.cpu.as_ref());
            writer.memory(stats.memory.as_ref());
            writer.network(stats.network.as_ref());
            let root = (writer.word(Word::ResourceId), writer.word(Word::Root));
            let root = writer.set_of(root);
            writer.fs(names::FILESYSTEM, root, stats.fs.as_ref());
            if let Some(runtime) = &stats.runtime {
                writer.fs(names::IMAGE_FS, 0, runtime.image_fs.as_ref());
                writer.fs(names::CONTAINER_FS, 0, runtime.container_fs.as_ref());
            }
            writer.swap(stats.swap.as_ref());
            writer.io(stats.io.as_ref());
            if let Some(rlimit) = &stats.rlimit {
                let at = writer.at(rlimit.time);
                writer.int(Fact::RlimitMaxPid, 0, at, rlimit.max_pid);
                writer.int(Fact::RlimitCurProc, 0, at, rlimit.processes);
            }
        }
        writer.resources(Amounts::Capacity, &self.node.capacity);
        writer.resources(Amounts::Allocatable, &self.node.allocatable);
        writer.check_bounds()?;
        let system = stats.map(|stats| &*stats.system_containers).unwrap_or_default();
        for container in duplicates::containers(system, self.counts()) {
            self.system_container(container)?;
        }
        Ok(())
    }

    fn system_container(&mut self, stats: &ContainerStats<'_>) -> Result<(), ScrapeFailure> {
        self.open(Level::SystemContainer, Some(stats.start_time));
        let builder = &mut self.writer.builder;
        for (name, value) in self.node.own {
            builder.label(name, value);
        }
        let name = builder.symbol(&stats.name);
        let label = self.writer.word(Word::ContainerName);
        self.writer.builder.label(label, name);
        self.container_points(stats);
        self.writer.check_bounds()
    }

    /// A pod that the kubelet reported, or the API server binds to the node, or both; and its
    /// containers.
    pub(super) fn pod(
        &mut self,
        (namespace, name): (&str, &str),
        stats: Option<&PodStats<'_>>,
        facts: Option<&PodFacts>,
        namespace_uid: impl Fn(&str) -> Option<Arc<str>>,
    ) -> Result<(), ScrapeFailure> {
        self.open(Level::Pod, stats.map(|stats| stats.start_time));
        let uid = match facts {
            Some(facts) => Some(&*facts.uid),
            None => stats.and_then(|stats| stats.pod.as_ref()).map(|pod| &*pod.uid),
        };
        let reported = stats.map(|stats| &*stats.containers).unwrap_or_default();
        let rows = 1 + reported.len() + facts.map_or(0, |facts| facts.containers.len());
        let labels = self.pod_labels((namespace, name), uid, facts, namespace_uid(namespace).as_deref(), rows);
        let origin = self.origin(stats.is_some(), facts.is_some());
        let builder = &mut self.writer.builder;
        for (name, value) in labels.before.iter().chain([&origin]).chain(&labels.after) {
            builder.label(*name, *value);
        }
        if let Some(stats) = stats {
            self.pod_points(stats);
        }
        self.writer.check_bounds()?;
        self.containers(&labels, reported, facts)
    }

    fn containers(
        &mut self,
        labels: &PodLabels,
        reported: &[ContainerStats<'_>],
        facts: Option<&PodFacts>,
    ) -> Result<(), ScrapeFailure> {
        let of_spec = facts.map(|facts| &*facts.containers).unwrap_or_default();
        let (mut seen, most) = (Seen::default(), reported.len() + of_spec.len());
        for stats in duplicates::containers(reported, &mut self.writer.counts) {
            seen.again(&*stats.name, most);
            let facts = of_spec.iter().find(|facts| *facts.name == *stats.name);
            self.container(labels, &stats.name, Some(stats), facts)?;
        }
        // An init container that the kubelet does not report has run its course.
        for facts in of_spec.iter().filter(|facts| !facts.init && !facts.name.is_empty()) {
            if !seen.again(&*facts.name, most) {
                self.container(labels, &facts.name, None, Some(facts))?;
            }
        }
        Ok(())
    }

    fn container(
        &mut self,
        labels: &PodLabels,
        name: &str,
        stats: Option<&ContainerStats<'_>>,
        facts: Option<&ContainerFacts>,
    ) -> Result<(), ScrapeFailure> {
        self.open(Level::Container, stats.map(|stats| stats.start_time));
        let origin = self.origin(stats.is_some(), facts.is_some());
        let own = (self.writer.word(Word::ContainerName), self.writer.builder.symbol(name));
        let builder = &mut self.writer.builder;
        for (name, value) in labels.before.iter().chain([&own, &origin]) {
            builder.label(*name, *value);
        }
        let writer = &mut self.writer;
        if let Some(facts) = facts {
            let image = (writer.word(Word::Image), writer.builder.symbol(&facts.image));
            writer.builder.label(image.0, image.1);
            if facts.init {
                let init = (writer.word(Word::Init), writer.builder.symbol("1"));
                writer.builder.label(init.0, init.1);
            }
        }
        for (name, value) in &labels.after {
            writer.builder.label(*name, *value);
        }
        if let Some(stats) = stats {
            self.container_points(stats);
        }
        if let Some(facts) = facts {
            let writer = &mut self.writer;
            writer.resources(Amounts::Request, &facts.requests);
            writer.resources(Amounts::Limit, &facts.limits);
            let restarts = facts.restart_count.and_then(|count| u64::try_from(count).ok());
            writer.int(Fact::RestartCount, 0, UNKNOWN_AT, restarts.map_or(Field::Absent, Field::Is));
        }
        self.writer.check_bounds()
    }

    fn open(&mut self, level: Level, started_at: Option<Field<Nanos>>) {
        let started_at = match started_at.unwrap_or_default() {
            Field::Is(Nanos(time)) => time,
            Field::Absent => 0,
            Field::Bad => {
                self.writer.counts.malformed += 1;
                0
            }
        };
        self.writer.builder.entity(level, started_at);
    }

    fn origin(&mut self, reported: bool, known: bool) -> Label {
        let origin = match (reported, known) {
            (true, true) => Word::Both,
            (true, false) => Word::Kubelet,
            (false, _) => Word::Api,
        };
        (self.writer.word(Word::Origin), self.writer.word(origin))
    }

    /// Labels that at most `rows` entities will have.
    fn pod_labels(
        &mut self,
        (namespace, name): (&str, &str),
        uid: Option<&str>,
        facts: Option<&PodFacts>,
        namespace_uid: Option<&str>,
        rows: usize,
    ) -> PodLabels {
        let writer = &mut self.writer;
        let mut before = Vec::with_capacity(self.node.own.len() + 4);
        before.extend_from_slice(&self.node.own);
        let mut label = |name, value: &str| before.push((writer.word(name), writer.builder.symbol(value)));
        label(Word::NamespaceName, namespace);
        if let Some(uid) = namespace_uid {
            label(Word::NamespaceId, uid);
        }
        label(Word::PodName, name);
        if let Some(uid) = uid.filter(|uid| !uid.is_empty()) {
            label(Word::PodId, uid);
        }
        let Some(facts) = facts else {
            return PodLabels { before, after: Vec::new() };
        };
        let mut after = Vec::with_capacity(3 + facts.labels.len() + facts.annotations.len());
        if !facts.phase.is_empty() {
            after.push((writer.word(Word::Phase), writer.builder.symbol(&facts.phase)));
        }
        if let Some((kind, name)) = &facts.owner {
            after.push((writer.word(Word::OwnerKind), writer.builder.symbol(kind)));
            after.push((writer.word(Word::OwnerName), writer.builder.symbol(name)));
        }
        let budget = &mut self.budget;
        after.extend(prefixed(writer, budget, names::LABEL, &facts.labels, rows));
        after.extend(prefixed(writer, budget, names::ANNOTATION, &facts.annotations, rows));
        PodLabels { before, after }
    }

    fn pod_points(&mut self, stats: &PodStats<'_>) {
        let writer = &mut self.writer;
        writer.cpu(stats.cpu.as_ref());
        writer.memory(stats.memory.as_ref());
        writer.network(stats.network.as_ref());
        writer.fs(names::EPHEMERAL, 0, stats.ephemeral.as_ref());
        writer.swap(stats.swap.as_ref());
        writer.io(stats.io.as_ref());
        if let Some(processes) = &stats.processes {
            writer.int(Fact::ProcessCount, 0, UNKNOWN_AT, processes.count);
        }
        let mut seen = Seen::default();
        for volume in stats.volumes.iter() {
            let name = self.writer.joined("Volume:", &volume.name);
            if seen.again(name, stats.volumes.len()) {
                self.writer.counts.duplicates += 1;
                continue;
            }
            self.volume(volume, name);
        }
    }

    /// `name` is the symbol of what Heapster called it.
    fn volume(&mut self, volume: &VolumeStats<'_>, name: u32) {
        let writer = &mut self.writer;
        let resource = (writer.word(Word::ResourceId), name);
        let set = match &volume.claim {
            None => writer.set_of(resource),
            Some(claim) => {
                let builder = &mut writer.builder;
                let name = (builder.symbol("__pvc_name"), builder.symbol(&claim.name));
                let namespace = (builder.symbol("__pvc_namespace"), builder.symbol(&claim.namespace));
                builder.label_set(&[resource, name, namespace])
            }
        };
        writer.fs(names::FILESYSTEM, set, Some(&volume.fs()));
        if let Some(health) = &volume.health {
            let abnormal = match health.abnormal {
                Field::Is(ill) => Field::Is(u64::from(ill)),
                Field::Absent => Field::Absent,
                Field::Bad => Field::Bad,
            };
            // `fs` has counted a broken time already.
            let at = volume.time.get().map_or(UNKNOWN_AT, |time| writer.at(Field::Is(time)));
            writer.int(Fact::VolumeAbnormal, set, at, abnormal);
        }
    }

    fn container_points(&mut self, stats: &ContainerStats<'_>) {
        let writer = &mut self.writer;
        writer.cpu(stats.cpu.as_ref());
        writer.memory(stats.memory.as_ref());
        for (resource, fs) in [(Word::Root, &stats.rootfs), (Word::Logs, &stats.logs)] {
            if fs.is_some() {
                let label = (writer.word(Word::ResourceId), writer.word(resource));
                let set = writer.set_of(label);
                writer.fs(names::FILESYSTEM, set, fs.as_ref());
            }
        }
        writer.swap(stats.swap.as_ref());
        writer.io(stats.io.as_ref());
        for accelerator in stats.accelerators.iter() {
            writer.accelerator(accelerator);
        }
        writer.custom(&stats.custom);
    }
}

fn prefixed(
    writer: &mut Writer<'_>,
    budget: &mut LabelBudget,
    prefix: &str,
    pairs: &[(Arc<str>, Arc<str>)],
    rows: usize,
) -> Vec<Label> {
    let taken = budget.take(pairs, rows);
    writer.counts.labels_left_out += (pairs.len() - taken.len()) as u64;
    taken.iter().map(|(key, value)| (writer.joined(prefix, key), writer.builder.symbol(value))).collect()
}
