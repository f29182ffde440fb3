//! What a kubelet answers at `/stats/summary`, at any second.
//!
//! A request only evaluates the curves of the node's roster and fills the templates. Broken answers are made of these by `spoil`.

use super::{
    clock::TimeText,
    config::Config,
    load::{fraction, mix},
    roster::{ContainerRun, PAGE, PodRun, Roster},
    shape::{Templates, number, text, time},
    template::Values,
};

/// Memory of every node.
pub(super) const NODE_MEMORY: u64 = 64 << 30;
/// File system of every node, capacity and inodes.
pub(super) const NODE_DISK: u64 = 100 << 30;
const NODE_INODES: u64 = 6_553_600;
/// Seconds over which `usageNanoCores` is taken: the eviction manager's round.
const USAGE_WINDOW: i64 = 10;
/// How often volumes are measured.
const VOLUME_SECS: i64 = 60;
const SWAP: u64 = 1 << 30;

type Numbers = [u64; number::COUNT];
type Times = [i64; time::COUNT];

/// Fills the templates of one configuration.
#[derive(Debug)]
pub(super) struct Summaries {
    templates: Templates,
    resolution: i64,
}

impl Summaries {
    pub(super) fn new(config: &Config) -> Self {
        Self { templates: Templates::new(config), resolution: config.resolution.as_secs() as i64 }
    }

    /// The body at second `at`, on a clock that is `skew` seconds ahead of everybody else's.
    pub(super) fn body(&self, roster: &Roster, at: i64, skew: i64, size_hint: usize) -> Vec<u8> {
        let mut page = Page {
            out: Vec::with_capacity(size_hint),
            times: TimeText::new(),
            skew,
            at,
            resolution: self.resolution,
            disk: disk(roster, at),
        };
        page.write(&self.templates, roster);
        page.out
    }
}

/// File system figures that everything on a node shares.
fn disk(roster: &Roster, at: i64) -> [(usize, u64); 4] {
    let used = (20 << 30) + (roster.system.level(at) * f64::from(1 << 30)) as u64;
    [
        (number::FS_AVAILABLE, (NODE_DISK - used) / PAGE * PAGE),
        (number::FS_CAPACITY, NODE_DISK),
        (number::INODES_FREE, NODE_INODES - used / 65_536),
        (number::INODES, NODE_INODES),
    ]
}

/// One answer in the making.
struct Page {
    out: Vec<u8>,
    times: TimeText,
    skew: i64,
    at: i64,
    resolution: i64,
    disk: [(usize, u64); 4],
}

/// Sums of gauges over a node, bytes.
#[derive(Default)]
struct Totals {
    working_set: u64,
    rss: u64,
}

impl Page {
    fn write(&mut self, templates: &Templates, roster: &Roster) {
        // Pods come after the node in the body, but the node's memory is the sum of theirs.
        let mut totals = Totals::default();
        for container in roster.pods.iter().filter(|pod| pod.listed).flat_map(|pod| &pod.containers) {
            let at = self.sampled(container.draw, container.started);
            let working_set = container.working_set(at);
            totals.working_set += working_set;
            totals.rss += rss(working_set);
        }
        self.node(templates, roster, &totals);
        let listed = roster.pods.iter().filter(|pod| pod.listed);
        let mut first = true;
        for pod in listed {
            self.separate(&mut first);
            self.pod(templates, pod);
        }
        self.out.extend_from_slice(if first { b"]\n}" } else { b"\n ]\n}" });
    }

    fn separate(&mut self, first: &mut bool) {
        self.out.extend_from_slice(if *first { b"\n" } else { b",\n" });
        *first = false;
    }

    /// The last second at which something was measured: every resolution, each thing at its own second.
    fn sampled(&self, draw: u64, started: i64) -> i64 {
        let phase = (draw % self.resolution as u64) as i64;
        (self.at - (self.at + phase).rem_euclid(self.resolution)).max(started)
    }

    fn blank(&self) -> Numbers {
        let mut numbers = [0; number::COUNT];
        for (index, value) in self.disk {
            numbers[index] = value;
        }
        numbers
    }

    fn skewed(&self, started: i64, sampled: i64, files: i64, network: i64) -> Times {
        let mut times = [0; time::COUNT];
        times[time::STARTED] = started + self.skew;
        times[time::SAMPLED] = sampled + self.skew;
        times[time::FS] = files + self.skew;
        times[time::NETWORK] = network + self.skew;
        times
    }

    fn node(&mut self, templates: &Templates, roster: &Roster, totals: &Totals) {
        let draw = roster.boot as u64;
        let at = self.sampled(draw, roster.boot);
        let times = self.skewed(roster.boot, at, at, at);
        let counted = |from, to| {
            let pods = roster.pods.iter().flat_map(|pod| &pod.containers);
            pods.map(|container| container.cpu.counted_since(from, to)).sum::<u64>()
        };
        let pods_cpu = (counted(roster.boot, at), counted(at - USAGE_WINDOW, at));
        let own = |share: u64| {
            let window = roster.system.counted_since(at - USAGE_WINDOW, at) / share;
            (roster.system.counted_since(roster.boot, at) / share, window)
        };
        let texts = [roster.name.as_str()];
        let values = Values { numbers: &self.blank(), times: &times, texts: &texts };
        templates.head.fill(&values, &mut self.times, &mut self.out);
        let system_memory = (400 << 20) + (roster.system.level(at) * f64::from(200 << 20)) as u64 / PAGE * PAGE;
        let rows = [("kubelet", own(4), system_memory / 4), ("pods", pods_cpu, totals.working_set)];
        let mut first = true;
        for (name, cpu, memory) in rows {
            let mut numbers = self.blank();
            usage(&mut numbers, cpu, memory, rss(memory), u64::MAX);
            let texts = [name];
            self.separate(&mut first);
            let values = Values { numbers: &numbers, times: &times, texts: &texts };
            templates.system_container.fill(&values, &mut self.times, &mut self.out);
        }
        let mut numbers = self.blank();
        let (all, window) = own(1);
        let memory = totals.working_set + system_memory;
        usage(
            &mut numbers,
            (pods_cpu.0 + all, pods_cpu.1 + window),
            memory,
            totals.rss + rss(system_memory),
            NODE_MEMORY,
        );
        numbers[number::ROOT_USED] = NODE_DISK - numbers[number::FS_AVAILABLE];
        numbers[number::ROOT_INODES] = NODE_INODES - numbers[number::INODES_FREE];
        numbers[number::LOGS_USED] = numbers[number::ROOT_USED] / 3;
        numbers[number::PROCESSES] = 200 + roster.pods.len() as u64 * 3;
        for (direction, index) in [number::RX, number::TX].into_iter().enumerate() {
            let pods = roster.pods.iter().map(|pod| pod.network[direction].counted_since(roster.boot, at));
            numbers[index] = pods.sum::<u64>() + (at - roster.boot) as u64 * 5_000;
        }
        let values = Values { numbers: &numbers, times: &times, texts: &texts };
        templates.node.fill(&values, &mut self.times, &mut self.out);
    }

    fn pod(&mut self, templates: &Templates, pod: &PodRun) {
        let at = self.sampled(pod.draw, pod.started);
        let files = self.sampled(pod.draw >> 8, pod.started);
        let times = self.skewed(pod.started, at, files, self.sampled(pod.draw >> 16, pod.started));
        let texts = [pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_str(), pod.suffix.as_str()];
        debug_assert_eq!(texts[text::SUFFIX], pod.suffix);
        let mut numbers = self.blank();
        let head = Values { numbers: &numbers, times: &times, texts: &texts };
        templates.pod_head.fill(&head, &mut self.times, &mut self.out);
        let mut first = true;
        let (mut working_set, mut resident, mut written) = (0, 0, 0);
        for container in &pod.containers {
            self.separate(&mut first);
            let own = self.container(templates, container, files);
            working_set += own[number::WORKING_SET];
            resident += own[number::RSS];
            written += own[number::ROOT_USED] + own[number::LOGS_USED];
        }
        // The pause process on top: little, but the pod's own counter.
        let pause = (at - pod.started) as u64 * 20_000;
        let counted = |from| pod.containers.iter().map(|container| container.cpu.counted_since(from, at)).sum::<u64>();
        let window = at.min(pod.started + USAGE_WINDOW) - pod.started;
        let recent = if window > 0 { counted(at - window) / window as u64 * USAGE_WINDOW as u64 } else { 0 };
        usage(&mut numbers, (counted(pod.started) + pause, recent), working_set + (1 << 18), resident, u64::MAX);
        numbers[number::ROOT_USED] = written;
        numbers[number::ROOT_INODES] = 20 * pod.containers.len() as u64;
        numbers[number::PROCESSES] = 1 + pod.containers.len() as u64;
        for (direction, index) in [number::RX, number::TX].into_iter().enumerate() {
            numbers[index] = pod.network[direction].counted_since(pod.started, times[time::NETWORK] - self.skew);
        }
        let values = Values { numbers: &numbers, times: &times, texts: &texts };
        templates.pod_middle.fill(&values, &mut self.times, &mut self.out);
        self.volumes(templates, pod, &texts);
        templates.pod_tail.fill(&values, &mut self.times, &mut self.out);
    }

    fn volumes(&mut self, templates: &Templates, pod: &PodRun, texts: &[&str]) {
        let phase = (pod.draw >> 24) as i64 % VOLUME_SECS;
        let measured = (self.at - (self.at + phase).rem_euclid(VOLUME_SECS)).max(pod.started);
        let times = self.skewed(pod.started, measured, measured, measured);
        let mut first = true;
        for (index, template) in templates.volumes.iter().enumerate() {
            let mut numbers = self.blank();
            let grown = if index == 0 { 3 } else { 256 + (measured - pod.started) as u64 / 600 };
            numbers[number::LOGS_USED] = grown * PAGE;
            numbers[number::PROCESSES] = if index == 0 { 9 } else { 11 + index as u64 };
            self.separate(&mut first);
            template.fill(&Values { numbers: &numbers, times: &times, texts }, &mut self.times, &mut self.out);
        }
    }

    fn container(&mut self, templates: &Templates, container: &ContainerRun, files: i64) -> Numbers {
        let at = self.sampled(container.draw, container.started);
        let times = self.skewed(container.started, at, files.max(container.started), at);
        let mut numbers = self.blank();
        let counts_from = container.counts_from.min(at);
        let window = (at - container.started).min(USAGE_WINDOW);
        let recent = container.cpu.counted_since(at - window, at);
        let rate = if window > 0 { recent / window as u64 * USAGE_WINDOW as u64 } else { 0 };
        let working_set = container.working_set(at);
        let limit = if container.memory_limit > 0 { container.memory_limit } else { u64::MAX };
        let cpu = (container.cpu.counted_since(counts_from, at), rate);
        usage(&mut numbers, cpu, working_set, rss(working_set), limit);
        let age = (at - container.started) as u64;
        numbers[number::ROOT_USED] = (10 + age / 900) * PAGE;
        numbers[number::ROOT_INODES] = 20;
        // Logs are rotated at 10 MiB.
        numbers[number::LOGS_USED] = age * (10 + container.draw % 500) % (10 << 20) / PAGE * PAGE + PAGE;
        numbers[number::PROCESSES] = 1;
        let template = if limit == u64::MAX { &templates.container } else { &templates.limited_container };
        let texts = [container.name.as_str()];
        template.fill(&Values { numbers: &numbers, times: &times, texts: &texts }, &mut self.times, &mut self.out);
        numbers
    }
}

fn rss(working_set: u64) -> u64 {
    working_set / 10 * 9 / PAGE * PAGE
}

/// CPU (nanoseconds counted, nanoseconds in the last window), memory, and what follows from them.
fn usage(numbers: &mut Numbers, (counted, recent): (u64, u64), working_set: u64, rss: u64, limit: u64) {
    let nano_cores = recent / USAGE_WINDOW as u64;
    numbers[number::NANO_CORES] = nano_cores;
    numbers[number::CORE_NANOS] = counted;
    numbers[number::AVAILABLE] = limit.saturating_sub(working_set);
    numbers[number::USAGE] = working_set + working_set / 8 / PAGE * PAGE;
    numbers[number::WORKING_SET] = working_set;
    numbers[number::RSS] = rss;
    // Faults and waiting come with work: all of them counters that move with the CPU's.
    numbers[number::FAULTS] = counted / 2_000_000;
    numbers[number::MAJOR_FAULTS] = counted / 60_000_000_000;
    numbers[number::PSI_FULL] = counted / 20_000;
    numbers[number::PSI_SOME] = counted / 10_000;
    numbers[number::IO_FULL] = counted / 900_000;
    numbers[number::IO_SOME] = counted / 700_000;
    let waiting = (fraction(mix(recent, 5, 0, 0)) * nano_cores as f64 / 1e6) as u64;
    numbers[number::PSI_AVG10] = waiting.min(10_000);
    numbers[number::PSI_AVG60] = waiting.min(10_000) / 2;
    numbers[number::PSI_AVG300] = waiting.min(10_000) / 8;
    numbers[number::SWAP_USED] = 0;
    numbers[number::SWAP_AVAILABLE] = if limit == NODE_MEMORY { SWAP } else { 0 };
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kubesim::{
        config::{ORIGIN, Shape},
        world::World,
    };

    const AT: i64 = ORIGIN + 20_000_000;

    fn parsed(world: &World, node: usize, at: i64) -> Value {
        let body = Summaries::new(&world.config).body(&Roster::new(world, node, at), at, 0, 0);
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn both_shapes_are_json_with_the_fields_of_their_time() {
        for (shape, psi, interfaces) in [(Shape::V1_25, false, 3), (Shape::V1_34, true, 10)] {
            let world = World::new(Config { shape, volumes: 2, ..Config::default() });
            let body = parsed(&world, 1, AT);
            assert_eq!(body["node"]["nodeName"], "node-00001");
            assert_eq!(body["node"]["systemContainers"].as_array().unwrap().len(), 2);
            let pods = body["pods"].as_array().unwrap();
            assert_eq!(pods.len(), 10);
            for pod in pods {
                assert_eq!(pod["containers"].as_array().unwrap().len(), 2);
                assert_eq!(pod["containers"][0]["cpu"]["psi"].is_object(), psi);
                assert_eq!(pod["swap"].is_object(), psi);
                assert_eq!(pod["volume"][1]["pvcRef"]["namespace"], pod["podRef"]["namespace"]);
                assert_eq!(pod["network"]["interfaces"].as_array().unwrap().len(), interfaces);
                assert!(pod["containers"][1]["memory"]["workingSetBytes"].as_u64().unwrap() > 1 << 20);
            }
        }
    }

    #[test]
    fn empty_lists_are_json() {
        for (pods, containers, volumes, interfaces) in [(0, 1, 1, 1), (2, 0, 0, 0), (1, 1, 0, 12)] {
            let config = Config { pods, containers, volumes, interfaces: Some(interfaces), ..Config::default() };
            let body = parsed(&World::new(config), 0, AT);
            assert_eq!(body["pods"].as_array().unwrap().len(), pods);
        }
    }

    #[test]
    fn same_seed_same_second_same_bytes() {
        let config = Config { churn: 10.0, restarts: 10.0, ..Config::default() };
        let make = |seed, at| {
            let world = World::new(Config { seed, ..config.clone() });
            Summaries::new(&config).body(&Roster::new(&world, 2, at), at, 0, 0)
        };
        assert_eq!(make(1, AT), make(1, AT));
        assert_ne!(make(1, AT), make(2, AT));
        assert_ne!(make(1, AT), make(1, AT + 11));
    }

    #[test]
    fn a_kept_crew_tells_the_same_as_a_fresh_one() {
        let world = World::new(Config { churn: 30.0, restarts: 30.0, resets: 30.0, ..Config::default() });
        let summaries = Summaries::new(&world.config);
        let mut roster = Roster::new(&world, 0, AT);
        let mut renewed = 0;
        for at in AT..AT + 900 {
            if !roster.serves(at) {
                roster = Roster::new(&world, 0, at);
                renewed += 1;
            }
            let fresh = summaries.body(&Roster::new(&world, 0, at), at, 0, 0);
            assert!(summaries.body(&roster, at, 0, 0) == fresh, "they differ at {}", at - AT);
        }
        assert!(renewed > 20, "only {renewed} changes");
    }

    #[test]
    fn counters_move_as_kubelets_move_them() {
        let world = World::new(Config::default());
        let read = |at: i64, pointer: &str| parsed(&world, 0, at).pointer(pointer).unwrap().clone();
        for place in ["/node", "/pods/0", "/pods/3", "/pods/4/containers/1", "/node/systemContainers/1"] {
            let mut before = (String::new(), 0);
            let mut repeated = 0;
            for at in AT..AT + 40 {
                let time = read(at, &format!("{place}/cpu/time")).as_str().unwrap().to_owned();
                let counted = read(at, &format!("{place}/cpu/usageCoreNanoSeconds")).as_u64().unwrap();
                if time == before.0 {
                    assert_eq!(counted, before.1, "{place}: another value of the same time");
                    repeated += 1;
                } else {
                    assert!(counted > before.1, "{place} stands still");
                }
                before = (time, counted);
            }
            assert!((35..=36).contains(&repeated), "{place}: a sample each ten seconds, {repeated} repeated");
        }
    }

    #[test]
    fn node_uses_what_its_pods_use_and_fits_in_its_memory() {
        let world = World::new(Config { pods: 110, containers: 3, ..Config::default() });
        let body = parsed(&world, 0, AT);
        let node = body["node"]["cpu"]["usageNanoCores"].as_u64().unwrap();
        let pods: u64 =
            body["pods"].as_array().unwrap().iter().map(|pod| pod["cpu"]["usageNanoCores"].as_u64().unwrap()).sum();
        assert!(node > pods * 9 / 10 && node < pods * 2, "node {node}, pods {pods}");
        assert!(body["node"]["memory"]["workingSetBytes"].as_u64().unwrap() < NODE_MEMORY);
    }

    #[test]
    fn skew_moves_every_time_and_no_figure() {
        let world = World::new(Config::default());
        let roster = Roster::new(&world, 0, AT);
        let body = |skew| -> Value {
            serde_json::from_slice(&Summaries::new(&world.config).body(&roster, AT, skew, 0)).unwrap()
        };
        let (plain, skewed) = (body(0), body(-3600));
        let time = |value: &Value| value["node"]["cpu"]["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(time(&plain).as_second() - time(&skewed).as_second(), 3600);
        assert_eq!(plain["node"]["cpu"]["usageCoreNanoSeconds"], skewed["node"]["cpu"]["usageCoreNanoSeconds"]);
        assert_eq!(plain["pods"][0]["network"]["rxBytes"], skewed["pods"][0]["network"]["rxBytes"]);
    }
}
