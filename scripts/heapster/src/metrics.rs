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
    Uptime = Descriptor::cumulative("uptime", "ms"),
    CpuUsage = Descriptor::cumulative("cpu/usage", "ns"),
    CpuUsageRate = Descriptor::gauge("cpu/usage_rate", ""),
    CpuRequest = Descriptor::gauge("cpu/request", ""),
    CpuLimit = Descriptor::gauge("cpu/limit", ""),
    CpuNodeCapacity = Descriptor::gauge("cpu/node_capacity", "").float(),
    CpuNodeAllocatable = Descriptor::gauge("cpu/node_allocatable", "").float(),
    CpuNodeUtilization = Descriptor::gauge("cpu/node_utilization", "").float(),
    CpuNodeReservation = Descriptor::gauge("cpu/node_reservation", "").float(),
    MemoryUsage = Descriptor::gauge("memory/usage", "bytes"),
    MemoryWorkingSet = Descriptor::gauge("memory/working_set", "bytes"),
    MemoryRss = Descriptor::gauge("memory/rss", "bytes"),
    MemoryRequest = Descriptor::gauge("memory/request", "bytes"),
    MemoryLimit = Descriptor::gauge("memory/limit", "bytes"),
    MemoryNodeCapacity = Descriptor::gauge("memory/node_capacity", "bytes").float(),
    MemoryNodeAllocatable = Descriptor::gauge("memory/node_allocatable", "bytes").float(),
    MemoryNodeUtilization = Descriptor::gauge("memory/node_utilization", "").float(),
    MemoryNodeReservation = Descriptor::gauge("memory/node_reservation", "").float(),
    PageFaults = Descriptor::cumulative("memory/page_faults", ""),
    PageFaultsRate = Descriptor::gauge("memory/page_faults_rate", "1/s").float(),
    MajorPageFaults = Descriptor::cumulative("memory/major_page_faults", ""),
    MajorPageFaultsRate = Descriptor::gauge("memory/major_page_faults_rate", "1/s").float(),
    NetworkRx = Descriptor::cumulative("network/rx", "bytes"),
    NetworkRxRate = Descriptor::gauge("network/rx_rate", "1/s").float(),
    NetworkTx = Descriptor::cumulative("network/tx", "bytes"),
    NetworkTxRate = Descriptor::gauge("network/tx_rate", "1/s").float(),
    NetworkRxErrors = Descriptor::cumulative("network/rx_errors", ""),
    NetworkRxErrorsRate = Descriptor::gauge("network/rx_errors_rate", "1/s").float(),
    NetworkTxErrors = Descriptor::cumulative("network/tx_errors", ""),
    NetworkTxErrorsRate = Descriptor::gauge("network/tx_errors_rate", "1/s").float(),
    EphemeralUsage = Descriptor::gauge("ephemeral_storage/usage", "bytes"),
    EphemeralRequest = Descriptor::gauge("ephemeral_storage/request", "bytes"),
    EphemeralLimit = Descriptor::gauge("ephemeral_storage/limit", "bytes"),
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
    RestartCount = Descriptor::gauge("restart_count", ""),
}

/// How many outputs there are.
pub const OUTPUTS: usize = Output::ALL.len();

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
    /// Any other fact; the host takes it away at the end.
    Private,
    /// A value that Heapster had no name for (16).
    Extra,
}

/// The metrics of one batch.
pub struct Metrics {
    class: Vec<Class>,
    outputs: [Option<Metric>; OUTPUTS],
    extras: bool,
}

impl Metrics {
    /// Looks at each metric of the batch once.
    pub fn of(batch: &Batch, edit: &mut Edit, extras: bool) -> Self {
        let mut metrics = Self { class: Vec::with_capacity(batch.metrics().count()), outputs: [None; OUTPUTS], extras };
        for metric in batch.metrics() {
            let class = classify(batch.metric_name(metric), edit);
            if let Class::Known(output) = class {
                metrics.outputs[output as usize] = Some(metric);
            }
            metrics.class.push(class);
        }
        metrics
    }

    /// What the metric of a point is. A network counter with labels is one interface's.
    pub fn class(&self, point: Point<'_>) -> Class {
        match self.class.get(point.metric().index()) {
            Some(Class::Known(output)) if point.is_labelled() && !is_labelled(*output) => Class::Extra,
            Some(class) => *class,
            None => Class::Extra,
        }
    }

    /// Whether points of a class leave with the batch.
    pub fn keeps(&self, class: Class) -> bool {
        self.extras || class != Class::Extra
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

fn classify(name: &str, edit: &mut Edit) -> Class {
    if let Some(fact) = name.strip_prefix("__") {
        return classify_fact(fact, edit);
    }
    if name.starts_with("custom/") {
        return Class::Custom;
    }
    Output::of_name(name).map_or(Class::Extra, Class::Known)
}

fn classify_fact(fact: &str, edit: &mut Edit) -> Class {
    let Some((kind, resource)) = fact.split_once('/') else {
        return if fact == "restart_count" { Class::Restarts } else { Class::Private };
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
        ("request", None) if resource.starts_with("custom/") => Class::Private,
        ("request", None) => Class::OtherRequest(edit.metric(Descriptor::gauge(&format!("{resource}/request"), ""))),
        ("limit", Some(resource)) => Class::Limit(resource),
        ("capacity", Some(resource)) => Class::Capacity(resource),
        ("allocatable", Some(resource)) => Class::Allocatable(resource),
        _ => Class::Private,
    }
}
