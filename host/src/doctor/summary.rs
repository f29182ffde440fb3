//! Whether what a kubelet says is worth having: decoded as in every cycle, and held against the API server's pods, the
//! clocks and what kubelets are known to get wrong.

use std::sync::Arc;
use std::time::Duration;

use super::asker::http_date;
use super::cluster::millis;
use super::kubelets::unreadable;
use crate::batch::{Cycle, TypeRegistry};
use crate::finding::Finding;
use crate::kube::{NodeFacts, PodFacts};
use crate::scrape::summary::Summary;
use crate::scrape::{Body, DecodeBounds, DecodeCounts, decode, parse};

/// Clocks that differ by more are not set by the same time, seconds.
const SKEW: i64 = 5;
/// Kubelets measure every 10 to 15 s; what is older is not measured any more, seconds.
const STALE: i64 = 60;
/// A pod that runs for so long has been measured, seconds.
const YOUNG: i64 = 120;
/// Pods that are named.
const NAMED: usize = 3;

/// One answer and all that it is held against.
pub(super) struct Look<'l> {
    pub node: &'l NodeFacts,
    /// The API server's pods of the node.
    pub pods: &'l [Arc<PodFacts>],
    pub address: &'l str,
    pub took: Duration,
    /// How long Millrace would wait.
    pub wait: Duration,
    pub most_bytes: u64,
    /// Our clock, seconds since 1970.
    pub now: i64,
}

impl Look<'_> {
    /// The line of a kubelet that answers, and one for everything that is odd.
    pub fn examine(&self, body: &Body, cycle: &Cycle, types: &TypeRegistry) -> Vec<Finding> {
        let date = body.date.as_ref().and_then(|date| http_date(date.to_str().ok()?));
        self.of_bytes(&body.bytes, date, cycle, types)
    }

    fn of_bytes(&self, bytes: &[u8], date: Option<i64>, cycle: &Cycle, types: &TypeRegistry) -> Vec<Finding> {
        let bounds = DecodeBounds::default();
        let decoded = decode(bytes, self.node, self.pods, |_| None, cycle, &bounds, types);
        let summary = parse(bytes, &bounds);
        let (decoded, summary) = match (decoded, summary) {
            (Ok(decoded), Ok(summary)) => (decoded, summary),
            (Err(failure), _) | (_, Err(failure)) => return vec![unreadable(self.node, &failure)],
        };
        let pods = summary.pods.as_ref().map_or(0, |pods| pods.len());
        let kilobytes = bytes.len().div_ceil(1000);
        let says = format!("{} in {}: {pods} pods, {kilobytes} kB", self.address, millis(self.took));
        let answers = Finding::ok("kubelets.answers", &self.node.name, &says).took(self.took);
        let mut findings = vec![answers.fact("address", self.address).fact("pods", pods).fact("bytes", bytes.len())];
        findings.extend(self.zeros(&summary));
        findings.extend(self.pods(&summary));
        findings.extend(self.clock(newest(&summary), date));
        findings.extend(self.effort(bytes.len()));
        findings.extend(self.values(&decoded.counts));
        findings
    }

    /// A node whose control groups can't be read.
    fn zeros(&self, summary: &Summary<'_>) -> Option<Finding> {
        let node = summary.node.as_ref();
        let cpu = node.and_then(|node| node.cpu.as_ref()?.usage.get()).unwrap_or(0);
        let memory = node.and_then(|node| node.memory.as_ref()?.working_set.get()).unwrap_or(0);
        let what = match (cpu, memory) {
            (0, 0) => "CPU or memory",
            (0, _) => "CPU",
            (_, 0) => "memory",
            _ => return None,
        };
        let says = format!("it knows nothing of the node's {what}: zero or absent");
        let remedy = "the kubelet can't read the control groups: cgroup v2 needs Kubernetes 1.22 and a runtime for \
                      it; compare the cgroup drivers of kubelet and runtime, and restart the kubelet";
        Some(Finding::warning("kubelets.zeros", &self.node.name, &says, remedy))
    }

    /// Pods that the API server has running for a while, and the kubelet does not tell of.
    fn pods(&self, summary: &Summary<'_>) -> Option<Finding> {
        let told: Vec<(&str, &str)> = summary
            .pods
            .iter()
            .flat_map(|pods| pods.iter())
            .filter_map(|pod| pod.pod.as_ref())
            .map(|pod| (&*pod.namespace, &*pod.name))
            .collect();
        let old = |pod: &PodFacts| pod.started_at.is_some_and(|at| at / 1_000_000_000 + YOUNG < self.now);
        let running = self.pods.iter().filter(|pod| &*pod.phase == "Running" && old(pod));
        let missing: Vec<_> = running.filter(|pod| !told.contains(&(&*pod.namespace, &*pod.name))).collect();
        let first = missing.first()?;
        let remedy = "look at the kubelet's log and its container runtime (`crictl ps` on the node); Kubernetes 1.19 \
                      with Docker before 19.03 is known for it";
        let says = if told.is_empty() {
            format!(
                "it tells of no pod, and {} run there, `{}/{}` among them",
                missing.len(),
                first.namespace,
                first.name
            )
        } else {
            let names = missing.iter().take(NAMED).map(|pod| format!("{}/{}", pod.namespace, pod.name));
            let names: Vec<_> = names.collect();
            let more = if missing.len() > NAMED { " and others" } else { "" };
            format!("it does not tell of {} pods that run there: {}{more}", missing.len(), names.join(", "))
        };
        Some(Finding::warning("kubelets.pods", &self.node.name, &says, remedy).fact("missing", missing.len()))
    }

    /// The kubelet's clock and the age of its figures. Figures are held against the clock they were measured by.
    fn clock(&self, measured: Option<i64>, date: Option<i64>) -> Option<Finding> {
        let name = &self.node.name;
        let ntp = "let all machines take their time by NTP; points bear our clock's time, but rates are reckoned from \
                   the kubelet's";
        let told = |ahead: i64, what: &str| {
            let (amount, side) = (ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
            let says = format!("{what} {amount} s {side} our clock");
            Finding::warning("kubelets.clock", name, &says, ntp).fact("ahead_s", ahead)
        };
        if let Some(ahead) = date.map(|date| date.saturating_sub(self.now)).filter(|ahead| ahead.abs() > SKEW) {
            return Some(told(ahead, "its clock is"));
        }
        let measured = measured.map(|measured| measured.saturating_sub(date.unwrap_or(self.now)));
        match measured {
            None => Some(Finding::warning(
                "kubelets.stale",
                name,
                "its figures bear no time, so that nobody can tell how old they are",
                "look at the kubelet's version and at what stands between it and us",
            )),
            Some(ahead) if ahead > SKEW => Some(told(ahead, "its figures bear times")),
            Some(ahead) if ahead < -STALE => {
                let says = format!("its newest figures are {} s old", -ahead);
                let remedy =
                    "the kubelet does not measure any more, or its clock was set: look at its log, and restart it";
                Some(Finding::warning("kubelets.stale", name, &says, remedy).fact("age_s", -ahead))
            }
            Some(_) => None,
        }
    }

    /// Answers that are near to what is allowed.
    fn effort(&self, bytes: usize) -> Option<Finding> {
        let name = &self.node.name;
        if self.took > self.wait / 2 {
            let says = format!("it took {} of the {} that Millrace waits", millis(self.took), millis(self.wait));
            let remedy = "look at the node's load (Windows nodes are slow by themselves), or raise the kubelet \
                          `timeout` and the resolution";
            return Some(Finding::warning("kubelets.slow", name, &says, remedy));
        }
        if bytes as u64 > self.most_bytes / 2 {
            let says = format!("it sends {bytes} bytes, and {} are allowed", self.most_bytes);
            return Some(Finding::warning("kubelets.large", name, &says, "raise the kubelet `max-body`"));
        }
        None
    }

    /// What had to be left out of the answer.
    fn values(&self, counts: &DecodeCounts) -> Option<Finding> {
        let parts = [
            (counts.over_range, "over the range of 64 bits"),
            (counts.malformed, "that are none"),
            (counts.duplicates, "of things that stand twice"),
            (counts.nameless, "of things without a name"),
        ];
        let told: Vec<_> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let says = format!("values are left out: {}", told.join(", "));
        (!told.is_empty()).then(|| Finding::note("kubelets.values", &self.node.name, &says))
    }
}

/// When the node's CPU or memory was last measured, seconds since 1970.
fn newest(summary: &Summary<'_>) -> Option<i64> {
    let node = summary.node.as_ref()?;
    let cpu = node.cpu.as_ref().and_then(|cpu| cpu.time.get());
    let memory = node.memory.as_ref().and_then(|memory| memory.time.get());
    let times = cpu.into_iter().chain(memory).map(|time| time.0 / 1_000_000_000);
    times.max()
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
