//! Why a request failed, by the types in an error's chain and not by its text.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// What a TLS handshake failed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate does not bear the name or address that was asked for.
    Name,
    /// Nobody whom we believe has signed it.
    Authority,
    /// It is valid no longer.
    Expired,
    /// It is not valid yet, or a clock is wrong.
    NotYetValid,
    /// The other side does not want us: it asks for a certificate, or for another one.
    ClientCertificate,
    /// Something else.
    Other,
}

impl TlsFault {
    /// What an error of the handshake stands for.
    pub(crate) fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired,
            ) => Self::ClientCertificate,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::Name,
            // An authority of the same name with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Authority,
            // A certificate that is its own authority, which is none for rustls.
            CertificateError::Other(_) => Self::Authority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            _ => Self::Other,
        }
    }
}

/// The first error of type `E` in a chain. An `io::Error` hides what it wraps from `source`.
pub(crate) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        if let Some(wrapped) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find::<E>(wrapped)
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error with all its causes: the outermost alone says only `client error (Connect)`.
pub(crate) fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// The last cause alone.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        last = error.to_string();
        cause = error.source();
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_through_what_wraps_it() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(tls));
        let found = find::<rustls::Error>(&wrapped).unwrap();
        assert_eq!(TlsFault::of(found), TlsFault::Authority);
        assert!(find::<hyper::Error>(&wrapped).is_none());
    }

    #[test]
    fn every_way_to_fail_has_its_fault() {
        let certificate = rustls::Error::InvalidCertificate;
        for (error, want) in [
            (certificate(CertificateError::NotValidForName), TlsFault::Name),
            (certificate(CertificateError::BadSignature), TlsFault::Authority),
            (certificate(CertificateError::Expired), TlsFault::Expired),
            (certificate(CertificateError::NotValidYet), TlsFault::NotYetValid),
            (certificate(CertificateError::Revoked), TlsFault::Other),
            (rustls::Error::AlertReceived(AlertDescription::CertificateRequired), TlsFault::ClientCertificate),
            (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), TlsFault::Other),
            (rustls::Error::DecryptError, TlsFault::Other),
        ] {
            assert_eq!(TlsFault::of(&error), want, "{error}");
        }
    }
}
