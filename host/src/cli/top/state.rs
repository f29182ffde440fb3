//! What is shown: the last answer, the one of the cycle before, and where the reader has scrolled to.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use crate::rules::stats::durations::{BOUNDS_US, quantile};

/// What `/api/v1/status` says, as far as it is shown. What is missing is empty: the other side may be
/// of another version.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub version: String,
    pub uptime_seconds: u64,
    pub resolution_ms: u64,
    pub ready: bool,
    pub not_ready: Option<String>,
    pub cycle: Option<Cycle>,
    pub counters: Counters,
    pub nodes: Vec<Node>,
    pub rules: Vec<Rule>,
    /// Rules beside the chain.
    pub shadows: Vec<Rule>,
    pub sinks: Vec<Sink>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cycle {
    pub number: u64,
    pub nodes_asked: u64,
    pub nodes_answered: u64,
    pub pods: u64,
    pub containers: u64,
    pub points_scraped: u64,
    pub points_published: u64,
    pub stages: Stages,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stages {
    pub scrape_ms: f64,
    pub decode_ms: f64,
    pub rules_ms: f64,
    pub finish_ms: f64,
    pub tail_ms: f64,
    pub total_ms: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    pub missed_ticks: u64,
    pub panics: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub name: String,
    pub state: String,
    pub error: Option<String>,
    pub failed_cycles: u64,
    pub took_ms: f64,
    pub bytes: u64,
    pub points: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rule {
    pub name: String,
    pub version: String,
    pub state: Option<String>,
    pub halted: bool,
    pub parked_until: Option<u64>,
    pub stats: RuleStats,
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RuleStats {
    pub process_time: Times,
    pub points_in: u64,
    pub points_dropped: u64,
    pub points_added: u64,
    pub relabelled: u64,
    pub faults: BTreeMap<String, u64>,
    pub last_fault: Option<Fault>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fault {
    pub text: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Times {
    pub calls: u64,
    buckets_us: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sink {
    pub sink: String,
    pub failing: bool,
    pub written: u64,
    pub queued: u64,
    pub queued_bytes: u64,
    pub dropped: BTreeMap<String, u64>,
    pub last_error: Option<LastError>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct LastError {
    pub message: String,
}

impl Status {
    /// Rules of the chain, then those beside it.
    pub(super) fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(&self.shadows)
    }

    fn cycle_number(&self) -> u64 {
        self.cycle.as_ref().map_or(0, |cycle| cycle.number)
    }
}

impl Rule {
    /// In one word.
    pub(super) fn state(&self) -> &str {
        match &self.state {
            Some(state) => state,
            None if self.halted => "halted",
            None if self.parked_until.is_some() => "parked",
            None => "running",
        }
    }

    pub(super) fn failures(&self) -> u64 {
        self.stats.faults.values().sum()
    }
}

impl Sink {
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }
}

impl Times {
    /// Calls of each bucket since `base`.
    fn since(&self, base: Option<&Self>) -> Vec<u64> {
        let of = |times: &Self, key: &str| times.buckets_us.get(key).copied().unwrap_or(0);
        let keys = BOUNDS_US.iter().map(u64::to_string).chain(["more".to_owned()]);
        keys.map(|key| of(self, &key).saturating_sub(base.map_or(0, |base| of(base, &key)))).collect()
    }

    /// What `share` of the calls since `base` did not exceed, µs.
    pub(super) fn quantile(&self, base: Option<&Self>, share: f64) -> Option<f64> {
        let recent = self.since(base);
        // Between two cycles there was none; then those of all time will do.
        let any = recent.iter().any(|&calls| calls > 0);
        quantile(&if any { recent } else { self.since(None) }, share)
    }
}

/// How the nodes are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Failing ones first, then the slowest.
    #[default]
    Trouble,
    Points,
    Name,
}

impl Order {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Points => "points",
            Self::Name => "name",
        }
    }
}

/// What arrows scroll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Part {
    Rules,
    #[default]
    Nodes,
}

/// How many rows of each part the screen had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub rules: usize,
    pub nodes: usize,
}

/// All that a screen is drawn from.
#[derive(Debug)]
pub(super) struct View {
    pub address: String,
    pub now: Option<Status>,
    /// The last answer of another cycle.
    pub base: Option<Status>,
    /// When somebody answered last, or was asked for the first time.
    pub heard: Instant,
    /// Why nobody has answered since.
    pub trouble: Option<String>,
    pub part: Part,
    pub order: Order,
    /// First rows that are shown.
    pub first_rule: usize,
    pub first_node: usize,
    pub page: Page,
    /// Whether somebody can press keys.
    pub keys: bool,
}

impl View {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            now: None,
            base: None,
            heard: Instant::now(),
            trouble: None,
            part: Part::default(),
            order: Order::default(),
            first_rule: 0,
            first_node: 0,
            page: Page::default(),
            keys: false,
        }
    }

    pub(super) fn answered(&mut self, mut status: Status) {
        sort(&mut status.nodes, self.order);
        (self.heard, self.trouble) = (Instant::now(), None);
        match &self.now {
            // It was started again: what was counted before says nothing.
            Some(now) if now.uptime_seconds > status.uptime_seconds => self.base = None,
            Some(now) if now.cycle_number() != status.cycle_number() && now.cycle_number() > 0 => {
                self.base = self.now.take();
            }
            _ => {}
        }
        self.now = Some(status);
        self.scroll(0);
    }

    pub(super) fn failed(&mut self, why: &str) {
        self.trouble = Some(why.to_owned());
    }

    /// Cycles between the two answers; `None` where all since the start is shown.
    pub(super) fn cycles(&self) -> Option<u64> {
        let (base, now) = (self.base.as_ref()?, self.now.as_ref()?);
        Some(now.cycle_number().saturating_sub(base.cycle_number())).filter(|&cycles| cycles > 0)
    }

    pub(super) fn next_part(&mut self) {
        self.part = if self.part == Part::Rules { Part::Nodes } else { Part::Rules };
    }

    pub(super) fn next_order(&mut self) {
        self.order = match self.order {
            Order::Trouble => Order::Points,
            Order::Points => Order::Name,
            Order::Name => Order::Trouble,
        };
        if let Some(now) = &mut self.now {
            sort(&mut now.nodes, self.order);
        }
    }

    pub(super) fn scroll_page(&mut self, pages: isize) {
        let rows = if self.part == Part::Rules { self.page.rules } else { self.page.nodes };
        self.scroll(pages * isize::try_from(rows.max(1)).unwrap_or(1));
    }

    /// Moves by so many rows, and never past what there is.
    pub(super) fn scroll(&mut self, rows: isize) {
        let count = |now: fn(&Status) -> usize| self.now.as_ref().map_or(0, now);
        let (rules, nodes) = (count(|now| now.all_rules().count()), count(|now| now.nodes.len()));
        let (rules, nodes) =
            (rules.saturating_sub(self.page.rules.max(1)), nodes.saturating_sub(self.page.nodes.max(1)));
        let first = if self.part == Part::Rules { &mut self.first_rule } else { &mut self.first_node };
        *first = first.saturating_add_signed(rows);
        self.first_rule = self.first_rule.min(rules);
        self.first_node = self.first_node.min(nodes);
    }

    /// Lines of a screen with all rules and sinks, and `nodes` nodes at most.
    pub(super) fn height(&self, nodes: u16) -> u16 {
        let Some(now) = &self.now else { return 4 };
        let rows = now.all_rules().count() + now.sinks.len() + now.nodes.len().min(usize::from(nodes));
        u16::try_from(rows).unwrap_or(u16::MAX - 20) + super::draw::FIXED
    }
}

fn sort(nodes: &mut [Node], order: Order) {
    match order {
        Order::Trouble => nodes.sort_by(|a, b| {
            let key = |node: &Node| (node.error.is_some(), node.failed_cycles);
            key(b).cmp(&key(a)).then(b.took_ms.total_cmp(&a.took_ms)).then_with(|| a.name.cmp(&b.name))
        }),
        Order::Points => nodes.sort_by(|a, b| b.points.cmp(&a.points).then_with(|| a.name.cmp(&b.name))),
        Order::Name => nodes.sort_by(|a, b| a.name.cmp(&b.name)),
    }
}
