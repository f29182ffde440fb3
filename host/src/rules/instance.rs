//! One instance of a rule: a store, its memory, and the calls into it.
//!
//! A call consumes the instance and gives it back with the answer, so that after a [`Fault`] there
//! is none left to call by mistake. What becomes of the batch then is not decided here.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use super::bindings::guest::{self, Guest};
use super::bindings::{MillraceRule, lend};
use super::clock::{Clock, ticks};
use super::component::CompiledRule;
use super::fault::{Call, Fault};
use super::host::{HostState, LINE_BYTES};
use super::limits::{Limits, answer_bytes};
use super::stats::Meters;
use super::tame;
use crate::batch::{Batch, Cycle, Edit, EditBounds};

/// Bytes that `describe` and `configure` may answer.
const SMALL_ANSWER_BYTES: usize = 1 << 20;
/// Longest name and version that are shown, bytes.
const LABEL_BYTES: usize = 120;

/// What a rule says about itself. None of it is trusted; it is shown, and cut to a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SDK it was built with.
    pub sdk: String,
    /// JSON schema of its settings; may be empty.
    pub settings_schema: String,
}

/// What a rule answers to a batch: what to change, or why it won't.
pub type Answer = Result<Edit, String>;

/// One instance of a rule, ready to be called.
pub struct Instance {
    store: Store<HostState>,
    bindings: MillraceRule,
    limits: Limits,
    clock: Arc<Clock>,
    counts: bool,
}

/// Fuel of each call where instructions are counted: time limits end it, not this.
const FUEL: u64 = u64::MAX;

impl Instance {
    /// A fresh instance of `rule`. `name` stands in its log lines.
    ///
    /// # Errors
    /// [`Fault`] if its start function fails, or if it does not fit the interface.
    pub(super) fn start(
        rule: &CompiledRule,
        name: Arc<str>,
        limits: Limits,
        meters: Arc<Meters>,
    ) -> Result<Self, Fault> {
        let state = HostState::new(name, limits.memory_bytes, meters);
        let mut store = Store::new(rule.pre.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(SMALL_ANSWER_BYTES);
        store.set_epoch_deadline(ticks(limits.finish));
        store.data_mut().begin_call();
        refuel(&mut store, rule.counts);
        let running = rule.clock.call();
        let started = rule.pre.instantiate(&mut store);
        drop(running);
        store.data_mut().end_call();
        match started {
            Ok(bindings) => Ok(Self { store, bindings, limits, clock: Arc::clone(&rule.clock), counts: rule.counts }),
            Err(error) => {
                let said = store.data().said();
                Err(Fault::of_call(&error, Call::Start, limits.finish, said))
            }
        }
    }

    /// Asks the rule who it is.
    ///
    /// # Errors
    /// [`Fault`] if the call fails.
    pub fn describe(self) -> Result<(Self, Description), Fault> {
        let limit = self.limits.finish;
        let (instance, said) =
            self.call(Call::Describe, limit, SMALL_ANSWER_BYTES, |guest, store| guest.call_describe(store))?;
        let description = Description {
            name: tame(&said.name, LABEL_BYTES),
            version: tame(&said.version, LABEL_BYTES),
            sdk: tame(&said.sdk, LABEL_BYTES),
            settings_schema: said.settings_schema,
        };
        Ok((instance, description))
    }

    /// Gives the rule its settings, a JSON object. Once for each instance.
    ///
    /// # Errors
    /// [`Fault::Settings`] if the rule refuses them; others if the call fails.
    pub fn configure(self, settings: &str) -> Result<Self, Fault> {
        let limit = self.limits.finish;
        let (instance, answer) = self
            .call(Call::Configure, limit, SMALL_ANSWER_BYTES, |guest, store| guest.call_configure(store, settings))?;
        match answer {
            Ok(()) => Ok(instance),
            Err(guest::Error::Settings(why) | guest::Error::Batch(why)) => Err(Fault::Settings(tame(&why, LINE_BYTES))),
            Err(guest::Error::Fatal(why)) => Err(Fault::Fatal(tame(&why, LINE_BYTES))),
        }
    }

    /// Runs one batch, to which the answer may add what `room` says.
    ///
    /// # Errors
    /// [`Fault`], and the instance is gone.
    pub fn process(self, cycle: &Cycle, batch: &Batch, room: &EditBounds) -> Result<(Self, Answer), Fault> {
        let limit = self.limits.process;
        let most = answer_bytes(Some(batch), room);
        let (instance, answer) =
            self.call(Call::Process, limit, most, |guest, store| guest.call_process(store, cycle.into(), lend(batch)))?;
        Ok((instance, edit_or_refusal(answer)?))
    }

    /// Ends a cycle. The answer may add what `room` says.
    ///
    /// # Errors
    /// [`Fault`], and the instance is gone.
    pub fn finish(self, cycle: &Cycle, room: &EditBounds) -> Result<(Self, Answer), Fault> {
        let limit = self.limits.finish;
        let most = answer_bytes(None, room);
        let (instance, answer) =
            self.call(Call::Finish, limit, most, |guest, store| guest.call_finish(store, cycle.into()))?;
        Ok((instance, edit_or_refusal(answer)?))
    }

    /// Wasm instructions of the last call; 0 where the engine does not count them.
    pub(super) fn instructions(&self) -> u64 {
        self.store.get_fuel().map_or(0, |left| FUEL - left)
    }

    /// One call, under its limits. `most` bounds the bytes of its answer.
    fn call<T>(
        mut self,
        call: Call,
        limit: Duration,
        most: usize,
        work: impl FnOnce(&Guest, &mut Store<HostState>) -> wasmtime::Result<T>,
    ) -> Result<(Self, T), Fault> {
        self.store.data_mut().begin_call();
        self.store.set_hostcall_fuel(most);
        self.store.set_epoch_deadline(ticks(limit));
        refuel(&mut self.store, self.counts);
        let running = self.clock.call();
        let answer = work(self.bindings.millrace_rule_rule(), &mut self.store);
        drop(running);
        self.store.data_mut().end_call();
        match answer {
            Ok(answer) => Ok((self, answer)),
            Err(error) => {
                let said = self.store.data().said();
                Err(Fault::of_call(&error, call, limit, said))
            }
        }
    }
}

fn refuel(store: &mut Store<HostState>, counts: bool) {
    if counts {
        // Fails only where the engine does not count.
        let _ = store.set_fuel(FUEL);
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn edit_or_refusal(answer: Result<guest::Edit, guest::Error>) -> Result<Answer, Fault> {
    match answer {
        Ok(edit) => Ok(Ok(edit.into())),
        Err(guest::Error::Batch(why)) => Ok(Err(tame(&why, LINE_BYTES))),
        Err(guest::Error::Fatal(why) | guest::Error::Settings(why)) => Err(Fault::Fatal(tame(&why, LINE_BYTES))),
    }
}
