//! What kubelets are shown, and whom we believe: token, authorities and client certificate, read
//! again when their files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use tracing::warn;

use crate::config::source::{KubeletCa, KubeletConfig, KubeletToken, ServerName};
use crate::kube::{ClusterCredentials, Pem, TokenSource};

use super::sessions::Sessions;
use super::verify::{KubeletVerifier, ShownCertificate};

/// Kubelets can't be asked as configured.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeSetupError {
    /// A file that can't be read or does not hold what it should.
    #[error("`{path}`: {reason}")]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What the kubeconfig holds in itself.
    #[error("kubeconfig: {0}")]
    Inline(String),
    /// Whom to believe is not known.
    #[error(
        "no certificate authority for kubelets: the API server's configuration has none; set the kubelet `certificate-authority`, or `insecure-tls = true`"
    )]
    NoAuthority,
    /// A program makes the API server's credentials.
    #[error(
        "the kubeconfig gets its credentials from a plugin, which kubelets can't be shown; set the kubelet `token` to a file, or `none`"
    )]
    Plugin,
    /// No name that a certificate can bear.
    #[error("`{0}` is no server name: write a DNS name or an IP address")]
    ServerName(String),
    /// The HTTP client can't be built.
    #[error("client for kubelets: {0}")]
    Client(String),
}

/// Everything that may change while we run.
#[derive(Debug)]
pub(super) struct Credentials {
    token: Option<(TokenSource, Mutex<HeaderValue>)>,
    verifier: Arc<KubeletVerifier>,
    authority: Option<Watched>,
    shown: Option<(Arc<ShownCertificate>, Watched, Watched)>,
    sessions: Arc<Sessions>,
}

/// A PEM and what it held when it was last read.
#[derive(Debug)]
struct Watched {
    source: Pem,
    last: Mutex<Vec<u8>>,
}

impl Watched {
    fn open(source: Pem) -> Result<(Self, Vec<u8>), ScrapeSetupError> {
        let bytes = load(&source)?;
        Ok((Self { source, last: Mutex::new(bytes.clone()) }, bytes))
    }

    /// The new content, if the file has one. A file that can't be read keeps the old.
    fn changed(&self) -> Option<Vec<u8>> {
        let Pem::File(path) = &self.source else {
            return None;
        };
        let fresh = std::fs::read(path).ok()?;
        let mut last = lock(&self.last);
        (*last != fresh).then(|| {
            last.clone_from(&fresh);
            fresh
        })
    }

    fn last(&self) -> Vec<u8> {
        lock(&self.last).clone()
    }

    fn path(&self) -> &Path {
        match &self.source {
            Pem::File(path) => path,
            Pem::Inline(_) => Path::new("kubeconfig"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load(pem: &Pem) -> Result<Vec<u8>, ScrapeSetupError> {
    match pem {
        Pem::Inline(bytes) => Ok(bytes.clone()),
        Pem::File(path) => std::fs::read(path)
            .map_err(|error| ScrapeSetupError::File { path: path.clone(), reason: error.to_string() }),
    }
}

impl Credentials {
    /// Reads everything for the first time, and makes the TLS configuration that follows it.
    pub(super) fn open(
        config: &KubeletConfig,
        cluster: &ClusterCredentials,
    ) -> Result<(Self, ClientConfig), ScrapeSetupError> {
        crate::tls::install_provider();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (verifier, authority) = verifier(config, cluster, &provider)?;
        let verifier = Arc::new(verifier);
        let shown = shown(config, cluster, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ScrapeSetupError::Client(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut tls = match &shown {
            Some((shown, ..)) => builder.with_client_cert_resolver(shown.clone()),
            None => builder.with_no_client_auth(),
        };
        let sessions = Arc::new(Sessions::default());
        tls.resumption = Resumption::store(sessions.clone());
        let token = token(config, cluster, shown.is_some())?;
        Ok((Self { token, verifier, authority, shown, sessions }, tls))
    }

    /// The token to send.
    pub(super) fn token(&self) -> Option<HeaderValue> {
        self.token.as_ref().map(|(_, header)| lock(header).clone())
    }

    /// Reads the token again; the new one if it is not `refused`.
    pub(super) fn fresh_token(&self, refused: Option<&HeaderValue>) -> Option<HeaderValue> {
        let (source, header) = self.token.as_ref()?;
        match read_token(source) {
            Ok(fresh) => *lock(header) = fresh,
            // The last good one may still be right: the file may be in the middle of a change.
            Err(error) => warn!(%error, "kubelet token not read again; keeping the last one"),
        }
        self.token().filter(|fresh| Some(fresh) != refused)
    }

    /// Reads again what has changed. Blocks on small files.
    pub(super) fn refresh(&self) {
        let _ = self.fresh_token(None);
        if let Some(authority) = &self.authority
            && let Some(pem) = authority.changed()
        {
            match self.verifier.replace(&pem) {
                Ok(()) => self.sessions.forget(),
                Err(error) => {
                    warn!(path = %authority.path().display(), %error, "kubelet certificate authority not taken; keeping the last one");
                }
            }
        }
        if let Some((shown, certificate, key)) = &self.shown {
            let changed = (certificate.changed(), key.changed());
            if changed.0.is_some() || changed.1.is_some() {
                let certificate_pem = changed.0.unwrap_or_else(|| certificate.last());
                let key_pem = changed.1.unwrap_or_else(|| key.last());
                match shown.replace(&certificate_pem, &key_pem) {
                    // A resumed session is still that of the old certificate.
                    Ok(()) => self.sessions.forget(),
                    Err(error) => {
                        warn!(path = %certificate.path().display(), %error, "client certificate not taken; keeping the last one");
                    }
                }
            }
        }
    }
}

fn verifier(
    config: &KubeletConfig,
    cluster: &ClusterCredentials,
    provider: &Arc<CryptoProvider>,
) -> Result<(KubeletVerifier, Option<Watched>), ScrapeSetupError> {
    let name = match &config.server_name {
        ServerName::Fixed(name) => Some(
            rustls::pki_types::ServerName::try_from(name.clone())
                .map_err(|_| ScrapeSetupError::ServerName(name.clone()))?,
        ),
        ServerName::Address | ServerName::NodeName => None,
    };
    let source = match &config.certificate_authority {
        _ if !config.https => None,
        KubeletCa::InsecureSkip => {
            warn!("certificates of kubelets are NOT checked: whoever takes a node's address gets our token");
            None
        }
        KubeletCa::File(path) => Some(Pem::File(path.clone())),
        KubeletCa::Cluster => Some(cluster.certificate_authority.clone().ok_or(ScrapeSetupError::NoAuthority)?),
    };
    let opened = source.map(Watched::open).transpose()?;
    let (authority, pem) = opened.unzip();
    let verifier = KubeletVerifier::new(pem.as_deref(), name, Arc::clone(provider))
        .map_err(|reason| of_pem(authority.as_ref().map(|authority: &Watched| &authority.source), reason))?;
    Ok((verifier, authority))
}

type Shown = (Arc<ShownCertificate>, Watched, Watched);

fn shown(
    config: &KubeletConfig,
    cluster: &ClusterCredentials,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Shown>, ScrapeSetupError> {
    let own = config.client_certificate.clone().map(|(certificate, key)| (Pem::File(certificate), Pem::File(key)));
    let source = match (own, &config.token) {
        _ if !config.https => None,
        (Some(own), _) => Some(own),
        // A kubeconfig may know its user by a certificate instead of a token.
        (None, KubeletToken::Cluster) => cluster.client_certificate.clone(),
        (None, KubeletToken::None | KubeletToken::File(_)) => None,
    };
    let Some((certificate, key)) = source else {
        return Ok(None);
    };
    let (certificate, certificate_pem) = Watched::open(certificate)?;
    let (key, key_pem) = Watched::open(key)?;
    let shown = ShownCertificate::new(&certificate_pem, &key_pem, Arc::clone(provider))
        .map_err(|reason| of_pem(Some(&certificate.source), reason))?;
    Ok(Some((Arc::new(shown), certificate, key)))
}

fn of_pem(source: Option<&Pem>, reason: String) -> ScrapeSetupError {
    match source {
        Some(Pem::File(path)) => ScrapeSetupError::File { path: path.clone(), reason },
        Some(Pem::Inline(_)) | None => ScrapeSetupError::Inline(reason),
    }
}

type Token = (TokenSource, Mutex<HeaderValue>);

/// A token never goes over plain HTTP: everybody on the way could use it.
fn token(
    config: &KubeletConfig,
    cluster: &ClusterCredentials,
    has_certificate: bool,
) -> Result<Option<Token>, ScrapeSetupError> {
    let source = match &config.token {
        _ if !config.https => None,
        KubeletToken::None => None,
        KubeletToken::File(path) => Some(TokenSource::File(path.clone())),
        KubeletToken::Cluster if cluster.token.is_some() => cluster.token.clone(),
        KubeletToken::Cluster if cluster.by_plugin && !has_certificate => {
            return Err(ScrapeSetupError::Plugin);
        }
        KubeletToken::Cluster => None,
    };
    let Some(source) = source else {
        return Ok(None);
    };
    let header = read_token(&source)?;
    Ok(Some((source, Mutex::new(header))))
}

fn read_token(source: &TokenSource) -> Result<HeaderValue, ScrapeSetupError> {
    match source {
        TokenSource::Inline(token) => bearer(token).map_err(ScrapeSetupError::Inline),
        TokenSource::File(path) => {
            let bad = |reason: String| ScrapeSetupError::File { path: path.clone(), reason };
            let token = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
            bearer(&token).map_err(bad)
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let token = token.trim();
    if token.is_empty() {
        return Err("the token is empty".to_owned());
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| "the token has characters that no header can hold".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}
