//! From the configuration's API server to a client, and to the credentials that kubelets may be
//! shown too. It makes no request.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use url::Url;

use crate::config::ApiServer;

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API server can't be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not in a cluster, or the pod has no service account token.
    #[error("not in a cluster: {0}; name a kubeconfig or a URL as `api-server`")]
    InCluster(String),
    /// The kubeconfig can't be read or names what isn't there.
    #[error("kubeconfig `{path}`: {reason}")]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that the configuration names.
    #[error("`{path}`: {reason}")]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The URL is none that HTTP can use.
    #[error("`{0}` is no URL of an API server")]
    Url(String),
    /// The TLS or HTTP client can't be built.
    #[error("client for the API server: {0}")]
    Client(String),
}

/// A certificate or key.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file, which may change.
    File(PathBuf),
    /// In the kubeconfig itself.
    Inline(Vec<u8>),
}

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// In a file, which may change.
    File(PathBuf),
    /// In the kubeconfig itself.
    Inline(String),
}

// Neither a key nor a token may ever get into a log line.
impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(…)"),
        }
    }
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(…)"),
        }
    }
}

/// What the API server is shown, for kubelets that are configured to be shown the same.
#[derive(Debug, Clone, Default)]
pub struct ClusterCredentials {
    /// Who signs certificates in this cluster.
    pub certificate_authority: Option<Pem>,
    /// The bearer token.
    pub token: Option<TokenSource>,
    /// Client certificate and key.
    pub client_certificate: Option<(Pem, Pem)>,
    /// Set if the kubeconfig gets its credentials from a program or provider: kubelets can't be
    /// shown those.
    pub by_plugin: bool,
}

/// A client and the credentials it uses.
#[derive(Clone)]
pub struct Connected {
    /// Client of the API server.
    pub client: Client,
    /// Its credentials.
    pub credentials: ClusterCredentials,
    /// Where the API server is: scheme, host and port.
    pub server: http::Uri,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// A client for the configured API server. Must be called within a Tokio runtime.
///
/// # Errors
/// [`ConnectError`] if files or environment that the configuration names are missing or broken;
/// a server that does not answer is no error here.
pub async fn connect(server: &ApiServer) -> Result<Connected, ConnectError> {
    crate::tls::install_provider();
    let (mut config, credentials) = match server {
        ApiServer::InCluster { host, insecure_tls } => in_cluster(host.as_ref(), *insecure_tls)?,
        ApiServer::Kubeconfig(path) => kubeconfig(path).await?,
        ApiServer::Url { url, insecure_tls, token_file, certificate_authority } => {
            plain(url, *insecure_tls, token_file.as_ref(), certificate_authority.as_ref())?
        }
    };
    // Whoever asks tries again with waits of its own, counts every failure and shows it; here a 429
    // or 503 would be asked again for up to a minute without a word.
    config.default_retry = false;
    let server = config.cluster_url.clone();
    let client = Client::try_from(config).map_err(|error| ConnectError::Client(error.to_string()))?;
    Ok(Connected { client, credentials, server })
}

fn in_cluster(host: Option<&Url>, insecure_tls: bool) -> Result<(Config, ClusterCredentials), ConnectError> {
    let loaded = match host {
        // The host stands for the environment's, which need not exist then.
        Some(_) => Config::incluster_dns(),
        None => Config::incluster(),
    };
    let mut config = loaded.map_err(|error| ConnectError::InCluster(error.to_string()))?;
    if let Some(url) = host {
        config.cluster_url = uri(url)?;
    }
    if insecure_tls {
        config.accept_invalid_certs = true;
        config.root_cert_file = None;
    }
    let folder = Path::new(SERVICE_ACCOUNT);
    let credentials = ClusterCredentials {
        certificate_authority: Some(Pem::File(folder.join("ca.crt"))),
        token: Some(TokenSource::File(folder.join("token"))),
        ..ClusterCredentials::default()
    };
    Ok((config, credentials))
}

/// Why a kubeconfig can't be used. The parser shows the lines around the fault, and a token may stand there.
fn unread(error: &KubeconfigError) -> String {
    let KubeconfigError::Parse(error) = error else { return error.to_string() };
    let place = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    format!("it is no YAML of a kubeconfig{}", place.unwrap_or_default())
}

async fn kubeconfig(path: &Path) -> Result<(Config, ClusterCredentials), ConnectError> {
    let failed = |error| ConnectError::Kubeconfig { path: path.to_owned(), reason: unread(&error) };
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(failed)?;
    let user = &config.auth_info;
    let token = match (&user.token, &user.token_file) {
        (Some(token), _) => Some(TokenSource::Inline(token.expose_secret().to_owned())),
        (None, Some(file)) => Some(TokenSource::File(file.into())),
        (None, None) => None,
    };
    let bad = |reason: String| ConnectError::Kubeconfig { path: path.to_owned(), reason };
    let certificate = pem(user.client_certificate.as_deref(), user.client_certificate_data.as_deref()).map_err(bad)?;
    let key_data = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
    let key = pem(user.client_key.as_deref(), key_data).map_err(bad)?;
    let credentials = ClusterCredentials {
        certificate_authority: config.root_cert.as_deref().map(|certificates| Pem::Inline(to_pem(certificates))),
        token,
        client_certificate: certificate.zip(key),
        by_plugin: user.exec.is_some() || user.auth_provider.is_some(),
    };
    Ok((config, credentials))
}

fn plain(
    url: &Url,
    insecure_tls: bool,
    token_file: Option<&PathBuf>,
    authority: Option<&PathBuf>,
) -> Result<(Config, ClusterCredentials), ConnectError> {
    let mut config = Config::new(uri(url)?);
    config.accept_invalid_certs = insecure_tls;
    if let Some(path) = token_file {
        read(path)?;
        config.auth_info.token_file = Some(path.to_string_lossy().into_owned());
    }
    if let Some(path) = authority {
        config.root_cert = Some(certificates(path)?);
        config.root_cert_file = (!insecure_tls).then(|| path.clone());
    } else if url.scheme() == "http" || insecure_tls {
        // Without this the system's authorities would be loaded, which an image may not have.
        config.root_cert = Some(Vec::new());
    }
    let credentials = ClusterCredentials {
        certificate_authority: authority.cloned().map(Pem::File),
        token: token_file.cloned().map(TokenSource::File),
        ..ClusterCredentials::default()
    };
    Ok((config, credentials))
}

fn uri(url: &Url) -> Result<http::Uri, ConnectError> {
    let uri: Option<http::Uri> = url.as_str().parse().ok();
    uri.filter(|uri| uri.host().is_some()).ok_or_else(|| ConnectError::Url(url.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|error| ConnectError::File { path: path.to_owned(), reason: error.to_string() })
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, ConnectError> {
    let bad = |reason: String| ConnectError::File { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| bad(format!("no PEM certificates: {error}")))?;
    if found.is_empty() {
        return Err(bad("no PEM certificate in it".to_owned()));
    }
    Ok(found.into_iter().map(|certificate| certificate.to_vec()).collect())
}

/// A kubeconfig's certificate or key: the data in base64 wins over the file.
fn pem(file: Option<&str>, data: Option<&str>) -> Result<Option<Pem>, String> {
    use base64::Engine;
    match data {
        Some(data) => base64::engine::general_purpose::STANDARD
            .decode(data.trim())
            .map(|bytes| Some(Pem::Inline(bytes)))
            .map_err(|error| format!("client certificate or key is no base64: {error}")),
        None => Ok(file.map(|file| Pem::File(file.into()))),
    }
}

fn to_pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    use base64::Engine;
    let mut text = String::new();
    for certificate in certificates {
        let body = base64::engine::general_purpose::STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        text.push_str(&body);
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spoiled_kubeconfig_is_told_without_what_stands_in_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let users = "users:\n- name: me\n  user: {token: s3cret}\n";
        for spoiled in ["  user: {token: \"\"s3cret}", "  user:\n     token: s3cret\n    x: \"", " x: [s3cret"] {
            std::fs::write(file.path(), users.replace("  user: {token: s3cret}", spoiled)).unwrap();
            let error = kubeconfig(file.path()).await.unwrap_err().to_string();
            assert!(error.contains("no YAML of a kubeconfig at line ") && !error.contains("s3cret"), "{error}");
        }
    }
}
