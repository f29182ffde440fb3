//! Who somebody is and what they may, for those who ask the API server to review it; and whom the cluster trusts to say
//! so.

use std::sync::{Mutex, PoisonError};

use axum::body::to_bytes;
use http::{Method, StatusCode, request::Parts};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{aggregate::Caller, api::Refusal};

/// Longest review, bytes.
const MAX_REVIEW: usize = 256 << 10;

/// One thing that somebody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A user, or one of its groups.
    pub who: String,
    /// `get`, `list`…, or `*`.
    pub verb: String,
    /// A resource with its group (`nodes.metrics.k8s.io`), or a path (`/metrics`, `/api/v1/*`).
    pub what: String,
    /// `None`: in all of them.
    pub namespace: Option<String>,
}

impl Grant {
    /// Everywhere.
    pub fn of(who: &str, verb: &str, what: &str) -> Self {
        Self { who: who.to_owned(), verb: verb.to_owned(), what: what.to_owned(), namespace: None }
    }

    /// In one namespace.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Token, user, groups.
    tokens: Vec<(String, String, Vec<String>)>,
    grants: Vec<Grant>,
    /// Verb and resource that even those may not who may everything else.
    denied: Vec<(String, String)>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Access(Mutex<Known>);

impl Access {
    pub(super) fn know(&self, token: &str, user: &str, groups: &[&str]) {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        self.known().tokens.push((token.to_owned(), user.to_owned(), groups));
    }

    pub(super) fn forget(&self, token: &str) {
        self.known().tokens.retain(|(known, ..)| known != token);
    }

    pub(super) fn grant(&self, grant: Grant) {
        self.known().grants.push(grant);
    }

    pub(super) fn deny(&self, verb: &str, resource: &str) {
        self.known().denied.push((verb.to_owned(), resource.to_owned()));
    }

    /// Whether nobody may do that: `pods`, `nodes/stats`.
    pub(super) fn denies(&self, verb: &str, resource: &str) -> bool {
        self.known().denied.iter().any(|(denied, what)| denied == verb && what == resource)
    }

    /// What somebody who may do everything else is told of oneself.
    fn allows_caller(&self, spec: &Value) -> bool {
        let resource = &spec["resourceAttributes"];
        let text = |key: &str| resource[key].as_str().unwrap_or_default();
        let what = match text("subresource") {
            "" => text("resource").to_owned(),
            subresource => format!("{}/{subresource}", text("resource")),
        };
        !self.denies(text("verb"), &what)
    }

    /// User and groups behind a token.
    pub(super) fn user(&self, token: &str) -> Option<(String, Vec<String>)> {
        let known = self.known();
        let found = known.tokens.iter().find(|(one, ..)| one == token);
        found.map(|(_, user, groups)| (user.clone(), groups.clone()))
    }

    fn allows(&self, spec: &Value) -> bool {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let (verb, what) = match resource.is_object() {
            true => (text(&resource["verb"]), format!("{}.{}", text(&resource["resource"]), text(&resource["group"]))),
            false => (text(&path["verb"]), text(&path["path"])),
        };
        let (user, groups) = (text(&spec["user"]), spec["groups"].as_array().cloned().unwrap_or_default());
        let namespace = text(&resource["namespace"]);
        self.known().grants.iter().any(|grant| {
            let is_named = match grant.what.strip_suffix('*') {
                Some(start) => what.starts_with(start),
                None => what == grant.what,
            };
            is_named
                && (grant.who == user || groups.iter().any(|group| group == grant.who.as_str()))
                && (grant.verb == "*" || grant.verb == verb)
                && grant.namespace.as_ref().is_none_or(|only| *only == namespace)
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Review {
    Token,
    Access,
    /// What the caller may.
    OwnAccess,
    /// Who the caller is.
    Own,
}

/// The review that a request asks for, if it does.
pub(super) fn review_of(request: &Parts) -> Option<Review> {
    if request.method != Method::POST {
        return None;
    }
    match request.uri.path() {
        "/apis/authentication.k8s.io/v1/tokenreviews" => Some(Review::Token),
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => Some(Review::Access),
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => Some(Review::OwnAccess),
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => Some(Review::Own),
        _ => None,
    }
}

/// The review with its status; `caller` asks for it.
pub(super) async fn answer(access: &Access, review: Review, caller: &Caller, body: Incoming) -> Result<Value, Refusal> {
    let wrong = |error: &dyn std::fmt::Display| {
        Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", &format!("no review: {error}"))
    };
    let body = to_bytes(axum::body::Body::new(body), MAX_REVIEW).await.map_err(|error| wrong(&error))?;
    let mut asked: Value = serde_json::from_slice(&body).map_err(|error| wrong(&error))?;
    let spec = &asked["spec"];
    let status = match review {
        Review::Token => match access.user(spec["token"].as_str().unwrap_or_default()) {
            Some((username, groups)) => {
                json!({"authenticated": true, "user": {"username": username, "groups": groups}})
            }
            None => json!({"error": "invalid bearer token"}),
        },
        Review::Access => json!({"allowed": access.allows(spec)}),
        Review::OwnAccess => json!({"allowed": access.allows_caller(spec)}),
        Review::Own => json!({"userInfo": {"username": caller.name, "groups": caller.groups}}),
    };
    if !asked.is_object() {
        return Err(wrong(&"not an object"));
    }
    asked["status"] = status;
    Ok(asked)
}

/// The ConfigMap that says whom the cluster trusts.
pub(super) fn published(front_proxy: &str, allowed_names: &[&str], clients: &str) -> Value {
    json!({
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": clients,
            "requestheader-client-ca-file": front_proxy,
            "requestheader-allowed-names": json!(allowed_names).to_string(),
            "requestheader-username-headers": json!(["X-Remote-User"]).to_string(),
            "requestheader-group-headers": json!(["X-Remote-Group"]).to_string(),
            "requestheader-extra-headers-prefix": json!(["X-Remote-Extra-"]).to_string(),
        },
    })
}
