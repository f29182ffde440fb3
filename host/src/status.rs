//! What operators are shown of the running process: the last cycle, every node, every rule, every
//! sink. Written by the cycle when it ends, read by HTTP and the live table; nothing waits for
//! a reader.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::auth::AuthCounts;
use crate::kube::{Inventory, InventoryStatus, KindStatus};
use crate::reloads::{ReloadStatus, Reloads};
use crate::rules::{RuleStats, RuleStatus, ShadowStatus};
use crate::scrape::DecodeCounts;
use crate::sinks::{LedgerReader, LedgerSnapshot};
use crate::store::{StoreReader, StoreStatus};

/// One completed cycle.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CycleStatus {
    /// Its number, from 1.
    pub number: u64,
    /// The timestamp its points carry, RFC 3339.
    pub time: String,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Nodes that were asked.
    pub nodes_asked: usize,
    /// Nodes that answered in time with a body that decodes.
    pub nodes_answered: usize,
    /// Pods in what went to the sinks.
    pub pods: u64,
    /// Containers in what went to the sinks.
    pub containers: u64,
    /// Points decoded from the kubelets and the API server's facts.
    pub points_scraped: u64,
    /// Points that went to the sinks.
    pub points_published: u64,
    /// Where the time went.
    pub stages: Stages,
}

/// Durations of one cycle, ms.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Stages {
    /// From the first request to the last answer.
    pub scrape_ms: f64,
    /// Decoding, added up over all nodes.
    pub decode_ms: f64,
    /// `process` of all rules with applying their edits, added up over all nodes.
    pub rules_ms: f64,
    /// `finish` of all rules.
    pub finish_ms: f64,
    /// From the last answer to the end of the cycle.
    pub tail_ms: f64,
    /// The whole cycle.
    pub total_ms: f64,
}

/// One node in the last cycle.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    /// Its name.
    #[serde(serialize_with = "inner")]
    pub name: Arc<str>,
    /// `ok`, or the class of the failure.
    pub state: &'static str,
    /// What went wrong, with its remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Cycles in a row without points of this node.
    pub failed_cycles: u64,
    /// From the request to the last byte, ms.
    pub took_ms: f64,
    /// Bytes of its answer.
    pub bytes: usize,
    /// Points decoded from it.
    pub points: u64,
}

/// What was counted since the process started.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counters {
    /// Completed cycles.
    pub cycles: u64,
    /// Ticks at which the cycle before was still under way.
    pub missed_ticks: u64,
    /// Answers that became a batch.
    pub answers: u64,
    /// Nodes without points, by the class of the failure.
    pub failures: BTreeMap<&'static str, u64>,
    /// Points decoded.
    pub points_scraped: u64,
    /// Points handed to the sinks: those decoded, and what the rules added, less what they dropped,
    /// merged and lost, less the private ones and the lost ones. Always exactly.
    pub points_published: u64,
    /// Points for rules only, which never reach a sink.
    pub points_private: u64,
    /// Points of batches lost by a defect of this program.
    pub points_lost: u64,
    /// Values beyond i64, dropped at decode.
    pub values_over_range: u64,
    /// Values that were no numbers or times, dropped at decode.
    pub values_malformed: u64,
    /// Pods and containers that stood twice in an answer.
    pub duplicates: u64,
    /// Pods and containers without a name.
    pub nameless: u64,
    /// Custom metrics of an unknown type.
    pub unknown_kind: u64,
    /// Metrics whose name is taken by another value type.
    pub type_conflicts: u64,
    /// Values from outside whose metric has a name too many or too long.
    pub names_left_out: u64,
    /// Labels of objects over a bound.
    pub labels_left_out: u64,
    /// Batches lost because a rule's call ended in a defect of this program.
    pub panics: u64,
}

impl Counters {
    /// Adds what one answer's decoding counted.
    pub fn decoded(&mut self, counts: &DecodeCounts) {
        self.answers += 1;
        self.points_scraped += counts.points;
        self.values_over_range += counts.over_range;
        self.values_malformed += counts.malformed;
        self.duplicates += counts.duplicates;
        self.nameless += counts.nameless;
        self.unknown_kind += counts.unknown_kind;
        self.type_conflicts += counts.type_conflicts;
        self.names_left_out += counts.names_left_out;
        self.labels_left_out += counts.labels_left_out;
    }
}

/// What a cycle publishes when it ends.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    /// The last cycle.
    pub cycle: Option<CycleStatus>,
    /// Since the start.
    pub counters: Counters,
    /// Every node of the last cycle, by name.
    pub nodes: Vec<NodeStatus>,
    /// Every rule, in the chain's order.
    pub rules: Vec<RuleStatus>,
    /// Rules that run beside the chain; nothing of what they count was done.
    pub shadows: Vec<ShadowStatus>,
    /// What rules did that are no longer there, all together.
    pub former_rules: RuleStats,
}

/// Everything at `/api/v1/status`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Millrace's version.
    pub version: &'static str,
    /// When the process started, RFC 3339.
    pub started_at: String,
    /// For how long it has been running, s.
    pub uptime_seconds: u64,
    /// Between two cycles, ms.
    pub resolution_ms: u64,
    /// Whether the last cycle delivered points; see [`Board::ready`].
    pub ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<String>,
    /// The last cycle, the nodes, the rules.
    #[serde(flatten, serialize_with = "inner")]
    pub snapshot: Arc<Snapshot>,
    /// Every sink's ledger.
    pub sinks: Vec<LedgerSnapshot>,
    /// The watches of the API server.
    pub inventory: Option<BTreeMap<&'static str, Watch>>,
    /// Reloads of the rules.
    pub reloads: Option<ReloadStatus>,
    /// What is kept in memory; absent: nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStatus>,
}

/// One watch of the API server.
#[derive(Debug, Serialize)]
pub struct Watch {
    objects: usize,
    synced: bool,
    connected: bool,
    events: u64,
    errors: u64,
    relists: u64,
    last_event: Option<String>,
    last_error: Option<String>,
}

impl From<KindStatus> for Watch {
    fn from(kind: KindStatus) -> Self {
        Self {
            objects: kind.objects,
            synced: kind.synced,
            connected: kind.connected,
            events: kind.events,
            errors: kind.errors,
            relists: kind.relists,
            last_event: kind.last_event.map(rfc3339),
            last_error: kind.last_error,
        }
    }
}

/// Where the cycle writes and others read.
pub struct Board {
    started_at: SystemTime,
    started: Instant,
    resolution: Duration,
    current: RwLock<(Arc<Snapshot>, Option<Instant>)>,
    sinks: Vec<LedgerReader>,
    inventory: OnceLock<Arc<Inventory>>,
    reloads: OnceLock<Arc<Reloads>>,
    store: OnceLock<StoreReader>,
    auth: OnceLock<Arc<AuthCounts>>,
}

impl Board {
    /// A board with nothing on it yet.
    #[must_use]
    pub fn new(resolution: Duration, sinks: Vec<LedgerReader>) -> Self {
        Self {
            started_at: SystemTime::now(),
            started: Instant::now(),
            resolution,
            current: RwLock::default(),
            sinks,
            inventory: OnceLock::new(),
            reloads: OnceLock::new(),
            store: OnceLock::new(),
            auth: OnceLock::new(),
        }
    }

    /// Between two cycles.
    #[must_use]
    pub fn resolution(&self) -> Duration {
        self.resolution
    }

    /// Shows the watches of this inventory from now on.
    pub fn watch(&self, inventory: Arc<Inventory>) {
        let _ = self.inventory.set(inventory);
    }

    /// Shows these reloads from now on.
    pub fn show_reloads(&self, reloads: Arc<Reloads>) {
        let _ = self.reloads.set(reloads);
    }

    /// Shows this store from now on.
    pub fn show_store(&self, store: StoreReader) {
        let _ = self.store.set(store);
    }

    /// Counts who is let in from now on.
    pub fn show_auth(&self, counts: Arc<AuthCounts>) {
        let _ = self.auth.set(counts);
    }

    /// How requests to the secure port ended; `None`: there is none.
    #[must_use]
    pub fn auth(&self) -> Option<&AuthCounts> {
        self.auth.get().map(|counts| &**counts)
    }

    /// What the store holds; `None`: there is none.
    #[must_use]
    pub fn store(&self) -> Option<StoreStatus> {
        self.store.get().map(StoreReader::status)
    }

    /// What is known of reloads.
    #[must_use]
    pub fn reloads(&self) -> Option<ReloadStatus> {
        self.reloads.get().map(|reloads| reloads.status())
    }

    /// Shows the state at the end of a cycle.
    pub fn publish(&self, snapshot: Snapshot) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = (Arc::new(snapshot), Some(Instant::now()));
    }

    /// The state at the end of the last cycle.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Every sink's ledger as it is now.
    #[must_use]
    pub fn ledgers(&self) -> Vec<LedgerSnapshot> {
        self.sinks.iter().map(LedgerReader::snapshot).collect()
    }

    /// What is known of the cluster; `None`: it is not watched yet.
    #[must_use]
    pub fn cluster(&self) -> Option<Arc<Inventory>> {
        self.inventory.get().map(Arc::clone)
    }

    /// The watches as they are now.
    #[must_use]
    pub fn inventory(&self) -> Option<InventoryStatus> {
        self.inventory.get().map(|inventory| inventory.status())
    }

    /// Whether the last cycle delivered points and is no older than three resolutions: a dead
    /// pipeline is never healthy.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ready(&self) -> Result<(), String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(cycle), Some(ended)) = (&current.0.cycle, current.1) else {
            let synced = self
                .inventory()
                .is_some_and(|watches| watches.nodes.synced && watches.pods.synced && watches.namespaces.synced);
            return Err(if synced {
                "no cycle has ended yet".to_owned()
            } else {
                "the first lists of the API server are not complete".to_owned()
            });
        };
        let bound = self.resolution * 3 + Duration::from_secs(10);
        if ended.elapsed() > bound {
            return Err(format!("the last cycle ended {} s ago", ended.elapsed().as_secs()));
        }
        if let Some(rule) = current.0.rules.iter().find(|rule| rule.halted) {
            let (name, kind) = (&rule.name, rule.stats.last_fault.as_ref().map_or("failed", |it| it.kind.as_str()));
            return Err(format!(
                "rule `{name}` failed ({kind}) and has halted the chain: mend or remove it, or reload the rules; \
                 /api/v1/status has its error"
            ));
        }
        if cycle.points_published == 0 {
            let (answered, asked) = (cycle.nodes_answered, cycle.nodes_asked);
            return Err(format!("the last cycle delivered no points; {answered} of {asked} nodes answered"));
        }
        Ok(())
    }

    /// Whether cycles go on at all.
    ///
    /// # Errors
    /// For how long none has ended.
    pub fn alive(&self) -> Result<(), String> {
        let ended = self.current.read().unwrap_or_else(PoisonError::into_inner).1;
        let Some(ended) = ended else { return Ok(()) };
        let bound = self.resolution * 3 + Duration::from_secs(60);
        if ended.elapsed() > bound {
            return Err(format!("no cycle has ended for {} s", ended.elapsed().as_secs()));
        }
        Ok(())
    }

    /// Everything.
    #[must_use]
    pub fn status(&self) -> Status {
        let inventory = self.inventory().map(|watches| {
            BTreeMap::from([
                ("nodes", watches.nodes.into()),
                ("pods", watches.pods.into()),
                ("namespaces", watches.namespaces.into()),
            ])
        });
        let not_ready = self.ready().err();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started_at: rfc3339(self.started_at),
            resolution_ms: u64::try_from(self.resolution.as_millis()).unwrap_or(u64::MAX),
            uptime_seconds: self.uptime().as_secs(),
            ready: not_ready.is_none(),
            not_ready,
            snapshot: self.snapshot(),
            sinks: self.ledgers(),
            inventory,
            reloads: self.reloads(),
            store: self.store(),
        }
    }

    /// Shows rules before the first cycle has ended.
    pub fn show_rules(&self, rules: Vec<RuleStatus>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.0 = Arc::new(Snapshot { rules, ..Snapshot::clone(&current.0) });
    }

    /// When the process started.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// How long the process has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

fn inner<T: Serialize + ?Sized, S: serde::Serializer>(shared: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
    (**shared).serialize(to)
}

/// A time as pages show it.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| time.to_string())
}
