//! The metrics APIs: what `kubectl top`, the horizontal autoscaler and their predecessors ask for.
//!
//! What is used comes from the store, which pods and nodes there are and what labels they have from the
//! inventory of the API server: nothing is kept twice. Here is what is HTTP in it; who may ask is not its business.

mod accept;
mod discovery;
mod fields;
mod labels;
mod objects;
mod openapi;
mod quantity;
mod refusal;
mod route;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::reply::{JSON, accepts_json, in_pieces};
use super::turns;
use crate::kube::{Inventory, NodeFacts, PodFacts};
use crate::status::Board;
use crate::store::{Snapshot, StoreReader};
use accept::{Discovery, Form};
use fields::FieldSelector;
use labels::LabelSelector;
use objects::{Include, Item, Writing};
use refusal::Refusal;
use route::{Api, Ask, Objects};
use usage::Containers;

/// Lists that are made at one time, on threads beside the runtime.
static MAKING: Semaphore = Semaphore::const_new(2);

/// What the metrics APIs answer from.
#[derive(Clone)]
pub(super) struct Resourced {
    /// Where the inventory is.
    pub board: Arc<Board>,
    /// `None`: nothing is kept, and all lists are empty.
    pub store: Option<StoreReader>,
}

/// All routes.
pub(super) fn routes(resourced: Resourced) -> Router {
    let paths = ["/api", "/api/", "/apis", "/apis/", "/apis/{*path}", "/version", "/openapi/v2", "/openapi/v3"];
    let mut router = Router::new();
    for path in paths.into_iter().chain(["/openapi/v3/{*path}"]) {
        router = router.route(path, any(answer));
    }
    router.with_state(resourced)
}

/// Any request.
async fn answer(State(resourced): State<Resourced>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let ask = route::parse(uri.path());
    if method != Method::GET && method != Method::HEAD && !matches!(ask, Ask::Nowhere(_)) {
        return Refusal::method().into_response();
    }
    let query = uri.query().unwrap_or_default();
    match ask {
        Ask::Metrics(api, objects) if api.is_heapsters() => {
            let answered = old(&resourced, api, objects, query, &headers).await;
            answered.unwrap_or_else(|(status, text)| (status, text).into_response())
        }
        Ask::Metrics(api, objects) => {
            let answered = new(&resourced, api, objects, query, &headers).await;
            answered.unwrap_or_else(IntoResponse::into_response)
        }
        Ask::Nowhere(Some(api)) if api.is_heapsters() => (StatusCode::NOT_FOUND, "404: Page Not Found").into_response(),
        Ask::Nowhere(_) => Refusal::nowhere().into_response(),
        Ask::Legacy | Ask::Groups => {
            let legacy = ask == Ask::Legacy;
            match accept::discovery(&headers) {
                None => Refusal::unacceptable().into_response(),
                Some(Discovery::Plain) if legacy => document(&headers, JSON, &discovery::legacy()),
                Some(Discovery::Plain) => document(&headers, JSON, &discovery::groups()),
                Some(Discovery::Aggregated(version)) => {
                    let kind = discovery::aggregated_kind(version);
                    document(&headers, kind, &discovery::aggregated(version, legacy))
                }
            }
        }
        ask => plain(&ask, &headers),
    }
}

/// A document that has one form only.
fn plain(ask: &Ask, headers: &HeaderMap) -> Response {
    let made = match ask {
        Ask::Group(name) => discovery::group(name),
        Ask::Resources(api) => discovery::resources(*api),
        Ask::OpenApi2 => openapi::version2(),
        Ask::OpenApi3 => openapi::version3(),
        Ask::OpenApi3Of(api) => openapi::version3_of(api.is_some()),
        _ => discovery::version(),
    };
    if accept::discovery(headers) != Some(Discovery::Plain) {
        return Refusal::unacceptable().into_response();
    }
    document(headers, JSON, &made)
}

fn document(headers: &HeaderMap, kind: &'static str, made: &Value) -> Response {
    whole(headers, kind, format!("{made}\n").into_bytes())
}

fn whole(headers: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Response {
    if !super::reply::accepts_gzip(headers) {
        let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
        let vary = HeaderValue::from_static("accept, accept-encoding");
        response.headers_mut().insert(header::VARY, vary);
        return response;
    }
    in_pieces(headers, kind, std::iter::once(body), None)
}

/// Heapster's answers, in its words where it has none.
async fn old(
    resourced: &Resourced,
    api: Api,
    objects: Objects,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, (StatusCode, String)> {
    if !accepts_json(headers) {
        return Err((StatusCode::NOT_ACCEPTABLE, "406: Not Acceptable".to_owned()));
    }
    let asked = Query::read(query);
    let wrong = |text: &str| {
        let text = text.to_owned();
        move |error: String| {
            // Heapster's library did not yet say what it was that it could not parse.
            let error = error.trim_start_matches("unable to parse requirement: ").to_owned();
            (StatusCode::BAD_REQUEST, format!("Error while parsing selector {text}: {error}"))
        }
    };
    let selected = Selected {
        labels: LabelSelector::parse(asked.labels()).map_err(wrong(asked.labels()))?,
        fields: FieldSelector::parse(asked.fields()).map_err(wrong(asked.fields()))?,
    };
    let missing = match &objects {
        Objects::Node(name) => Some(format!("No metrics for node {name}")),
        Objects::Pod(namespace, name) => Some(match resourced.pod(namespace, name) {
            None => format!("Error while getting pod {name}: pod {:?} not found", name),
            // Spelt as it was.
            Some(_) => format!("No metrics availalble for pod {namespace}/{name}"),
        }),
        Objects::Nodes | Objects::Pods(_) => None,
    };
    let kind = kind(&objects);
    let turn = match missing {
        Some(_) => None,
        None => Some(turns::turn().await.ok_or((StatusCode::SERVICE_UNAVAILABLE, turns::BUSY.to_owned()))?),
    };
    let mut items = resourced.items(objects, selected, Containers::Regular, false).await;
    let now = now();
    match missing {
        None => Ok(in_pieces(headers, JSON, objects::list(kind, items, api, now), turn)),
        Some(missing) => match items.pop() {
            Some(item) => Ok(whole(headers, JSON, objects::single(&item, Writing { api, now: &now }))),
            None => Err((StatusCode::NOT_FOUND, missing)),
        },
    }
}

/// Kubernetes' answers.
async fn new(
    resourced: &Resourced,
    api: Api,
    objects: Objects,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let form = accept::form(headers).ok_or_else(Refusal::unacceptable)?;
    let asked = Query::read(query);
    let include = match form {
        Form::Object => Include::Metadata,
        Form::Table(_) => asked.include()?,
    };
    let single = matches!(objects, Objects::Node(_) | Objects::Pod(..));
    let mut selected = Selected::default();
    if !single {
        selected.labels = LabelSelector::parse(asked.labels()).map_err(Refusal::bad_request)?;
        selected.fields = FieldSelector::parse(asked.fields()).map_err(Refusal::bad_request)?;
        asked.limit()?;
        if asked.watch() {
            let resource = if objects == Objects::Nodes { "nodes" } else { "pods" };
            return Err(Refusal::watch(api.group(), resource));
        }
    }
    let missing = match &objects {
        Objects::Node(name) if resourced.node(name).is_none() => Refusal::not_found("", "nodes", name),
        Objects::Pod(namespace, name) if resourced.pod(namespace, name).is_none() => {
            Refusal::not_found("", "pods", name)
        }
        Objects::Node(name) => Refusal::not_found(api.group(), "nodemetrics", name),
        Objects::Pod(namespace, name) => Refusal::not_found(api.group(), "podmetrics", &format!("{namespace}/{name}")),
        Objects::Nodes | Objects::Pods(_) => Refusal::nowhere(),
    };
    let kind = kind(&objects);
    let turn = if single { None } else { Some(turns::turn().await.ok_or_else(Refusal::busy)?) };
    let items = resourced.items(objects, selected, Containers::WithSidecars, true).await;
    if single && items.is_empty() {
        return Err(missing);
    }
    let now = now();
    Ok(match (form, items.as_slice()) {
        (Form::Table(version), _) => {
            in_pieces(headers, table_kind(version), objects::table(items, version, include, now), turn)
        }
        (Form::Object, [item]) if single => whole(headers, JSON, objects::single(item, Writing { api, now: &now })),
        (Form::Object, _) => in_pieces(headers, JSON, objects::list(kind, items, api, now), turn),
    })
}

fn kind(objects: &Objects) -> &'static str {
    match objects {
        Objects::Nodes | Objects::Node(_) => "NodeMetrics",
        Objects::Pods(_) | Objects::Pod(..) => "PodMetrics",
    }
}

fn table_kind(version: &str) -> &'static str {
    match version {
        "v1" => "application/json;as=Table;v=v1;g=meta.k8s.io",
        _ => "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    }
}

/// Objects have the time of the answer as that of their creation.
fn now() -> String {
    let now = jiff::Timestamp::now().as_second();
    quantity::timestamp(now.saturating_mul(1_000_000_000))
}

/// A query's parameters; of a name that stands twice the first counts.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn labels(&self) -> &str {
        self.get("labelSelector").unwrap_or_default()
    }

    fn fields(&self) -> &str {
        self.get("fieldSelector").unwrap_or_default()
    }

    fn watch(&self) -> bool {
        self.get("watch").is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A limit is read, and then all is given: the list is made at once, and has no second page.
    fn limit(&self) -> Result<(), Refusal> {
        match self.get("limit") {
            Some(limit) if limit.parse::<i64>().is_err() => {
                Err(Refusal::bad_request(format!("strconv.ParseInt: parsing {limit:?}: invalid syntax")))
            }
            _ => Ok(()),
        }
    }

    fn include(&self) -> Result<Include, Refusal> {
        match self.get("includeObject").unwrap_or_default() {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::None),
            "Object" => Ok(Include::Object),
            other => Err(Refusal::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// Which of a list's objects are wanted; by default all are.
#[derive(Default)]
struct Selected {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selected {
    fn node(&self, node: &NodeFacts) -> bool {
        self.fields.matches("", &node.name) && self.labels.matches(|key| label(&node.labels, key))
    }

    fn pod(&self, pod: &PodFacts) -> bool {
        self.fields.matches(&pod.namespace, &pod.name) && self.labels.matches(|key| label(&pod.labels, key))
    }
}

/// Labels are sorted by their key.
fn label<'l>(labels: &'l [(Arc<str>, Arc<str>)], key: &str) -> Option<&'l str> {
    labels.binary_search_by(|(own, _)| (**own).cmp(key)).ok().map(|at| &*labels[at].1)
}

impl Resourced {
    fn node(&self, name: &str) -> Option<Arc<NodeFacts>> {
        self.board.cluster()?.node(name)
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Arc<PodFacts>> {
        self.board.cluster()?.pod(namespace, name)
    }

    /// What is asked for, sorted. A list of thousands of pods is made where it holds up no other answer.
    async fn items(&self, objects: Objects, selected: Selected, which: Containers, running: bool) -> Vec<Item> {
        let (Some(store), Some(cluster)) = (&self.store, self.board.cluster()) else { return Vec::new() };
        let snapshot = store.snapshot();
        // However many wait for theirs, two lists are made at one time.
        let is_list = matches!(objects, Objects::Nodes | Objects::Pods(_));
        let _making = if is_list { MAKING.acquire().await.ok() } else { None };
        let make = move || items(&snapshot, &cluster, objects, &selected, which, running);
        tokio::task::spawn_blocking(make).await.unwrap_or_default()
    }
}

fn items(
    snapshot: &Snapshot,
    cluster: &Inventory,
    objects: Objects,
    selected: &Selected,
    which: Containers,
    running: bool,
) -> Vec<Item> {
    let runs = |pod: &PodFacts| !running || &*pod.phase == "Running";
    match objects {
        Objects::Nodes => {
            let nodes = cluster.nodes().into_iter().filter(|node| selected.node(node));
            nodes.filter_map(|node| usage::node(snapshot, node)).map(Item::Node).collect()
        }
        Objects::Node(name) => {
            let node = cluster.node(&name).and_then(|node| usage::node(snapshot, node));
            node.map(Item::Node).into_iter().collect()
        }
        Objects::Pods(namespace) => {
            let of_namespace = |pod: &PodFacts| namespace.as_deref().is_none_or(|wanted| wanted == &*pod.namespace);
            let wanted = |pod: &PodFacts| of_namespace(pod) && runs(pod) && selected.pod(pod);
            usage::pods(snapshot, cluster, wanted, which).into_iter().map(Item::Pod).collect()
        }
        Objects::Pod(namespace, name) => {
            let pod = cluster.pod(&namespace, &name).filter(|pod| runs(pod));
            pod.and_then(|pod| usage::pod(snapshot, pod, which)).map(Item::Pod).into_iter().collect()
        }
    }
}
