//! What Kubernetes answers when it has not what was asked for: a `Status`, with a reason that clients tell
//! errors by.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::reply::JSON;
use crate::http::turns;

/// A `Status` of failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    status: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

impl Refusal {
    /// There is no such route.
    pub fn nowhere() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            reason: "NotFound",
            message: "the server could not find the requested resource".to_owned(),
            details: Some(json!({})),
        }
    }

    /// There is no object of this name; `group` may be empty.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let details = match group {
            "" => json!({"name": name, "kind": resource}),
            group => json!({"name": name, "group": group, "kind": resource}),
        };
        let of_group = if group.is_empty() { String::new() } else { format!(".{group}") };
        Self {
            status: StatusCode::NOT_FOUND,
            reason: "NotFound",
            message: format!("{resource}{of_group} {} not found", json!(name)),
            details: Some(details),
        }
    }

    /// The request says something that can't be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.into(), details: None }
    }

    /// Nothing is changed here.
    pub fn method() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            reason: "MethodNotAllowed",
            message: "the server does not allow this method on the requested resource".to_owned(),
            details: Some(json!({})),
        }
    }

    /// These objects are made when they are asked for; there is nothing to watch.
    pub fn watch(group: &str, resource: &str) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            reason: "MethodNotAllowed",
            message: format!("watch is not supported on resources of kind \"{resource}.{group}\""),
            details: Some(json!({"group": group, "kind": resource})),
        }
    }

    /// Others ask for too much at this moment.
    pub fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: "ServiceUnavailable",
            message: turns::BUSY.to_owned(),
            details: Some(json!({"retryAfterSeconds": 5})),
        }
    }

    /// The client takes nothing that there is.
    pub fn unacceptable() -> Self {
        Self {
            status: StatusCode::NOT_ACCEPTABLE,
            reason: "NotAcceptable",
            message: format!("only the following media types are accepted: {JSON}"),
            details: None,
        }
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        });
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        body["code"] = self.status.as_u16().into();
        body
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = self.body().to_string();
        body.push('\n');
        let mut response = (self.status, [(header::CONTENT_TYPE, JSON)], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(turns::RETRY_AFTER));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_kubernetes_own() {
        assert_eq!(
            Refusal::not_found("metrics.k8s.io", "podmetrics", "ns/p").body(),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "podmetrics.metrics.k8s.io \"ns/p\" not found", "reason": "NotFound",
                "details": {"name": "ns/p", "group": "metrics.k8s.io", "kind": "podmetrics"}, "code": 404})
        );
        assert_eq!(Refusal::not_found("", "nodes", "n").body()["message"], "nodes \"n\" not found");
    }
}
