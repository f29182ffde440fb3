//! Heapster's `--source=kubernetes.summary_api:URL?options`, as it is written in thousands of manifests.

use std::path::PathBuf;

use super::super::fields::Fields;
use super::super::outside::Outside;
use super::super::problems::{Problems, quoted};
use super::super::uri::Uri;
use super::kubelet::READ_ONLY_PORT;
use super::{ApiServer, KubeletCa, KubeletConfig, KubeletPort, KubeletToken, SourceConfig};

const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Reads the value of `--source`.
pub fn from_uri(text: &str, outside: &Outside, problems: &Problems) -> Option<SourceConfig> {
    let uri = Uri::parse("source", text, outside, problems)?;
    match uri.key.as_str() {
        "kubernetes.summary_api" => {}
        "kubernetes" => problems.warn(
            "`--source=kubernetes` reads the kubelets' Summary API, as kubernetes.summary_api does: \
             kubelets no longer serve the old path",
        ),
        other => {
            let remedy = "use kubernetes.summary_api";
            problems.bad("--source", &quoted(other), remedy);
            return None;
        }
    }
    let fields = uri.fields(&[], outside, problems);
    let insecure = fields.boolean("insecure").unwrap_or(false);
    let config = SourceConfig {
        api: api_server(&uri, &fields, insecure),
        kubelet: kubelet(&fields, insecure),
        host_id_annotation: fields.text("host_id_annotation").filter(|key| !key.is_empty()),
        pod_annotations: Vec::new(),
    };
    fields.finish();
    Some(config)
}

fn api_server(uri: &Uri, fields: &Fields<'_>, insecure: bool) -> ApiServer {
    let in_cluster = fields.boolean("inClusterConfig").unwrap_or(true);
    let auth = fields.text("auth").filter(|path| !path.is_empty());
    let service_account = fields.boolean("useServiceAccount").unwrap_or(false);
    let (problems, at) = (fields.problems, &uri.at);
    if in_cluster {
        if auth.is_some() {
            problems.warn(format!("`{at}`: auth is ignored, as in Heapster, unless inClusterConfig=false"));
        }
        return ApiServer::InCluster { host: uri.server.clone(), insecure_tls: insecure };
    }
    if let Some(path) = auth {
        if service_account {
            problems.push(format!(
                "`{at}` has useServiceAccount beside auth; leave it out: the kubeconfig's own credentials are used"
            ));
        }
        if uri.server.is_some() || insecure {
            problems.warn(format!(
                "`{at}`: the URL and insecure are ignored, as in Heapster, because auth names a kubeconfig"
            ));
        }
        return ApiServer::Kubeconfig(PathBuf::from(path));
    }
    let Some(url) = uri.server.clone() else {
        if !uri.has_url {
            problems.push(format!(
                "`{at}` has inClusterConfig=false but neither a URL nor auth; add the API server's URL \
                 (http://host:port) or auth=KUBECONFIG"
            ));
        }
        return ApiServer::default();
    };
    let token_file = service_account.then(|| PathBuf::from(TOKEN_FILE));
    ApiServer::Url { url, insecure_tls: insecure, token_file, certificate_authority: None }
}

/// With neither port nor scheme given: HTTPS at the port of the node's status, which is what kubelets serve today.
fn kubelet(fields: &Fields<'_>, insecure: bool) -> KubeletConfig {
    let port = fields.integer("kubeletPort", 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let https = fields.boolean("kubeletHttps");
    let problems = fields.problems;
    let (port, https) = match (port, https) {
        (None, None) => {
            problems.warn(format!(
                "`{}` is not given: kubelets are asked over HTTPS at the port of the node's status \
                 (Heapster: plain HTTP at {READ_ONLY_PORT}, which kubelets no longer serve)",
                fields.path("kubeletPort")
            ));
            (KubeletPort::NodeStatus, true)
        }
        (None, Some(true)) => (KubeletPort::NodeStatus, true),
        (None, Some(false)) => (KubeletPort::Fixed(READ_ONLY_PORT), false),
        (Some(port), https) => (KubeletPort::Fixed(port), https.unwrap_or(false)),
    };
    if port == KubeletPort::Fixed(10250) && !https {
        problems.warn(format!(
            "`{}` is 10250, where kubelets speak HTTPS; add kubeletHttps=true",
            fields.path("kubeletPort")
        ));
    }
    if https && insecure {
        problems.warn(format!(
            "`{}`: whoever answers at a node's address is taken for its kubelet and is sent the token",
            fields.path("insecure")
        ));
    }
    KubeletConfig {
        port,
        https,
        certificate_authority: if https && insecure { KubeletCa::InsecureSkip } else { KubeletCa::Cluster },
        token: if https { KubeletToken::Cluster } else { KubeletToken::None },
        ..KubeletConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Result<SourceConfig, String> {
        let problems = Problems::default();
        let config = from_uri(text, &Outside::nothing(), &problems);
        problems.into_warnings().map_err(|refused| refused.errors.join("|"))?;
        Ok(config.unwrap())
    }

    #[test]
    fn kubelet_access_follows_port_and_scheme() {
        use KubeletPort::{Fixed, NodeStatus};
        for (options, port, https, token) in [
            ("", NodeStatus, true, KubeletToken::Cluster),
            ("kubeletPort=10255", Fixed(10255), false, KubeletToken::None),
            ("kubeletPort=10250&kubeletHttps=T", Fixed(10250), true, KubeletToken::Cluster),
            ("kubeletHttps=1", NodeStatus, true, KubeletToken::Cluster),
            ("kubeletHttps=false", Fixed(10255), false, KubeletToken::None),
            ("kubeletPort=1234", Fixed(1234), false, KubeletToken::None),
        ] {
            let kubelet = outcome(&format!("kubernetes.summary_api:''?{options}")).unwrap().kubelet;
            assert_eq!((kubelet.port, kubelet.https, kubelet.token), (port, https, token), "{options}");
        }
    }

    #[test]
    fn api_server_follows_heapsters_rules() {
        let url = url::Url::parse("http://127.0.0.1:8080").unwrap();
        let plain = |token_file: Option<&str>| ApiServer::Url {
            url: url.clone(),
            insecure_tls: false,
            token_file: token_file.map(PathBuf::from),
            certificate_authority: None,
        };
        for (text, want) in [
            ("kubernetes", Ok(ApiServer::default())),
            (
                "kubernetes:https://kubernetes.default",
                Ok(ApiServer::InCluster {
                    host: Some("https://kubernetes.default".parse().unwrap()),
                    insecure_tls: false,
                }),
            ),
            ("kubernetes:''?insecure=true", Ok(ApiServer::InCluster { host: None, insecure_tls: true })),
            ("kubernetes.summary_api:http://127.0.0.1:8080?inClusterConfig=false&auth=", Ok(plain(None))),
            ("kubernetes:http://127.0.0.1:8080?inClusterConfig=0&useServiceAccount=1", Ok(plain(Some(TOKEN_FILE)))),
            ("kubernetes:?inClusterConfig=false&auth=/kc", Ok(ApiServer::Kubeconfig("/kc".into()))),
            (
                "kubernetes:?inClusterConfig=false",
                Err(
                    "`--source=kubernetes` has inClusterConfig=false but neither a URL nor auth; add the API server's \
                 URL (http://host:port) or auth=KUBECONFIG",
                ),
            ),
            (
                "kubernetes:?inClusterConfig=yes",
                Err("`--source=kubernetes:?inClusterConfig` is `yes`; write true or false"),
            ),
            ("cadvisor:", Err("`--source` is `cadvisor`; use kubernetes.summary_api")),
            (
                "kubernetes:?kubeletport=1",
                Err(
                    "`--source=kubernetes:?kubeletport` is not a known option; did you mean `kubeletPort`? known: auth, \
                 host_id_annotation, inClusterConfig, insecure, kubeletHttps, kubeletPort, useServiceAccount",
                ),
            ),
        ] {
            assert_eq!(outcome(text).map(|config| config.api), want.map_err(str::to_owned), "{text}");
        }
    }
}
