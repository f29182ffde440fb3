//! One rule on a desk, outside a chain: every fault is answered instead of handled, and what a call
//! cost is told. For tests, benches and replays of rules.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::component::CompiledRule;
use super::fault::Fault;
use super::instance::{Answer, Description, Instance};
use super::limits::Limits;
use super::stats::Meters;
use crate::batch::{Batch, BatchBounds, Cycle, Edit, EditBounds, EditStats, Origin, TypeRegistry, apply};

/// A rule with its settings and its state.
#[derive(Debug)]
pub struct Desk {
    compiled: CompiledRule,
    name: Arc<str>,
    settings: String,
    limits: Limits,
    description: Description,
    /// None after a fault, until the next call makes a new one.
    instance: Option<Instance>,
    meters: Arc<Meters>,
    types: TypeRegistry,
}

/// What one call cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// The call with crossing over and back.
    pub call: Duration,
    /// The host's checking and carrying out of the edit.
    pub apply: Duration,
    /// Wasm instructions of the call, where the engine counts them.
    pub instructions: u64,
}

/// What a batch became.
#[derive(Debug)]
pub struct Processed {
    /// The batch after the edit.
    pub batch: Batch,
    /// What the edit did.
    pub stats: EditStats,
    /// What it cost.
    pub cost: Cost,
}

impl Desk {
    /// Starts the rule and gives it its settings, a JSON object. Any batch may be given to it.
    ///
    /// # Errors
    /// [`Fault::Settings`] if the rule refuses them; others if a call fails.
    pub fn start(compiled: &CompiledRule, name: &str, settings: &str, limits: Limits) -> Result<Self, Fault> {
        let mut desk = Self {
            compiled: compiled.clone(),
            name: name.into(),
            settings: settings.to_owned(),
            limits,
            description: Description::default(),
            instance: None,
            meters: Arc::default(),
            types: TypeRegistry::default(),
        };
        desk.instance = Some(desk.make_instance()?);
        Ok(desk)
    }

    /// Who the rule says it is, without any settings.
    ///
    /// # Errors
    /// [`Fault`] if a call fails.
    pub fn describe(compiled: &CompiledRule, name: &str) -> Result<Description, Fault> {
        let instance = Instance::start(compiled, name.into(), Limits::default(), Arc::default())?;
        instance.describe().map(|(_, description)| description)
    }

    /// What the rule says about itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The most memory that one of its instances held, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.meters.memory_bytes.load(Ordering::Relaxed)
    }

    /// Value types of the metrics met so far.
    #[must_use]
    pub fn types(&self) -> &TypeRegistry {
        &self.types
    }

    /// Runs one batch, with the room that a chain would give the rule.
    ///
    /// # Errors
    /// [`Fault`]; the next call has a new instance, unless the rule merely refused the batch.
    pub fn process(&mut self, cycle: &Cycle, batch: Batch) -> Result<Processed, Fault> {
        let room = BatchBounds::growing_from(&batch).room(&batch);
        let (edit, cost) = self.call(|instance| instance.process(cycle, &batch, &room))?;
        self.apply(batch, &edit, &room, cost)
    }

    /// Ends a cycle. The batch is what the rule adds, perhaps nothing.
    ///
    /// # Errors
    /// [`Fault`], as for [`Desk::process`].
    pub fn finish(&mut self, cycle: &Cycle) -> Result<Processed, Fault> {
        let empty = Batch::empty(Origin::Totals(self.name.to_string()), cycle.time);
        let room = BatchBounds::totals().room(&empty);
        let (edit, cost) = self.call(|instance| instance.finish(cycle, &room))?;
        self.apply(empty, &edit, &room, cost)
    }

    fn make_instance(&mut self) -> Result<Instance, Fault> {
        let (name, meters) = (Arc::clone(&self.name), Arc::clone(&self.meters));
        let (instance, description) = Instance::start(&self.compiled, name, self.limits, meters)?.describe()?;
        self.description = description;
        instance.configure(&self.settings)
    }

    /// One call. The instance comes back only if the call did.
    fn call(
        &mut self,
        call: impl FnOnce(Instance) -> Result<(Instance, Answer), Fault>,
    ) -> Result<(Edit, Cost), Fault> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.make_instance()?,
        };
        let started = Instant::now();
        let (instance, answer) = call(instance)?;
        let cost = Cost { call: started.elapsed(), instructions: instance.instructions(), ..Cost::default() };
        self.instance = Some(instance);
        Ok((answer.map_err(Fault::Refused)?, cost))
    }

    fn apply(&mut self, batch: Batch, edit: &Edit, room: &EditBounds, mut cost: Cost) -> Result<Processed, Fault> {
        let started = Instant::now();
        match apply(batch, edit, room, &self.types) {
            Ok((batch, stats)) => {
                cost.apply = started.elapsed();
                Ok(Processed { batch, stats, cost })
            }
            Err(refused) => {
                self.instance = None;
                Err(refused.1.into())
            }
        }
    }
}
