//! Every metric that the host itself makes, with unit, kind and type, in one table; and the names of
//! labels. Where Heapster had a name, it is Heapster's; the rest follows its style. Names that begin
//! with `__` are for rules only.

use crate::batch::{Descriptor, Kind, Merge, NamedBy, TypeConflict, TypeRegistry, ValueType};

macro_rules! facts {
    ($($(#[$doc:meta])* $fact:ident = $descriptor:expr;)+) => {
        /// One metric of the table; its place in [`DESCRIPTORS`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Fact { $($(#[$doc])* $fact),+ }

        /// The descriptors, in the order of [`Fact`].
        pub const DESCRIPTORS: &[Descriptor<'static>] = &[$($descriptor),+];
    };
}

const fn gauge(name: &'static str, unit: &'static str) -> Descriptor<'static> {
    Descriptor::gauge(name, unit)
}

const fn counter(name: &'static str, unit: &'static str) -> Descriptor<'static> {
    Descriptor::cumulative(name, unit)
}

/// A share of time in per cent; of two the larger one counts, for shares don't add up.
const fn percent(name: &'static str) -> Descriptor<'static> {
    Descriptor { name, unit: "percent", kind: Kind::Gauge, value: ValueType::Float, merge: Merge::Max }
}

facts! {
    /// CPU time used, ns. `cpu.usageCoreNanoSeconds`.
    CpuUsage = counter("cpu/usage", "ns");
    /// CPU in use as the kubelet reckons it, nanocores. `cpu.usageNanoCores`.
    CpuUsageNanocores = gauge("cpu/usage_nanocores", "nanocores");
    /// `memory.usageBytes`.
    MemoryUsage = gauge("memory/usage", "bytes");
    /// `memory.workingSetBytes`.
    MemoryWorkingSet = gauge("memory/working_set", "bytes");
    /// `memory.rssBytes`.
    MemoryRss = gauge("memory/rss", "bytes");
    /// `memory.availableBytes`: limit less working set; absent without a limit.
    MemoryAvailable = gauge("memory/available", "bytes");
    /// `memory.pageFaults`.
    MemoryPageFaults = counter("memory/page_faults", "");
    /// `memory.majorPageFaults`.
    MemoryMajorPageFaults = counter("memory/major_page_faults", "");
    /// `network.rxBytes`; with `interface` label of one interface.
    NetworkRx = counter("network/rx", "bytes");
    /// `network.rxErrors`.
    NetworkRxErrors = counter("network/rx_errors", "");
    /// `network.txBytes`.
    NetworkTx = counter("network/tx", "bytes");
    /// `network.txErrors`.
    NetworkTxErrors = counter("network/tx_errors", "");
    /// `usedBytes` of a filesystem, labelled with its `resource_id`.
    FilesystemUsage = gauge("filesystem/usage", "bytes");
    /// `capacityBytes`.
    FilesystemLimit = gauge("filesystem/limit", "bytes");
    /// `availableBytes`.
    FilesystemAvailable = gauge("filesystem/available", "bytes");
    /// `inodes`. Heapster's unit is bytes.
    FilesystemInodes = gauge("filesystem/inodes", "bytes");
    /// `inodesFree`. Heapster's unit is bytes.
    FilesystemInodesFree = gauge("filesystem/inodes_free", "bytes");
    /// `inodesUsed`.
    FilesystemInodesUsed = gauge("filesystem/inodes_used", "");
    /// `volumeHealthStats.abnormal`: 1 if so.
    VolumeAbnormal = gauge("volume/abnormal", "");
    /// `ephemeral-storage.usedBytes` of a pod.
    EphemeralUsage = gauge("ephemeral_storage/usage", "bytes");
    /// `ephemeral-storage.capacityBytes`; not `…/limit`, which is what the pod's spec allows.
    EphemeralCapacity = gauge("ephemeral_storage/capacity", "bytes");
    /// `ephemeral-storage.availableBytes`.
    EphemeralAvailable = gauge("ephemeral_storage/available", "bytes");
    /// `ephemeral-storage.inodes`.
    EphemeralInodes = gauge("ephemeral_storage/inodes", "");
    /// `ephemeral-storage.inodesFree`.
    EphemeralInodesFree = gauge("ephemeral_storage/inodes_free", "");
    /// `ephemeral-storage.inodesUsed`.
    EphemeralInodesUsed = gauge("ephemeral_storage/inodes_used", "");
    /// `runtime.imageFs.usedBytes`.
    ImageUsage = gauge("image_filesystem/usage", "bytes");
    /// `runtime.imageFs.capacityBytes`.
    ImageLimit = gauge("image_filesystem/limit", "bytes");
    /// `runtime.imageFs.availableBytes`.
    ImageAvailable = gauge("image_filesystem/available", "bytes");
    /// `runtime.imageFs.inodes`.
    ImageInodes = gauge("image_filesystem/inodes", "");
    /// `runtime.imageFs.inodesFree`.
    ImageInodesFree = gauge("image_filesystem/inodes_free", "");
    /// `runtime.imageFs.inodesUsed`.
    ImageInodesUsed = gauge("image_filesystem/inodes_used", "");
    /// `runtime.containerFs.usedBytes`.
    ContainerFsUsage = gauge("container_filesystem/usage", "bytes");
    /// `runtime.containerFs.capacityBytes`.
    ContainerFsLimit = gauge("container_filesystem/limit", "bytes");
    /// `runtime.containerFs.availableBytes`.
    ContainerFsAvailable = gauge("container_filesystem/available", "bytes");
    /// `runtime.containerFs.inodes`.
    ContainerFsInodes = gauge("container_filesystem/inodes", "");
    /// `runtime.containerFs.inodesFree`.
    ContainerFsInodesFree = gauge("container_filesystem/inodes_free", "");
    /// `runtime.containerFs.inodesUsed`.
    ContainerFsInodesUsed = gauge("container_filesystem/inodes_used", "");
    /// `swap.swapUsageBytes`.
    SwapUsage = gauge("swap/usage", "bytes");
    /// `swap.swapAvailableBytes`.
    SwapAvailable = gauge("swap/available", "bytes");
    /// `accelerators[].memoryTotal`.
    AcceleratorMemoryTotal = gauge("accelerator/memory_total", "bytes");
    /// `accelerators[].memoryUsed`.
    AcceleratorMemoryUsed = gauge("accelerator/memory_used", "bytes");
    /// `accelerators[].dutyCycle`, per cent.
    AcceleratorDutyCycle = gauge("accelerator/duty_cycle", "");
    /// `process_stats.process_count`.
    ProcessCount = gauge("process/count", "");
    /// `rlimit.maxpid`.
    RlimitMaxPid = gauge("rlimit/maxpid", "");
    /// `rlimit.curproc`.
    RlimitCurProc = gauge("rlimit/curproc", "");
    /// Time that some tasks waited for CPU, µs. `cpu.psi.some.total`.
    PsiCpuSomeTotal = counter("psi/cpu_some_total", "us");
    /// The share of the last 10 s.
    PsiCpuSomeAvg10 = percent("psi/cpu_some_avg10");
    /// The share of the last 60 s.
    PsiCpuSomeAvg60 = percent("psi/cpu_some_avg60");
    /// The share of the last 300 s.
    PsiCpuSomeAvg300 = percent("psi/cpu_some_avg300");
    /// Time that all tasks waited for CPU, µs. `cpu.psi.full.total`.
    PsiCpuFullTotal = counter("psi/cpu_full_total", "us");
    /// The share of the last 10 s.
    PsiCpuFullAvg10 = percent("psi/cpu_full_avg10");
    /// The share of the last 60 s.
    PsiCpuFullAvg60 = percent("psi/cpu_full_avg60");
    /// The share of the last 300 s.
    PsiCpuFullAvg300 = percent("psi/cpu_full_avg300");
    /// Time that some tasks waited for memory, µs. `memory.psi.some.total`.
    PsiMemorySomeTotal = counter("psi/memory_some_total", "us");
    /// The share of the last 10 s.
    PsiMemorySomeAvg10 = percent("psi/memory_some_avg10");
    /// The share of the last 60 s.
    PsiMemorySomeAvg60 = percent("psi/memory_some_avg60");
    /// The share of the last 300 s.
    PsiMemorySomeAvg300 = percent("psi/memory_some_avg300");
    /// Time that all tasks waited for memory, µs. `memory.psi.full.total`.
    PsiMemoryFullTotal = counter("psi/memory_full_total", "us");
    /// The share of the last 10 s.
    PsiMemoryFullAvg10 = percent("psi/memory_full_avg10");
    /// The share of the last 60 s.
    PsiMemoryFullAvg60 = percent("psi/memory_full_avg60");
    /// The share of the last 300 s.
    PsiMemoryFullAvg300 = percent("psi/memory_full_avg300");
    /// Time that some tasks waited for input and output, µs. `io.psi.some.total`.
    PsiIoSomeTotal = counter("psi/io_some_total", "us");
    /// The share of the last 10 s.
    PsiIoSomeAvg10 = percent("psi/io_some_avg10");
    /// The share of the last 60 s.
    PsiIoSomeAvg60 = percent("psi/io_some_avg60");
    /// The share of the last 300 s.
    PsiIoSomeAvg300 = percent("psi/io_some_avg300");
    /// Time that all tasks waited for input and output, µs. `io.psi.full.total`.
    PsiIoFullTotal = counter("psi/io_full_total", "us");
    /// The share of the last 10 s.
    PsiIoFullAvg10 = percent("psi/io_full_avg10");
    /// The share of the last 60 s.
    PsiIoFullAvg60 = percent("psi/io_full_avg60");
    /// The share of the last 300 s.
    PsiIoFullAvg300 = percent("psi/io_full_avg300");
    /// How often a container restarted. `containerStatuses[].restartCount` at the API server.
    RestartCount = gauge("__restart_count", "");
}

/// Metrics of a filesystem, in the order usage, limit, available, inodes, inodes free, inodes used.
pub type FsFacts = [Fact; 6];

/// A filesystem that Heapster knew, told apart by `resource_id`.
pub const FILESYSTEM: FsFacts = [
    Fact::FilesystemUsage,
    Fact::FilesystemLimit,
    Fact::FilesystemAvailable,
    Fact::FilesystemInodes,
    Fact::FilesystemInodesFree,
    Fact::FilesystemInodesUsed,
];

/// A pod's ephemeral storage.
pub const EPHEMERAL: FsFacts = [
    Fact::EphemeralUsage,
    Fact::EphemeralCapacity,
    Fact::EphemeralAvailable,
    Fact::EphemeralInodes,
    Fact::EphemeralInodesFree,
    Fact::EphemeralInodesUsed,
];

/// Where a node keeps images.
pub const IMAGE_FS: FsFacts = [
    Fact::ImageUsage,
    Fact::ImageLimit,
    Fact::ImageAvailable,
    Fact::ImageInodes,
    Fact::ImageInodesFree,
    Fact::ImageInodesUsed,
];

/// Where a node keeps the writable layers of containers.
pub const CONTAINER_FS: FsFacts = [
    Fact::ContainerFsUsage,
    Fact::ContainerFsLimit,
    Fact::ContainerFsAvailable,
    Fact::ContainerFsInodes,
    Fact::ContainerFsInodesFree,
    Fact::ContainerFsInodesUsed,
];

/// Total, avg10, avg60 and avg300 of one pressure.
pub type PsiFacts = [Fact; 4];

/// Pressure on the CPU: some, full.
pub const PSI_CPU: [PsiFacts; 2] = [
    [Fact::PsiCpuSomeTotal, Fact::PsiCpuSomeAvg10, Fact::PsiCpuSomeAvg60, Fact::PsiCpuSomeAvg300],
    [Fact::PsiCpuFullTotal, Fact::PsiCpuFullAvg10, Fact::PsiCpuFullAvg60, Fact::PsiCpuFullAvg300],
];

/// Pressure on memory: some, full.
pub const PSI_MEMORY: [PsiFacts; 2] = [
    [Fact::PsiMemorySomeTotal, Fact::PsiMemorySomeAvg10, Fact::PsiMemorySomeAvg60, Fact::PsiMemorySomeAvg300],
    [Fact::PsiMemoryFullTotal, Fact::PsiMemoryFullAvg10, Fact::PsiMemoryFullAvg60, Fact::PsiMemoryFullAvg300],
];

/// Pressure on input and output: some, full.
pub const PSI_IO: [PsiFacts; 2] = [
    [Fact::PsiIoSomeTotal, Fact::PsiIoSomeAvg10, Fact::PsiIoSomeAvg60, Fact::PsiIoSomeAvg300],
    [Fact::PsiIoFullTotal, Fact::PsiIoFullAvg10, Fact::PsiIoFullAvg60, Fact::PsiIoFullAvg300],
];

/// Before the name of a metric that a workload defines itself.
pub const CUSTOM: &str = "custom/";
/// What amounts of resources are amounts of.
#[derive(Debug, Clone, Copy)]
pub enum Amounts {
    /// What a node has.
    Capacity,
    /// What a node has for pods.
    Allocatable,
    /// What a container asks for.
    Request,
    /// What a container may use.
    Limit,
}

impl Amounts {
    /// What stands before the resource in the metric's name.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Capacity => "__capacity/",
            Self::Allocatable => "__allocatable/",
            Self::Request => "__request/",
            Self::Limit => "__limit/",
        }
    }
}

/// Before the key of a label at the API server.
pub const LABEL: &str = "__label_";
/// Before the key of an annotation at the API server.
pub const ANNOTATION: &str = "__annotation_";

/// The unit of a resource's amount: Heapster had none for CPU.
#[must_use]
pub fn resource_unit(resource: &str) -> &'static str {
    match resource {
        "memory" | "ephemeral-storage" => "bytes",
        _ => "",
    }
}

/// The resources that every cluster has: they are counted against no bound on names.
pub const COMMON: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];

/// The place of a resource in [`COMMON`].
#[must_use]
pub fn common(resource: &str) -> Option<usize> {
    COMMON.iter().position(|common| *common == resource)
}

/// Reserves the table's names with their types, so that nothing from outside can take one with
/// another type first.
///
/// # Errors
/// [`TypeConflict`] if one is taken already.
pub fn reserve(types: &TypeRegistry) -> Result<(), TypeConflict> {
    DESCRIPTORS.iter().try_for_each(|descriptor| types.check(descriptor.name, descriptor.value, NamedBy::Host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once() {
        let mut names: Vec<_> = DESCRIPTORS.iter().map(|descriptor| descriptor.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DESCRIPTORS.len());
        assert_eq!(DESCRIPTORS[Fact::RestartCount as usize].name, "__restart_count");
        assert_eq!(DESCRIPTORS[Fact::PsiIoFullAvg300 as usize].name, "psi/io_full_avg300");
    }

    #[test]
    fn units_are_those_that_heapster_exported() {
        for (name, unit, kind) in [
            ("cpu/usage", "ns", Kind::Cumulative),
            ("memory/usage", "bytes", Kind::Gauge),
            ("memory/page_faults", "", Kind::Cumulative),
            ("network/rx", "bytes", Kind::Cumulative),
            ("network/tx_errors", "", Kind::Cumulative),
            ("filesystem/inodes", "bytes", Kind::Gauge),
            ("ephemeral_storage/usage", "bytes", Kind::Gauge),
            ("accelerator/duty_cycle", "", Kind::Gauge),
        ] {
            let found = DESCRIPTORS.iter().find(|descriptor| descriptor.name == name);
            assert_eq!(found.map(|found| (found.unit, found.kind)), Some((unit, kind)), "{name}");
        }
    }
}
