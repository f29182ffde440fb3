//! The one wasmtime engine: its settings, and what rules may import.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use super::bindings::MillraceRule;
use super::clock::Clock;
use super::failures::Failures;
use super::host::HostState;
use crate::taps::Taps;

/// Stack of one call, bytes. Callers need a thread with at least four times as much.
const STACK_BYTES: usize = 512 << 10;

/// Compiles and links rules. One a process; cheap to share by reference.
pub struct RuleEngine {
    engine: Engine,
    linker: Linker<HostState>,
    clock: Arc<Clock>,
    taps: Arc<Taps>,
    counts: bool,
    failures: Arc<Failures>,
}

/// The engine could not be made: the machine lacks what wasmtime needs.
#[derive(Debug, thiserror::Error)]
#[error("the Wasm runtime does not start: {0}")]
pub struct EngineError(String);

impl RuleEngine {
    /// An engine with its clock.
    ///
    /// # Errors
    /// [`EngineError`] if the machine is not supported or no thread can be had.
    pub fn new() -> Result<Self, EngineError> {
        Self::with(&config(), false)
    }

    /// An engine that counts instructions: the same figure at every run, on every machine. Slower;
    /// times measured with it mean nothing.
    ///
    /// # Errors
    /// As [`RuleEngine::new`].
    pub fn counting() -> Result<Self, EngineError> {
        let mut config = config();
        config.consume_fuel(true);
        Self::with(&config, true)
    }

    fn with(config: &Config, counts: bool) -> Result<Self, EngineError> {
        let refused = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let engine = Engine::new(config).map_err(refused)?;
        let mut linker = Linker::new(&engine);
        MillraceRule::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut HostState| state).map_err(refused)?;
        let clock = Clock::start(&engine).map_err(|error| EngineError(error.to_string()))?;
        Ok(Self { engine, linker, clock, taps: Arc::default(), counts, failures: Arc::default() })
    }

    /// Where its rules' last failures are kept.
    #[must_use]
    pub fn failures(&self) -> Arc<Failures> {
        Arc::clone(&self.failures)
    }

    pub(super) fn wasmtime(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Where all its rules show their batches.
    #[must_use]
    pub fn taps(&self) -> &Arc<Taps> {
        &self.taps
    }

    pub(super) fn counts(&self) -> bool {
        self.counts
    }

    pub(super) fn linker(&self) -> &Linker<HostState> {
        &self.linker
    }
}

impl std::fmt::Debug for RuleEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RuleEngine")
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        // A rule gives the same answer on every machine, so that a replay means something.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // Traps name functions; reading a hostile file's DWARF for lines is not worth it.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}
