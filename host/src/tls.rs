//! TLS for outgoing connections: which certificates are trusted. Reads files when a client is
//! built, and never again.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::{fs, io};

use reqwest::{Certificate, Client, ClientBuilder};

/// Where distributions keep the certificates that they trust; the first that exists counts.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why no client can be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the certificate authority can't be read.
    #[error("certificate authority `{}` can't be read; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no certificate.
    #[error("`{}` holds no PEM certificate; write the authority's certificate there", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The client's settings contradict each other.
    #[error("no HTTP client can be built")]
    Client(#[source] reqwest::Error),
}

/// Makes ring the cryptography of this process. Call it before anything uses TLS; again is fine.
pub fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that somebody else was first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

/// Finishes a client that trusts the certificate authorities of `authority`, or those of the
/// system where it is `None`; with `insecure` any certificate will do.
///
/// # Errors
/// [`TlsError`] where the file is unusable, or the builder's other settings are.
pub fn build(builder: ClientBuilder, insecure: bool, authority: Option<&Path>) -> Result<Client, TlsError> {
    install_provider();
    let trusted = match authority {
        Some(path) => certificates(path)?,
        None => system_certificates(),
    };
    builder.tls_certs_only(trusted).tls_danger_accept_invalid_certs(insecure).build().map_err(TlsError::Client)
}

/// The certificates of a PEM file.
///
/// # Errors
/// [`TlsError::Unreadable`], [`TlsError::NoCertificate`].
pub fn certificates(path: &Path) -> Result<Vec<Certificate>, TlsError> {
    let pem = fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::NoCertificate { path: path.to_owned() }),
    }
}

/// What the system trusts; nothing where it has no bundle, and then no server is trusted.
fn system_certificates() -> Vec<Certificate> {
    let found = SYSTEM_BUNDLES.iter().find_map(|path| certificates(Path::new(path)).ok());
    found.unwrap_or_default()
}
