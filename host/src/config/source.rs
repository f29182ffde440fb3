//! Where the facts come from: the API server, and what is asked of its nodes and pods. The kubelets have a file of
//! their own; Heapster's `--source` URI too.

use std::path::PathBuf;

use toml::{Table, Value};
use url::Url;

use super::fields::Fields;
use super::urls::{redacted, server_url};
use super::values;

mod address;
mod heapster;
mod kubelet;

pub use heapster::from_uri;
pub use kubelet::{AddressOverrides, KubeletCa, KubeletConfig, KubeletPort, KubeletToken, ServerName};

/// `[source.kubernetes]`, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceConfig {
    /// How the API server is reached.
    pub api: ApiServer,
    /// How every kubelet is reached.
    pub kubelet: KubeletConfig,
    /// Node annotation that `host_id` comes from when the node has no `spec.externalID`.
    pub host_id_annotation: Option<String>,
    /// Pod annotations that rules get as `__annotation_<key>`.
    pub pod_annotations: Vec<String>,
}

/// How the API server is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiServer {
    /// With the pod's service account.
    InCluster {
        /// Replaces the address that Kubernetes put into the environment.
        host: Option<Url>,
        /// Any certificate will do.
        insecure_tls: bool,
    },
    /// As a kubeconfig file says.
    Kubeconfig(PathBuf),
    /// At this address.
    Url {
        /// Scheme, host and port.
        url: Url,
        /// Any certificate will do.
        insecure_tls: bool,
        /// Bearer token, read again when the file changes; none is sent without it.
        token_file: Option<PathBuf>,
        /// PEM; without it the system's authorities count.
        certificate_authority: Option<PathBuf>,
    },
}

impl Default for ApiServer {
    fn default() -> Self {
        Self::InCluster { host: None, insecure_tls: false }
    }
}

/// Reads `[source]`.
pub fn from_toml(source: Fields<'_>) -> SourceConfig {
    let fields = source.table("kubernetes");
    let config = SourceConfig {
        api: api_server(&fields),
        kubelet: kubelet::from_toml(fields.table("kubelet")),
        host_id_annotation: fields.string("host-id-annotation"),
        pod_annotations: fields.strings("pod-annotations").unwrap_or_default(),
    };
    fields.finish();
    source.finish();
    config
}

/// `api-server` is a word, a URL or a path; the keys beside it depend on which.
fn api_server(fields: &Fields<'_>) -> ApiServer {
    let kind = fields.string("api-server").unwrap_or_else(|| "in-cluster".to_owned());
    let host = fields.url("api-server-url");
    let insecure_tls = fields.boolean("insecure-tls").unwrap_or(false);
    let token_file = fields.path_of("token-file");
    let certificate_authority = fields.path_of("certificate-authority");
    let misplaced = |keys: &[&str], with: &str| {
        for key in keys.iter().filter(|key| fields.has(key)) {
            fields.problems.push(format!("`{}` has no meaning {with}; leave it out", fields.path(key)));
        }
    };
    if kind == "in-cluster" {
        misplaced(&["token-file", "certificate-authority"], "with api-server = \"in-cluster\"");
        return ApiServer::InCluster { host, insecure_tls };
    }
    if !kind.contains("://") {
        let all = ["api-server-url", "insecure-tls", "token-file", "certificate-authority"];
        misplaced(&all, "with a kubeconfig, which says it itself");
        if !kind.contains('/') {
            let remedy = "use \"in-cluster\", a URL, or the path of a kubeconfig (with a `/` in it)";
            fields.bad("api-server", &kind, remedy);
        }
        return ApiServer::Kubeconfig(PathBuf::from(kind));
    }
    misplaced(&["api-server-url"], "beside a URL in `api-server`");
    if insecure_tls && certificate_authority.is_some() {
        fields.problems.push(format!(
            "`{}` and `{}` contradict each other; leave one out",
            fields.path("insecure-tls"),
            fields.path("certificate-authority")
        ));
    }
    match server_url(&kind) {
        Ok(url) => ApiServer::Url { url, insecure_tls, token_file, certificate_authority },
        Err(remedy) => {
            fields.bad("api-server", &redacted(&kind), &remedy);
            ApiServer::default()
        }
    }
}

impl SourceConfig {
    /// The same as `[source.kubernetes]`, defaults left out.
    pub fn to_toml(&self) -> Table {
        let mut table = Table::new();
        let mut put = |key: &str, value: Value| table.insert(key.to_owned(), value);
        match &self.api {
            ApiServer::InCluster { host, insecure_tls } => {
                put("api-server", "in-cluster".into());
                if let Some(host) = host {
                    put("api-server-url", values::url_text(host).into());
                }
                if *insecure_tls {
                    put("insecure-tls", true.into());
                }
            }
            ApiServer::Kubeconfig(path) => {
                put("api-server", path.to_string_lossy().into_owned().into());
            }
            ApiServer::Url { url, insecure_tls, token_file, certificate_authority } => {
                put("api-server", values::url_text(url).into());
                if *insecure_tls {
                    put("insecure-tls", true.into());
                }
                for (key, path) in [("token-file", token_file), ("certificate-authority", certificate_authority)] {
                    if let Some(path) = path {
                        put(key, path.to_string_lossy().into_owned().into());
                    }
                }
            }
        }
        if let Some(annotation) = &self.host_id_annotation {
            put("host-id-annotation", annotation.clone().into());
        }
        if !self.pod_annotations.is_empty() {
            put("pod-annotations", self.pod_annotations.clone().into());
        }
        let kubelet = self.kubelet.to_toml();
        if !kubelet.is_empty() {
            put("kubelet", kubelet.into());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::super::outside::Outside;
    use super::super::problems::Problems;
    use super::*;

    fn outcome(toml: &str) -> Result<SourceConfig, String> {
        let (outside, problems) = (Outside::nothing(), Problems::default());
        let config = from_toml(Fields::toml(toml.parse().unwrap(), "source", &outside, &problems));
        problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
        Ok(config)
    }

    #[test]
    fn api_server_is_a_word_a_url_or_a_path() {
        let url = Url::parse("https://api:6443").unwrap();
        for (toml, want) in [
            ("", Ok(ApiServer::default())),
            ("api-server = 'in-cluster'", Ok(ApiServer::default())),
            ("api-server = '/home/me/.kube/config'", Ok(ApiServer::Kubeconfig("/home/me/.kube/config".into()))),
            (
                "api-server = 'https://api:6443'\ntoken-file = '/t'",
                Ok(ApiServer::Url {
                    url: url.clone(),
                    insecure_tls: false,
                    token_file: Some("/t".into()),
                    certificate_authority: None,
                }),
            ),
            (
                "api-server-url = 'https://api:6443'\ninsecure-tls = true",
                Ok(ApiServer::InCluster { host: Some(url), insecure_tls: true }),
            ),
            (
                "api-server = 'in-clutser'",
                Err("`source.kubernetes.api-server` is `in-clutser`; use \"in-cluster\", a URL, or the path of a \
                     kubeconfig (with a `/` in it)"),
            ),
            (
                "api-server = './kc'\ntoken-file = '/t'",
                Err(
                    "`source.kubernetes.token-file` has no meaning with a kubeconfig, which says it itself; leave it out",
                ),
            ),
            (
                "api-server = 'https://a'\ninsecure-tls = true\ncertificate-authority = '/ca'",
                Err("`source.kubernetes.insecure-tls` and `source.kubernetes.certificate-authority` contradict each \
                     other; leave one out"),
            ),
        ] {
            let got = outcome(&format!("[kubernetes]\n{toml}"));
            if let Ok(config) = &got {
                let mut outer = Table::new();
                outer.insert("kubernetes".to_owned(), config.to_toml().into());
                assert_eq!(&outcome(&outer.to_string()).unwrap(), config, "{toml} again");
            }
            assert_eq!(got.map(|config| config.api), want.map_err(str::to_owned), "{toml}");
        }
    }
}
