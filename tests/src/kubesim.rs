//! A simulated cluster: an API server that lists and watches, and a kubelet for every node on a loopback address of its
//! own.
//!
//! What the cluster shows at any second is a function of its seed and that second, so that two runs, or a test and its
//! expectation, see the same. It writes nothing, schedules nothing and accepts no changes over HTTP: what happens comes
//! from the configured churn, from [`Kubesim`]'s methods, and from the failure kit.
//!
//! Addresses: the API server on 127.0.0.1, the kubelets from 127.1.0.1 upward, all on one port. Linux routes all of
//! 127.0.0.0/8 to the machine itself; elsewhere the addresses must be added to the loopback interface first.

mod access;
mod aggregate;
mod api;
mod clock;
mod config;
mod door;
mod failure;
mod journal;
mod kubelet;
mod list;
mod load;
mod objects;
mod population;
mod roster;
mod selector;
mod shape;
mod sockets;
mod spoil;
mod store;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod tls;
mod watch;
mod world;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio::task::JoinHandle;

use self::{
    access::Access,
    api::Api,
    clock::Clock,
    door::Door,
    journal::Journal,
    kubelet::{Cluster, Kubelet},
    population::Population,
    sockets::{allow_files, listen, listen_for_kubelets},
    store::{Item, Store, key},
    summary::Summaries,
    tls::{Authority, ServerTls},
    world::{World, hex},
};
pub use self::{
    access::Grant,
    aggregate::Backend,
    config::{Config, Shape},
    failure::{FailRule, Failure, KIT, NodeSet},
    journal::{Counts, Entry, Target},
    store::Resource,
};

/// How often the object store is brought up to the wall clock.
const TICK: Duration = Duration::from_millis(200);
/// File descriptors beyond those of the nodes.
const SPARE_FILES: u64 = 256;

/// Why a cluster did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no cluster; every reason, one a line.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The machine allows too few open files.
    #[error(
        "{needed} open files are needed and {allowed} allowed; raise the hard limit (`ulimit -Hn`) or take fewer nodes"
    )]
    Files {
        /// One socket for each node, and two for each connection.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}`; choose another port, or 0 for a free one")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The certificates cannot be made.
    #[error("cannot make the cluster's certificate authority: {0}")]
    Tls(String),
}

/// Why an object cannot be put.
#[derive(Debug, thiserror::Error)]
#[error("the object needs `metadata.name`")]
pub struct UnnamedObject;

/// Builds a [`Kubesim`].
#[derive(Debug, Clone, Default)]
pub struct Builder {
    config: Config,
    failures: Vec<FailRule>,
}

impl Builder {
    /// Sets anything.
    #[must_use]
    pub fn configure(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }

    /// Nodes, pods on each, containers in each pod.
    #[must_use]
    pub fn size(self, nodes: usize, pods: usize, containers: usize) -> Self {
        self.configure(|config| (config.nodes, config.pods, config.containers) = (nodes, pods, containers))
    }

    /// Stops the cluster's clock at a second since 1970; [`Kubesim::advance`] moves it.
    #[must_use]
    pub fn frozen_at(self, unix_secs: i64) -> Self {
        self.configure(|config| config.frozen_at = Some(unix_secs))
    }

    /// Lets nodes fail from the start.
    #[must_use]
    pub fn fail(mut self, nodes: NodeSet, failure: Failure) -> Self {
        self.failures.push(FailRule { nodes, failure });
        self
    }

    /// Listens, fills the object store and begins to serve.
    ///
    /// # Errors
    /// Every variant of [`StartError`].
    pub async fn start(self) -> Result<Kubesim, StartError> {
        let problems = self.config.problems();
        if !problems.is_empty() {
            return Err(StartError::Config(problems));
        }
        allow_files(self.config.nodes as u64 * 3 + SPARE_FILES)?;
        let failures = self.failures;
        let sim = Kubesim::start(self.config).await?;
        for rule in failures {
            for node in rule.nodes.nodes(sim.kubelets.len()) {
                sim.fail(node, rule.failure).await;
            }
        }
        Ok(sim)
    }
}

/// A running cluster. Dropping it ends it at once, [`Kubesim::stop`] in order.
pub struct Kubesim {
    cluster: Arc<Cluster>,
    store: Arc<Store>,
    population: Arc<Population>,
    api: Arc<Api>,
    api_door: Door,
    kubelets: Vec<(Arc<Kubelet>, Door)>,
    kubelet_port: u16,
    token: Option<String>,
    ca_pem: Option<String>,
    ticker: Option<JoinHandle<()>>,
}

impl Kubesim {
    /// A small quiet cluster, to be changed.
    pub fn builder() -> Builder {
        Builder::default()
    }

    async fn start(mut config: Config) -> Result<Self, StartError> {
        let authority = match config.https {
            true => Some(Arc::new(Authority::new().map_err(|error| StartError::Tls(error.to_string()))?)),
            false => None,
        };
        if config.https && config.token.is_none() {
            config.token = Some(format!("kubesim-{}", hex(config.seed, 32)));
        }
        let api_listener = listen(config.listen)?;
        let (kubelet_port, listeners) = listen_for_kubelets(&config)?;
        let clock = config.frozen_at.map_or_else(Clock::wall, Clock::frozen);
        let token = config.token.clone();
        let cluster = Arc::new(Cluster {
            began: clock.now(),
            clock,
            summaries: Summaries::new(&config),
            journal: Journal::default(),
            access: Access::default(),
            authorization: token.as_ref().map(|token| format!("Bearer {token}")),
            world: World::new(config),
        });
        let store = Arc::new(Store::new(cluster.world.config.history));
        let population = populate(&cluster, &store, kubelet_port).await;
        let server_tls = |address: IpAddr, name: String| {
            authority.as_ref().map(|authority| ServerTls::new(Arc::clone(authority), address, name))
        };
        let api = Arc::new(Api {
            cluster: Arc::clone(&cluster),
            store: Arc::clone(&store),
            tls: server_tls(cluster.world.config.listen.ip(), "localhost".to_owned()),
            failing_with: AtomicU16::new(0),
            behind: RwLock::default(),
            documents: RwLock::default(),
        });
        let open = |address, result: io::Result<Door>| result.map_err(|source| StartError::Listen { address, source });
        let api_door = open(cluster.world.config.listen, Door::open(api_listener, Arc::clone(&api)))?;
        let mut kubelets = Vec::with_capacity(listeners.len());
        for (node, (address, listener)) in listeners.into_iter().enumerate() {
            let tls = server_tls(address.ip(), cluster.world.node_name(node));
            let kubelet = Arc::new(Kubelet::new(Arc::clone(&cluster), node, tls));
            kubelets.push((Arc::clone(&kubelet), open(address, Door::open(listener, kubelet))?));
        }
        let frozen = cluster.world.config.frozen_at.is_some();
        let ticker = (!frozen).then(|| tokio::spawn(tick(Arc::clone(&cluster), Arc::clone(&population))));
        let ca_pem = authority.map(|authority| authority.pem());
        Ok(Self { cluster, store, population, api, api_door, kubelets, kubelet_port, token, ca_pem, ticker })
    }

    /// Address of the API server.
    pub fn api_url(&self) -> String {
        format!("{}://{}", self.scheme(), self.api_door.address())
    }

    fn scheme(&self) -> &'static str {
        if self.ca_pem.is_some() { "https" } else { "http" }
    }

    /// The port of all kubelets.
    pub fn kubelet_port(&self) -> u16 {
        self.kubelet_port
    }

    /// Address of a node's kubelet, without a path. Empty for a node that is not there.
    pub fn kubelet_url(&self, node: usize) -> String {
        self.kubelets.get(node).map_or_else(String::new, |(_, door)| format!("{}://{}", self.scheme(), door.address()))
    }

    /// The bearer token that API server and kubelets ask for.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The certificate authority of all servers, PEM.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// A kubeconfig for this cluster, with everything in it.
    pub fn kubeconfig(&self) -> String {
        let ca = self
            .ca_pem
            .as_ref()
            .map_or_else(String::new, |pem| format!("\n    certificate-authority-data: {}", STANDARD.encode(pem)));
        let user = self.token.as_ref().map_or_else(|| "{}".to_owned(), |token| format!("{{token: \"{token}\"}}"));
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: kubesim\n  cluster:\n    server: {}{ca}\nusers:\n- name: kubesim\n  \
             user: {user}\ncontexts:\n- name: kubesim\n  context: {{cluster: kubesim, user: kubesim}}\ncurrent-context: kubesim\n",
            self.api_url()
        )
    }

    /// Name of a node.
    pub fn node_name(&self, node: usize) -> String {
        self.cluster.world.node_name(node)
    }

    /// Nodes of the cluster.
    pub fn node_count(&self) -> usize {
        self.kubelets.len()
    }

    /// The cluster's time, seconds since 1970.
    pub fn now(&self) -> i64 {
        self.cluster.clock.now()
    }

    /// Moves the cluster's time ahead; what happened meanwhile is in the object store when this returns.
    pub fn advance(&self, secs: u32) {
        self.cluster.clock.advance(secs);
        self.population.advance_to(self.now());
    }

    /// The body a healthy kubelet of that node answers with at second `at`. Empty for a node that is not there.
    pub fn summary(&self, node: usize, at: i64) -> Vec<u8> {
        self.kubelets.get(node).map_or_else(Vec::new, |(kubelet, _)| kubelet.body(at, 0))
    }

    /// Lets a node fail from now on. A failure of its kubelet replaces an earlier one; what the API says of the node is
    /// apart from that. A node that is not there cannot fail.
    pub async fn fail(&self, node: usize, failure: Failure) {
        let Some((kubelet, door)) = self.kubelets.get(node) else { return };
        if failure.is_in_the_api() {
            self.population.report(node, failure != Failure::NotReady, failure != Failure::NoAddress);
        } else {
            set_failure(kubelet, door, Some(failure)).await;
        }
    }

    /// Ends all failures of a node.
    pub async fn heal(&self, node: usize) {
        if let Some((kubelet, door)) = self.kubelets.get(node) {
            self.population.report(node, true, true);
            set_failure(kubelet, door, None).await;
        }
    }

    /// Shuts the API server: its connections end, new ones are refused.
    pub async fn api_down(&self) {
        self.api_door.set_open(false).await;
    }

    /// Brings the API server back, at the same address.
    pub async fn api_up(&self) {
        self.api_door.set_open(true).await;
    }

    /// Ends the API server's connections, watches among them; new ones are welcome.
    pub async fn drop_api_connections(&self) {
        self.api_door.set_open(true).await;
    }

    /// Answers everything asked of the API server with that status, or as usual again. Running watches go on.
    pub fn api_fails_with(&self, status: Option<u16>) {
        self.api.failing_with.store(status.unwrap_or(0), Ordering::Relaxed);
    }

    /// Registers a server of `metrics.k8s.io/v1beta1`, and of Heapster's service, behind the API server; or none.
    pub fn aggregate(&self, backend: Option<Backend>) {
        self.api.stand_behind(backend);
    }

    /// Forgets what was before now: watches from older resource versions get 410, and so do continue tokens.
    pub fn expire_history(&self) {
        self.store.forget(true);
    }

    /// Creates or replaces an object of a test's own making; its resource version is set here. Kubelets know nothing of
    /// it.
    ///
    /// # Errors
    /// [`UnnamedObject`] if it has no name.
    pub fn put(&self, resource: Resource, mut object: Value) -> Result<(), UnnamedObject> {
        let mut item = Item::read(object.to_string().into_bytes()).map_err(|_| UnnamedObject)?;
        if let Some(fields) = object.as_object_mut() {
            fields.retain(|name, _| name != "kind" && name != "apiVersion");
        }
        self.store.put(resource, |version| {
            object["metadata"]["resourceVersion"] = version.to_string().into();
            item.json = object.to_string().into();
            item
        });
        Ok(())
    }

    /// Deletes an object; false if there is none. One the cluster itself knows comes back with its next change.
    pub fn delete(&self, resource: Resource, namespace: &str, name: &str) -> bool {
        self.store.delete(resource, &key(namespace, name), |version, last| {
            let mut object: Value = serde_json::from_slice(&last.json).unwrap_or_default();
            object["metadata"]["resourceVersion"] = version.to_string().into();
            let json = object.to_string().into();
            Item { key: last.key.clone(), node: last.node.clone(), phase: last.phase.clone(), json }
        })
    }

    /// A bearer token that TokenReviews know from now on. It is good for reviews, not for this API server.
    pub fn know_token(&self, token: &str, user: &str, groups: &[&str]) {
        self.cluster.access.know(token, user, groups);
    }

    /// A token that is nobody's from now on.
    pub fn forget_token(&self, token: &str) {
        self.cluster.access.forget(token);
    }

    /// What SubjectAccessReviews allow from now on, besides.
    pub fn grant(&self, grant: Grant) {
        self.cluster.access.grant(grant);
    }

    /// What nobody may from now on, and reviews of one's own rights say so: a verb on `pods`, `nodes/stats`….
    pub fn deny(&self, verb: &str, resource: &str) {
        self.cluster.access.deny(verb, resource);
    }

    /// Lets the API server answer a GET of that path so. A status that is none is 200.
    pub fn serve(&self, path: &str, status: u16, document: Value) {
        let status = http::StatusCode::from_u16(status).unwrap_or_default();
        let mut documents = self.api.documents.write().unwrap_or_else(PoisonError::into_inner);
        documents.insert(path.to_owned(), (status, document));
    }

    /// Publishes whom the cluster trusts to say who somebody is, in the ConfigMap where API servers do; PEM.
    pub fn publish_authorities(&self, front_proxy: &str, allowed_names: &[&str], clients: &str) {
        let map = access::published(front_proxy, allowed_names, clients);
        // It has a name.
        let _ = self.put(Resource::ConfigMaps, map);
    }

    /// The newest resource version.
    pub fn resource_version(&self) -> u64 {
        self.store.version()
    }

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<Entry> {
        self.cluster.journal.entries()
    }

    /// Counters since the start.
    pub fn counts(&self) -> Counts {
        self.cluster.journal.counts()
    }

    /// Ends all connections and frees all sockets.
    pub async fn stop(self) {
        let doors = self.kubelets.iter().map(|(_, door)| door).chain([&self.api_door]);
        futures::future::join_all(doors.map(|door| door.set_open(false))).await;
    }
}

impl Drop for Kubesim {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
    }
}

async fn set_failure(kubelet: &Kubelet, door: &Door, failure: Option<Failure>) {
    let was_below = kubelet.failure().is_some_and(Failure::is_below_http);
    kubelet.set_failure(failure);
    if was_below || matches!(failure, Some(Failure::Refused | Failure::Reset)) {
        door.set_open(failure != Some(Failure::Refused)).await;
    }
}

async fn tick(cluster: Arc<Cluster>, population: Arc<Population>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        population.advance_to(cluster.clock.now());
    }
}

/// Filling the store takes seconds for a large cluster: not on the runtime's own threads.
async fn populate(cluster: &Arc<Cluster>, store: &Arc<Store>, kubelet_port: u16) -> Arc<Population> {
    let (for_task, store_for_task) = (Arc::clone(cluster), Arc::clone(store));
    let filled = tokio::task::spawn_blocking(move || Population::new(for_task, store_for_task, kubelet_port)).await;
    Arc::new(filled.unwrap_or_else(|_| Population::new(Arc::clone(cluster), Arc::clone(store), kubelet_port)))
}
