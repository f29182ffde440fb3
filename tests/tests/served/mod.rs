//! The recorded cluster's batches in a store, cycle by cycle, and the HTTP routes that read it: without
//! a clock, so that timestamps are those of the recording.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::batch::{Batch, Cycle, TypeRegistry, strip_private};
use millrace::config::HttpConfig;
use millrace::config::source::ApiServer;
use millrace::http::{self, Port, Shown};
use millrace::kube::{FactOptions, Inventory, connect};
use millrace::reloads::Reloads;
use millrace::rules::{Chain, Manifest, RuleEngine, RuleFile, RuleSet};
use millrace::scrape::{DecodeBounds, decode};
use millrace::sinks::Published;
use millrace::status::Board;
use millrace::store::{self, StoreConfig, StoreFeeder, StoreReader};
use millrace_tests::fixtures::process;
use millrace_tests::recorded::{self, Recorded};
use tokio::task::JoinSet;

/// The first recorded timestamp: 2026-11-21T09:08:00Z.
pub const FIRST: i64 = 1_795_252_080;
/// Seconds from one cycle to the next.
pub const WINDOW: i64 = 10;
const NODES: [&str; 3] = ["node-a", "node-b.example.com", "node-c"];

/// What is served.
pub struct Served {
    /// The server's root.
    pub url: String,
    /// Asks it.
    pub client: reqwest::Client,
    inventory: Arc<Inventory>,
    chain: Chain,
    types: Arc<TypeRegistry>,
    feeder: StoreFeeder,
    reader: StoreReader,
    cycles: u64,
    _server: JoinSet<()>,
    _cluster: Recorded,
}

impl Served {
    /// A server with nothing in its store yet.
    pub async fn start() -> Self {
        millrace::tls::install_provider();
        let cluster = Recorded::start().await.unwrap();
        let api = ApiServer::Url {
            url: cluster.api_url().parse().unwrap(),
            insecure_tls: false,
            token_file: None,
            certificate_authority: None,
        };
        let facts = FactOptions { host_id_annotation: Some("example.com/host-id".to_owned()), annotations: Vec::new() };
        let inventory = Arc::new(Inventory::start(connect(&api).await.unwrap().client, facts));
        tokio::time::timeout(Duration::from_secs(30), inventory.wait_synced()).await.unwrap();

        let types = Arc::new(TypeRegistry::default());
        let engine = RuleEngine::new().unwrap();
        let (slot, path) = ("50-heapster.wasm".to_owned(), process::rule("rules/50-heapster.wasm"));
        let bytes = std::fs::read(&path).unwrap();
        let file = RuleFile { name: "heapster".to_owned(), manifest: Manifest::default_of(&slot), slot, path, bytes };
        let chain =
            Chain::start(&engine, &RuleSet { files: vec![file], warnings: vec![] }, Arc::clone(&types)).unwrap();

        let (feeder, reader) = store::start(&StoreConfig::default()).unwrap().unwrap();
        let anywhere = HttpConfig { listen: ([127, 0, 0, 1], 0).into(), ..HttpConfig::default() };
        let port = Port::open(&anywhere).await.unwrap();
        let url = format!("http://{}", port.address().unwrap());
        let board = Arc::new(Board::new(Duration::from_secs(10), Vec::new()));
        board.watch(Arc::clone(&inventory));
        let shown = Shown {
            board,
            batches: None,
            reloads: Arc::new(Reloads::new().0),
            failures: engine.failures(),
            store: Some(reader.clone()),
            export: true,
            historical: None,
        };
        let mut server = JoinSet::new();
        server.spawn(http::serve(port, shown));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let cycles = 0;
        Self { url, client, inventory, chain, types, feeder, reader, cycles, _server: server, _cluster: cluster }
    }

    /// Runs cycles until there have been `wanted`, and waits until readers see the last.
    pub fn run_to(&mut self, wanted: u64) {
        while self.cycles < wanted {
            self.cycles += 1;
            let time = (FIRST + (self.cycles.cast_signed() - 1) * WINDOW) * 1_000_000_000;
            let window = WINDOW * 1_000_000_000;
            let cycle = Cycle { number: self.cycles, time, window, nodes_asked: 4, nodes_answered: 3 };
            for node in NODES {
                let batch = self.decoded(node, &cycle);
                let batch = self.chain.process(&cycle, batch).unwrap();
                self.publish(cycle, batch);
            }
            let mut totals = Vec::new();
            self.chain.finish(&cycle, &mut |batch| totals.push(batch));
            for batch in totals {
                self.publish(cycle, batch);
            }
            self.feeder.end_of_cycle(cycle);
        }
        self.wait();
    }

    /// Runs one cycle that publishes these batches as they are.
    pub fn run_with(&mut self, batches: Vec<Batch>) {
        self.cycles += 1;
        let time = (FIRST + (self.cycles.cast_signed() - 1) * WINDOW) * 1_000_000_000;
        let window = WINDOW * 1_000_000_000;
        let cycle = Cycle { number: self.cycles, time, window, nodes_asked: 4, nodes_answered: 3 };
        for batch in batches {
            self.publish(cycle, batch);
        }
        self.feeder.end_of_cycle(cycle);
        self.wait();
    }

    /// Until readers see the last cycle.
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.reader.snapshot().cycle() != self.cycles {
            assert!(Instant::now() < deadline, "{:?}", self.reader.status());
            std::thread::yield_now();
        }
    }

    fn decoded(&self, node: &str, cycle: &Cycle) -> Batch {
        let (facts, pods) = (self.inventory.node(node).unwrap(), self.inventory.pods_of(node));
        let body = recorded::body(node, self.cycles).unwrap();
        let uid = |namespace: &str| self.inventory.namespace_uid(namespace);
        decode(&body, &facts, &pods, uid, cycle, &DecodeBounds::default(), &self.types).unwrap().batch
    }

    fn publish(&self, cycle: Cycle, batch: Batch) {
        self.feeder.offer(Arc::new(Published { cycle, batch: strip_private(batch).0 }));
    }

    /// One request's status, content type and text.
    pub async fn get(&self, path: &str, accept: Option<&str>) -> (u16, String, String) {
        let mut request = self.client.get(format!("{}{path}", self.url));
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let response = request.send().await.unwrap();
        let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let kind = kind.split(';').next().unwrap().to_owned();
        (response.status().as_u16(), kind, response.text().await.unwrap())
    }

    /// The JSON of a request that succeeds.
    pub async fn json(&self, path: &str) -> serde_json::Value {
        let (status, kind, text) = self.get(path, None).await;
        assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}
