//! The sockets a cluster needs: one port for the API server, one for all kubelets, and leave to open so many.

use std::net::{SocketAddr, TcpListener};

use super::{StartError, config::Config};

/// Free ports tried for the kubelets.
const PORT_TRIES: usize = 50;

/// Binds one address.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })
}

type KubeletListeners = Vec<(SocketAddr, TcpListener)>;

/// Binds all kubelets on one port; a free one has to be free on all their addresses.
pub(super) fn listen_for_kubelets(config: &Config) -> Result<(u16, KubeletListeners), StartError> {
    let mut tries = if config.kubelet_port == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match listen_on(config, config.kubelet_port) {
            Err(_) if tries > 0 => {}
            result => return result,
        }
    }
}

fn listen_on(config: &Config, mut port: u16) -> Result<(u16, KubeletListeners), StartError> {
    let mut listeners = Vec::with_capacity(config.nodes);
    for address in (0..config.nodes).filter_map(|node| config.node_address(node)) {
        let listener = listen(SocketAddr::from((address, port)))?;
        port = listener.local_addr().map_or(port, |address| address.port());
        listeners.push((SocketAddr::from((address, port)), listener));
    }
    Ok((port, listeners))
}

/// Raises the soft limit of open files as far as needed.
pub(super) fn allow_files(needed: u64) -> Result<(), StartError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(allowed) = limit.maximum.filter(|maximum| *maximum < needed) {
        return Err(StartError::Files { needed, allowed });
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|_| StartError::Files { needed, allowed: limit.current.unwrap_or(0) })
}
