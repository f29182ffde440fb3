//! Names, one metric a row.

use super::names::Form;
use crate::batch::Kind;

/// What one metric becomes.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Heapster's name, or one in its style.
    pub metric: &'static str,
    /// As batches have it.
    pub kind: Kind,
    /// After `heapster_` and the level; without `_total`.
    pub stem: &'static str,
    /// As Prometheus has it.
    pub form: Form,
    /// The value is divided by this.
    pub divisor: f64,
    /// One sentence.
    pub help: &'static str,
}

const fn gauge(metric: &'static str, stem: &'static str, divisor: f64, help: &'static str) -> Row {
    Row { metric, kind: Kind::Gauge, stem, form: Form::Gauge, divisor, help }
}

const fn counter(metric: &'static str, stem: &'static str, divisor: f64, help: &'static str) -> Row {
    Row { metric, kind: Kind::Cumulative, stem, form: Form::Counter, divisor, help }
}

/// The table.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    // Heapster counts on from the start and means an age.
    Row { metric: "uptime", kind: Kind::Cumulative, stem: "uptime_seconds", form: Form::Gauge, divisor: 1e3, help: "Time since the start." },
    // Heapster's gauge only rises.
    Row { metric: "restart_count", kind: Kind::Gauge, stem: "restarts", form: Form::Counter, divisor: 1.0, help: "How often containers restarted." },
    counter("cpu/usage", "cpu_usage_seconds", 1e9, "CPU time used."),
    gauge("cpu/usage_rate", "cpu_usage_cores", 1e3, "CPU in use, averaged over the cycle."),
    gauge("cpu/usage_nanocores", "cpu_kubelet_usage_cores", 1e9, "CPU in use as the kubelet reckons it."),
    gauge("cpu/request", "cpu_request_cores", 1e3, "CPU that containers ask for."),
    gauge("cpu/limit", "cpu_limit_cores", 1e3, "CPU that containers may use."),
    gauge("cpu/node_capacity", "cpu_capacity_cores", 1e3, "CPU that the node has."),
    gauge("cpu/node_allocatable", "cpu_allocatable_cores", 1e3, "CPU that the node has for pods."),
    gauge("cpu/node_utilization", "cpu_utilization_ratio", 1.0, "CPU in use as a share of what is allocatable."),
    gauge("cpu/node_reservation", "cpu_reservation_ratio", 1.0, "CPU asked for as a share of what is allocatable."),
    gauge("memory/usage", "memory_usage_bytes", 1.0, "Memory in use, with caches."),
    gauge("memory/working_set", "memory_working_set_bytes", 1.0, "Memory in use that can't be given back easily."),
    gauge("memory/rss", "memory_rss_bytes", 1.0, "Anonymous memory."),
    gauge("memory/cache", "memory_cache_bytes", 1.0, "Page cache."),
    gauge("memory/available", "memory_available_bytes", 1.0, "Limit less working set."),
    gauge("memory/request", "memory_request_bytes", 1.0, "Memory that containers ask for."),
    gauge("memory/limit", "memory_limit_bytes", 1.0, "Memory that containers may use."),
    counter("memory/page_faults", "memory_page_faults", 1.0, "Page faults."),
    gauge("memory/page_faults_rate", "memory_page_faults_per_second", 1.0, "Page faults, averaged over the cycle."),
    counter("memory/major_page_faults", "memory_major_page_faults", 1.0, "Page faults that read from disk."),
    gauge("memory/major_page_faults_rate", "memory_major_page_faults_per_second", 1.0, "Page faults that read from disk, averaged over the cycle."),
    gauge("memory/node_capacity", "memory_capacity_bytes", 1.0, "Memory that the node has."),
    gauge("memory/node_allocatable", "memory_allocatable_bytes", 1.0, "Memory that the node has for pods."),
    gauge("memory/node_utilization", "memory_utilization_ratio", 1.0, "Memory in use as a share of what is allocatable."),
    gauge("memory/node_reservation", "memory_reservation_ratio", 1.0, "Memory asked for as a share of what is allocatable."),
    gauge("swap/usage", "swap_usage_bytes", 1.0, "Swap in use."),
    gauge("swap/available", "swap_available_bytes", 1.0, "Swap that is free."),
    counter("network/rx", "network_receive_bytes", 1.0, "Bytes received."),
    gauge("network/rx_rate", "network_receive_bytes_per_second", 1.0, "Bytes received, averaged over the cycle."),
    counter("network/rx_errors", "network_receive_errors", 1.0, "Errors while receiving."),
    gauge("network/rx_errors_rate", "network_receive_errors_per_second", 1.0, "Errors while receiving, averaged over the cycle."),
    counter("network/tx", "network_transmit_bytes", 1.0, "Bytes sent."),
    gauge("network/tx_rate", "network_transmit_bytes_per_second", 1.0, "Bytes sent, averaged over the cycle."),
    counter("network/tx_errors", "network_transmit_errors", 1.0, "Errors while sending."),
    gauge("network/tx_errors_rate", "network_transmit_errors_per_second", 1.0, "Errors while sending, averaged over the cycle."),
    counter("disk/io_read_bytes", "disk_read_bytes", 1.0, "Bytes read from disk."),
    gauge("disk/io_read_bytes_rate", "disk_read_bytes_per_second", 1.0, "Bytes read from disk, averaged over the cycle."),
    counter("disk/io_write_bytes", "disk_written_bytes", 1.0, "Bytes written to disk."),
    gauge("disk/io_write_bytes_rate", "disk_written_bytes_per_second", 1.0, "Bytes written to disk, averaged over the cycle."),
    gauge("filesystem/usage", "filesystem_usage_bytes", 1.0, "Space in use on the filesystem."),
    gauge("filesystem/limit", "filesystem_capacity_bytes", 1.0, "Space that the filesystem has."),
    gauge("filesystem/available", "filesystem_available_bytes", 1.0, "Space that is free."),
    gauge("filesystem/inodes", "filesystem_inodes", 1.0, "Inodes that the filesystem has."),
    gauge("filesystem/inodes_free", "filesystem_inodes_free", 1.0, "Inodes that are free."),
    gauge("filesystem/inodes_used", "filesystem_inodes_used", 1.0, "Inodes in use."),
    gauge("ephemeral_storage/usage", "ephemeral_storage_usage_bytes", 1.0, "Ephemeral storage in use."),
    gauge("ephemeral_storage/request", "ephemeral_storage_request_bytes", 1.0, "Ephemeral storage that containers ask for."),
    gauge("ephemeral_storage/limit", "ephemeral_storage_limit_bytes", 1.0, "Ephemeral storage that containers may use."),
    gauge("ephemeral_storage/capacity", "ephemeral_storage_filesystem_bytes", 1.0, "Space of the filesystem that ephemeral storage lies on."),
    gauge("ephemeral_storage/available", "ephemeral_storage_available_bytes", 1.0, "Space that is free there."),
    gauge("ephemeral_storage/inodes", "ephemeral_storage_inodes", 1.0, "Inodes that this filesystem has."),
    gauge("ephemeral_storage/inodes_free", "ephemeral_storage_inodes_free", 1.0, "Inodes that are free there."),
    gauge("ephemeral_storage/inodes_used", "ephemeral_storage_inodes_used", 1.0, "Inodes in use there."),
    gauge("ephemeral_storage/node_capacity", "ephemeral_storage_capacity_bytes", 1.0, "Ephemeral storage that the node has."),
    gauge("ephemeral_storage/node_allocatable", "ephemeral_storage_allocatable_bytes", 1.0, "Ephemeral storage that the node has for pods."),
    gauge("ephemeral_storage/node_utilization", "ephemeral_storage_utilization_ratio", 1.0, "Ephemeral storage in use as a share of what is allocatable."),
    gauge("ephemeral_storage/node_reservation", "ephemeral_storage_reservation_ratio", 1.0, "Ephemeral storage asked for as a share of what is allocatable."),
    gauge("image_filesystem/usage", "image_filesystem_usage_bytes", 1.0, "Space that images take."),
    gauge("image_filesystem/limit", "image_filesystem_capacity_bytes", 1.0, "Space of the filesystem for images."),
    gauge("image_filesystem/available", "image_filesystem_available_bytes", 1.0, "Space that is free there."),
    gauge("image_filesystem/inodes", "image_filesystem_inodes", 1.0, "Inodes that this filesystem has."),
    gauge("image_filesystem/inodes_free", "image_filesystem_inodes_free", 1.0, "Inodes that are free there."),
    gauge("image_filesystem/inodes_used", "image_filesystem_inodes_used", 1.0, "Inodes in use there."),
    gauge("container_filesystem/usage", "container_filesystem_usage_bytes", 1.0, "Space that writable layers take."),
    gauge("container_filesystem/limit", "container_filesystem_capacity_bytes", 1.0, "Space of the filesystem for writable layers."),
    gauge("container_filesystem/available", "container_filesystem_available_bytes", 1.0, "Space that is free there."),
    gauge("container_filesystem/inodes", "container_filesystem_inodes", 1.0, "Inodes that this filesystem has."),
    gauge("container_filesystem/inodes_free", "container_filesystem_inodes_free", 1.0, "Inodes that are free there."),
    gauge("container_filesystem/inodes_used", "container_filesystem_inodes_used", 1.0, "Inodes in use there."),
    gauge("volume/abnormal", "volume_abnormal", 1.0, "Whether the volume is found to be unhealthy."),
    gauge("accelerator/memory_total", "accelerator_memory_capacity_bytes", 1.0, "Memory that the accelerator has."),
    gauge("accelerator/memory_used", "accelerator_memory_usage_bytes", 1.0, "Memory of the accelerator in use."),
    gauge("accelerator/duty_cycle", "accelerator_duty_cycle_ratio", 100.0, "Share of the last 10 s in which the accelerator was busy."),
    gauge("process/count", "processes", 1.0, "Processes."),
    gauge("rlimit/maxpid", "process_ids_limit", 1.0, "Most process ids that there can be."),
    gauge("rlimit/curproc", "process_ids", 1.0, "Process ids in use."),
    counter("psi/cpu_some_total", "pressure_cpu_waiting_seconds", 1e6, "Time that some tasks waited for CPU."),
    gauge("psi/cpu_some_avg10", "pressure_cpu_waiting_avg10_ratio", 100.0, "The same as a share of the last 10 s."),
    gauge("psi/cpu_some_avg60", "pressure_cpu_waiting_avg60_ratio", 100.0, "The same as a share of the last 60 s."),
    gauge("psi/cpu_some_avg300", "pressure_cpu_waiting_avg300_ratio", 100.0, "The same as a share of the last 300 s."),
    counter("psi/cpu_full_total", "pressure_cpu_stalled_seconds", 1e6, "Time that all tasks waited for CPU."),
    gauge("psi/cpu_full_avg10", "pressure_cpu_stalled_avg10_ratio", 100.0, "The same as a share of the last 10 s."),
    gauge("psi/cpu_full_avg60", "pressure_cpu_stalled_avg60_ratio", 100.0, "The same as a share of the last 60 s."),
    gauge("psi/cpu_full_avg300", "pressure_cpu_stalled_avg300_ratio", 100.0, "The same as a share of the last 300 s."),
    counter("psi/memory_some_total", "pressure_memory_waiting_seconds", 1e6, "Time that some tasks waited for memory."),
    gauge("psi/memory_some_avg10", "pressure_memory_waiting_avg10_ratio", 100.0, "The same as a share of the last 10 s."),
    gauge("psi/memory_some_avg60", "pressure_memory_waiting_avg60_ratio", 100.0, "The same as a share of the last 60 s."),
    gauge("psi/memory_some_avg300", "pressure_memory_waiting_avg300_ratio", 100.0, "The same as a share of the last 300 s."),
    counter("psi/memory_full_total", "pressure_memory_stalled_seconds", 1e6, "Time that all tasks waited for memory."),
    gauge("psi/memory_full_avg10", "pressure_memory_stalled_avg10_ratio", 100.0, "The same as a share of the last 10 s."),
    gauge("psi/memory_full_avg60", "pressure_memory_stalled_avg60_ratio", 100.0, "The same as a share of the last 60 s."),
    gauge("psi/memory_full_avg300", "pressure_memory_stalled_avg300_ratio", 100.0, "The same as a share of the last 300 s."),
    counter("psi/io_some_total", "pressure_io_waiting_seconds", 1e6, "Time that some tasks waited for input and output."),
    gauge("psi/io_some_avg10", "pressure_io_waiting_avg10_ratio", 100.0, "The same as a share of the last 10 s."),
    gauge("psi/io_some_avg60", "pressure_io_waiting_avg60_ratio", 100.0, "The same as a share of the last 60 s."),
    gauge("psi/io_some_avg300", "pressure_io_waiting_avg300_ratio", 100.0, "The same as a share of the last 300 s."),
    counter("psi/io_full_total", "pressure_io_stalled_seconds", 1e6, "Time that all tasks waited for input and output."),
    gauge("psi/io_full_avg10", "pressure_io_stalled_avg10_ratio", 100.0, "The same as a share of the last 10 s."),
    gauge("psi/io_full_avg60", "pressure_io_stalled_avg60_ratio", 100.0, "The same as a share of the last 60 s."),
    gauge("psi/io_full_avg300", "pressure_io_stalled_avg300_ratio", 100.0, "The same as a share of the last 300 s."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::names::DESCRIPTORS;

    /// A row as the documentation has it.
    fn documented(row: &Row) -> String {
        let Row { metric, stem, form, divisor, help, .. } = row;
        let (suffix, form) = match form {
            Form::Counter => ("_total", "counter"),
            Form::Gauge => ("", "gauge"),
        };
        let divisor = if *divisor == 1.0 { String::new() } else { format!("/ {divisor}") };
        format!("| `{metric}` | `{stem}{suffix}` | {form} | {divisor} | {help} |")
    }

    #[test]
    fn the_documentation_has_the_table() {
        let text = include_str!("../../../docs/PROMETHEUS.md");
        let found: Vec<_> =
            text.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 6).collect();
        let wanted: Vec<_> = TABLE.iter().map(documented).collect();
        assert!(found == wanted, "the table of docs/PROMETHEUS.md must be\n{}", wanted.join("\n"));
    }

    #[test]
    fn every_metric_of_the_host_stands_in_it_with_its_kind() {
        for descriptor in DESCRIPTORS.iter().filter(|descriptor| !descriptor.name.starts_with("__")) {
            let row = TABLE.iter().find(|row| row.metric == descriptor.name);
            assert_eq!(row.map(|row| row.kind), Some(descriptor.kind), "{}", descriptor.name);
        }
    }

    #[test]
    fn no_name_stands_twice() {
        for name in [|row: &Row| row.metric, |row: &Row| row.stem] {
            let mut names: Vec<_> = TABLE.iter().map(name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), TABLE.len());
        }
    }
}
