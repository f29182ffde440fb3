//! Questions to the API server: whose token this is, and whether somebody may do something. Answers
//! are kept for a few seconds, as Kubernetes' own servers keep them.

use std::future::Future;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use lru::LruCache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Ask, User};

/// How long an answer is good for, yes or no: what API servers' own delegation does.
const KEPT: Duration = Duration::from_secs(10);
/// Answers kept of each kind.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Questions of a kind at one time; whoever floods us with tokens is not passed on to the API server.
const AT_ONCE: usize = 16;
/// From the question to its answer, the wait for a turn included.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest token that is passed on, bytes: service accounts' have about 1,200.
const MAX_TOKEN: usize = 16 << 10;

/// Asks, and keeps answers.
pub(super) struct Reviews {
    client: Client,
    /// By the token's hash: a token is worth nothing to whoever reads our memory later.
    tokens: Kept<[u8; 32], Option<User>>,
    /// By the hash of user and question, which may be long.
    access: Kept<[u8; 32], bool>,
}

impl Reviews {
    pub(super) fn new(client: Client) -> Self {
        Self { client, tokens: Kept::new(), access: Kept::new() }
    }

    /// Whose token it is; `None`: nobody's.
    ///
    /// # Errors
    /// The API server can't be asked.
    pub(super) async fn user(&self, token: &str) -> Result<Option<User>, String> {
        if token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.tokens.get(hash, || self.review_token(token)).await
    }

    /// Whether the user may do it.
    ///
    /// # Errors
    /// The API server can't be asked.
    pub(super) async fn allows(&self, user: &User, ask: &Ask) -> Result<bool, String> {
        let mut hash = Sha256::new();
        // Debug's quotes and escapes keep the parts apart.
        hash.update(format!("{user:?} {ask:?}"));
        self.access.get(hash.finalize().into(), || self.review_access(user, ask)).await
    }

    async fn review_token(&self, token: &str) -> Result<Option<User>, String> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| described("TokenReview", &error))?;
        let status = answer.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            return Ok(None);
        }
        Ok(status.user.and_then(known))
    }

    async fn review_access(&self, user: &User, ask: &Ask) -> Result<bool, String> {
        let review = SubjectAccessReview { spec: question(user, ask), ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| described("SubjectAccessReview", &error))?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

/// A failed question, with its remedy where there is one.
fn described(what: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "{what}: {}: bind the ClusterRole `system:auth-delegator` to Millrace's service account",
            status.message
        ),
        other => format!("{what}: {other}"),
    }
}

fn known(info: UserInfo) -> Option<User> {
    let name = info.username.filter(|name| !name.is_empty())?;
    Some(User {
        name,
        uid: info.uid.unwrap_or_default(),
        groups: info.groups.unwrap_or_default(),
        extra: info.extra.unwrap_or_default(),
    })
}

fn question(user: &User, ask: &Ask) -> SubjectAccessReviewSpec {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut spec = SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: given(&user.uid),
        groups: Some(user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
        ..SubjectAccessReviewSpec::default()
    };
    match ask {
        Ask::Path { verb, path } => {
            spec.non_resource_attributes =
                Some(NonResourceAttributes { path: Some(path.clone()), verb: Some((*verb).to_owned()) });
        }
        Ask::Resource { verb, group, version, resource, namespace, name } => {
            spec.resource_attributes = Some(ResourceAttributes {
                verb: Some((*verb).to_owned()),
                group: Some((*group).to_owned()),
                version: Some(version.clone()),
                resource: Some(resource.clone()),
                namespace: given(namespace),
                name: given(name),
                ..ResourceAttributes::default()
            });
        }
    }
    spec
}

/// Answers, each for [`KEPT`], and turns to ask for more.
struct Kept<K, V> {
    answers: Mutex<LruCache<K, (Instant, V)>>,
    turns: Semaphore,
}

impl<K: Hash + Eq, V: Clone> Kept<K, V> {
    fn new() -> Self {
        Self { answers: Mutex::new(LruCache::new(MOST)), turns: Semaphore::new(AT_ONCE) }
    }

    async fn get<F, A>(&self, key: K, ask: A) -> Result<V, String>
    where
        A: FnOnce() -> F,
        F: Future<Output = Result<V, String>>,
    {
        if let Some(kept) = self.young(&key) {
            return Ok(kept);
        }
        let asked = async {
            let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
            // Somebody else may have asked the same while this one waited.
            match self.young(&key) {
                Some(kept) => Ok(kept),
                None => ask().await,
            }
        };
        let answer = match timeout(DEADLINE, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(format!("the API server gave no answer within {DEADLINE:?}")),
        };
        self.lock().put(key, (Instant::now(), answer.clone()));
        Ok(answer)
    }

    fn young(&self, key: &K) -> Option<V> {
        let mut answers = self.lock();
        let (at, answer) = answers.get(key)?;
        (at.elapsed() < KEPT).then(|| answer.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<K, (Instant, V)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn answers_are_kept_and_failures_are_not() {
        let kept = Kept::<&str, bool>::new();
        let asked = Cell::new(0);
        let ask = |answer: Result<bool, &str>| {
            let answer = answer.map_err(str::to_owned);
            || async {
                asked.set(asked.get() + 1);
                answer
            }
        };
        assert_eq!(kept.get("a", ask(Err("gone"))).await, Err("gone".to_owned()));
        assert_eq!(kept.get("a", ask(Ok(true))).await, Ok(true));
        assert_eq!(kept.get("a", ask(Ok(false))).await, Ok(true));
        assert_eq!(kept.get("b", ask(Ok(false))).await, Ok(false));
        assert_eq!(asked.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_silent_is_given_up() {
        let kept = Kept::<&str, bool>::new();
        let error = kept.get("a", std::future::pending).await.unwrap_err();
        assert_eq!(error, "the API server gave no answer within 5s");
    }

    #[test]
    fn a_user_without_a_name_is_nobody() {
        assert_eq!(known(UserInfo::default()), None);
        let named = UserInfo { username: Some("anna".to_owned()), ..UserInfo::default() };
        assert_eq!(known(named).unwrap().name, "anna");
    }
}
