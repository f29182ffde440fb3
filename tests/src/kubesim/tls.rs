//! The cluster's certificates: one authority, one key, a certificate for every address when it is first asked for.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{NoServerSessionStorage, ProducesTickets},
};
use tokio_rustls::TlsAcceptor;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot use a certificate")]
    Config(#[from] rustls::Error),
}

/// The cluster's own certificate authority.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of all servers: making a key for each of 5,000 nodes would take longer than everything else.
    key: KeyPair,
    tickets: Arc<dyn ProducesTickets>,
}

impl Authority {
    pub(super) fn new() -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "kubesim-ca");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, key: KeyPair::generate()?, tickets: ring::Ticketer::new()? })
    }

    /// The authority's certificate, PEM.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn server(&self, address: IpAddr, name: &str) -> Result<TlsAcceptor, TlsError> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(address));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&self.key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        // A session cache for each of 5,000 servers would be most of this process's memory. Tickets need
        // none; Go's servers, and so kubelets, give one.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        config.ticketer = Arc::clone(&self.tickets);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// One server's side of TLS, made at its first connection.
pub(super) struct ServerTls {
    authority: Arc<Authority>,
    address: IpAddr,
    name: String,
    acceptor: OnceLock<Option<TlsAcceptor>>,
}

impl ServerTls {
    pub(super) fn new(authority: Arc<Authority>, address: IpAddr, name: String) -> Self {
        Self { authority, address, name, acceptor: OnceLock::new() }
    }

    /// `None` if no certificate could be made; the connection is then closed.
    pub(super) fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.acceptor.get_or_init(|| self.authority.server(self.address, &self.name).ok()).as_ref()
    }
}
