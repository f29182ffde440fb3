//! Asks kubelets: when to start each request, how many at once, how long, and how much is read. What
//! the bytes mean is not its business.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hashbrown::{HashMap, HashSet};
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Client, Response};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::error;

use crate::batch::Cycle;
use crate::config::source::KubeletConfig;
use crate::kube::{ClusterCredentials, NodeFacts};

use super::credentials::{Credentials, ScrapeSetupError};
use super::failure::{Excerpt, ScrapeFailure};
use super::target::{NodeResolver, Target};

/// Longest wait for an answer unless the configuration says otherwise.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Between the starts of two requests.
const STAGGER: Duration = Duration::from_millis(8);
/// Until the last request starts.
const LONGEST_SPREAD: Duration = Duration::from_secs(4);
/// What most bodies fit into.
const FIRST_BUFFER: usize = 64 << 10;

/// What one node answered, or why it did not.
#[derive(Debug)]
pub struct NodeAnswer {
    /// The node that was asked.
    pub node: Arc<NodeFacts>,
    /// The body, not yet looked at.
    pub result: Result<Bytes, ScrapeFailure>,
    /// From the request's start to its last byte.
    pub took: Duration,
}

/// Asks kubelets for their Summary, over one connection each.
#[derive(Debug, Clone)]
pub struct Scraper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: KubeletConfig,
    client: Client,
    credentials: Credentials,
    resolver: NodeResolver,
    permits: Semaphore,
    in_flight: Mutex<HashSet<Arc<str>>>,
}

impl Scraper {
    /// Reads token and certificates; asks nobody yet.
    ///
    /// # Errors
    /// [`ScrapeSetupError`] if one of them is missing or broken.
    pub fn new(config: KubeletConfig, cluster: &ClusterCredentials) -> Result<Self, ScrapeSetupError> {
        let (credentials, tls) = Credentials::open(&config, cluster)?;
        let resolver = NodeResolver::default();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(resolver.clone())
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .http1_only()
            .gzip(true)
            .redirect(reqwest::redirect::Policy::none())
            // A connection for each request: see `sessions`.
            .pool_max_idle_per_host(0)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ScrapeSetupError::Client(error.to_string()))?;
        let permits = Semaphore::new(config.concurrency.clamp(1, Semaphore::MAX_PERMITS));
        let shared = Shared { config, client, credentials, resolver, permits, in_flight: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Over how long the starts of one cycle's requests are spread: 8 ms a node, at most 4 s.
    #[must_use]
    pub fn spread(nodes: usize) -> Duration {
        STAGGER.saturating_mul(u32::try_from(nodes).unwrap_or(u32::MAX)).min(LONGEST_SPREAD)
    }

    /// Asks every node once and sends each answer as it comes: exactly one for every node. Requests
    /// start evenly over `spread`, in the order of `nodes`, and none goes on after `deadline`.
    /// Dropping the future ends all requests.
    pub async fn scrape_all(
        &self,
        cycle: Cycle,
        nodes: Vec<Arc<NodeFacts>>,
        spread: Duration,
        deadline: Instant,
        out: mpsc::Sender<NodeAnswer>,
    ) {
        let shared = Arc::clone(&self.shared);
        if tokio::task::spawn_blocking(move || shared.credentials.refresh()).await.is_err() {
            error!("token and certificates could not be read again");
        }
        let start = Instant::now();
        let wait = self.shared.longest_wait(&cycle);
        let targets = self.targets(nodes, &out).await;
        let each = spread / u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
        let mut tasks = JoinSet::new();
        let mut begin = start;
        for (node, target) in targets {
            let (shared, out) = (Arc::clone(&self.shared), out.clone());
            tasks.spawn(async move {
                let (result, took) = shared.scrape(&node, &target, begin, wait, deadline).await;
                // Whoever listened is gone with its cycle.
                let _ = out.send(NodeAnswer { node, result, took }).await;
            });
            begin += each;
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(failed) = ended {
                error!(%failed, "a request to a kubelet ended without an answer");
            }
        }
    }

    /// Those that can be asked, and where; the others are answered for at once.
    async fn targets(
        &self,
        nodes: Vec<Arc<NodeFacts>>,
        out: &mpsc::Sender<NodeAnswer>,
    ) -> Vec<(Arc<NodeFacts>, Target)> {
        let mut targets = Vec::with_capacity(nodes.len());
        let mut dial = HashMap::new();
        for node in nodes {
            let target = if node.ready { Target::of(&node, &self.shared.config) } else { Err(ScrapeFailure::NotReady) };
            match target {
                Ok(target) => {
                    if let Some(host) = &target.dial {
                        // The URL's host is in lower case whatever the node's name is.
                        dial.insert(target.url.host_str().unwrap_or_default().into(), host.clone());
                    }
                    targets.push((node, target));
                }
                Err(failure) => {
                    let _ = out.send(NodeAnswer { node, result: Err(failure), took: Duration::ZERO }).await;
                }
            }
        }
        self.shared.resolver.set(dial);
        targets
    }
}

impl Shared {
    /// min(10 s, 0.9 × resolution), unless configured.
    fn longest_wait(&self, cycle: &Cycle) -> Duration {
        self.config.timeout.unwrap_or_else(|| match u64::try_from(cycle.window) {
            Ok(window) if window > 0 => LONGEST_WAIT.min(Duration::from_nanos(window / 10 * 9)),
            _ => LONGEST_WAIT,
        })
    }

    async fn scrape(
        &self,
        node: &NodeFacts,
        target: &Target,
        begin: Instant,
        wait: Duration,
        deadline: Instant,
    ) -> (Result<Bytes, ScrapeFailure>, Duration) {
        let turn = async {
            sleep_until(begin).await;
            self.permits.acquire().await
        };
        let Ok(Ok(_permit)) = timeout_at(deadline, turn).await else {
            return (Err(ScrapeFailure::Timeout(begin.elapsed())), Duration::ZERO);
        };
        let Some(_alone) = InFlight::enter(&self.in_flight, &node.name) else {
            return (Err(ScrapeFailure::InFlight), Duration::ZERO);
        };
        let asked = Instant::now();
        let result = timeout_at(deadline.min(asked + wait), self.ask(target)).await;
        let took = asked.elapsed();
        (result.unwrap_or(Err(ScrapeFailure::Timeout(took))), took)
    }

    /// One request, and a second one if the token was refused and the file holds another by now.
    async fn ask(&self, target: &Target) -> Result<Bytes, ScrapeFailure> {
        let token = self.credentials.token();
        let answer = self.get(target, token.as_ref()).await;
        if !matches!(answer, Err(ScrapeFailure::Unauthorized(_))) {
            return answer;
        }
        match self.credentials.fresh_token(token.as_ref()) {
            Some(fresh) => self.get(target, Some(&fresh)).await,
            None => answer,
        }
    }

    async fn get(&self, target: &Target, token: Option<&HeaderValue>) -> Result<Bytes, ScrapeFailure> {
        let mut request = self.client.get(target.url.clone()).header(ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let failed = |error: reqwest::Error| ScrapeFailure::of_request(&error.without_url(), &target.address);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        if status != 200 {
            let (text, _) = read(&mut response, Excerpt::READ).await.unwrap_or_default();
            return Err(ScrapeFailure::of_status(status, &text));
        }
        let limit = self.config.max_body;
        let too_large = || ScrapeFailure::TooLarge(limit);
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        match read(&mut response, usize::try_from(limit).unwrap_or(usize::MAX)).await.map_err(failed)? {
            (body, true) => Ok(body),
            (_, false) => Err(too_large()),
        }
    }
}

/// The body up to `limit` bytes, counted as they come out of decompression; false if there were more.
async fn read(response: &mut Response, limit: usize) -> Result<(Bytes, bool), reqwest::Error> {
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(expected.unwrap_or(FIRST_BUFFER).min(limit));
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body.freeze(), false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), true))
}

/// While it lives, no second request to the same node starts.
struct InFlight<'s> {
    nodes: &'s Mutex<HashSet<Arc<str>>>,
    node: Arc<str>,
}

impl<'s> InFlight<'s> {
    fn enter(nodes: &'s Mutex<HashSet<Arc<str>>>, node: &Arc<str>) -> Option<Self> {
        let is_new = nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(node));
        is_new.then(|| Self { nodes, node: Arc::clone(node) })
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_spread_over_8_ms_a_node_up_to_4_s() {
        for (nodes, want) in [(0, 0), (1, 8), (100, 800), (500, 4000), (5000, 4000)] {
            assert_eq!(Scraper::spread(nodes), Duration::from_millis(want), "{nodes}");
        }
    }

    #[test]
    fn a_node_is_asked_once_at_a_time() {
        let nodes = Mutex::default();
        let name: Arc<str> = "a".into();
        let first = InFlight::enter(&nodes, &name);
        assert!(first.is_some() && InFlight::enter(&nodes, &name).is_none());
        drop(first);
        assert!(InFlight::enter(&nodes, &name).is_some());
    }
}
