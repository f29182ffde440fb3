//! Who gets past a port's door. What is behind it knows nothing of this.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::watch;
use tracing::warn;

use crate::auth::{Ask, Authority, Delegated, Presented, Refused, common_name};
use crate::throttle::Throttle;

/// Health is everybody's to see: kubelets ask without a name.
const HEALTH: [&str; 4] = ["/healthz", "/healthz/healthz", "/livez", "/readyz"];

/// Whom a port lets in.
#[derive(Clone)]
pub(super) enum Guard {
    /// Everybody, as Heapster did.
    Open,
    /// Nobody but for health.
    Health,
    /// Who has a certificate of this authority, as Heapster's `--tls-client-ca` had it.
    Clients(Arc<Clients>),
    /// Whom the API server knows and allows it.
    Delegated(Arc<Delegated>),
}

/// Whose certificates are good.
pub(super) struct Clients {
    /// Changes with its file.
    pub authority: watch::Receiver<Authority>,
    /// Common names; empty: all.
    pub allowed_users: Vec<String>,
}

impl Clients {
    fn admit(&self, presented: Option<&Presented>) -> Result<(), String> {
        let presented = presented.ok_or("a client certificate is needed")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.authority.borrow().vouches_for(presented, now)?;
        let name = common_name(presented).unwrap_or_default();
        if self.allowed_users.is_empty() || self.allowed_users.contains(&name) {
            return Ok(());
        }
        Err(format!("`{name}` is none of the allowed users"))
    }
}

/// The check before every route.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if HEALTH.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let presented = request.extensions().get::<Presented>();
    let refused = match &guard {
        Guard::Open => None,
        Guard::Health => Some(elsewhere()),
        Guard::Clients(clients) => clients.admit(presented).err().map(|reason| unauthorized_client(&reason)),
        Guard::Delegated(delegated) => {
            let uri = request.uri();
            let ask = Ask::of(request.method(), uri.path(), uri.query().unwrap_or_default());
            delegated.admit(ask, request.headers(), presented).await.err().map(|refused| refusal(&refused))
        }
    };
    match refused {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

fn elsewhere() -> Response {
    (StatusCode::FORBIDDEN, "this port answers health checks only; the secure port answers the rest\n").into_response()
}

fn unauthorized_client(reason: &str) -> Response {
    (StatusCode::UNAUTHORIZED, format!("Unauthorized: {reason}\n")).into_response()
}

fn refusal(refused: &Refused) -> Response {
    static UNAVAILABLE: std::sync::Mutex<Option<Throttle>> = std::sync::Mutex::new(None);
    match refused {
        Refused::Unknown => {
            let mut response = status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
        Refused::Forbidden(text) => status(StatusCode::FORBIDDEN, "Forbidden", text),
        Refused::Ambiguous => status(StatusCode::BAD_REQUEST, "BadRequest", &refused.to_string()),
        Refused::Unavailable(text) => {
            let mut throttle = UNAVAILABLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(more) = throttle.get_or_insert_default().pass() {
                warn!(error = text, more, "nobody can be let in while the API server can't be asked who they are");
            }
            let text = "the API server can't be asked who may have this; Millrace's log says why";
            status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", text)
        }
    }
}

/// A refusal as Kubernetes writes it.
pub(super) fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
