//! The wire types of `/stats/summary`, of every version since 2016. Every field may be absent, null
//! or nonsense; unknown keys are skipped; of a key that stands twice the last counts. Only broken
//! JSON and an object in the place of a list (or the reverse) fail.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

pub use super::number::{Field, Nanos, Text};

/// Serde's own derive refuses keys that stand twice, and can't read into borrowed text without
/// being told so at every field; this does both.
macro_rules! wire {
    ($($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$doc:meta])* $field:ident: $kind:ty = $key:literal,)+
    })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name $(<$life>)? {
            $($(#[$doc])* pub $field: $kind,)+
        }

        impl<'de $(: $life, $life)?> Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[allow(non_camel_case_types)]
                enum Key { $($field,)+ Unknown }

                struct KeyVisitor;

                impl Visitor<'_> for KeyVisitor {
                    type Value = Key;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a key")
                    }

                    #[inline]
                    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                        Ok(match key { $($key => Key::$field,)+ _ => Key::Unknown })
                    }
                }

                impl<'de> Deserialize<'de> for Key {
                    #[inline]
                    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        deserializer.deserialize_identifier(KeyVisitor)
                    }
                }

                struct Fields<T>(PhantomData<T>);

                impl<'de $(: $life, $life)?> Visitor<'de> for Fields<$name $(<$life>)?> {
                    type Value = $name $(<$life>)?;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an object (", stringify!($name), ")"))
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                        let mut out = Self::Value::default();
                        while let Some(key) = entries.next_key::<Key>()? {
                            match key {
                                $(Key::$field => out.$field = entries.next_value()?,)+
                                Key::Unknown => {
                                    entries.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(out)
                    }
                }

                deserializer.deserialize_map(Fields(PhantomData))
            }
        }
    )+};
}

wire! {
    /// The whole answer.
    Summary<'a> {
        /// The node itself.
        node: Option<NodeStats<'a>> = "node",
        /// Its running pods; null on a sick node.
        pods: Option<List<PodStats<'a>>> = "pods",
    }

    /// The node itself.
    NodeStats<'a> {
        /// Its name, which must be that of the node that was asked.
        name: Text<'a> = "nodeName",
        /// When it booted.
        start_time: Field<Nanos> = "startTime",
        /// kubelet, runtime, misc, pods.
        system_containers: List<ContainerStats<'a>> = "systemContainers",
        /// CPU.
        cpu: Option<CpuStats> = "cpu",
        /// Memory.
        memory: Option<MemoryStats> = "memory",
        /// Pressure on input and output.
        io: Option<IoStats> = "io",
        /// Interfaces.
        network: Option<NetworkStats<'a>> = "network",
        /// The root filesystem.
        fs: Option<FsStats> = "fs",
        /// What the container runtime keeps.
        runtime: Option<RuntimeStats> = "runtime",
        /// Process ids.
        rlimit: Option<RlimitStats> = "rlimit",
        /// Swap.
        swap: Option<SwapStats> = "swap",
    }

    /// One pod.
    PodStats<'a> {
        /// Which one.
        pod: Option<PodRef<'a>> = "podRef",
        /// When it started.
        start_time: Field<Nanos> = "startTime",
        /// Its containers; null while it has none.
        containers: List<ContainerStats<'a>> = "containers",
        /// CPU of the pod's cgroup.
        cpu: Option<CpuStats> = "cpu",
        /// Memory of the pod's cgroup.
        memory: Option<MemoryStats> = "memory",
        /// Pressure on input and output.
        io: Option<IoStats> = "io",
        /// Interfaces; absent on the host's network.
        network: Option<NetworkStats<'a>> = "network",
        /// Volumes.
        volumes: List<VolumeStats<'a>> = "volume",
        /// Writable layers, logs and emptyDir volumes together.
        ephemeral: Option<FsStats> = "ephemeral-storage",
        /// Processes.
        processes: Option<ProcessStats> = "process_stats",
        /// Swap.
        swap: Option<SwapStats> = "swap",
    }

    /// Which pod.
    PodRef<'a> {
        /// Its name.
        name: Text<'a> = "name",
        /// Its namespace.
        namespace: Text<'a> = "namespace",
        /// Its uid as the kubelet knows it; of a static pod not the API server's.
        uid: Text<'a> = "uid",
    }

    /// One container, of a pod or of the node's own.
    ContainerStats<'a> {
        /// Its name.
        name: Text<'a> = "name",
        /// When it started.
        start_time: Field<Nanos> = "startTime",
        /// CPU.
        cpu: Option<CpuStats> = "cpu",
        /// Memory.
        memory: Option<MemoryStats> = "memory",
        /// Pressure on input and output.
        io: Option<IoStats> = "io",
        /// GPUs.
        accelerators: List<AcceleratorStats<'a>> = "accelerators",
        /// Its writable layer.
        rootfs: Option<FsStats> = "rootfs",
        /// Its logs.
        logs: Option<FsStats> = "logs",
        /// Metrics of the workload's own.
        custom: List<UserMetric<'a>> = "userDefinedMetrics",
        /// Swap.
        swap: Option<SwapStats> = "swap",
    }

    /// CPU.
    CpuStats {
        /// When it was measured.
        time: Field<Nanos> = "time",
        /// In use, nanocores.
        usage_nanocores: Field<u64> = "usageNanoCores",
        /// Used, core nanoseconds.
        usage: Field<u64> = "usageCoreNanoSeconds",
        /// Pressure.
        psi: Option<Box<Psi>> = "psi",
    }

    /// Memory, bytes.
    MemoryStats {
        /// When it was measured.
        time: Field<Nanos> = "time",
        /// Limit less working set.
        available: Field<u64> = "availableBytes",
        /// All, caches included.
        usage: Field<u64> = "usageBytes",
        /// What can't be reclaimed.
        working_set: Field<u64> = "workingSetBytes",
        /// Anonymous memory.
        rss: Field<u64> = "rssBytes",
        /// Page faults.
        page_faults: Field<u64> = "pageFaults",
        /// Page faults that needed the disk.
        major_page_faults: Field<u64> = "majorPageFaults",
        /// Pressure.
        psi: Option<Box<Psi>> = "psi",
    }

    /// Input and output.
    IoStats {
        /// When it was measured.
        time: Field<Nanos> = "time",
        /// Pressure.
        psi: Option<Box<Psi>> = "psi",
    }

    /// Pressure stall information.
    Psi {
        /// While all tasks waited.
        full: Option<PsiData> = "full",
        /// While some task waited.
        some: Option<PsiData> = "some",
    }

    /// One line of it.
    PsiData {
        /// All waiting, µs.
        total: Field<u64> = "total",
        /// Share of the last 10 s, per cent.
        avg10: Field<f64> = "avg10",
        /// Share of the last 60 s, per cent.
        avg60: Field<f64> = "avg60",
        /// Share of the last 300 s, per cent.
        avg300: Field<f64> = "avg300",
    }

    /// Swap, bytes.
    SwapStats {
        /// When it was measured.
        time: Field<Nanos> = "time",
        /// What may still be used.
        available: Field<u64> = "swapAvailableBytes",
        /// What is used.
        usage: Field<u64> = "swapUsageBytes",
    }

    /// The default interface, and all of them.
    NetworkStats<'a> {
        /// When it was measured.
        time: Field<Nanos> = "time",
        /// Received bytes of the default interface.
        rx: Field<u64> = "rxBytes",
        /// Receive errors.
        rx_errors: Field<u64> = "rxErrors",
        /// Sent bytes.
        tx: Field<u64> = "txBytes",
        /// Send errors.
        tx_errors: Field<u64> = "txErrors",
        /// Every interface.
        interfaces: List<InterfaceStats<'a>> = "interfaces",
    }

    /// One interface.
    InterfaceStats<'a> {
        /// Its name; empty on some Windows nodes.
        name: Text<'a> = "name",
        /// Received bytes.
        rx: Field<u64> = "rxBytes",
        /// Receive errors.
        rx_errors: Field<u64> = "rxErrors",
        /// Sent bytes.
        tx: Field<u64> = "txBytes",
        /// Send errors.
        tx_errors: Field<u64> = "txErrors",
    }

    /// A filesystem, bytes and inodes.
    FsStats {
        /// When it was measured; absent before 1.7.
        time: Field<Nanos> = "time",
        /// Free for ordinary users.
        available: Field<u64> = "availableBytes",
        /// Size.
        capacity: Field<u64> = "capacityBytes",
        /// Used by whom the block stands under.
        used: Field<u64> = "usedBytes",
        /// Free inodes.
        inodes_free: Field<u64> = "inodesFree",
        /// All inodes.
        inodes: Field<u64> = "inodes",
        /// Used inodes.
        inodes_used: Field<u64> = "inodesUsed",
    }

    /// A volume: a filesystem with a name.
    VolumeStats<'a> {
        /// The volume's name in the pod.
        name: Text<'a> = "name",
        /// The claim it comes from.
        claim: Option<ClaimRef<'a>> = "pvcRef",
        /// What its driver says of its health.
        health: Option<VolumeHealth> = "volumeHealthStats",
        /// When it was measured.
        time: Field<Nanos> = "time",
        /// Free bytes.
        available: Field<u64> = "availableBytes",
        /// Size.
        capacity: Field<u64> = "capacityBytes",
        /// Used bytes.
        used: Field<u64> = "usedBytes",
        /// Free inodes.
        inodes_free: Field<u64> = "inodesFree",
        /// All inodes.
        inodes: Field<u64> = "inodes",
        /// Used inodes.
        inodes_used: Field<u64> = "inodesUsed",
    }

    /// A persistent volume claim.
    ClaimRef<'a> {
        /// Its name.
        name: Text<'a> = "name",
        /// Its namespace.
        namespace: Text<'a> = "namespace",
    }

    /// A volume's health.
    VolumeHealth {
        /// Whether it is ill.
        abnormal: Field<bool> = "abnormal",
    }

    /// What the container runtime keeps.
    RuntimeStats {
        /// Images.
        image_fs: Option<FsStats> = "imageFs",
        /// Writable layers.
        container_fs: Option<FsStats> = "containerFs",
    }

    /// Process ids.
    RlimitStats {
        /// When it was counted.
        time: Field<Nanos> = "time",
        /// How many there can be.
        max_pid: Field<u64> = "maxpid",
        /// How many there are.
        processes: Field<u64> = "curproc",
    }

    /// Processes of a pod.
    ProcessStats {
        /// How many.
        count: Field<u64> = "process_count",
    }

    /// One GPU.
    AcceleratorStats<'a> {
        /// Who made it.
        make: Text<'a> = "make",
        /// Which model.
        model: Text<'a> = "model",
        /// Which one.
        id: Text<'a> = "id",
        /// Memory, bytes.
        memory_total: Field<u64> = "memoryTotal",
        /// Memory in use, bytes.
        memory_used: Field<u64> = "memoryUsed",
        /// Share of time in use, per cent.
        duty_cycle: Field<u64> = "dutyCycle",
    }

    /// A metric of the workload's own.
    UserMetric<'a> {
        /// Its name.
        name: Text<'a> = "name",
        /// gauge, cumulative or delta.
        kind: Text<'a> = "type",
        /// Its unit.
        units: Text<'a> = "units",
        /// When it was measured.
        time: Field<Nanos> = "time",
        /// Its value.
        value: Field<f64> = "value",
    }
}

impl VolumeStats<'_> {
    /// The filesystem's part of it.
    pub(super) fn fs(&self) -> FsStats {
        FsStats {
            time: self.time,
            available: self.available,
            capacity: self.capacity,
            used: self.used,
            inodes_free: self.inodes_free,
            inodes: self.inodes,
            inodes_used: self.inodes_used,
        }
    }
}

/// A list that may be null, and whose elements may be null (those are left out).
#[derive(Debug)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(List::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = items.next_element::<Option<T>>()? {
                    out.extend(item);
                }
                Ok(List(out))
            }
        }

        deserializer.deserialize_any(Items(PhantomData))
    }
}
