//! Reads an entity's points once, drops what Heapster had no name for, and samples its counters.

use millrace_sdk::prelude::*;

use crate::Work;
use crate::metrics::{Class, Filesystem, OUTPUTS, Output, Resource, SLOTS};

/// The counters that have a rate, the rate, and its slot.
const RATED: [(Output, Output); SLOTS] = [
    (Output::CpuUsage, Output::CpuUsageRate),
    (Output::PageFaults, Output::PageFaultsRate),
    (Output::MajorPageFaults, Output::MajorPageFaultsRate),
    (Output::NetworkRx, Output::NetworkRxRate),
    (Output::NetworkTx, Output::NetworkTxRate),
    (Output::NetworkRxErrors, Output::NetworkRxErrorsRate),
    (Output::NetworkTxErrors, Output::NetworkTxErrorsRate),
];

/// What the facts say of one resource.
#[derive(Debug, Clone, Copy, Default)]
pub struct Amounts {
    /// CPU, millicores.
    pub cpu: Option<i64>,
    /// Memory, bytes.
    pub memory: Option<i64>,
    /// Ephemeral storage, bytes.
    pub ephemeral: Option<i64>,
}

impl Amounts {
    fn set(&mut self, resource: Resource, value: i64) {
        *match resource {
            Resource::Cpu => &mut self.cpu,
            Resource::Memory => &mut self.memory,
            Resource::Ephemeral => &mut self.ephemeral,
        } = Some(value);
    }
}

/// The points of one entity by what they are.
pub struct Reading<'b> {
    known: [Option<Point<'b>>; OUTPUTS],
    /// Requests of a container, or the capacity of a node.
    pub first: Amounts,
    /// Limits of a container, or what is allocatable of a node.
    pub second: Amounts,
    /// How often a container started.
    pub restarts: Option<i64>,
    /// `filesystem/usage` of `/` and of `logs`, bytes.
    pub root_used: Option<i64>,
    /// See `root_used`.
    pub logs_used: Option<i64>,
    /// `custom/…` and requests of other resources.
    pub other: Vec<(millrace_sdk::Metric, Value)>,
}

impl<'b> Reading<'b> {
    /// The unlabelled point of an output.
    pub fn point(&self, output: Output) -> Option<Point<'b>> {
        self.known[output as usize]
    }

    /// Its value, if it is an integer.
    pub fn int(&self, output: Output) -> Option<i64> {
        self.point(output).and_then(int)
    }

    /// The entity's time: the first known of cpu, memory and network (15).
    fn time(&self) -> Option<i64> {
        [Output::CpuUsage, Output::MemoryUsage, Output::MemoryWorkingSet, Output::PageFaults, Output::NetworkRx]
            .into_iter()
            .find_map(|output| self.point(output)?.measured_at())
    }
}

impl<'b> Work<'b, '_> {
    /// Reads an entity. Values that Heapster had no name for are dropped (16).
    pub fn read(&mut self, entity: Entity<'b>) -> Reading<'b> {
        let mut reading = Reading {
            known: [None; OUTPUTS],
            first: Amounts::default(),
            second: Amounts::default(),
            restarts: None,
            root_used: None,
            logs_used: None,
            other: Vec::new(),
        };
        for point in entity.points() {
            match self.metrics.class(point) {
                Class::Dropped => self.edit.drop_point(point),
                Class::Known(Output::FilesystemUsage) => match self.metrics.filesystem(point) {
                    Filesystem::Root => reading.root_used = int(point),
                    Filesystem::Logs => reading.logs_used = int(point),
                    Filesystem::Other => {}
                },
                Class::Known(output) => reading.known[output as usize] = Some(point),
                Class::Custom => reading.other.push((point.metric(), point.value())),
                Class::OtherRequest(metric) => reading.other.push((metric, point.value())),
                Class::Request(resource) | Class::Capacity(resource) => {
                    reading.first.set(resource, int(point).unwrap_or(0));
                }
                Class::Limit(resource) | Class::Allocatable(resource) => {
                    reading.second.set(resource, int(point).unwrap_or(0));
                }
                Class::Restarts => reading.restarts = int(point),
                Class::Kept => {}
            }
        }
        reading
    }

    /// Samples the counters of an entity and adds their rates. Every rate divides by the change of
    /// its measurement's own time (15).
    pub fn rates(&mut self, entity: Entity<'b>, key: &[&str], reading: &Reading<'b>) -> [Option<Value>; SLOTS] {
        let (cycle, started_at) = (self.batch.cycle().number, entity.started_at().unwrap_or(0));
        let fallback = reading.time();
        let mut rates = [None; SLOTS];
        if RATED.iter().all(|&(counter, _)| reading.point(counter).is_none()) {
            return rates;
        }
        let mut known = self.rates.entity(key, cycle, started_at);
        for (slot, &(counter, rate)) in RATED.iter().enumerate() {
            let Some(point) = reading.point(counter) else {
                continue;
            };
            let (Some(at), Some(value)) = (point.measured_at().or(fallback), int(point)) else {
                continue;
            };
            let Some(change) = known.sample(slot, at, value) else {
                continue;
            };
            let value = if counter == Output::CpuUsage {
                Value::Int(change.millis())
            } else {
                Value::Float(change.per_second())
            };
            rates[slot] = Some(value);
            let metric = self.metrics.output(rate, self.edit);
            self.edit.add_measured(entity, metric, value, point);
        }
        rates
    }

    /// The cycle's time minus the start, ms (18); nothing if the start is unknown. What started
    /// after the cycle's time has been up for 0.
    pub fn uptime(&mut self, entity: Entity<'b>) {
        if let Some(started_at) = entity.started_at() {
            let uptime = self.batch.cycle().time.saturating_sub(started_at).max(0) / 1_000_000;
            self.add(entity, Output::Uptime, uptime);
        }
    }
}

/// The rates in the order of their slots.
pub fn rate_outputs() -> impl Iterator<Item = Output> {
    RATED.iter().map(|&(_, rate)| rate)
}

fn int(point: Point<'_>) -> Option<i64> {
    point.value().as_int()
}
