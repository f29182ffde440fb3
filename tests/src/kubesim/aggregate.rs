//! What stands behind the API server: a server of `metrics.k8s.io` that it passes requests on to, as an `APIService` makes a
//! real one do, and as its service proxy does under the service's own path.
//!
//! The caller is known by its token, as everywhere here; what it says of itself in `X-Remote-` headers is thrown away, and
//! the API server says who it is. Bodies of requests are not passed on: the metrics API takes none.

use std::sync::PoisonError;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use super::{
    api::{Api, Refusal},
    kubelet::json_body,
    store::Resource,
};

const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";
/// Heapster's service, as its first clients called it.
const SERVICES: [&str; 2] = [
    "/api/v1/namespaces/kube-system/services/http:heapster:/proxy",
    "/api/v1/namespaces/kube-system/services/heapster/proxy",
];
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");
/// Headers of one connection, which no proxy passes on, and the caller's credentials.
const OWN: [HeaderName; 8] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
];

/// A server behind the API server.
#[derive(Debug, Clone)]
pub struct Backend {
    url: String,
    client: reqwest::Client,
}

impl Backend {
    /// One that is asked over plain HTTP, by its root.
    pub fn plain(url: &str) -> Self {
        // Fails where somebody was first, which is as good.
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().no_gzip().redirect(reqwest::redirect::Policy::none());
        Self::new(url, client.build().unwrap_or_default())
    }

    /// One that is asked by this client, which has the front proxy's certificate and knows the server's authority. It must
    /// leave bodies as they are (`no_gzip`).
    pub fn new(url: &str, client: reqwest::Client) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), client }
    }

    async fn ask(
        &self,
        method: http::Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), Refusal> {
        let unreachable = |error: &dyn std::fmt::Display| {
            let message = format!("error trying to reach service: {error}");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &message)
        };
        let request = self.client.request(method, format!("{}{path}", self.url)).headers(headers);
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| unreachable(&error))?;
        Ok((status, headers, body.to_vec()))
    }
}

/// Who asks, as the API server tells the servers behind it.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

impl Caller {
    fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(|&group| group.to_owned()).collect() }
    }
}

impl Api {
    fn backend(&self) -> Option<Backend> {
        self.behind.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who asks; `None`: that is not known. Whoever brings the cluster's own token may do everything; where the cluster has
    /// none, those without one are nobody in particular.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.cluster.knows(headers) {
            return Some(match self.cluster.authorization {
                Some(_) => Caller::new("kubernetes-admin", &["system:masters", "system:authenticated"]),
                None => Caller::new("system:anonymous", &["system:unauthenticated"]),
            });
        }
        let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let (name, mut groups) = self.cluster.access.user(token)?;
        groups.push("system:authenticated".to_owned());
        Some(Caller { name, groups })
    }

    /// The answer to what is not the API server's own; `None`: it is.
    pub(super) async fn aggregated(&self, request: &Parts) -> Option<Result<Response<Body>, Refusal>> {
        let backend = self.backend()?;
        let path = request.uri.path();
        let whole = request.uri.path_and_query().map_or(path, |whole| whole.as_str());
        let version = format!("/apis/{GROUP}/{VERSION}");
        let schemas = format!("/openapi/v3{version}");
        let service =
            SERVICES.iter().find_map(|prefix| whole.strip_prefix(prefix)).filter(|rest| rest.starts_with('/'));
        let is_discovery = matches!(path, "/api" | "/apis") && asks_aggregated(&request.headers);
        let is_theirs = path == version || path.starts_with(&format!("{version}/")) || path == schemas;
        if service.is_none() && !is_discovery && !is_theirs {
            return None;
        }
        if let Err(refusal) = self.fails() {
            return Some(Err(refusal));
        }
        let Some(caller) = self.caller(&request.headers) else {
            return Some(Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")));
        };
        Some(match (service, is_discovery) {
            // A service's proxy tells nobody who asks.
            (Some(rest), _) => self.pass(&backend, request, rest, None).await,
            (None, true) => self.discovered(&backend, path).await,
            (None, false) => self.pass(&backend, request, whole, Some(caller)).await,
        })
    }

    async fn pass(
        &self,
        backend: &Backend,
        request: &Parts,
        path: &str,
        caller: Option<Caller>,
    ) -> Result<Response<Body>, Refusal> {
        let mut headers = HeaderMap::new();
        let passed = |name: &HeaderName| !OWN.contains(name) && !name.as_str().starts_with("x-remote-");
        for (name, value) in request.headers.iter().filter(|(name, _)| passed(name)) {
            headers.append(name, value.clone());
        }
        let mut set = |name: &str, value: &str| {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value.parse()) {
                headers.append(name, value);
            }
        };
        caller.iter().for_each(|caller| {
            set(REMOTE_USER.as_str(), &caller.name);
            caller.groups.iter().for_each(|group| set(REMOTE_GROUP.as_str(), group));
        });
        set("x-forwarded-for", "127.0.0.1");
        set("x-forwarded-proto", if self.tls.is_some() { "https" } else { "http" });
        set("x-forwarded-uri", request.uri.path());
        let (status, theirs, body) = backend.ask(request.method.clone(), path, headers).await?;
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        for (name, value) in theirs.iter().filter(|(name, _)| !OWN.contains(name)) {
            response.headers_mut().append(name, value.clone());
        }
        Ok(response)
    }

    /// Discovery of everything at once: what there is of one's own, and what the server behind says of the one version that is
    /// registered.
    async fn discovered(&self, backend: &Backend, path: &str) -> Result<Response<Body>, Refusal> {
        let items = if path == "/api" {
            json!([{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": own_resources(), "freshness": "Current"}]}])
        } else {
            // The API server asks for itself here.
            let headers = [
                (header::ACCEPT, AGGREGATED),
                (REMOTE_USER, "system:kube-aggregator"),
                (REMOTE_GROUP, "system:masters"),
            ];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            let (.., body) = backend.ask(http::Method::GET, "/apis", HeaderMap::from_iter(headers)).await?;
            let mut theirs: Value = serde_json::from_slice(&body).unwrap_or_default();
            let mut groups = theirs["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
            groups.retain(|group| group["metadata"]["name"] == GROUP);
            for group in &mut groups {
                if let Some(versions) = group["versions"].as_array_mut() {
                    versions.retain(|version| version["version"] == VERSION);
                }
            }
            Value::Array(groups)
        };
        let version = "apidiscovery.k8s.io/v2";
        let all = json!({"kind": "APIGroupDiscoveryList", "apiVersion": version, "metadata": {}, "items": items});
        let mut response = json_body(Body::from(all.to_string()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
        Ok(response)
    }

    /// Discovery documents that a server behind adds something to; `None`: there is none, or it is another's.
    pub(super) fn registered(&self, path: &str) -> Option<Value> {
        self.backend()?;
        let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
        let group = json!({"name": GROUP, "versions": [version], "preferredVersion": version});
        match path {
            "/apis" => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]})),
            "/apis/metrics.k8s.io" => {
                let mut document = group;
                document["kind"] = json!("APIGroup");
                document["apiVersion"] = json!("v1");
                Some(document)
            }
            "/openapi/v3" => {
                let at = format!("apis/{GROUP}/{VERSION}");
                Some(json!({"paths": {&at: {"serverRelativeURL": format!("/openapi/v3/{at}")}}}))
            }
            _ => None,
        }
    }

    pub(super) fn stand_behind(&self, backend: Option<Backend>) {
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = backend;
    }
}

fn asks_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| {
        accept.split(',').any(|range| range.contains("as=APIGroupDiscoveryList") && range.contains("v=v2;"))
    })
}

fn own_resources() -> Value {
    let resource = |resource: &Resource| {
        json!({
            "resource": resource.plural(),
            "responseKind": {"group": "", "version": "v1", "kind": resource.kind()},
            "scope": if *resource == Resource::Pods { "Namespaced" } else { "Cluster" },
            "singularResource": resource.kind().to_lowercase(),
            "verbs": ["get", "list", "watch"],
        })
    };
    Value::Array(Resource::ALL.iter().map(resource).collect())
}
