//! Puts the parts together: inventory, scraper, chain, sinks, HTTP. The only place that knows
//! every concrete type.

mod clock;
mod cycle;
mod live;
mod pipeline;
mod reload;
mod top;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::batch::TypeRegistry;
use crate::config::{Config, SinkConfig, Target};
use crate::http::{self, Historical, Port, PortError};
use crate::kube::{ConnectError, FactOptions, Inventory, connect};
use crate::recordings::Recordings;
use crate::reloads::Reloads;
use crate::rules::{Chain, Problem, RuleEngine, RuleSources};
use crate::scrape::{ScrapeSetupError, Scraper, names};
use crate::sinks::influxdb::Influxdb;
use crate::sinks::kafka::Kafka;
use crate::sinks::log::Log;
use crate::sinks::prometheus::Prometheus;
use crate::sinks::{Common, LedgerSnapshot, SinkHandle, Spool};
use crate::status::Board;
use cycle::{Cycles, Parts};
pub use live::Screen;
use pipeline::Outlets;
use reload::{Proposals, Reloader};

/// How long a stop may take in all. Kubernetes kills 45 s after it asked; see `deploy/base/deployment.yaml`.
const STOP: Duration = Duration::from_secs(30);
/// How much of it batches have that still wait for the rules; the rest is for the sinks' queues.
const CHAIN: Duration = Duration::from_secs(5);
/// How often the wait for the API server is mentioned.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to run, as far as it is no matter of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Stop after this many cycles; `None` runs until stopped.
    pub cycles: Option<u64>,
    /// Begin the next cycle as soon as one is done.
    pub back_to_back: bool,
    /// Show a table of the last cycle here.
    pub live: Option<Screen>,
    /// Told when the rules are to be read again.
    pub reload: Arc<Notify>,
}

/// Why the process does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Rules that are missing or broken; nothing runs without all of them.
    #[error("{}", join(.0))]
    Rules(Vec<Problem>),
    /// Credentials of the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Credentials of the kubelets.
    #[error(transparent)]
    Scrape(#[from] ScrapeSetupError),
    /// The certificate of the database that the historical API reads.
    #[error("historical: {0}")]
    Historical(#[from] crate::tls::TlsError),
    /// A sink's certificate or output.
    #[error("sink `{0}`: {1}")]
    Sink(String, String),
    /// The address is taken, or not ours.
    #[error("can't listen on {0}: {1}; choose another address with `--listen`")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// The same of the secure port.
    #[error("can't listen on {0}: {1}; choose another address as `listen` of `[http.secure]`")]
    ListenSecure(std::net::SocketAddr, std::io::Error),
    /// A port of ours can't be opened for another reason.
    #[error("{0}")]
    Port(PortError),
    /// The system refused something that every process gets.
    #[error("{0}")]
    System(String),
}

impl AppError {
    /// Whether a better configuration would mend it.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Rules(_) | Self::Connect(_) | Self::Scrape(_) | Self::Historical(_) | Self::Sink(..) | Self::Port(_)
        )
    }
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Runs until `stop` resolves or the wanted cycles are done, then drains the sinks, for half a
/// minute at most.
///
/// # Errors
/// [`AppError`] if something keeps it from starting, or going on.
pub async fn run(config: Config, options: Options, stop: impl Future<Output = ()>) -> Result<(), AppError> {
    let types = Arc::new(TypeRegistry::default());
    // Before any rule or kubelet names a metric.
    names::reserve(&types).map_err(|conflict| AppError::System(conflict.to_string()))?;
    let loaded = {
        let (config, types) = (config.clone(), types.clone());
        let loading = tokio::task::spawn_blocking(move || rules(&config, types));
        loading.await.map_err(|error| AppError::System(error.to_string()))??
    };
    let Rules { chain, warnings, engine, sources, executable } = loaded;
    for warning in warnings {
        warn!("{warning}");
    }
    let connected = connect(&config.source.api).await?;
    let scraper = Scraper::new(config.source.kubelet.clone(), &connected.credentials)?;
    let ports = open_ports(&config, &connected.client).await?;
    let address = ports.first().and_then(Port::address).unwrap_or(config.http.listen).to_string();
    let historical = config.historical.as_ref().map(Historical::new).transpose()?.map(Arc::new);
    let sinks: Arc<[SinkHandle]> = start_sinks(&config)?.into();

    let (store, stored) = crate::store::start(&config.store)
        .map_err(|error| AppError::System(format!("no thread for the store: {error}")))?
        .unzip();

    let board = Arc::new(Board::new(config.resolution, sinks.iter().map(SinkHandle::reader).collect()));
    board.show_rules(chain.status());
    let recordings = Arc::new(Recordings::default());
    let (reloads, asks) = Reloads::new();
    let reloads = Arc::new(reloads);
    board.show_reloads(reloads.clone());
    if let Some(stored) = &stored {
        board.show_store(stored.clone());
    }
    let shown = http::Shown {
        board: board.clone(),
        batches: config
            .http
            .record
            .then(|| http::Batches { recordings: recordings.clone(), taps: engine.taps().clone() }),
        reloads: reloads.clone(),
        failures: engine.failures(),
        store: stored,
        export: config.http.export,
        historical,
    };
    if !config.http.record {
        shown.failures.keep_no_batches();
    }
    let mut servers = JoinSet::new();
    for port in ports {
        port.counts().into_iter().for_each(|counts| board.show_auth(counts));
        servers.spawn(http::serve(port, shown.clone()));
    }
    info!(address, "status at /api/v1/status");
    let facts = FactOptions {
        host_id_annotation: config.source.host_id_annotation.clone(),
        annotations: config.source.pod_annotations.clone(),
    };
    let inventory = Arc::new(Inventory::start(connected.client, facts));
    board.watch(inventory.clone());

    let proposals = Arc::new(Proposals::default());
    reload::listen(&reloads, &sources, &executable, options.reload.clone());
    let (taps, versions) = (engine.taps().clone(), chain.versions());
    let reloader =
        Reloader { engine, sources, executable, versions, proposals: proposals.clone(), board: board.clone(), reloads };
    let outlets =
        Outlets { sinks: sinks.clone(), store, recordings, taps, proposals, show_top: options.live.is_some() };
    let (feeder, chain_thread) = pipeline::start(chain, outlets)
        .map_err(|error| AppError::System(format!("no thread for the chain: {error}")))?;
    tokio::spawn(reloader.run(asks));
    let cycles = Cycles::new(Parts {
        inventory,
        scraper,
        feeder,
        types,
        board: board.clone(),
        resolution: config.resolution,
        back_to_back: options.back_to_back,
    });
    let ended = tokio::select! {
        () = stop => Ok(()),
        ended = drive(cycles, &options, &board, &sinks, &address) => ended,
    };
    if let Some(screen) = &options.live {
        screen.close();
    }
    info!("stopping: the sinks get what is still queued");
    let stopped = Instant::now();
    let left = chain_thread.stop((stopped + CHAIN).into_std()).await;
    if left.batches > 0 {
        let pipeline::Left { batches, points, busy } = left;
        warn!(batches, points, busy, "batches dropped at shutdown: the rules did not come to them in time");
    }
    drain(&sinks, stopped + STOP).await;
    servers.abort_all();
    ended
}

/// The rules as they were read, and what reads them again.
pub(crate) struct Rules {
    /// All of them, ready.
    pub chain: Chain,
    /// What the operator should know of them.
    pub warnings: Vec<String>,
    engine: Arc<RuleEngine>,
    sources: RuleSources,
    executable: PathBuf,
}

/// Reads, compiles and configures the rules. Blocks for as long as compiling takes.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn rules(config: &Config, types: Arc<TypeRegistry>) -> Result<Rules, AppError> {
    let executable = std::env::current_exe().map_err(|error| AppError::System(format!("own path: {error}")))?;
    let sources = RuleSources {
        bundled: config.rules.bundled.clone(),
        dirs: config.rules.dirs.clone(),
        heapster: config.rules.heapster.clone(),
    };
    let set = sources.read(&executable).map_err(AppError::Rules)?;
    let engine = RuleEngine::new().map_err(|error| AppError::System(error.to_string()))?;
    let chain = Chain::start(&engine, &set, types).map_err(AppError::Rules)?;
    Ok(Rules { chain, warnings: set.warnings, engine: Arc::new(engine), sources, executable })
}

/// Heapster's port first, then the secure one, if it is wanted.
async fn open_ports(config: &Config, client: &kube::Client) -> Result<Vec<Port>, AppError> {
    let refused = |error| match error {
        PortError::Listen(address, error) => AppError::Listen(address, error),
        other => AppError::Port(other),
    };
    let mut ports = vec![Port::open(&config.http).await.map_err(refused)?];
    if let Some(secure) = &config.http.secure {
        let port = Port::open_secure(secure, client.clone()).await;
        let port = port.map_err(|error| match error {
            PortError::Listen(address, error) => AppError::ListenSecure(address, error),
            other => AppError::Port(other),
        })?;
        if let Some(address) = port.address() {
            info!(%address, "secure port");
        }
        ports.push(port);
    }
    Ok(ports)
}

/// What the sinks are called: their kind, and their place where there are several of it.
pub(crate) fn sink_names(config: &Config) -> Vec<String> {
    let same = |kind: &str| config.sinks.iter().filter(|other| other.kind() == kind).count();
    let name = |(at, sink): (usize, &SinkConfig)| match sink.kind() {
        kind if same(kind) == 1 => kind.to_owned(),
        kind => format!("{kind}-{}", at + 1),
    };
    config.sinks.iter().enumerate().map(name).collect()
}

/// The one place where a kind of sink meets its type.
fn start_sinks(config: &Config) -> Result<Vec<SinkHandle>, AppError> {
    let mut sinks: Vec<SinkHandle> = Vec::with_capacity(config.sinks.len());
    for (sink, name) in config.sinks.iter().zip(sink_names(config)) {
        let kind = sink.kind();
        let spool = sink.spool.as_ref().map(|spool| Spool::open(spool, kind)).transpose();
        let spool = spool.map_err(|error| AppError::Sink(name.clone(), error.to_string()))?;
        let common = Common { selection: sink.selection.clone(), spool };
        let started = match &sink.target {
            Target::Influxdb(config) => Influxdb::start(&name, config, common).map_err(|error| error.to_string()),
            Target::Kafka(config) => Kafka::start(&name, config, common).map_err(|error| error.to_string()),
            Target::Log(config) => Log::start(&name, config, common).map_err(|error| error.to_string()),
            Target::Prometheus(config) => Prometheus::start(&name, config, common).map_err(|error| error.to_string()),
        };
        sinks.push(started.map_err(|error| AppError::Sink(name, error))?);
    }
    Ok(sinks)
}

/// Cycle after cycle.
async fn drive(
    mut cycles: Cycles,
    options: &Options,
    board: &Board,
    sinks: &[SinkHandle],
    address: &str,
) -> Result<(), AppError> {
    wait_for_lists(&cycles).await;
    let mut clock = clock::Clock::new(cycles.resolution, options.back_to_back);
    let mut done = 0;
    while options.cycles.is_none_or(|wanted| done < wanted) {
        let (tick, wait) = clock.next(clock::now());
        if done == 0 && wait > Duration::from_secs(2) {
            info!(seconds = wait.as_secs(), "the first cycle begins at the next multiple of the resolution");
        }
        tokio::time::sleep(wait).await;
        let outcome = cycles.run(tick).await.map_err(|error| AppError::System(error.to_string()))?;
        if let Some(screen) = &options.live {
            let ledgers: Vec<_> = sinks.iter().map(SinkHandle::ledger).collect();
            screen.show(&outcome, &board.snapshot(), &ledgers, address);
        }
        done += 1;
    }
    Ok(())
}

/// Waits for the first lists, saying so now and then: without them no pod has labels or requests.
async fn wait_for_lists(cycles: &Cycles) {
    let start = Instant::now();
    while tokio::time::timeout(PATIENCE, cycles.inventory.wait_synced()).await.is_err() {
        let watches = cycles.inventory.status();
        let errors = [watches.nodes, watches.pods, watches.namespaces].map(|kind| kind.last_error);
        let error = errors.into_iter().flatten().next().unwrap_or_default();
        warn!(seconds = start.elapsed().as_secs(), error, "still waiting for the API server's first lists");
    }
    let watches = cycles.inventory.status();
    info!(
        nodes = watches.nodes.objects,
        pods = watches.pods.objects,
        took_ms = start.elapsed().as_millis(),
        "inventory complete"
    );
}

async fn drain(sinks: &[SinkHandle], deadline: Instant) {
    let ledgers = futures::future::join_all(sinks.iter().map(|sink| sink.drain(deadline))).await;
    for ledger in ledgers {
        let dropped: u64 = ledger.dropped.values().sum();
        let LedgerSnapshot { sink, offered, recovered, written, queued, imbalance, .. } = ledger;
        info!(sink, offered, recovered, written, dropped, queued, imbalance, "sink closed");
    }
}
