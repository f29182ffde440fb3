//! Who asks, found out as API servers behind the aggregation layer do, and whether they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::authorities::{Authorities, follow};
use super::certificate::{Presented, user};
use super::review::Reviews;
use super::{Ask, User};

/// Why an answer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing says who asks, or what does is worthless.
    #[error("Unauthorized")]
    Unknown,
    /// They may not.
    #[error("{0}")]
    Forbidden(String),
    /// The path could be read in two ways.
    #[error("the path has an encoded slash or is no UTF-8")]
    Ambiguous,
    /// The API server can't be asked.
    #[error("{0}")]
    Unavailable(String),
}

/// How requests ended here, since the start.
#[derive(Debug, Default)]
pub struct AuthCounts {
    allowed: AtomicU64,
    unknown: AtomicU64,
    forbidden: AtomicU64,
    unavailable: AtomicU64,
}

impl AuthCounts {
    /// Each kind of end with its count.
    pub fn all(&self) -> [(&'static str, u64); 4] {
        [
            ("allowed", &self.allowed),
            ("unauthorized", &self.unknown),
            ("forbidden", &self.forbidden),
            ("unavailable", &self.unavailable),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    fn note(&self, result: &Result<User, Refused>) {
        let count = match result {
            Ok(_) => &self.allowed,
            Err(Refused::Unknown | Refused::Ambiguous) => &self.unknown,
            Err(Refused::Forbidden(_)) => &self.forbidden,
            Err(Refused::Unavailable(_)) => &self.unavailable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks the API server who somebody is and what they may.
pub struct Delegated {
    authorities: watch::Receiver<Arc<Authorities>>,
    following: JoinHandle<()>,
    reviews: Reviews,
    counts: Arc<AuthCounts>,
}

impl Delegated {
    /// Begins to follow whom the cluster trusts. Must be called within a Tokio runtime.
    pub fn start(client: Client) -> Self {
        let (known, authorities) = watch::channel(Arc::default());
        let following = tokio::spawn(follow(client.clone(), known));
        Self { authorities, following, reviews: Reviews::new(client), counts: Arc::default() }
    }

    /// How requests ended.
    pub fn counts(&self) -> Arc<AuthCounts> {
        Arc::clone(&self.counts)
    }

    /// Who asks for this, if they may have it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn admit(
        &self,
        ask: Option<Ask>,
        headers: &HeaderMap,
        presented: Option<&Presented>,
    ) -> Result<User, Refused> {
        let result = self.check(ask, headers, presented).await;
        self.counts.note(&result);
        result
    }

    async fn check(
        &self,
        ask: Option<Ask>,
        headers: &HeaderMap,
        presented: Option<&Presented>,
    ) -> Result<User, Refused> {
        let user = self.identify(headers, presented).await?;
        let ask = ask.ok_or(Refused::Ambiguous)?;
        if user.is_master() || self.reviews.allows(&user, &ask).await.map_err(Refused::Unavailable)? {
            return Ok(user);
        }
        Err(Refused::Forbidden(ask.forbidden(&user.name)))
    }

    /// The front proxy's word first, then a client's certificate, then the token. A front proxy that
    /// names nobody is a client like others.
    async fn identify(&self, headers: &HeaderMap, presented: Option<&Presented>) -> Result<User, Refused> {
        if let Some(user) = presented.and_then(|presented| self.certified(headers, presented)) {
            return Ok(user);
        }
        let token = bearer(headers).ok_or(Refused::Unknown)?;
        let user = self.reviews.user(token).await.map_err(Refused::Unavailable)?;
        user.map(User::authenticated).ok_or(Refused::Unknown)
    }

    fn certified(&self, headers: &HeaderMap, presented: &Presented) -> Option<User> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let authorities = Arc::clone(&self.authorities.borrow());
        let proxy = authorities.front_proxy.as_ref().filter(|proxy| proxy.is(presented, now));
        if let Some(user) = proxy.and_then(|proxy| proxy.user(headers)) {
            return Some(user);
        }
        let clients = authorities.clients.as_ref()?;
        clients.vouches_for(presented, now).ok().and_then(|()| user(presented))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_as_the_api_server_reads_it() {
        for (value, want) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer  ", None),
            ("Basic abc", None),
            ("abc", None),
        ] {
            let headers = [(header::AUTHORIZATION, value.parse().unwrap())].into_iter().collect();
            assert_eq!(bearer(&headers), want, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
