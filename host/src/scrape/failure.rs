//! Why a node gave no batch, as a class to count and a sentence that tells the operator what to do.

use std::io;
use std::time::Duration;

use crate::causes::{TlsFault, find, innermost};
use crate::text::tame;

/// Longest sentence about one node's failure, bytes.
const TOLD_BYTES: usize = 600;

/// Why a node gave no batch in a cycle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeFailure {
    /// The deadline passed.
    #[error(
        "no complete answer within {0:.1?}; look at the kubelet's load, or raise the kubelet `timeout` (below the resolution)"
    )]
    Timeout(Duration),
    /// It was never asked.
    #[error(
        "its turn did not come before the end of the cycle; the rules or other nodes are slow: see their times in /api/v1/status, and raise the resolution or the kubelet `concurrency`"
    )]
    NoTurn,
    /// Nothing listens there.
    #[error("connection refused by {0}; is the kubelet running, and is this its port? (10255 is off by default)")]
    Refused(String),
    /// The network, or the kubelet closed the connection.
    #[error("no connection to {address}: {reason}")]
    Connection {
        /// Host and port.
        address: String,
        /// What the operating system or the protocol says.
        reason: String,
    },
    /// The handshake failed.
    #[error(
        "TLS with {address}: {reason}; set the kubelet `certificate-authority` to what signed its certificate, `server-name` to a name that it bears, or `insecure-tls`"
    )]
    Tls {
        /// Host and port.
        address: String,
        /// What rustls says.
        reason: String,
        /// Of which kind that is.
        fault: TlsFault,
    },
    /// What answered is no TLS server.
    #[error(
        "TLS with {0}: what answers there speaks no TLS; set the kubelet `https = false` if it is plain HTTP, or the right `port`"
    )]
    NotTls(String),
    /// What answered is no HTTP server.
    #[error(
        "no connection to {0}: what answers there speaks no plain HTTP; set the kubelet `https = true`, or the right `port`"
    )]
    NotHttp(String),
    /// 401.
    #[error(
        "401: the kubelet does not accept the token; it needs --authentication-token-webhook, and a token that the API server knows{0}"
    )]
    Unauthorized(Excerpt),
    /// 403.
    #[error(
        "403: the ClusterRole lacks the rule `resources: [nodes/stats], verbs: [get]` (nodes/proxy is neither needed nor safe){0}"
    )]
    Forbidden(Excerpt),
    /// 404.
    #[error("404: no /stats/summary there; is this the kubelet's port?{0}")]
    NotFound(Excerpt),
    /// 500 to 599.
    #[error("the kubelet failed with {status}{text}")]
    Server {
        /// The status.
        status: u16,
        /// The beginning of what it said.
        text: Excerpt,
    },
    /// Any other status; redirects are not followed, for they would carry the token elsewhere.
    #[error("unexpected status {status}{text}")]
    Status {
        /// The status.
        status: u16,
        /// The beginning of what it said.
        text: Excerpt,
    },
    /// The body is cut off, no JSON, or no Summary.
    #[error("body: {0}")]
    Body(String),
    /// The body is longer than allowed.
    #[error("the body is longer than {0} bytes; raise the kubelet `max-body` if it is no mistake")]
    TooLarge(u64),
    /// It says more than a batch may hold.
    #[error("the body has more than {bound} {what}")]
    OverBound {
        /// Of what.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
    /// Somebody else's answer.
    #[error("asked `{asked}`, and `{answered}` answered; the address may have a new owner")]
    NameMismatch {
        /// The node's name at the API server.
        asked: String,
        /// The name in the body.
        answered: String,
    },
    /// Nowhere to ask.
    #[error("{0}")]
    NoAddress(String),
    /// Not asked.
    #[error("the node is not Ready, and is not asked")]
    NotReady,
    /// Not asked.
    #[error("the last request is still under way")]
    InFlight,
}

impl ScrapeFailure {
    /// The class, for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::NoTurn => "no-turn",
            Self::Refused(_) => "refused",
            Self::Connection { .. } | Self::NotHttp(_) => "connection",
            Self::Tls { .. } | Self::NotTls(_) => "tls",
            Self::Unauthorized(_) => "401",
            Self::Forbidden(_) => "403",
            Self::NotFound(_) => "404",
            Self::Server { .. } => "5xx",
            Self::Status { .. } => "status",
            Self::Body(_) => "body",
            Self::TooLarge(_) => "too-large",
            Self::OverBound { .. } => "over-bound",
            Self::NameMismatch { .. } => "name-mismatch",
            Self::NoAddress(_) => "no-address",
            Self::NotReady => "not-ready",
            Self::InFlight => "in-flight",
        }
    }

    /// The sentence, cut and on one line: what a kubelet said of itself may be in it.
    #[must_use]
    pub fn told(&self) -> String {
        tame(&self.to_string(), TOLD_BYTES)
    }

    /// Whether the node was asked at all.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        !matches!(self, Self::NotReady | Self::NoAddress(_) | Self::InFlight | Self::NoTurn)
    }

    /// The failure that a status other than 200 stands for.
    pub(super) fn of_status(status: u16, text: &[u8]) -> Self {
        let text = Excerpt::of(text);
        match status {
            401 => Self::Unauthorized(text),
            403 => Self::Forbidden(text),
            404 => Self::NotFound(text),
            500..=599 => Self::Server { status, text },
            _ => Self::Status { status, text },
        }
    }

    /// The failure behind an error of the HTTP client, by the types in its chain.
    pub(super) fn of_request(error: &reqwest::Error, address: &str) -> Self {
        let address = address.to_owned();
        if let Some(tls) = find::<rustls::Error>(error) {
            return match tls {
                rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Self::NotTls(address),
                _ => Self::Tls { address, reason: tls.to_string(), fault: TlsFault::of(tls) },
            };
        }
        if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return Self::NotHttp(address);
        }
        if find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return Self::Refused(address);
        }
        if error.is_decode() || error.is_body() {
            return Self::Body(format!("cut off or not decodable: {}", innermost(error)));
        }
        Self::Connection { address, reason: innermost(error) }
    }
}

/// The beginning of an error's body, on one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// How much of a body is read for it, bytes.
    pub(super) const READ: usize = 1024;
    const SHOWN: usize = 200;

    fn of(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self(line.chars().filter(|letter| !letter.is_control()).take(Self::SHOWN).collect())
    }
}

impl std::fmt::Display for Excerpt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class_and_remedy() {
        for (status, text, reason, sentence) in [
            (401, "Unauthorized", "401", "--authentication-token-webhook"),
            (403, "Forbidden (user=x, verb=get, resource=nodes, subresource=stats)", "403", "subresource=stats"),
            (403, "", "403", "`resources: [nodes/stats], verbs: [get]`"),
            (404, "404 page not found\n", "404", "is this the kubelet's port?: 404 page not found"),
            (500, "Internal Error: failed to list pod stats", "5xx", "with 500: Internal Error"),
            (503, "", "5xx", "with 503"),
            (302, "", "status", "302"),
            (204, "", "status", "204"),
        ] {
            let failure = ScrapeFailure::of_status(status, text.as_bytes());
            assert_eq!(failure.reason(), reason, "{status}");
            assert!(failure.to_string().contains(sentence), "{status}: {failure}");
        }
    }

    #[test]
    fn whatever_a_kubelet_says_the_sentence_stays_short_and_on_one_line() {
        let hostile = "A\n\u{1b}[2J".repeat(1 << 20);
        for failure in [
            ScrapeFailure::NameMismatch { asked: "node-a".to_owned(), answered: hostile.clone() },
            ScrapeFailure::Body(hostile),
        ] {
            let told = failure.told();
            assert!(told.len() < 3 * TOLD_BYTES && !told.contains(char::is_control), "{told}");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        let excerpt = Excerpt::of(format!("a\n\t b\u{1b}[31m{}", "x".repeat(900)).as_bytes());
        assert!(excerpt.0.starts_with("a b[31m") && excerpt.0.len() <= Excerpt::SHOWN, "{excerpt}");
        assert_eq!(Excerpt::of(&[0xff, 0xfe]).0, "\u{fffd}\u{fffd}");
    }
}
