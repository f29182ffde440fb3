//! What each metric of a batch is to this rule, and the metrics that the rule writes.

use millrace_sdk::Metric;
use millrace_sdk::prelude::*;

/// How many counters of an entity have a rate.
pub const SLOTS: usize = 7;

macro_rules! outputs {
    ($($variant:ident = $descriptor:expr),+ $(,)?) => {
        /// The metrics that Heapster has names for and this rule reads or writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Output { $($variant),+ }

        impl Output {
            /// All of them, in the order of their numbers.
            const ALL: &'static [Output] = &[$(Output::$variant),+];

            const DESCRIPTORS: &'static [Descriptor<'static>] = &[$($descriptor),+];

            /// Name, unit, kind and type.
            pub fn descriptor(self) -> Descriptor<'static> {
                Self::DESCRIPTORS[self as usize]
            }

            /// The output of this name.
            fn of_name(name: &str) -> Option<Output> {
                let row = Self::DESCRIPTORS.iter().position(|descriptor| descriptor.name == name)?;
                Some(Self::ALL[row])
            }
        }
    };
}

outputs! {
    // Those that are summed come first, up to [`SUMMABLE`].
    CpuUsage = Descriptor::cumulative("cpu/usage", "ns"),
    CpuUsageRate = Descriptor::gauge("cpu/usage_rate", ""),
    CpuRequest = Descriptor::gauge("cpu/request", ""),
    CpuLimit = Descriptor::gauge("cpu/limit", ""),
    MemoryUsage = Descriptor::gauge("memory/usage", "bytes"),
    MemoryWorkingSet = Descriptor::gauge("memory/working_set", "bytes"),
    MemoryRss = Descriptor::gauge("memory/rss", "bytes"),
    MemoryRequest = Descriptor::gauge("memory/request", "bytes"),
    MemoryLimit = Descriptor::gauge("memory/limit", "bytes"),
    PageFaultsRate = Descriptor::gauge("memory/page_faults_rate", "1/s").float(),
    MajorPageFaultsRate = Descriptor::gauge("memory/major_page_faults_rate", "1/s").float(),
    NetworkRxRate = Descriptor::gauge("network/rx_rate", "1/s").float(),
    NetworkTxRate = Descriptor::gauge("network/tx_rate", "1/s").float(),
    NetworkRxErrorsRate = Descriptor::gauge("network/rx_errors_rate", "1/s").float(),
    NetworkTxErrorsRate = Descriptor::gauge("network/tx_errors_rate", "1/s").float(),
    EphemeralUsage = Descriptor::gauge("ephemeral_storage/usage", "bytes"),
    EphemeralRequest = Descriptor::gauge("ephemeral_storage/request", "bytes"),
    EphemeralLimit = Descriptor::gauge("ephemeral_storage/limit", "bytes"),
    RestartCount = Descriptor::gauge("restart_count", ""),
    Uptime = Descriptor::cumulative("uptime", "ms"),
    CpuNodeCapacity = Descriptor::gauge("cpu/node_capacity", "").float(),
    CpuNodeAllocatable = Descriptor::gauge("cpu/node_allocatable", "").float(),
    CpuNodeUtilization = Descriptor::gauge("cpu/node_utilization", "").float(),
    CpuNodeReservation = Descriptor::gauge("cpu/node_reservation", "").float(),
    MemoryNodeCapacity = Descriptor::gauge("memory/node_capacity", "bytes").float(),
    MemoryNodeAllocatable = Descriptor::gauge("memory/node_allocatable", "bytes").float(),
    MemoryNodeUtilization = Descriptor::gauge("memory/node_utilization", "").float(),
    MemoryNodeReservation = Descriptor::gauge("memory/node_reservation", "").float(),
    PageFaults = Descriptor::cumulative("memory/page_faults", ""),
    MajorPageFaults = Descriptor::cumulative("memory/major_page_faults", ""),
    NetworkRx = Descriptor::cumulative("network/rx", "bytes"),
    NetworkTx = Descriptor::cumulative("network/tx", "bytes"),
    NetworkRxErrors = Descriptor::cumulative("network/rx_errors", ""),
    NetworkTxErrors = Descriptor::cumulative("network/tx_errors", ""),
    EphemeralNodeCapacity = Descriptor::gauge("ephemeral_storage/node_capacity", "bytes").float(),
    EphemeralNodeAllocatable = Descriptor::gauge("ephemeral_storage/node_allocatable", "bytes").float(),
    EphemeralNodeUtilization = Descriptor::gauge("ephemeral_storage/node_utilization", "").float(),
    EphemeralNodeReservation = Descriptor::gauge("ephemeral_storage/node_reservation", "").float(),
    FilesystemUsage = Descriptor::gauge("filesystem/usage", "bytes"),
    FilesystemLimit = Descriptor::gauge("filesystem/limit", "bytes"),
    FilesystemAvailable = Descriptor::gauge("filesystem/available", "bytes"),
    FilesystemInodes = Descriptor::gauge("filesystem/inodes", "bytes"),
    FilesystemInodesFree = Descriptor::gauge("filesystem/inodes_free", "bytes"),
    AcceleratorMemoryTotal = Descriptor::gauge("accelerator/memory_total", "bytes"),
    AcceleratorMemoryUsed = Descriptor::gauge("accelerator/memory_used", "bytes"),
    AcceleratorDutyCycle = Descriptor::gauge("accelerator/duty_cycle", ""),
}

/// How many outputs there are.
pub const OUTPUTS: usize = Output::ALL.len();

/// How many of them, the first ones, are summed over containers and pods.
pub const SUMMABLE: usize = Output::RestartCount as usize + 1;

/// The resources that Heapster has columns for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Millicores.
    Cpu,
    /// Bytes.
    Memory,
    /// Bytes.
    Ephemeral,
}

/// What one metric of the batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One that Heapster has a name for.
    Known(Output),
    /// A user's own, summed from containers to pods.
    Custom,
    /// A fact: what a container asks for.
    Request(Resource),
    /// A fact: what a container asks for of any other resource; with the metric it becomes.
    OtherRequest(Metric),
    /// A fact: what a container may use.
    Limit(Resource),
    /// A fact: what a node has.
    Capacity(Resource),
    /// A fact: what a node has for pods.
    Allocatable(Resource),
    /// A fact: how often a container started.
    Restarts,
    /// Nothing to this rule: any other fact, which the host takes away at the end, and with the
    /// setting `extras` what Heapster had no name for.
    Kept,
    /// What Heapster had no name for (16).
    Dropped,
}

/// Whose `filesystem/usage` a point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    /// The root filesystem's.
    Root,
    /// That of the logs.
    Logs,
    /// A volume's.
    Other,
}

/// The metrics of one batch.
pub struct Metrics {
    /// What a point without labels of its own is, and what one with some.
    class: Vec<[Class; 2]>,
    outputs: [Option<Metric>; OUTPUTS],
    /// By label set, as they are met.
    filesystems: Vec<Option<Filesystem>>,
}

impl Metrics {
    /// Looks at each metric of the batch once.
    pub fn of(batch: &Batch, edit: &mut Edit, extras: bool) -> Self {
        let extra = if extras { Class::Kept } else { Class::Dropped };
        let class = Vec::with_capacity(batch.metrics().count());
        let mut metrics = Self { class, outputs: [None; OUTPUTS], filesystems: Vec::new() };
        for metric in batch.metrics() {
            let class = classify(batch.metric_name(metric), edit).unwrap_or(extra);
            let labelled = match class {
                // A network counter with labels is one interface's.
                Class::Known(output) if !is_labelled(output) => extra,
                class => class,
            };
            if let Class::Known(output) = class {
                metrics.outputs[output as usize] = Some(metric);
            }
            metrics.class.push([class, labelled]);
        }
        metrics
    }

    /// What a point is.
    pub fn class(&self, point: Point<'_>) -> Class {
        match self.class.get(point.metric().index()) {
            Some([_, labelled]) if point.is_labelled() => *labelled,
            Some([class, _]) => *class,
            None => Class::Dropped,
        }
    }

    /// Whose filesystem's usage a point is.
    pub fn filesystem(&mut self, point: Point<'_>) -> Filesystem {
        let set = point.label_set();
        if self.filesystems.len() <= set {
            self.filesystems.resize(set + 1, None);
        }
        *self.filesystems[set].get_or_insert_with(|| match point.label("resource_id") {
            Some("/") => Filesystem::Root,
            Some("logs") => Filesystem::Logs,
            _ => Filesystem::Other,
        })
    }

    /// The metric of an output, added to the edit when it is first needed.
    pub fn output(&mut self, output: Output, edit: &mut Edit) -> Metric {
        *self.outputs[output as usize].get_or_insert_with(|| edit.metric(output.descriptor()))
    }
}

fn is_labelled(output: Output) -> bool {
    use Output as O;
    matches!(
        output,
        O::FilesystemUsage
            | O::FilesystemLimit
            | O::FilesystemAvailable
            | O::FilesystemInodes
            | O::FilesystemInodesFree
            | O::AcceleratorMemoryTotal
            | O::AcceleratorMemoryUsed
            | O::AcceleratorDutyCycle
    )
}

/// What a metric is by its name; `None` if Heapster had no such name.
fn classify(name: &str, edit: &mut Edit) -> Option<Class> {
    if let Some(fact) = name.strip_prefix("__") {
        return Some(classify_fact(fact, edit));
    }
    if name.starts_with("custom/") {
        return Some(Class::Custom);
    }
    Output::of_name(name).map(Class::Known)
}

fn classify_fact(fact: &str, edit: &mut Edit) -> Class {
    let Some((kind, resource)) = fact.split_once('/') else {
        return if fact == "restart_count" { Class::Restarts } else { Class::Kept };
    };
    let known = match resource {
        "cpu" => Some(Resource::Cpu),
        "memory" => Some(Resource::Memory),
        "ephemeral-storage" => Some(Resource::Ephemeral),
        _ => None,
    };
    match (kind, known) {
        ("request", Some(resource)) => Class::Request(resource),
        // That would be a workload's own metric of another type.
        ("request", None) if resource.starts_with("custom/") => Class::Kept,
        ("request", None) => Class::OtherRequest(edit.metric(Descriptor::gauge(&format!("{resource}/request"), ""))),
        ("limit", Some(resource)) => Class::Limit(resource),
        ("capacity", Some(resource)) => Class::Capacity(resource),
        ("allocatable", Some(resource)) => Class::Allocatable(resource),
        _ => Class::Kept,
    }
}
