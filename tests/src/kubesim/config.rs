//! What a simulated cluster is made of, checked before anything is built.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// The oldest moment the cluster knows: all that never churns started here or a little later (2026-01-01T00:00:00Z).
pub(super) const ORIGIN: i64 = 1_767_225_600;
/// Generated pod names carry five letters; this many slots never collide.
pub(super) const MAX_POD_SLOTS: usize = 890_000;

/// Which kubelet's answers the bodies are shaped like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Kubernetes 1.25: no swap, no pressure figures, few interfaces.
    V1_25,
    /// Kubernetes 1.34: pressure (PSI), I/O, swap, container file system, ten interfaces.
    V1_34,
}

impl Shape {
    /// Interfaces a pod shows unless told otherwise.
    pub(super) fn default_interfaces(self) -> usize {
        match self {
            Self::V1_25 => 3,
            Self::V1_34 => 10,
        }
    }

    /// The version the node and `/version` report.
    pub(super) fn git_version(self) -> &'static str {
        match self {
            Self::V1_25 => "v1.25.16",
            Self::V1_34 => "v1.34.1",
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.25" => Ok(Self::V1_25),
            "1.34" => Ok(Self::V1_34),
            other => Err(format!("unknown shape `{other}`; use 1.25 or 1.34")),
        }
    }
}

/// Everything about a cluster but its failures. [`Config::default`] is a small quiet one.
#[derive(Debug, Clone)]
pub struct Config {
    /// Nodes, each with a kubelet on a loopback address of its own.
    pub nodes: usize,
    /// Pods on each node.
    pub pods: usize,
    /// Containers in each pod.
    pub containers: usize,
    /// Namespaces the pods are spread over, `kube-system` included.
    pub namespaces: usize,
    /// Volumes of each pod: the service account's first, then claims.
    pub volumes: usize,
    /// Network interfaces of each pod and node; `None` takes the shape's usual number.
    pub interfaces: Option<usize>,
    /// Static pods of each node (within `pods`): their kubelet uid is the hash of their file, not the API's uid.
    pub static_pods: usize,
    /// Same seed, same cluster, second by second.
    pub seed: u64,
    /// Whose bodies.
    pub shape: Shape,
    /// How often a kubelet takes a new sample of a container; in between it repeats the last, time included.
    pub resolution: Duration,
    /// Share of the pods replaced by new ones, percent a minute.
    pub churn: f64,
    /// Share of the containers that restart, percent a minute.
    pub restarts: f64,
    /// Share of the containers whose counters go back to zero without a restart, percent a minute.
    pub resets: f64,
    /// Share of the pods ever replaced; the others stay for ever. Same for restarts and resets. Percent.
    pub unsteady: f64,
    /// Address of the API server; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Port of every kubelet; 0 takes one that is free on all their addresses.
    pub kubelet_port: u16,
    /// Address of the first kubelet; the others follow.
    pub first_address: Ipv4Addr,
    /// TLS with a CA of its own, for the API server and the kubelets. Implies a token.
    pub https: bool,
    /// Bearer token that both ask for. `None` with `https` makes one.
    pub token: Option<String>,
    /// Whether `sendInitialEvents=true` works (1.34) or is refused with 422 as by older servers.
    pub watch_list: bool,
    /// Whether kubelets compress for clients that accept it. Real ones do not.
    pub gzip: bool,
    /// Events kept for watches to start from; older resource versions are answered with 410.
    pub history: usize,
    /// How often a watch that allows them gets a bookmark.
    pub bookmark_every: Duration,
    /// Most objects of a page, whatever limit the client asks for.
    pub max_page: usize,
    /// Seconds since 1970 at which the cluster's clock stands still; `None` runs with the machine's clock.
    pub frozen_at: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nodes: 3,
            pods: 10,
            containers: 2,
            namespaces: 4,
            volumes: 1,
            interfaces: None,
            static_pods: 0,
            seed: 1,
            shape: Shape::V1_25,
            resolution: Duration::from_secs(10),
            churn: 0.0,
            restarts: 0.0,
            resets: 0.0,
            unsteady: 100.0,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            kubelet_port: 0,
            first_address: Ipv4Addr::new(127, 1, 0, 1),
            https: false,
            token: None,
            watch_list: true,
            gzip: false,
            history: 20_000,
            bookmark_every: Duration::from_secs(60),
            max_page: 10_000,
            frozen_at: None,
        }
    }
}

impl Config {
    /// Every reason why this cluster cannot be built, not the first only.
    pub(super) fn problems(&self) -> Vec<String> {
        let slots = self.nodes.saturating_mul(self.pods);
        let percent = |name: &str, value: f64, most: f64| {
            let fits = (0.0..=most).contains(&value);
            (!fits).then(|| format!("{name} is `{value}`; use 0 to {most} percent"))
        };
        [
            (self.nodes == 0 || self.nodes > 60_000).then(|| format!("nodes is `{}`; use 1 to 60000", self.nodes)),
            (slots > MAX_POD_SLOTS).then(|| format!("{slots} pods in all; use at most {MAX_POD_SLOTS}")),
            (self.containers > 100).then(|| format!("containers is `{}`; use at most 100", self.containers)),
            (self.volumes > 100).then(|| format!("volumes is `{}`; use at most 100", self.volumes)),
            (self.interfaces > Some(1000)).then(|| "interfaces is over 1000; use fewer".to_owned()),
            (!(1..=10_000).contains(&self.namespaces))
                .then(|| format!("namespaces is `{}`; use 1 to 10000", self.namespaces)),
            (self.static_pods > self.pods)
                .then(|| format!("static pods is `{}` of `{}` pods; use fewer", self.static_pods, self.pods)),
            (self.resolution.as_secs() == 0 || self.resolution.as_secs() > 3600)
                .then(|| format!("resolution is `{:?}`; use 1 s to 1 h", self.resolution)),
            percent("churn", self.churn, 1000.0),
            percent("restarts", self.restarts, 1000.0),
            percent("resets", self.resets, 1000.0),
            percent("unsteady", self.unsteady, 100.0),
            self.frozen_at
                .filter(|at| *at < ORIGIN + 86_400)
                .map(|at| format!("the clock stands at `{at}`; use a time after {} (2026-01-02)", ORIGIN + 86_400)),
            (!self.first_address.is_loopback() || self.node_address(self.nodes.saturating_sub(1)).is_none())
                .then(|| format!("`{}` is no loopback address with room for the nodes", self.first_address)),
            (self.history == 0 || self.max_page == 0).then(|| "history or page size is 0; use at least 1".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Address of a node's kubelet: the last byte runs from 1 to 250, then the byte before it counts on.
    pub(super) fn node_address(&self, node: usize) -> Option<Ipv4Addr> {
        let [a, b, c, d] = self.first_address.octets();
        let last = usize::from(d.checked_sub(1)?) + node;
        let third = usize::from(c) + last / 250;
        let second = u8::try_from(usize::from(b) + third / 250).ok()?;
        let [third, last] = [third % 250, last % 250 + 1].map(u8::try_from);
        Some(Ipv4Addr::new(a, second, third.ok()?, last.ok()?))
    }

    /// Interfaces of a pod, the shape's usual number unless told otherwise.
    pub(super) fn interface_count(&self) -> usize {
        self.interfaces.unwrap_or(self.shape.default_interfaces())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_get_distinct_loopback_addresses() {
        let config = Config { nodes: 60_000, ..Config::default() };
        let all: std::collections::BTreeSet<_> = (0..60_000).map(|node| config.node_address(node).unwrap()).collect();
        assert_eq!(all.len(), 60_000);
        assert!(all.iter().all(Ipv4Addr::is_loopback));
        assert_eq!(config.node_address(0), Some(Ipv4Addr::new(127, 1, 0, 1)));
        assert_eq!(config.node_address(250), Some(Ipv4Addr::new(127, 1, 1, 1)));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let config = Config { nodes: 0, namespaces: 0, churn: -1.0, resolution: Duration::ZERO, ..Config::default() };
        assert_eq!(config.problems().len(), 4, "{:?}", config.problems());
        assert!(Config::default().problems().is_empty());
    }
}
