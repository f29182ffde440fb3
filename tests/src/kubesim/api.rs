//! The API server: routes, who may ask, single objects. Lists are in `list`, watches in `watch`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::body::Body;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use hyper::{Request, body::Incoming};
use serde_json::{Value, json};

use super::{
    access::{self, Review},
    aggregate::Backend,
    door::{Mistreatment, Site},
    journal::{Target, count},
    kubelet::{Cluster, answer, json_body, plain},
    list, objects,
    selector::Selector,
    store::{Item, Resource, Store, key},
    tls::ServerTls,
    watch,
};

/// The API server.
pub(super) struct Api {
    pub(super) cluster: Arc<Cluster>,
    pub(super) store: Arc<Store>,
    pub(super) tls: Option<ServerTls>,
    /// Answers everything with that status while it is not 0.
    pub(super) failing_with: AtomicU16,
    /// The server that the metrics API's requests are passed on to.
    pub(super) behind: RwLock<Option<Backend>>,
    /// Answers of a test's own, by path.
    pub(super) documents: RwLock<BTreeMap<String, (StatusCode, Value)>>,
}

/// What a request is for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) resource: Resource,
    pub(super) namespace: Option<String>,
    name: Option<String>,
    pub(super) selector: Selector,
    /// The query's parameters; the last of a name counts.
    params: BTreeMap<String, String>,
}

impl Ask {
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), Some("true" | "1"))
    }

    /// `resourceVersion`: absent, or a number.
    pub(super) fn version(&self) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.param("resourceVersion") else { return Ok(None) };
        let wrong =
            || Refusal::new(StatusCode::BAD_REQUEST, "Invalid", &format!("invalid resource version \"{text}\""));
        text.parse().map(Some).map_err(|_| wrong())
    }

    pub(super) fn wants(&self, item: &Item) -> bool {
        item.in_namespace(self.namespace.as_deref()) && self.selector.selects(item)
    }
}

/// A `Status` in place of what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: &str, message: &str) -> Self {
        Self { status, body: objects::refusal(status.as_u16(), reason, message) }
    }

    /// 410 with a token to go on with, if there is one.
    pub(super) fn expired(message: &str, token: Option<&str>) -> Self {
        let mut refusal = Self::new(StatusCode::GONE, "Expired", message);
        if let Some(token) = token {
            refusal.body["metadata"]["continue"] = json!(token);
        }
        refusal
    }

    pub(super) fn too_new(asked: u64, newest: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {newest}");
        let mut refusal = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", &message);
        refusal.body["details"] = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1});
        refusal
    }

    fn response(&self) -> Response<Body> {
        answer(self.status, "application/json", Body::from(self.body.to_string()))
    }
}

impl Site for Api {
    fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    fn mistreatment(&self) -> Option<Mistreatment> {
        None
    }

    fn connected(&self) {
        count(&self.cluster.journal.connections, 1);
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let response = match access::review_of(&parts) {
            Some(review) => self.review(&parts.headers, review, body).await,
            None => match self.aggregated(&parts).await {
                Some(response) => response,
                None => self.route(&parts),
            },
        };
        let response = response.unwrap_or_else(|refusal| refusal.response());
        self.cluster.note(Target::Api, &parts.uri, &parts.headers, response.status().as_u16());
        response
    }
}

impl Api {
    pub(super) fn fails(&self) -> Result<(), Refusal> {
        let failing = self.failing_with.load(Ordering::Relaxed);
        match StatusCode::from_u16(failing) {
            Ok(status) => Err(Refusal::new(status, "InternalError", "the simulated API server fails as told")),
            Err(_) => Ok(()),
        }
    }

    /// Who somebody is, or what they may.
    async fn review(&self, headers: &HeaderMap, review: Review, body: Incoming) -> Result<Response<Body>, Refusal> {
        self.fails()?;
        let Some(caller) = self.caller(headers).filter(|_| self.cluster.knows(headers)) else {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized"));
        };
        let answer = access::answer(&self.cluster.access, review, &caller, body).await?;
        Ok(super::kubelet::answer(StatusCode::CREATED, "application/json", Body::from(answer.to_string())))
    }

    fn route(&self, request: &Parts) -> Result<Response<Body>, Refusal> {
        self.fails()?;
        let path = request.uri.path().trim_end_matches('/');
        if let "/healthz" | "/livez" | "/readyz" = path {
            return Ok(plain(StatusCode::OK, "ok"));
        }
        if self.caller(&request.headers).is_none() {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized"));
        }
        if request.method != Method::GET {
            let message = "the simulated API server only answers GET";
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
        }
        if let Some(document) = self.registered(path).or_else(|| self.discovery(path)) {
            return Ok(json_body(Body::from(document.to_string())));
        }
        if let Some((status, document)) = self.document(path) {
            return Ok(answer(status, "application/json", Body::from(document.to_string())));
        }
        let ask = ask(path, request.uri.query().unwrap_or_default())?;
        self.permitted(&ask)?;
        if ask.flag("watch") {
            count(&self.cluster.journal.watches, 1);
            return watch::answer(self, ask);
        }
        count(&self.cluster.journal.lists, 1);
        match &ask.name {
            Some(name) => self.object(&ask, name),
            None => list::answer(&self.store, self.cluster.world.config.max_page, &ask),
        }
    }

    fn document(&self, path: &str) -> Option<(StatusCode, Value)> {
        self.documents.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// As the reviews say it.
    fn permitted(&self, ask: &Ask) -> Result<(), Refusal> {
        let verb = match (&ask.name, ask.flag("watch")) {
            (_, true) => "watch",
            (Some(_), false) => "get",
            (None, false) => "list",
        };
        let plural = ask.resource.plural();
        if !self.cluster.access.denies(verb, plural) {
            return Ok(());
        }
        let message = format!("{plural} is forbidden: User \"somebody\" cannot {verb} resource \"{plural}\"");
        Err(Refusal::new(StatusCode::FORBIDDEN, "Forbidden", &message))
    }

    fn object(&self, ask: &Ask, name: &str) -> Result<Response<Body>, Refusal> {
        let key = key(ask.namespace.as_deref().unwrap_or_default(), name);
        let item = self.store.get(ask.resource, &key).ok_or_else(|| {
            let message = format!("{} \"{name}\" not found", ask.resource.plural());
            Refusal::new(StatusCode::NOT_FOUND, "NotFound", &message)
        })?;
        let mut body = Vec::with_capacity(item.json.len() + 64);
        typed(ask.resource, &item, &mut body);
        Ok(json_body(Body::from(body)))
    }

    fn discovery(&self, path: &str) -> Option<Value> {
        let version = self.cluster.world.config.shape.git_version();
        match path {
            "/version" => {
                let minor = version.split('.').nth(1);
                Some(json!({"major": "1", "minor": minor, "gitVersion": version, "platform": "linux/amd64"}))
            }
            "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/apis" => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
            "/api/v1" => {
                let resources: Vec<_> = Resource::ALL
                    .iter()
                    .map(|resource| {
                        json!({"name": resource.plural(), "kind": resource.kind(), "singularName": "",
                            "namespaced": resource.is_namespaced(), "verbs": ["get", "list", "watch"]})
                    })
                    .collect();
                Some(json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}))
            }
            _ => None,
        }
    }
}

/// Writes the object with its `kind`, as everywhere but in lists.
pub(super) fn typed(resource: Resource, item: &Item, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":\"");
    out.extend_from_slice(resource.kind().as_bytes());
    out.extend_from_slice(b"\",\"apiVersion\":\"v1\",");
    out.extend_from_slice(item.json.get(1..).unwrap_or_default());
}

fn namespaced(plural: &str) -> Option<Resource> {
    Resource::named(plural).filter(|resource| resource.is_namespaced())
}

fn ask(path: &str, query: &str) -> Result<Ask, Refusal> {
    let parts: Vec<_> = path.strip_prefix("/api/v1/").unwrap_or_default().split('/').collect();
    let (resource, namespace, name) = match parts[..] {
        ["namespaces", namespace, plural] => (namespaced(plural), Some(namespace), None),
        ["namespaces", namespace, plural, name] => (namespaced(plural), Some(namespace), Some(name)),
        [plural] => (Resource::named(plural), None, None),
        [plural, name] => (Resource::named(plural).filter(|resource| !resource.is_namespaced()), None, Some(name)),
        _ => (None, None, None),
    };
    let missing =
        || Refusal::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
    let params: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let get = |name: &str| params.get(name).map(String::as_str);
    let selector = Selector::parse(get("fieldSelector"), get("labelSelector"))
        .map_err(|message| Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", &message))?;
    Ok(Ask {
        resource: resource.ok_or_else(missing)?,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        selector,
        params,
    })
}
