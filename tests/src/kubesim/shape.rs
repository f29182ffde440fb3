//! The templates of a `/stats/summary` answer, shaped like the kubelets' of 1.25 and 1.34.
//!
//! Which fields exist and in which order is decided here; the figures come from `summary`.

use super::{
    config::{Config, Shape},
    template::{Sketch, Template},
};

/// Interfaces a kind node shows before its real one; all their counters are zero.
const IDLE_INTERFACES: [&str; 9] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

/// Indices of the numbers, the same in every template.
pub(super) mod number {
    pub(in super::super) const NANO_CORES: usize = 0;
    pub(in super::super) const CORE_NANOS: usize = 1;
    pub(in super::super) const AVAILABLE: usize = 2;
    pub(in super::super) const USAGE: usize = 3;
    pub(in super::super) const WORKING_SET: usize = 4;
    pub(in super::super) const RSS: usize = 5;
    pub(in super::super) const FAULTS: usize = 6;
    pub(in super::super) const MAJOR_FAULTS: usize = 7;
    pub(in super::super) const FS_AVAILABLE: usize = 8;
    pub(in super::super) const FS_CAPACITY: usize = 9;
    pub(in super::super) const INODES_FREE: usize = 10;
    pub(in super::super) const INODES: usize = 11;
    pub(in super::super) const ROOT_USED: usize = 12;
    pub(in super::super) const ROOT_INODES: usize = 13;
    pub(in super::super) const LOGS_USED: usize = 14;
    pub(in super::super) const RX: usize = 15;
    pub(in super::super) const TX: usize = 16;
    pub(in super::super) const PROCESSES: usize = 17;
    pub(in super::super) const PSI_FULL: usize = 18;
    pub(in super::super) const PSI_SOME: usize = 19;
    pub(in super::super) const PSI_AVG10: usize = 20;
    pub(in super::super) const PSI_AVG60: usize = 21;
    pub(in super::super) const PSI_AVG300: usize = 22;
    pub(in super::super) const IO_FULL: usize = 23;
    pub(in super::super) const IO_SOME: usize = 24;
    pub(in super::super) const SWAP_USED: usize = 25;
    pub(in super::super) const SWAP_AVAILABLE: usize = 26;
    pub(in super::super) const COUNT: usize = 27;
}

/// Indices of the times.
pub(super) mod time {
    pub(in super::super) const STARTED: usize = 0;
    /// Of CPU and memory.
    pub(in super::super) const SAMPLED: usize = 1;
    /// Of file systems.
    pub(in super::super) const FS: usize = 2;
    pub(in super::super) const NETWORK: usize = 3;
    pub(in super::super) const COUNT: usize = 4;
}

/// Indices of the texts.
pub(super) mod text {
    pub(in super::super) const NAME: usize = 0;
    pub(in super::super) const NAMESPACE: usize = 1;
    pub(in super::super) const UID: usize = 2;
    /// Of a volume: the generated part of its name.
    pub(in super::super) const SUFFIX: usize = 3;
}

/// All templates of one configuration.
#[derive(Debug)]
pub(super) struct Templates {
    /// From the first brace to the system containers' bracket.
    pub(super) head: Template,
    pub(super) system_container: Template,
    /// From there to the pods' bracket.
    pub(super) node: Template,
    /// From a pod's brace to its containers' bracket.
    pub(super) pod_head: Template,
    pub(super) container: Template,
    /// Of a container with a memory limit: knows what is left.
    pub(super) limited_container: Template,
    /// From the containers' closing bracket to the volumes' bracket.
    pub(super) pod_middle: Template,
    /// The service account's volume, and one for every claim.
    pub(super) volumes: Vec<Template>,
    /// From there to the pod's closing brace.
    pub(super) pod_tail: Template,
}

impl Templates {
    pub(super) fn new(config: &Config) -> Self {
        let fields = Fields { psi: config.shape == Shape::V1_34, interfaces: config.interface_count() };
        Self {
            head: fields.head(),
            system_container: fields.container(3, false, false),
            node: fields.node(),
            pod_head: pod_head(),
            container: fields.container(4, false, true),
            limited_container: fields.container(4, true, true),
            pod_middle: fields.pod_middle(config.volumes > 0),
            volumes: (0..config.volumes).map(volume).collect(),
            pod_tail: fields.pod_tail(config.volumes > 0),
        }
    }
}

struct Fields {
    /// Pressure, I/O, swap and container file system: 1.34.
    psi: bool,
    interfaces: usize,
}

impl Fields {
    fn head(&self) -> Template {
        let mut sketch = Sketch::element(0);
        sketch.open("node");
        sketch.text("nodeName", "", text::NAME);
        sketch.open_list("systemContainers");
        sketch.done()
    }

    fn node(&self) -> Template {
        let mut sketch = Sketch::within(3, true);
        sketch.close_list();
        sketch.time("startTime", time::STARTED);
        self.usage(&mut sketch, true);
        self.network(&mut sketch);
        file_system(&mut sketch, "fs", number::ROOT_USED, number::ROOT_INODES);
        sketch.open("runtime");
        file_system(&mut sketch, "imageFs", number::LOGS_USED, number::ROOT_INODES);
        if self.psi {
            file_system(&mut sketch, "containerFs", number::LOGS_USED, number::ROOT_INODES);
        }
        sketch.close();
        sketch.open("rlimit");
        sketch.time("time", time::NETWORK);
        sketch.fixed("maxpid", "127735");
        sketch.number("curproc", number::PROCESSES);
        sketch.close();
        self.swap(&mut sketch, true);
        sketch.close();
        sketch.open_list("pods");
        sketch.done()
    }

    fn container(&self, depth: usize, limited: bool, with_files: bool) -> Template {
        let mut sketch = Sketch::element(depth - 1);
        sketch.text("name", "", text::NAME);
        sketch.time("startTime", time::STARTED);
        self.usage(&mut sketch, limited);
        if with_files {
            file_system(&mut sketch, "rootfs", number::ROOT_USED, number::ROOT_INODES);
            file_system(&mut sketch, "logs", number::LOGS_USED, number::PROCESSES);
        }
        self.swap(&mut sketch, with_files);
        sketch.close();
        sketch.done()
    }

    fn pod_middle(&self, with_volumes: bool) -> Template {
        let mut sketch = Sketch::within(4, true);
        sketch.close_list();
        self.usage(&mut sketch, false);
        self.network(&mut sketch);
        if with_volumes {
            sketch.open_list("volume");
        }
        sketch.done()
    }

    fn pod_tail(&self, with_volumes: bool) -> Template {
        let mut sketch = Sketch::within(if with_volumes { 4 } else { 3 }, true);
        if with_volumes {
            sketch.close_list();
        }
        file_system(&mut sketch, "ephemeral-storage", number::ROOT_USED, number::ROOT_INODES);
        sketch.open("process_stats");
        sketch.number("process_count", number::PROCESSES);
        sketch.close();
        self.swap(&mut sketch, false);
        sketch.close();
        sketch.done()
    }

    /// `cpu`, `memory` and, from 1.34 on, `io`.
    fn usage(&self, sketch: &mut Sketch, with_available: bool) {
        sketch.open("cpu");
        sketch.time("time", time::SAMPLED);
        sketch.number("usageNanoCores", number::NANO_CORES);
        sketch.number("usageCoreNanoSeconds", number::CORE_NANOS);
        self.pressure(sketch, Some((number::PSI_FULL, number::PSI_SOME)));
        sketch.close();
        sketch.open("memory");
        sketch.time("time", time::SAMPLED);
        if with_available {
            sketch.number("availableBytes", number::AVAILABLE);
        }
        sketch.number("usageBytes", number::USAGE);
        sketch.number("workingSetBytes", number::WORKING_SET);
        sketch.number("rssBytes", number::RSS);
        sketch.number("pageFaults", number::FAULTS);
        sketch.number("majorPageFaults", number::MAJOR_FAULTS);
        self.pressure(sketch, None);
        sketch.close();
        if self.psi {
            sketch.open("io");
            sketch.time("time", time::SAMPLED);
            self.pressure(sketch, Some((number::IO_FULL, number::IO_SOME)));
            sketch.close();
        }
    }

    /// `psi`, with the numbers of its totals; `None` is a resource nobody waited for.
    fn pressure(&self, sketch: &mut Sketch, totals: Option<(usize, usize)>) {
        if !self.psi {
            return;
        }
        sketch.open("psi");
        for (key, total) in [("full", totals.map(|totals| totals.0)), ("some", totals.map(|totals| totals.1))] {
            sketch.open(key);
            match total {
                Some(total) => {
                    sketch.number("total", total);
                    sketch.hundredths("avg10", number::PSI_AVG10);
                    sketch.hundredths("avg60", number::PSI_AVG60);
                    sketch.hundredths("avg300", number::PSI_AVG300);
                }
                None => {
                    for key in ["total", "avg10", "avg60", "avg300"] {
                        sketch.fixed(key, "0");
                    }
                }
            }
            sketch.close();
        }
        sketch.close();
    }

    fn swap(&self, sketch: &mut Sketch, with_available: bool) {
        if !self.psi {
            return;
        }
        sketch.open("swap");
        sketch.time("time", time::SAMPLED);
        if with_available {
            sketch.number("swapAvailableBytes", number::SWAP_AVAILABLE);
        }
        sketch.number("swapUsageBytes", number::SWAP_USED);
        sketch.close();
    }

    /// `network`: the idle interfaces, `eth0`, and past those `eth1` and so on with `eth0`'s figures.
    fn network(&self, sketch: &mut Sketch) {
        sketch.open("network");
        sketch.time("time", time::NETWORK);
        busy_interface(sketch, "eth0");
        let idle = self.interfaces.saturating_sub(1).min(IDLE_INTERFACES.len());
        if self.interfaces > 0 {
            sketch.open_list("interfaces");
            for name in &IDLE_INTERFACES[..idle] {
                sketch.item();
                sketch.fixed("name", &format!("\"{name}\""));
                for key in ["rxBytes", "rxErrors", "txBytes", "txErrors"] {
                    sketch.fixed(key, "0");
                }
                sketch.close();
            }
            for index in 0..self.interfaces - idle {
                sketch.item();
                busy_interface(sketch, &format!("eth{index}"));
                sketch.close();
            }
            sketch.close_list();
        }
        sketch.close();
    }
}

fn busy_interface(sketch: &mut Sketch, name: &str) {
    sketch.fixed("name", &format!("\"{name}\""));
    sketch.number("rxBytes", number::RX);
    sketch.fixed("rxErrors", "0");
    sketch.number("txBytes", number::TX);
    sketch.fixed("txErrors", "0");
}

fn pod_head() -> Template {
    let mut sketch = Sketch::element(2);
    sketch.open("podRef");
    sketch.text("name", "", text::NAME);
    sketch.text("namespace", "", text::NAMESPACE);
    sketch.text("uid", "", text::UID);
    sketch.close();
    sketch.time("startTime", time::STARTED);
    sketch.open_list("containers");
    sketch.done()
}

/// Volume 0 is the service account's; the others are claims.
fn volume(index: usize) -> Template {
    let mut sketch = Sketch::element(4);
    volume_figures(&mut sketch, number::LOGS_USED, number::PROCESSES);
    if index == 0 {
        sketch.text("name", "kube-api-access-", text::SUFFIX);
    } else {
        sketch.fixed("name", &format!("\"data-{index}\""));
        sketch.open("pvcRef");
        sketch.text("name", &format!("data-{index}-"), text::NAME);
        sketch.text("namespace", "", text::NAMESPACE);
        sketch.close();
    }
    sketch.close();
    sketch.done()
}

fn file_system(sketch: &mut Sketch, key: &str, used: usize, inodes_used: usize) {
    sketch.open(key);
    volume_figures(sketch, used, inodes_used);
    sketch.close();
}

fn volume_figures(sketch: &mut Sketch, used: usize, inodes_used: usize) {
    sketch.time("time", time::FS);
    sketch.number("availableBytes", number::FS_AVAILABLE);
    sketch.number("capacityBytes", number::FS_CAPACITY);
    sketch.number("usedBytes", used);
    sketch.number("inodesFree", number::INODES_FREE);
    sketch.number("inodes", number::INODES);
    sketch.number("inodesUsed", inodes_used);
}
