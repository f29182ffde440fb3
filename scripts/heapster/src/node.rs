//! Nodes and their system containers: rates, and what is reserved and used of what they have.

use millrace_sdk::prelude::*;

use crate::Work;
use crate::metrics::Output;
use crate::reading::{Amounts, rate_outputs};
use crate::sums::Sums;

/// The outputs of one resource of a node.
struct Columns {
    capacity: Output,
    allocatable: Output,
    utilization: Output,
    reservation: Output,
}

const CPU: Columns = Columns {
    capacity: Output::CpuNodeCapacity,
    allocatable: Output::CpuNodeAllocatable,
    utilization: Output::CpuNodeUtilization,
    reservation: Output::CpuNodeReservation,
};
const MEMORY: Columns = Columns {
    capacity: Output::MemoryNodeCapacity,
    allocatable: Output::MemoryNodeAllocatable,
    utilization: Output::MemoryNodeUtilization,
    reservation: Output::MemoryNodeReservation,
};
const EPHEMERAL: Columns = Columns {
    capacity: Output::EphemeralNodeCapacity,
    allocatable: Output::EphemeralNodeAllocatable,
    utilization: Output::EphemeralNodeUtilization,
    reservation: Output::EphemeralNodeReservation,
};

/// What a node has of one resource, in the resource's unit.
struct Offer {
    capacity: Option<i64>,
    allocatable: Option<i64>,
}

impl<'b> Work<'b, '_> {
    /// The node itself; `requests` are the sums over its pods.
    pub fn node(&mut self, node: Entity<'b>, requests: &Sums) {
        let joined = self.join(node);
        self.set_labels(node, self.labels.node, Some(&joined));
        let reading = self.read(node);
        let rates = self.rates(node, &[self.batch.node().unwrap_or("")], &reading);
        self.uptime(node);

        for output in [
            Output::CpuRequest,
            Output::CpuLimit,
            Output::MemoryRequest,
            Output::MemoryLimit,
            Output::EphemeralRequest,
            Output::EphemeralLimit,
        ] {
            if let Some(sum) = requests.get(output) {
                self.add(node, output, sum);
            }
        }
        if let Some(used) = reading.root_used {
            self.add(node, Output::EphemeralUsage, used);
        }

        let cpu_rate =
            rate_outputs().zip(rates).find_map(|(output, rate)| rate.filter(|_| output == Output::CpuUsageRate));
        let request = |output| requests.int(output).unwrap_or(0) as f64;
        let offer =
            |of: fn(&Amounts) -> Option<i64>| Offer { capacity: of(&reading.first), allocatable: of(&reading.second) };
        let cpu = cpu_rate.map(Value::as_f64);
        self.shares(node, &CPU, &offer(|amounts| amounts.cpu), cpu, request(Output::CpuRequest));
        let memory = reading.int(Output::MemoryUsage).map(|bytes| bytes as f64);
        self.shares(node, &MEMORY, &offer(|amounts| amounts.memory), memory, request(Output::MemoryRequest));
        let ephemeral = offer(|amounts| amounts.ephemeral);
        if ephemeral.capacity.is_some() && ephemeral.allocatable.is_some() {
            let used = reading.root_used.map(|bytes| bytes as f64);
            self.shares(node, &EPHEMERAL, &ephemeral, used, request(Output::EphemeralRequest));
        }
    }

    /// Capacity, allocatable, and the shares of what is allocatable. Utilisation is absent, not 0,
    /// until there is a usage (3); nothing is divided by 0.
    fn shares(&mut self, node: Entity<'b>, columns: &Columns, offer: &Offer, used: Option<f64>, requested: f64) {
        if let Some(capacity) = offer.capacity {
            self.add(node, columns.capacity, capacity as f64);
        }
        let Some(allocatable) = offer.allocatable.map(|amount| amount as f64) else {
            return;
        };
        self.add(node, columns.allocatable, allocatable);
        if allocatable > 0.0 {
            if let Some(used) = used {
                self.add(node, columns.utilization, used / allocatable);
            }
            self.add(node, columns.reservation, requested / allocatable);
        }
    }

    /// A container of the node's own, under Heapster's names.
    pub fn system_container(&mut self, container: Entity<'b>) {
        let known = self.labels.known(self.batch, container);
        let name = self.text(known.container_name);
        let renamed = match name {
            "runtime" => Some("docker-daemon"),
            "misc" => Some("system"),
            _ => None,
        };
        if let Some(renamed) = renamed {
            self.edit.set_label(container, "container_name", renamed);
        }
        self.set_labels(container, self.labels.sys_container, None);
        let reading = self.read(container);
        let key = [self.batch.node().unwrap_or(""), name];
        let _ = self.rates(container, &key, &reading);
        self.uptime(container);
    }
}
