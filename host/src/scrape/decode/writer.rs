//! Points: from a block of the wire to rows of the batch. It knows metrics and times, not labels.

use hashbrown::HashMap;

use crate::batch::{Batch, BatchBuilder, Descriptor, Kind, NamedBy, Origin, TypeConflict, TypeRegistry, UNKNOWN_AT};
use crate::kube::{NodeFacts, Resources};

use super::super::failure::ScrapeFailure;
use super::super::names::{self, Amounts, Fact, FsFacts, PsiFacts};
use super::super::number::{Field, Nanos};
use super::super::summary::{
    AcceleratorStats, CpuStats, FsStats, IoStats, MemoryStats, NetworkStats, Psi, PsiData, SwapStats, UserMetric,
};
use super::seen::Seen;
use super::{DecodeBounds, DecodeCounts};

/// Row of a metric that this batch has not used yet.
const UNUSED: u32 = u32::MAX;
/// A metric whose name has another type already.
const REFUSED: u32 = u32::MAX - 1;

/// Metric names of one batch that come from outside: rules make metrics of them.
const OTHER_NAMES: usize = 2_000;
/// Resources of one container or node beside the common ones. Real ones have a handful.
const RESOURCES: usize = 64;
/// Longest name of a workload's metric, bytes: sinks repeat it for every point.
const NAME_BYTES: usize = 1 << 10;

macro_rules! words {
    ($($word:ident = $text:literal,)+) => {
        /// Strings that stand on nearly every entity.
        #[derive(Debug, Clone, Copy)]
        pub(super) enum Word { $($word),+ }

        const WORDS: &[&str] = &[$($text),+];
    };
}

words! {
    NamespaceName = "namespace_name",
    NamespaceId = "namespace_id",
    PodName = "pod_name",
    PodId = "pod_id",
    ContainerName = "container_name",
    ResourceId = "resource_id",
    Interface = "interface",
    Root = "/",
    Logs = "logs",
    Origin = "__origin",
    Both = "both",
    Kubelet = "kubelet",
    Api = "api",
    Image = "__image",
    Init = "__init",
    Phase = "__phase",
    OwnerKind = "__owner_kind",
    OwnerName = "__owner_name",
}

/// What a point takes in an answer, about.
const BYTES_A_POINT: usize = 40;

/// Writes the points of the entity that the builder opened last.
pub(super) struct Writer<'t> {
    pub builder: BatchBuilder,
    pub counts: DecodeCounts,
    bounds: DecodeBounds,
    types: &'t TypeRegistry,
    rows: [u32; names::DESCRIPTORS.len()],
    words: [Option<u32>; WORDS.len()],
    /// Rows of the common resources, by prefix and resource.
    amounts: [[Option<u32>; names::COMMON.len()]; 4],
    /// Label sets by the symbols of one name and value.
    sets: HashMap<(u32, u32), u32>,
    scratch: String,
    /// Metrics so far whose names come from outside.
    others: usize,
}

impl<'t> Writer<'t> {
    /// `body_bytes` says how large the batch may become.
    pub(super) fn new(
        node: &NodeFacts,
        base: i64,
        body_bytes: usize,
        bounds: &DecodeBounds,
        types: &'t TypeRegistry,
    ) -> Self {
        let mut builder = BatchBuilder::new(Origin::Node(node.name.to_string()), base);
        builder.reserve((body_bytes / BYTES_A_POINT).min(bounds.points));
        Self {
            builder,
            counts: DecodeCounts::default(),
            bounds: *bounds,
            types,
            rows: [UNUSED; names::DESCRIPTORS.len()],
            words: [None; WORDS.len()],
            amounts: Default::default(),
            sets: HashMap::new(),
            scratch: String::new(),
            others: 0,
        }
    }

    pub(super) fn finish(self) -> (Batch, DecodeCounts) {
        let mut counts = self.counts;
        counts.points = self.builder.counts().0 as u64;
        (self.builder.build(), counts)
    }

    /// To be asked after every entity.
    pub(super) fn check_bounds(&self) -> Result<(), ScrapeFailure> {
        let (points, entities, text) = self.builder.counts();
        for (what, count, bound) in [
            ("points", points, self.bounds.points),
            ("entities", entities, self.bounds.entities),
            ("bytes of text", text, self.bounds.text),
        ] {
            if count > bound {
                return Err(ScrapeFailure::OverBound { what, bound });
            }
        }
        Ok(())
    }

    /// ms since the base; unknown if it is none, or further away than 24 days.
    pub(super) fn at(&mut self, time: Field<Nanos>) -> i32 {
        match time {
            Field::Is(Nanos(time)) => {
                let since = (i128::from(time) - i128::from(self.builder.base())) / 1_000_000;
                i32::try_from(since).unwrap_or(UNKNOWN_AT)
            }
            Field::Absent => UNKNOWN_AT,
            Field::Bad => {
                self.counts.malformed += 1;
                UNKNOWN_AT
            }
        }
    }

    fn row(&mut self, fact: Fact) -> Option<u32> {
        match self.rows[fact as usize] {
            UNUSED => self.new_row(fact),
            REFUSED => {
                self.counts.type_conflicts += 1;
                None
            }
            row => Some(row),
        }
    }

    #[cold]
    fn new_row(&mut self, fact: Fact) -> Option<u32> {
        let descriptor = names::DESCRIPTORS[fact as usize];
        self.rows[fact as usize] = match self.types.check(descriptor.name, descriptor.value, NamedBy::Host) {
            Ok(()) => self.builder.metric(descriptor),
            Err(_) => REFUSED,
        };
        self.row(fact)
    }

    /// A metric that is not in the table. One that there is no room for is left out by itself.
    fn other_row(&mut self, prefix: &str, name: &str, by: NamedBy, descriptor: Descriptor<'_>) -> Option<u32> {
        self.scratch.clear();
        self.scratch.push_str(prefix);
        self.scratch.push_str(name);
        // Each prefix has one value type, so a name that the batch has was checked.
        if let Some(row) = self.builder.find_metric(&self.scratch) {
            return Some(row);
        }
        if by != NamedBy::Host && self.others >= OTHER_NAMES {
            self.counts.names_left_out += 1;
            return None;
        }
        match self.types.check(&self.scratch, descriptor.value, by) {
            Ok(()) => {
                self.others += usize::from(by != NamedBy::Host);
                Some(self.builder.metric(Descriptor { name: &self.scratch, ..descriptor }))
            }
            Err(TypeConflict::TooMany(..)) => {
                self.counts.names_left_out += 1;
                None
            }
            Err(TypeConflict::Changed { .. }) => {
                self.counts.type_conflicts += 1;
                None
            }
        }
    }

    pub(super) fn int(&mut self, fact: Fact, set: u32, at: i32, value: Field<u64>) {
        match value {
            Field::Absent => {}
            Field::Bad => self.counts.malformed += 1,
            Field::Is(value) if value > i64::MAX as u64 => self.counts.over_range += 1,
            Field::Is(value) => {
                if let Some(row) = self.row(fact) {
                    self.builder.point(row, set, at, value);
                }
            }
        }
    }

    fn float(&mut self, fact: Fact, at: i32, value: Field<f64>) {
        match value {
            Field::Absent => {}
            Field::Bad => self.counts.malformed += 1,
            Field::Is(value) => {
                if let Some(row) = self.row(fact) {
                    self.builder.point(row, 0, at, value.to_bits());
                }
            }
        }
    }

    pub(super) fn cpu(&mut self, cpu: Option<&CpuStats>) {
        let Some(cpu) = cpu else { return };
        let at = self.at(cpu.time);
        self.int(Fact::CpuUsage, 0, at, cpu.usage);
        self.int(Fact::CpuUsageNanocores, 0, at, cpu.usage_nanocores);
        self.psi(names::PSI_CPU, at, cpu.psi.as_deref());
    }

    pub(super) fn memory(&mut self, memory: Option<&MemoryStats>) {
        let Some(memory) = memory else { return };
        let at = self.at(memory.time);
        self.int(Fact::MemoryUsage, 0, at, memory.usage);
        self.int(Fact::MemoryWorkingSet, 0, at, memory.working_set);
        self.int(Fact::MemoryRss, 0, at, memory.rss);
        self.int(Fact::MemoryAvailable, 0, at, memory.available);
        self.int(Fact::MemoryPageFaults, 0, at, memory.page_faults);
        self.int(Fact::MemoryMajorPageFaults, 0, at, memory.major_page_faults);
        self.psi(names::PSI_MEMORY, at, memory.psi.as_deref());
    }

    pub(super) fn io(&mut self, io: Option<&IoStats>) {
        let Some(io) = io else { return };
        let at = self.at(io.time);
        self.psi(names::PSI_IO, at, io.psi.as_deref());
    }

    fn psi(&mut self, [some, full]: [PsiFacts; 2], at: i32, psi: Option<&Psi>) {
        let Some(psi) = psi else { return };
        self.pressure(some, at, psi.some.as_ref());
        self.pressure(full, at, psi.full.as_ref());
    }

    fn pressure(&mut self, [total, avg10, avg60, avg300]: PsiFacts, at: i32, data: Option<&PsiData>) {
        let Some(data) = data else { return };
        self.int(total, 0, at, data.total);
        self.float(avg10, at, data.avg10);
        self.float(avg60, at, data.avg60);
        self.float(avg300, at, data.avg300);
    }

    pub(super) fn swap(&mut self, swap: Option<&SwapStats>) {
        let Some(swap) = swap else { return };
        let at = self.at(swap.time);
        self.int(Fact::SwapUsage, 0, at, swap.usage);
        self.int(Fact::SwapAvailable, 0, at, swap.available);
    }

    /// The default interface without labels, then every interface with its own.
    pub(super) fn network(&mut self, network: Option<&NetworkStats<'_>>) {
        let Some(network) = network else { return };
        let at = self.at(network.time);
        self.int(Fact::NetworkRx, 0, at, network.rx);
        self.int(Fact::NetworkRxErrors, 0, at, network.rx_errors);
        self.int(Fact::NetworkTx, 0, at, network.tx);
        self.int(Fact::NetworkTxErrors, 0, at, network.tx_errors);
        let mut seen = Seen::default();
        for interface in network.interfaces.iter() {
            let label = (self.word(Word::Interface), self.builder.symbol(&interface.name));
            let set = self.set_of(label);
            if seen.again(set, network.interfaces.len()) {
                self.counts.duplicates += 1;
                continue;
            }
            self.int(Fact::NetworkRx, set, at, interface.rx);
            self.int(Fact::NetworkRxErrors, set, at, interface.rx_errors);
            self.int(Fact::NetworkTx, set, at, interface.tx);
            self.int(Fact::NetworkTxErrors, set, at, interface.tx_errors);
        }
    }

    pub(super) fn fs(&mut self, facts: FsFacts, set: u32, fs: Option<&FsStats>) {
        let Some(fs) = fs else { return };
        let at = self.at(fs.time);
        let values = [fs.used, fs.capacity, fs.available, fs.inodes, fs.inodes_free, fs.inodes_used];
        for (fact, value) in facts.into_iter().zip(values) {
            self.int(fact, set, at, value);
        }
    }

    pub(super) fn accelerator(&mut self, accelerator: &AcceleratorStats<'_>) {
        let labels = [("make", &accelerator.make), ("model", &accelerator.model), ("accelerator_id", &accelerator.id)];
        let labels = labels.map(|(name, value)| (self.builder.symbol(name), self.builder.symbol(value)));
        let set = self.builder.label_set(&labels);
        self.int(Fact::AcceleratorMemoryTotal, set, UNKNOWN_AT, accelerator.memory_total);
        self.int(Fact::AcceleratorMemoryUsed, set, UNKNOWN_AT, accelerator.memory_used);
        self.int(Fact::AcceleratorDutyCycle, set, UNKNOWN_AT, accelerator.duty_cycle);
    }

    /// Metrics of the workload's own; of two with one name the last counts, as with Heapster.
    pub(super) fn custom(&mut self, metrics: &[UserMetric<'_>]) {
        let mut last: HashMap<&str, usize> = HashMap::new();
        if metrics.len() > 1 {
            last.extend(metrics.iter().enumerate().map(|(at, metric)| (&*metric.name, at)));
        }
        for (place, metric) in metrics.iter().enumerate() {
            if last.get(&*metric.name).is_some_and(|last| *last != place) {
                self.counts.duplicates += 1;
                continue;
            }
            let kind = match &*metric.kind {
                "cumulative" => Kind::Cumulative,
                "gauge" | "delta" => Kind::Gauge,
                _ => {
                    self.counts.unknown_kind += 1;
                    continue;
                }
            };
            if metric.name.is_empty() {
                self.counts.nameless += 1;
                continue;
            }
            if metric.name.len() > NAME_BYTES {
                self.counts.names_left_out += 1;
                continue;
            }
            let at = self.at(metric.time);
            match metric.value {
                Field::Absent => {}
                Field::Bad => self.counts.malformed += 1,
                Field::Is(value) => {
                    let descriptor = Descriptor { kind, ..Descriptor::gauge("", &metric.units).float() };
                    if let Some(row) = self.other_row(names::CUSTOM, &metric.name, NamedBy::Workload, descriptor) {
                        self.builder.point(row, 0, at, value.to_bits());
                    }
                }
            }
        }
    }

    /// Amounts of resources at the API server, which have no time of measurement.
    pub(super) fn resources(&mut self, amounts: Amounts, resources: &Resources) {
        let mut room = RESOURCES;
        for (name, amount) in resources {
            let row = match names::common(name) {
                Some(common) => self.amount_row(amounts, common),
                None if room == 0 => {
                    self.counts.names_left_out += 1;
                    None
                }
                None => {
                    room -= 1;
                    let descriptor = Descriptor::gauge("", names::resource_unit(name));
                    self.other_row(amounts.prefix(), name, NamedBy::Object, descriptor)
                }
            };
            if let Some(row) = row {
                self.builder.point(row, 0, UNKNOWN_AT, amount.cast_unsigned());
            }
        }
    }

    /// The row of a resource that every cluster has.
    fn amount_row(&mut self, amounts: Amounts, common: usize) -> Option<u32> {
        let known = self.amounts[amounts as usize][common];
        known.or_else(|| {
            let name = names::COMMON[common];
            let descriptor = Descriptor::gauge("", names::resource_unit(name));
            let row = self.other_row(amounts.prefix(), name, NamedBy::Host, descriptor);
            self.amounts[amounts as usize][common] = row;
            row
        })
    }

    /// The symbol of a frequent string.
    pub(super) fn word(&mut self, word: Word) -> u32 {
        match self.words[word as usize] {
            Some(symbol) => symbol,
            None => *self.words[word as usize].insert(self.builder.symbol(WORDS[word as usize])),
        }
    }

    /// The label set of one label by its symbols.
    pub(super) fn set_of(&mut self, label: (u32, u32)) -> u32 {
        let builder = &mut self.builder;
        *self.sets.entry(label).or_insert_with(|| builder.label_set(&[label]))
    }

    /// The symbol of two strings put together.
    pub(super) fn joined(&mut self, prefix: &str, rest: &str) -> u32 {
        self.scratch.clear();
        self.scratch.push_str(prefix);
        self.scratch.push_str(rest);
        self.builder.symbol(&self.scratch)
    }
}
