//! Client certificates: whether an authority vouches for one, and whom it names.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;

/// Certificates of one authority, at most.
const MAX_ROOTS: usize = 100;

/// What a client showed in the TLS handshake, its own certificate first. It has proved that it holds
/// the key; who vouches for the certificate is not known yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented(Arc<[CertificateDer<'static>]>);

impl Presented {
    /// The chain as it came.
    pub fn new(chain: &[CertificateDer<'_>]) -> Self {
        Self(chain.iter().map(|one| one.clone().into_owned()).collect())
    }
}

// Hundreds of bytes that nobody reads.
impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presented({} certificates)", self.0.len())
    }
}

/// A certificate authority's PEM is unusable.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is no certificate in it.
    #[error("there is no PEM certificate in it")]
    Empty,
    /// There are more than anybody needs, and each would be tried.
    #[error("there are {0} certificates in it; {MAX_ROOTS} are enough")]
    Many(usize),
    /// It is no PEM, or no certificate.
    #[error("it is no PEM certificate: {0}")]
    Malformed(String),
}

/// A certificate authority, or several that are trusted alike.
#[derive(Debug, Clone)]
pub struct Authority(Arc<[Root]>);

/// One certificate of an authority. Its own dates are looked at here: a trust anchor has none for rustls.
#[derive(Debug)]
struct Root {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Seconds since 1970.
    valid: RangeInclusive<i64>,
}

impl Authority {
    /// Those of a PEM text.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthorityError> {
        let malformed = |error: &dyn std::fmt::Display| AuthorityError::Malformed(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| malformed(&error))?;
            let (_, read) = X509Certificate::from_der(&certificate).map_err(|error| malformed(&error))?;
            let valid = read.validity().not_before.timestamp()..=read.validity().not_after.timestamp();
            let mut store = RootCertStore::empty();
            store.add(certificate.clone()).map_err(|error| malformed(&error))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build();
            roots.push(Root { verifier: verifier.map_err(|error| malformed(&error))?, valid });
        }
        if roots.is_empty() {
            return Err(AuthorityError::Empty);
        }
        if roots.len() > MAX_ROOTS {
            return Err(AuthorityError::Many(roots.len()));
        }
        Ok(Self(roots.into()))
    }

    /// The last moment at which any of its certificates is valid, seconds since 1970.
    pub(super) fn until(&self) -> i64 {
        self.0.iter().map(|root| *root.valid.end()).max().unwrap_or(i64::MIN)
    }

    /// Whether it vouches, at this moment, for the certificate as that of a client.
    ///
    /// # Errors
    /// Why not: another authority's, expired, not for clients….
    pub fn vouches_for(&self, presented: &Presented, since_1970: Duration) -> Result<(), String> {
        let Some((own, others)) = presented.0.split_first() else {
            return Err("no certificate".to_owned());
        };
        let now = UnixTime::since_unix_epoch(since_1970);
        let mut why = String::new();
        for root in self.0.iter() {
            if !root.valid.contains(&now.as_secs().cast_signed()) {
                why = "the authority's own certificate is expired or not valid yet".to_owned();
                continue;
            }
            match root.verifier.verify_client_cert(own, others, now) {
                Ok(_) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }
}

/// The common name in a client's certificate; the last if there are several, as in Go.
pub fn common_name(presented: &Presented) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(presented.0.first()?).ok()?;
    let name = certificate.subject().iter_common_name().last()?.as_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whom a certificate of the cluster's client authority names: the common name, and the
/// organisations as groups.
pub(super) fn user(presented: &Presented) -> Option<User> {
    let name = common_name(presented)?;
    let (_, certificate) = X509Certificate::from_der(presented.0.first()?).ok()?;
    let organisations = certificate.subject().iter_organization();
    let groups = organisations.filter_map(|group| group.as_str().ok().map(str::to_owned)).collect();
    Some(User { name, groups, ..User::default() }.authenticated())
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

    use super::*;

    pub(in crate::auth) type Issuer = CertifiedIssuer<'static, KeyPair>;

    pub(in crate::auth) fn issuer(name: &str) -> Issuer {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    pub(in crate::auth) fn client(issuer: &Issuer, name: &str, group: &str, until: i32) -> Presented {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
        Presented::new(&[certificate.der().clone()])
    }

    /// 2026-01-01.
    pub(in crate::auth) const NOW: Duration = Duration::from_secs(1_767_225_600);

    #[test]
    fn an_authority_vouches_for_its_own_clients_while_they_are_valid() {
        let (ours, theirs) = (issuer("ours"), issuer("theirs"));
        let authority = Authority::from_pem(ours.pem().as_bytes()).unwrap();
        let anna = client(&ours, "anna", "readers", 2040);
        assert_eq!(authority.vouches_for(&anna, NOW), Ok(()));
        let user = user(&anna).unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups.as_slice()),
            ("anna", &["readers".into(), "system:authenticated".into()][..])
        );
        let expired = authority.vouches_for(&client(&ours, "anna", "", 2024), NOW).unwrap_err();
        assert!(expired.contains("expired"), "{expired}");
        assert!(authority.vouches_for(&client(&theirs, "anna", "", 2040), NOW).is_err());
        assert!(authority.vouches_for(&Presented::new(&[]), NOW).is_err());
        assert!(authority.vouches_for(&Presented::new(&[CertificateDer::from(vec![1, 2, 3])]), NOW).is_err());
    }

    #[test]
    fn an_authority_that_is_over_vouches_for_nobody() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2024, 1, 1);
        let old = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let young = issuer("young");
        let both = Authority::from_pem(format!("{}{}", old.pem(), young.pem()).as_bytes()).unwrap();
        assert!(both.vouches_for(&client(&old, "anna", "", 2040), NOW).is_err());
        assert_eq!(both.vouches_for(&client(&young, "anna", "", 2040), NOW), Ok(()));
        let only = Authority::from_pem(old.pem().as_bytes()).unwrap();
        let why = only.vouches_for(&client(&old, "anna", "", 2040), NOW).unwrap_err();
        assert_eq!(why, "the authority's own certificate is expired or not valid yet");
    }

    #[test]
    fn pem_without_a_certificate_is_an_error() {
        assert!(matches!(Authority::from_pem(b""), Err(AuthorityError::Empty)));
        assert!(matches!(Authority::from_pem(b"words"), Err(AuthorityError::Empty)));
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Authority::from_pem(text.as_bytes()), Err(AuthorityError::Malformed(_))));
    }
}
