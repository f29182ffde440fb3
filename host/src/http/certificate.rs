//! Certificates that our own ports show or trust: from files, looked at again and again, or made at
//! start.

use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use super::tls::Shown;
use crate::config::{KeyFiles, SecureConfig};

/// How often files are looked at: certificates are replaced days before they end.
const LOOK: Duration = Duration::from_secs(3);
/// So many looks in a row that find no file are worth a word, once.
const FAILING: u32 = 3;
/// Largest file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Every certificate that is made at start names these, too.
const OWN_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A certificate of ours, or one that we trust, can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file can't be read.
    #[error("`{}` can't be read: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is of no use.
    #[error("`{}`: {reason}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// None can be made.
    #[error("no certificate can be made: {0}; check `http.secure.names`")]
    NotMade(String),
}

/// The certificate of files.
///
/// # Errors
/// [`CertificateError`].
pub(super) fn load(files: &KeyFiles) -> Result<CertifiedKey, CertificateError> {
    certified(files, &read(&files.certificate)?, &read(&files.key)?)
}

fn certified(files: &KeyFiles, chain: &[u8], key: &[u8]) -> Result<CertifiedKey, CertificateError> {
    let unusable = |path: &Path, reason: String| CertificateError::Unusable { path: path.to_owned(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| unusable(&files.certificate, format!("no PEM certificates: {error}")))?;
    if chain.is_empty() {
        return Err(unusable(&files.certificate, "no PEM certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| unusable(&files.key, format!("no PEM private key: {error}")))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|error| unusable(&files.key, format!("no key of `{}`: {error}", files.certificate.display())))
}

/// A certificate that nobody vouches for, with every name that callers may use, for as long as this
/// process runs.
///
/// # Errors
/// [`CertificateError::NotMade`].
pub(super) fn make(config: &SecureConfig) -> Result<CertifiedKey, CertificateError> {
    let failed = |error: &dyn std::fmt::Display| CertificateError::NotMade(error.to_string());
    let mut params = CertificateParams::default();
    let listened = config.listen.ip();
    let listened = (!listened.is_unspecified()).then(|| listened.to_string());
    let names = config.names.iter().map(String::as_str).chain(OWN_NAMES).chain(listened.as_deref());
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().map_err(|error| failed(&error))?),
        };
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    params.distinguished_name.push(DnType::CommonName, "millrace");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &rustls::crypto::ring::default_provider())
        .map_err(|error| failed(&error))
}

/// Shows what the files hold, whenever that is another certificate with its key. What is unusable is
/// logged once, and the last good one stays.
pub(super) async fn follow(files: KeyFiles, shown: Arc<Shown>) {
    let paths = [files.certificate.clone(), files.key.clone()];
    changes(paths, async |[chain, key]| match certified(&files, &chain, &key) {
        Ok(key) => {
            shown.replace(key);
            info!(certificate = %files.certificate.display(), "the new certificate is shown from now on");
        }
        // The pair may be half written; the next change tells.
        Err(error) => warn!(%error, "the old certificate is still shown"),
    })
    .await;
}

/// Calls `changed` with the files' contents whenever they are others than they were.
pub(super) async fn changes<const N: usize, F: Future<Output = ()>>(
    paths: [PathBuf; N],
    mut changed: impl FnMut([Vec<u8>; N]) -> F,
) {
    let mut known: Option<[Vec<u8>; N]> = None;
    let mut failing = 0;
    loop {
        let read: Result<Vec<_>, _> = paths.iter().map(|path| read(path)).collect();
        match read.map(<[Vec<u8>; N]>::try_from) {
            Ok(Ok(now)) => {
                failing = 0;
                if known.as_ref() != Some(&now) {
                    if known.is_some() {
                        changed(now.clone()).await;
                    }
                    known = Some(now);
                }
            }
            Ok(Err(_)) => {}
            // A file that is missing for a moment is being replaced.
            Err(error) => {
                failing += 1;
                if failing == FAILING {
                    warn!(%error, "what was read from it last stays in use");
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A file's bytes, bounded.
///
/// # Errors
/// [`CertificateError::Unreadable`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read;
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_certificate_has_every_name_once() {
        let mut config = SecureConfig::on(([10, 1, 2, 3], 443).into());
        config.names = vec!["a.b.svc".to_owned(), "localhost".to_owned(), "10.1.2.3".to_owned()];
        let made = make(&config).unwrap();
        let (_, read) = x509_parser::parse_x509_certificate(&made.cert[0]).unwrap();
        let names = read.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
        let names: Vec<_> = names.map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["DNSName(a.b.svc)", "DNSName(localhost)", "IPAddress(0a:01:02:03)", "IPAddress(7f:00:00:01)"]
        );
        config.names = vec!["ä".to_owned()];
        assert!(make(&config).is_err());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_with_the_file() {
        let pem = |pair: &KeyPair| CertificateParams::default().self_signed(pair).unwrap().pem();
        let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let files = KeyFiles { certificate: "c.pem".into(), key: "k.pem".into() };
        let check = |chain: &str, key: &str| {
            certified(&files, chain.as_bytes(), key.as_bytes()).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(check(&pem(&one), &one.serialize_pem()), Ok(()));
        let error = check(&pem(&one), &other.serialize_pem()).unwrap_err();
        assert!(error.starts_with("`k.pem`: no key of `c.pem`: "), "{error}");
        assert_eq!(check("", "").unwrap_err(), "`c.pem`: no PEM certificate in it");
        assert!(check(&pem(&one), "words").unwrap_err().starts_with("`k.pem`: no PEM private key"));
    }
}
