//! The one wasmtime engine: its settings, the clock behind time-outs, and what rules may import.

use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use super::bindings::MillraceRule;
use super::host::HostState;

/// How often the epoch rises. A call is stopped at most this much after its limit.
pub const TICK: Duration = Duration::from_millis(10);
/// Stack of one call, bytes. Callers need a thread with at least four times as much.
const STACK_BYTES: usize = 512 << 10;

/// Compiles and links rules. One a process; cheap to share by reference.
pub struct RuleEngine {
    engine: Engine,
    linker: Linker<HostState>,
}

/// The engine could not be made: the machine lacks what wasmtime needs.
#[derive(Debug, thiserror::Error)]
#[error("the Wasm runtime does not start: {0}")]
pub struct EngineError(String);

impl RuleEngine {
    /// An engine with its clock running. The clock's thread ends by itself with the engine.
    ///
    /// # Errors
    /// [`EngineError`] if the machine is not supported or no thread can be had.
    pub fn new() -> Result<Self, EngineError> {
        let refused = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let engine = Engine::new(&config()).map_err(refused)?;
        let mut linker = Linker::new(&engine);
        MillraceRule::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut HostState| state).map_err(refused)?;
        start_clock(&engine).map_err(|error| EngineError(error.to_string()))?;
        Ok(Self { engine, linker })
    }

    pub(super) fn wasmtime(&self) -> &Engine {
        &self.engine
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

/// Ticks that make up at least `limit`. One more, since the running tick may be nearly over.
pub(super) fn ticks(limit: Duration) -> u64 {
    let ticks = limit.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX - 1) + 1
}

fn start_clock(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("rule-clock".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => break,
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_cut_short_by_a_running_tick() {
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_millis(10)), 2);
        assert_eq!(ticks(Duration::from_secs(1)), 101);
    }
}
