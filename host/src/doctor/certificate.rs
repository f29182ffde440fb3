//! What a server shows of itself, looked at without believing it: who signed it, which names it bears.
//!
//! The handshake is broken off as soon as the certificate is there, so that nothing of ours is sent.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::text::tame;

/// Names that are shown.
const MOST_NAMES: usize = 12;
/// Of a name, bytes.
const NAME_BYTES: usize = 100;

/// A server's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub issuer: String,
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// Validity, seconds since 1970.
    pub from: i64,
    pub until: i64,
}

impl Shown {
    /// What is to be said of it, at a time in seconds since 1970.
    pub fn told(&self, now: i64) -> String {
        let names = match self.names.as_slice() {
            [] => "no name at all".to_owned(),
            names => names.join(", "),
        };
        let validity = if now > self.until {
            format!("; expired {}", day(self.until))
        } else if now < self.from {
            format!("; valid from {}", day(self.from))
        } else {
            String::new()
        };
        format!("its certificate is for {names}; signed by `{}`{validity}", self.issuer)
    }

    fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(name).take(MOST_NAMES);
        Some(Self {
            issuer: tame(&certificate.issuer().to_string(), NAME_BYTES),
            names: names.map(|name| tame(&name, NAME_BYTES)).collect(),
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from);
            v4.or_else(v6).map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The day of a time in seconds since 1970.
pub(super) fn day(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).map(|time| time.to_string());
    time.map_or_else(|_| "at no time".to_owned(), |time| time.chars().take(10).collect())
}

/// What the server at `address` (`host:port`) shows to somebody who asks for `name`.
pub(super) async fn shown(address: &str, name: &str, wait: Duration) -> Option<Shown> {
    let recorder = Arc::new(Recorder::default());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(recorder.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let handshake = async {
        let stream = TcpStream::connect(address).await.ok()?;
        // It always fails: the verifier sees to that.
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.err()
    };
    timeout(wait, handshake).await.ok()??;
    let seen = recorder.seen.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    Shown::of(&seen)
}

/// Keeps the certificate and believes nobody.
#[derive(Debug, Default)]
struct Recorder {
    seen: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        Err(Error::General("looked at".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("looked at".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("looked at".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_says_its_names_its_signer_and_whether_its_time_is_over() {
        let mut params = CertificateParams::new(vec!["node-a".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "node-a-ca@1");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 2, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let shown = Shown::of(certificate.der()).unwrap();
        let within = shown.from + 1;
        assert!(shown.told(within).starts_with("its certificate is for node-a, 10.0.0.1; signed by `"));
        assert!(shown.told(within).contains("node-a-ca@1"), "{}", shown.told(within));
        assert!(shown.told(shown.until + 1).ends_with("expired 2026-02-01"), "{}", shown.told(shown.until + 1));
        assert!(shown.told(0).ends_with("valid from 2026-01-01"));
        assert_eq!(Shown::of(b"words"), None);
    }
}
