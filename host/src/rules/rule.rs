//! A rule in its place of the chain: makes its instances, applies its edits, and decides what
//! becomes of a batch that it fails on.

mod tap;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tracing::{error, info, warn};

use super::breaker::Breaker;
use super::component::{CompiledRule, Digest};
use super::directory::RuleFile;
use super::engine::RuleEngine;
use super::fault::Fault;
use super::instance::{Answer, Description, Instance};
use super::manifest::{Manifest, OnError};
use super::stats::{LastFault, Meters, RuleState, RuleStats, RuleStatus};
use super::{Problem, tame};
use crate::batch::{Batch, BatchBounds, Cycle, Edit, EditBounds, EditError, Origin, TypeRegistry, apply};
use tap::Kept;

/// Failures of one rule that are logged in one cycle; the others are counted.
const LOGGED_PER_CYCLE: u64 = 3;

/// A rule in its place of the chain.
#[derive(Debug)]
pub struct Rule {
    name: Arc<str>,
    slot: String,
    path: PathBuf,
    compiled: CompiledRule,
    manifest: Manifest,
    /// Its settings as JSON.
    settings: String,
    /// It runs beside the chain.
    beside: bool,
    description: Description,
    /// None after a fault, until the next call makes a new one.
    instance: Option<Instance>,
    halted: bool,
    breaker: Breaker,
    /// Failures of the running cycle, by its number.
    failed_in_cycle: (u64, u64),
    meters: Arc<Meters>,
    stats: RuleStats,
    kept: Kept,
}

/// What a rule was made of: two rules of which it is equal do the same.
#[derive(Debug, Clone)]
pub struct Version {
    /// The rule's name.
    pub name: String,
    /// Its file name.
    pub slot: String,
    /// Its settings, limits and the rest.
    pub manifest: Manifest,
    /// Its code.
    pub compiled: CompiledRule,
}

impl Version {
    /// Whether a rule made of this file would be the same.
    #[must_use]
    pub fn is_of(&self, file: &RuleFile, digest: Digest) -> bool {
        self.name == file.name
            && self.slot == file.slot
            && self.manifest == file.manifest
            && self.compiled.digest() == digest
    }
}

impl Rule {
    /// Compiles and configures a rule.
    ///
    /// # Errors
    /// [`Problem`] if the file is no rule, or if the rule refuses its settings.
    pub fn start(engine: &RuleEngine, file: &RuleFile) -> Result<Self, Problem> {
        let compiled = engine.load(&file.bytes).map_err(|error| Problem::new(file.path.display(), error))?;
        Self::with(compiled, file)
    }

    /// Configures a rule whose code has been compiled.
    ///
    /// # Errors
    /// [`Problem`] if the rule refuses its settings.
    pub(super) fn with(compiled: CompiledRule, file: &RuleFile) -> Result<Self, Problem> {
        let problem = |what: &dyn std::fmt::Display| Problem::new(file.path.display(), what);
        let settings = serde_json::to_string(&file.manifest.settings).map_err(|error| problem(&error))?;
        let mut rule = Self {
            name: file.name.as_str().into(),
            slot: file.slot.clone(),
            path: file.path.clone(),
            compiled,
            settings,
            manifest: file.manifest.clone(),
            beside: false,
            description: Description::default(),
            instance: None,
            halted: false,
            breaker: Breaker::default(),
            failed_in_cycle: (0, 0),
            meters: Arc::default(),
            stats: RuleStats::default(),
            kept: Kept::default(),
        };
        let instance = rule.make_instance().map_err(|fault| problem(&fault))?;
        rule.instance = Some(instance);
        info!(
            rule = &*rule.name,
            version = rule.description.version,
            digest = %rule.compiled.digest(),
            compile_ms = rule.compiled.compile_time().as_millis() as u64,
            "rule loaded"
        );
        Ok(rule)
    }

    /// What it was made of.
    #[must_use]
    pub fn version(&self) -> Version {
        Version {
            name: self.name.to_string(),
            slot: self.slot.clone(),
            manifest: self.manifest.clone(),
            compiled: self.compiled.clone(),
        }
    }

    pub(super) fn slot(&self) -> &str {
        &self.slot
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn last_fault(&self) -> Option<&LastFault> {
        self.stats.last_fault.as_ref()
    }

    /// From now on its answers have no effect, and its log lines say so.
    pub(super) fn step_aside(&mut self) {
        self.beside = true;
        self.meters.shadow.store(true, Ordering::Relaxed);
    }

    /// Takes the place of `old`, with the state that it has from its time beside the chain; what the old
    /// one counted goes on being counted.
    pub(super) fn take_over(&mut self, old: Option<&Self>) {
        self.beside = false;
        self.meters.go_on_from(old.map(|old| &*old.meters));
        self.stats = match old {
            Some(old) => RuleStats { take_overs: old.stats.take_overs + 1, ..old.stats.clone() },
            None => RuleStats { instances: 1, ..RuleStats::default() },
        };
    }

    /// What it did until it left the chain.
    pub(super) fn stats(&self) -> &RuleStats {
        &self.stats
    }

    /// Its name, which its totals carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says about itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    fn process_unseen(
        &mut self,
        cycle: &Cycle,
        mut batch: Batch,
        bounds: &BatchBounds,
        types: &TypeRegistry,
    ) -> Option<Batch> {
        if self.halted {
            return self.withhold(&batch);
        }
        if self.breaker.is_open(cycle.number) {
            return self.leave_out(batch);
        }
        self.stats.process_calls += 1;
        self.stats.points_in += batch.points.len() as u64;
        let started = Instant::now();
        let room = bounds.room(&batch);
        let answer = self.call(|instance| instance.process(cycle, &batch, &room));
        self.stats.process_time.observe(started.elapsed());
        let fault = match answer {
            Ok(edit) => match self.apply(batch, &edit, &room, types) {
                Ok(batch) => {
                    self.succeeded();
                    return Some(batch);
                }
                Err(refused) => {
                    let (untouched, error) = *refused;
                    batch = untouched;
                    error.into()
                }
            },
            Err(fault) => fault,
        };
        self.failed_on(batch, &fault, cycle)
    }

    fn finish_unseen(&mut self, cycle: &Cycle, types: &TypeRegistry) -> Option<Batch> {
        if self.halted || self.breaker.is_open(cycle.number) {
            return None;
        }
        self.stats.finish_calls += 1;
        let started = Instant::now();
        let empty = Batch::empty(Origin::Totals(self.name.to_string()), cycle.time);
        let room = BatchBounds::totals().room(&empty);
        let answer = self.call(|instance| instance.finish(cycle, &room));
        self.stats.finish_time.observe(started.elapsed());
        let totals = answer.and_then(|edit| self.apply(empty, &edit, &room, types).map_err(|refused| refused.1.into()));
        match totals {
            // A cycle's end that goes well says nothing of batches that do not.
            Ok(batch) => Some(batch).filter(|batch| !batch.entities.is_empty()),
            Err(fault) => {
                self.failed_on_totals(&fault, cycle);
                None
            }
        }
    }

    /// Says how many failures of the cycle were not logged one by one.
    pub(super) fn end_cycle(&mut self, cycle: &Cycle) {
        let (number, failures) = self.failed_in_cycle;
        if number != cycle.number {
            self.breaker.good_cycle();
        }
        if number == cycle.number && failures > LOGGED_PER_CYCLE {
            let more = failures - LOGGED_PER_CYCLE;
            warn!(rule = &*self.name, more, "rule failed more often in this cycle");
        }
    }

    /// A snapshot for pages and metrics.
    #[must_use]
    pub fn status(&self) -> RuleStatus {
        RuleStatus {
            name: self.name.to_string(),
            slot: self.slot.clone(),
            path: self.path.display().to_string(),
            digest: self.compiled.digest().to_string(),
            described_as: self.description.name.clone(),
            version: self.description.version.clone(),
            sdk: self.description.sdk.clone(),
            state: match (self.beside, self.halted, self.breaker.retry_in()) {
                (true, ..) if self.manifest.shadow => RuleState::Shadow,
                (true, ..) => RuleState::Trial,
                (_, true, _) => RuleState::Halted,
                (.., Some(_)) => RuleState::Parked,
                _ => RuleState::Running,
            },
            on_error: self.manifest.on_error,
            limits: self.manifest.limits,
            halted: self.halted,
            parked_until: self.breaker.retry_in(),
            stats: self.stats.clone(),
            memory_bytes: self.meters.memory_bytes.load(Ordering::Relaxed),
            lines_dropped: self.meters.lines_dropped.load(Ordering::Relaxed),
            counts_refused: self.meters.counts_refused.load(Ordering::Relaxed),
            counters: self.meters.counters(),
        }
    }

    fn make_instance(&mut self) -> Result<Instance, Fault> {
        let (name, meters) = (Arc::clone(&self.name), Arc::clone(&self.meters));
        let instance = Instance::start(&self.compiled, name, self.manifest.limits, meters)?;
        let (instance, description) = instance.describe()?;
        self.description = description;
        let instance = instance.configure(&self.settings)?;
        self.stats.instances += 1;
        Ok(instance)
    }

    /// One call. The instance comes back only if the call did.
    fn call(&mut self, call: impl FnOnce(Instance) -> Result<(Instance, Answer), Fault>) -> Result<Edit, Fault> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.make_instance()?,
        };
        let (instance, answer) = call(instance)?;
        self.instance = Some(instance);
        answer.map_err(Fault::Refused)
    }

    fn apply(
        &mut self,
        batch: Batch,
        edit: &Edit,
        bounds: &EditBounds,
        types: &TypeRegistry,
    ) -> Result<Batch, Box<(Batch, EditError)>> {
        let started = Instant::now();
        let applied = apply(batch, edit, bounds, types);
        self.stats.apply_time.observe(started.elapsed());
        match applied {
            Ok((batch, stats)) => {
                self.stats.edited(&stats);
                self.kept.keep(edit);
                Ok(batch)
            }
            Err(refused) => {
                // Who answers nonsense once has lost its bearings: its state goes too.
                self.instance = None;
                Err(refused)
            }
        }
    }

    fn failed_on(&mut self, batch: Batch, fault: &Fault, cycle: &Cycle) -> Option<Batch> {
        self.compiled.failures.add(&self.name, self.compiled.digest(), cycle, &batch, fault);
        let logged = self.note(fault, cycle);
        let rule = &*self.name;
        let (kind, of) = (fault.kind().as_str(), tame(batch.origin.name(), 300));
        if self.beside {
            if logged {
                warn!(rule, kind, of, error = %fault, "rule failed in the shadow; the chain is not affected");
            }
            return None;
        }
        match self.manifest.on_error {
            OnError::Pass => {
                if logged {
                    warn!(rule, kind, of, error = %fault, "rule failed; batch passed on unchanged");
                }
                self.stats.batches_passed += 1;
                return Some(batch);
            }
            OnError::Drop if logged => {
                warn!(rule, kind, of, error = %fault, "rule failed; batch dropped");
            }
            OnError::Drop => {}
            OnError::Halt => {
                error!(rule, kind, of, error = %fault, "rule failed; every batch stops here until it is replaced or reloaded");
                self.halted = true;
            }
        }
        self.withhold(&batch)
    }

    fn failed_on_totals(&mut self, fault: &Fault, cycle: &Cycle) {
        let logged = self.note(fault, cycle);
        let (rule, kind) = (&*self.name, fault.kind().as_str());
        if self.beside {
            if logged {
                warn!(rule, kind, error = %fault, "rule failed in the shadow; the chain is not affected");
            }
        } else if self.manifest.on_error == OnError::Halt {
            error!(rule, kind, error = %fault, "rule failed; every batch stops here until it is replaced or reloaded");
            self.halted = true;
        } else if logged {
            warn!(rule, kind, error = %fault, "rule failed; its totals of this cycle are missing");
        }
    }

    /// Counts a failure; answers whether it is to be logged.
    fn note(&mut self, fault: &Fault, cycle: &Cycle) -> bool {
        self.stats.failed(fault, cycle.number);
        if self.failed_in_cycle.0 != cycle.number {
            self.failed_in_cycle = (cycle.number, 0);
        }
        self.failed_in_cycle.1 += 1;
        if (self.beside || self.manifest.on_error != OnError::Halt)
            && let Some(cycles) = self.breaker.failed(cycle.number)
        {
            warn!(rule = &*self.name, cycles, error = %fault, "rule goes on failing; it is left alone for so many cycles");
        }
        self.failed_in_cycle.1 <= LOGGED_PER_CYCLE
    }

    fn succeeded(&mut self) {
        if self.breaker.succeeded() {
            info!(rule = &*self.name, "rule works again");
        }
    }

    /// What becomes of a batch while the rule is left alone: what `on-error` says.
    fn leave_out(&mut self, batch: Batch) -> Option<Batch> {
        self.stats.batches_left_out += 1;
        match self.manifest.on_error {
            OnError::Pass => {
                self.stats.batches_passed += 1;
                Some(batch)
            }
            OnError::Drop | OnError::Halt => self.withhold(&batch),
        }
    }

    fn withhold(&mut self, batch: &Batch) -> Option<Batch> {
        self.stats.batches_lost += 1;
        self.stats.points_lost += batch.points.len() as u64;
        None
    }
}
