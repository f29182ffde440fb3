//! Where a node's kubelet is asked.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::source::{KubeletConfig, KubeletPort, ServerName};
use crate::kube::NodeFacts;

use super::failure::ScrapeFailure;

/// The path that every kubelet since 2016 answers. With a slash at its end newer ones redirect.
const PATH: &str = "/stats/summary";

/// Where to ask, and what to call it in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub url: Url,
    /// Host and port that are really dialled.
    pub address: String,
    /// The host that is dialled, if the URL's is only a name for the certificate.
    pub dial: Option<String>,
}

impl Target {
    /// # Errors
    /// [`ScrapeFailure::NoAddress`] if the node has none that can be used.
    pub(super) fn of(node: &NodeFacts, config: &KubeletConfig) -> Result<Self, ScrapeFailure> {
        let (host, own_port) = match config.addresses.0.get(&*node.name) {
            Some(address) => split(address),
            None => match node.address {
                Some(address) => (address.to_string(), None),
                None => return Err(ScrapeFailure::NoAddress(
                    "the node has neither an InternalIP nor an ExternalIP; give it one under the kubelet `addresses`"
                        .to_owned(),
                )),
            },
        };
        let port = match (own_port, config.port) {
            (Some(port), _) | (None, KubeletPort::Fixed(port)) => port,
            (None, KubeletPort::NodeStatus) => node.kubelet_port.ok_or_else(|| {
                ScrapeFailure::NoAddress(
                    "the node's status names no kubelet port; set the kubelet `port` to a number".to_owned(),
                )
            })?,
        };
        let by_name = config.https && config.server_name == ServerName::NodeName;
        let scheme = if config.https { "https" } else { "http" };
        let shown = bracketed(&host);
        let called = if by_name { bracketed(&node.name) } else { shown.clone() };
        let address = format!("{shown}:{port}");
        let url = Url::parse(&format!("{scheme}://{called}:{port}{PATH}"))
            .map_err(|error| ScrapeFailure::NoAddress(format!("`{called}:{port}` is no address: {error}")))?;
        Ok(Self { url, address, dial: by_name.then_some(host) })
    }
}

/// `host`, `host:port`, `v6`, `[v6]`, `[v6]:port`.
fn split(address: &str) -> (String, Option<u16>) {
    if address.parse::<Ipv6Addr>().is_ok() {
        return (address.to_owned(), None);
    }
    if let Ok(socket) = address.parse::<SocketAddr>() {
        return (socket.ip().to_string(), Some(socket.port()));
    }
    if let Some(inner) = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return (inner.to_owned(), None);
    }
    match address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.to_owned(), Some(port)),
        None => (address.to_owned(), None),
    }
}

fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

/// Finds the address of a node whose name stands in the URL, so that its certificate is checked
/// against the name while the connection goes to the address.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeResolver {
    dial: Arc<RwLock<HashMap<Box<str>, String>>>,
}

impl NodeResolver {
    /// Remembers where the nodes of this cycle are, and forgets all others.
    pub(super) fn set(&self, nodes: HashMap<Box<str>, String>) {
        *self.dial.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }
}

impl Resolve for NodeResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let known = self.dial.read().unwrap_or_else(PoisonError::into_inner).get(name.as_str()).cloned();
        Box::pin(async move {
            let host = known.unwrap_or_else(|| name.as_str().to_owned());
            // Port 0 stands for the URL's.
            if let Ok(ip) = host.parse::<IpAddr>() {
                return Ok(Box::new(std::iter::once(SocketAddr::new(ip, 0))) as Addrs);
            }
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_is_asked_where_status_and_configuration_say() {
        let node = |address: Option<&str>, port| NodeFacts {
            name: "node-a".into(),
            address: address.map(|address| address.parse().unwrap()),
            kubelet_port: port,
            ..NodeFacts::default()
        };
        let status = KubeletConfig::default();
        let plain = KubeletConfig { port: KubeletPort::Fixed(10255), https: false, ..KubeletConfig::default() };
        let named = KubeletConfig { server_name: ServerName::NodeName, ..KubeletConfig::default() };
        let moved = |address: &str| {
            let mut config = KubeletConfig::default();
            config.addresses.0.insert("node-a".into(), address.into());
            config
        };
        for (config, address, port, want) in [
            (&status, Some("10.0.0.1"), Some(10250), Ok("https://10.0.0.1:10250/stats/summary")),
            (&status, Some("fd00::1"), Some(10250), Ok("https://[fd00::1]:10250/stats/summary")),
            (&plain, Some("10.0.0.1"), Some(10250), Ok("http://10.0.0.1:10255/stats/summary")),
            (&named, Some("10.0.0.1"), Some(10250), Ok("https://node-a:10250/stats/summary")),
            (&status, Some("10.0.0.1"), None, Err("no-address")),
            (&status, None, Some(10250), Err("no-address")),
            (&moved("127.0.0.1"), None, Some(10250), Ok("https://127.0.0.1:10250/stats/summary")),
            (&moved("127.0.0.1:7"), None, None, Ok("https://127.0.0.1:7/stats/summary")),
            (&moved("tunnel.local:7"), Some("10.0.0.1"), None, Ok("https://tunnel.local:7/stats/summary")),
            (&moved("tunnel.local"), Some("10.0.0.1"), Some(10250), Ok("https://tunnel.local:10250/stats/summary")),
            (&moved("fd00::2"), None, Some(10250), Ok("https://[fd00::2]:10250/stats/summary")),
            (&moved("[fd00::2]"), None, Some(10250), Ok("https://[fd00::2]:10250/stats/summary")),
            (&moved("[fd00::2]:7"), None, None, Ok("https://[fd00::2]:7/stats/summary")),
        ] {
            let target = Target::of(&node(address, port), config);
            let got = target.as_ref().map(|target| target.url.as_str()).map_err(|failure| failure.reason());
            assert_eq!(got, want, "{address:?} {port:?} {:?}", config.addresses);
        }
        let target = Target::of(&node(Some("10.0.0.1"), Some(1)), &named).unwrap();
        assert_eq!((target.dial.as_deref(), target.address.as_str()), (Some("10.0.0.1"), "10.0.0.1:1"));
    }
}
