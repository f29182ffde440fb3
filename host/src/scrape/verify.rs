//! TLS towards kubelets: whose certificates are believed, under which name, and which one is shown.
//! All of it can change while connections are open; new handshakes use what was read last.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Checks what kubelets show.
#[derive(Debug)]
pub(super) struct KubeletVerifier {
    /// None: anybody is believed.
    trusted: Option<RwLock<Arc<WebPkiServerVerifier>>>,
    /// Stands for the name in the URL.
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl KubeletVerifier {
    /// Believes those whom the certificates in `authority` signed; everybody if there are none.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub(super) fn new(
        authority: Option<&[u8]>,
        name: Option<ServerName<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let trusted = authority.map(|pem| trust(pem, &provider)).transpose()?.map(RwLock::new);
        Ok(Self { trusted, name, provider })
    }

    /// Takes other authorities from now on.
    ///
    /// # Errors
    /// What is wrong with the certificates; those before stay.
    pub(super) fn replace(&self, authority: &[u8]) -> Result<(), String> {
        if let Some(trusted) = &self.trusted {
            let fresh = trust(authority, &self.provider)?;
            *trusted.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

fn trust(pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("no PEM certificates: {error}"))?;
        roots.add(certificate).map_err(|error| format!("certificate: {error}"))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| format!("no usable certificate in it: {error}"))
}

impl ServerCertVerifier for KubeletVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        let trusted = Arc::clone(&trusted.read().unwrap_or_else(PoisonError::into_inner));
        let name = self.name.as_ref().unwrap_or(server_name);
        trusted.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

/// Shows a certificate to kubelets that ask for one.
#[derive(Debug)]
pub(super) struct ShownCertificate {
    key: RwLock<Arc<CertifiedKey>>,
    provider: Arc<CryptoProvider>,
}

impl ShownCertificate {
    /// # Errors
    /// What is wrong with certificate or key.
    pub(super) fn new(certificate: &[u8], key: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let key = RwLock::new(certified(certificate, key, &provider)?);
        Ok(Self { key, provider })
    }

    /// Shows another from now on.
    ///
    /// # Errors
    /// What is wrong with certificate or key; the one before stays.
    pub(super) fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), String> {
        let fresh = certified(certificate, key, &self.provider)?;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

fn certified(certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("client certificate: {error}"))?;
    if chain.is_empty() {
        return Err("no PEM client certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("client key: {error}"))?;
    let key =
        CertifiedKey::from_der(chain, key, provider).map_err(|error| format!("client certificate and key: {error}"))?;
    Ok(Arc::new(key))
}

impl ResolvesClientCert for ShownCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
