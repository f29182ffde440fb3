//! Asks kubelets: when to start each request, how many at once, how long, and how much is read. What
//! the bytes mean is not its business.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hashbrown::{HashMap, HashSet};
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, DATE};
use reqwest::{Client, Response};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::error;

use crate::batch::Cycle;
use crate::config::source::{KubeletConfig, ServerName};
use crate::kube::{ClusterCredentials, NodeFacts};

use super::credentials::{Credentials, ScrapeSetupError};
use super::failure::{Excerpt, ScrapeFailure};
use super::target::{NodeResolver, Target};
use super::turns::{PATIENCE, Room, Turn, Turns};

/// Longest wait for an answer unless the configuration says otherwise.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Between the starts of two requests.
const STAGGER: Duration = Duration::from_millis(8);
/// Until the last request starts.
const LONGEST_SPREAD: Duration = Duration::from_secs(4);
/// Requests that start together: what comes in together is worked through in one go, with warm
/// caches and few wake-ups. Each kubelet is asked once all the same.
const TOGETHER: usize = 16;
/// What most bodies fit into.
const FIRST_BUFFER: usize = 64 << 10;

/// What one node answered, or why it did not.
#[derive(Debug)]
pub struct NodeAnswer {
    /// The node that was asked.
    pub node: Arc<NodeFacts>,
    /// The body, not yet looked at.
    pub result: Result<Body, ScrapeFailure>,
    /// From the request's start to its last byte.
    pub took: Duration,
}

/// A body, and its share of the bounds on all bodies: drop it once it is decoded.
#[derive(Debug)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// What the kubelet's clock says, as HTTP writes it: `Date`.
    pub date: Option<HeaderValue>,
    _turn: Turn,
    _room: Room,
}

/// A whole answer.
struct Read {
    bytes: Bytes,
    date: Option<HeaderValue>,
    room: Room,
}

/// Where a kubelet is asked, for whoever explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Host and port that are dialled.
    pub address: String,
    /// The name or address that its certificate must bear; `None` over plain HTTP.
    pub name: Option<String>,
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
    turns: Turns,
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
        let turns = Turns::new(config.concurrency, usize::try_from(config.max_body).unwrap_or(usize::MAX));
        let shared = Shared { config, client, credentials, resolver, turns, in_flight: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where a node's kubelet is asked.
    ///
    /// # Errors
    /// [`ScrapeFailure::NoAddress`] if the node has none that can be used.
    pub fn place(&self, node: &NodeFacts) -> Result<Place, ScrapeFailure> {
        let config = &self.shared.config;
        let Target { url, address, .. } = Target::of(node, config)?;
        let name = match &config.server_name {
            ServerName::Fixed(name) => name.clone(),
            ServerName::Address | ServerName::NodeName => {
                url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
            }
        };
        Ok(Place { address, name: config.https.then_some(name) })
    }

    /// How long a request may take in such a cycle: min(10 s, 0.9 × resolution), unless configured.
    #[must_use]
    pub fn longest_wait(&self, cycle: &Cycle) -> Duration {
        self.shared.longest_wait(cycle)
    }

    /// Over how long the starts of one cycle's requests are spread: 8 ms a node, at most 4 s, and at
    /// most a quarter of the resolution.
    #[must_use]
    pub fn spread(nodes: usize, resolution: Duration) -> Duration {
        let wanted = STAGGER.saturating_mul(u32::try_from(nodes).unwrap_or(u32::MAX));
        wanted.min(LONGEST_SPREAD).min(resolution / 4)
    }

    /// Asks every node once and sends each answer as it comes: exactly one for every node. Requests
    /// start over `spread`, sixteen at a time, in the order of `nodes`, and none goes on after
    /// `deadline`.
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
        for (place, (node, target)) in targets.into_iter().enumerate() {
            let group = u32::try_from(place - place % TOGETHER).unwrap_or(u32::MAX);
            let begin = start + each * group;
            let (shared, out) = (Arc::clone(&self.shared), out.clone());
            tasks.spawn(async move {
                let (result, took) = shared.scrape(&node, &target, begin, wait, deadline).await;
                // Whoever listened is gone with its cycle.
                let _ = out.send(NodeAnswer { node, result, took }).await;
            });
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
    ) -> (Result<Body, ScrapeFailure>, Duration) {
        let turn = async {
            sleep_until(begin).await;
            self.turns.turn().await
        };
        let Ok(Some(mut turn)) = timeout_at(deadline, turn).await else {
            return (Err(ScrapeFailure::NoTurn), Duration::ZERO);
        };
        let Some(_alone) = InFlight::enter(&self.in_flight, &node.name) else {
            return (Err(ScrapeFailure::InFlight), Duration::ZERO);
        };
        let asked = Instant::now();
        let answer = async {
            let mut answer = pin!(self.ask(target));
            match timeout(PATIENCE, &mut answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    self.turns.step_aside(&mut turn);
                    answer.await
                }
            }
        };
        let result = timeout_at(deadline.min(asked + wait), answer).await;
        let took = asked.elapsed();
        let result = result.unwrap_or(Err(ScrapeFailure::Timeout(took)));
        (result.map(|Read { bytes, date, room }| Body { bytes, date, _turn: turn, _room: room }), took)
    }

    /// One request, and a second one if the token was refused and the file holds another by now.
    async fn ask(&self, target: &Target) -> Result<Read, ScrapeFailure> {
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

    async fn get(&self, target: &Target, token: Option<&HeaderValue>) -> Result<Read, ScrapeFailure> {
        let mut request = self.client.get(target.url.clone()).header(ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let failed = |error: reqwest::Error| ScrapeFailure::of_request(&error.without_url(), &target.address);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let mut room = Room::default();
        if status != 200 {
            let (text, _) = self.read(&mut response, Excerpt::READ, &mut room).await.unwrap_or_default();
            return Err(ScrapeFailure::of_status(status, &text));
        }
        let limit = self.config.max_body;
        let too_large = || ScrapeFailure::TooLarge(limit);
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let date = response.headers().get(DATE).cloned();
        match self.read(&mut response, limit, &mut room).await.map_err(failed)? {
            (bytes, true) => Ok(Read { bytes, date, room }),
            (_, false) => Err(too_large()),
        }
    }

    /// The body up to `limit` bytes, counted as they come out of decompression; false if there were
    /// more.
    async fn read(
        &self,
        response: &mut Response,
        limit: usize,
        room: &mut Room,
    ) -> Result<(Bytes, bool), reqwest::Error> {
        let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
        let expected = expected.unwrap_or(FIRST_BUFFER).min(limit);
        self.turns.enlarge(room, expected).await;
        let mut body = BytesMut::with_capacity(expected);
        while let Some(chunk) = response.chunk().await? {
            let left = limit - body.len();
            if chunk.len() > left {
                body.extend_from_slice(&chunk[..left]);
                return Ok((body.freeze(), false));
            }
            self.turns.enlarge(room, body.len() + chunk.len()).await;
            body.extend_from_slice(&chunk);
        }
        Ok((body.freeze(), true))
    }
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
        let minute = Duration::from_secs(60);
        for (nodes, want) in [(0, 0), (1, 8), (100, 800), (500, 4000), (5000, 4000)] {
            assert_eq!(Scraper::spread(nodes, minute), Duration::from_millis(want), "{nodes}");
        }
        assert_eq!(Scraper::spread(300, Duration::from_secs(1)), Duration::from_millis(250), "a quarter");
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
