//! Our ports: the one that Heapster had, and the one that asks the API server who somebody is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::certificate::{self, CertificateError};
use super::guard::{Clients, Guard};
use super::tls;
use crate::auth::{AuthCounts, Authority, Delegated};
use crate::config::{ClientsConfig, HttpConfig, KeyFiles, SecureConfig};

/// Why a port can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The address is taken, or not ours.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A certificate is missing or broken.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The cryptography refuses to work.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A port that listens, and who gets past its door.
pub struct Port {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) guard: Guard,
    counts: Option<Arc<AuthCounts>>,
    /// What looks after its certificates.
    _following: JoinSet<()>,
}

impl Port {
    /// Opens the port that Heapster had.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn open(config: &HttpConfig) -> Result<Self, PortError> {
        crate::tls::install_provider();
        let mut following = JoinSet::new();
        let tls = config.tls.as_ref().map(|files| from_files(files, &mut following)).transpose()?;
        let guard = match &config.clients {
            _ if config.health_only => Guard::Health,
            Some(clients) => Guard::Clients(Arc::new(trusted(clients, &mut following)?)),
            None => Guard::Open,
        };
        let listener = listen(config.listen).await?;
        Ok(Self { listener, tls, guard, counts: None, _following: following })
    }

    /// Opens the port behind which the API server says who may ask.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn open_secure(config: &SecureConfig, client: Client) -> Result<Self, PortError> {
        crate::tls::install_provider();
        let mut following = JoinSet::new();
        let tls = match &config.tls {
            Some(files) => from_files(files, &mut following)?,
            None => {
                info!(names = ?config.names, "certificate of the secure port made; nobody vouches for it");
                tls::acceptor(Arc::new(tls::Shown::new(certificate::make(config)?)))?
            }
        };
        let listener = listen(config.listen).await?;
        let delegated = Delegated::start(client);
        let counts = Some(delegated.counts());
        let guard = Guard::Delegated(Arc::new(delegated));
        Ok(Self { listener, tls: Some(tls), guard, counts, _following: following })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// How requests ended at its door, where the API server is asked.
    pub fn counts(&self) -> Option<Arc<AuthCounts>> {
        self.counts.clone()
    }
}

/// Whether the certificates and keys that the configuration names are of use; nothing is opened.
///
/// # Errors
/// The first that is not, as [`Port::open`] and [`Port::open_secure`] would say.
pub fn check_certificates(config: &HttpConfig) -> Result<(), CertificateError> {
    crate::tls::install_provider();
    if let Some(files) = &config.tls {
        certificate::load(files)?;
    }
    if let Some(clients) = &config.clients {
        read_authority(&clients.authority)?;
    }
    match &config.secure {
        Some(SecureConfig { tls: Some(files), .. }) => certificate::load(files).map(drop),
        Some(secure) => certificate::make(secure).map(drop),
        None => Ok(()),
    }
}

fn read_authority(path: &Path) -> Result<Authority, CertificateError> {
    let pem = certificate::read(path)?;
    Authority::from_pem(&pem)
        .map_err(|error| CertificateError::Unusable { path: path.to_owned(), reason: error.to_string() })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, PortError> {
    TcpListener::bind(address).await.map_err(|error| PortError::Listen(address, error))
}

fn from_files(files: &KeyFiles, following: &mut JoinSet<()>) -> Result<TlsAcceptor, PortError> {
    let shown = Arc::new(tls::Shown::new(certificate::load(files)?));
    following.spawn(certificate::follow(files.clone(), Arc::clone(&shown)));
    Ok(tls::acceptor(shown)?)
}

fn trusted(config: &ClientsConfig, following: &mut JoinSet<()>) -> Result<Clients, PortError> {
    let path = config.authority.clone();
    let (sender, authority) = watch::channel(read_authority(&path)?);
    following.spawn(async move {
        let shown = path.display().to_string();
        certificate::changes([path], async |[pem]| match Authority::from_pem(&pem) {
            Ok(authority) => drop(sender.send_replace(authority)),
            Err(error) => warn!(authority = %shown, %error, "clients are still judged by the old authority"),
        })
        .await;
    });
    Ok(Clients { authority, allowed_users: config.allowed_users.clone() })
}
