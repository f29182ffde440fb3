//! The clock behind time-outs: raises the engine's epoch while calls are under way, and sleeps
//! while there are none, so that an idle router does not wake a hundred times a second.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// How often the epoch rises. A call is stopped at most this much after its limit.
const TICK: Duration = Duration::from_millis(10);
/// Ticks without a call before the thread sleeps: calls come in bursts, and waking it costs more
/// than some ticks.
const PATIENCE: u32 = 20;

/// The clock of one engine. Its thread ends with the last owner.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Calls under way.
    calls: AtomicU32,
    /// The thread sleeps until it is woken.
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Clock);

impl Clock {
    /// Starts the clock of an engine.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Arc<Self>> {
        let clock = Arc::new(Self::default());
        let (weak, engine) = (Arc::downgrade(&clock), engine.weak());
        let thread = std::thread::Builder::new().name("rule-clock".to_owned()).spawn(move || run(&weak, &engine))?;
        let _ = clock.thread.set(thread.thread().clone());
        Ok(clock)
    }

    /// Lets the clock run until the answer is dropped.
    pub(super) fn call(&self) -> Running<'_> {
        // Both sides write first and look then, in one order for all: either this call is seen
        // by the thread before it sleeps, or the sleep is seen here.
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(self)
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Ticks that make up at least `limit`. One more, since the running tick may be nearly over.
pub(super) fn ticks(limit: Duration) -> u64 {
    let ticks = limit.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX - 1) + 1
}

fn run(clock: &Weak<Clock>, engine: &EngineWeak) {
    let mut idle = 0;
    loop {
        std::thread::sleep(TICK);
        let (Some(owned), Some(engine)) = (clock.upgrade(), engine.upgrade()) else { return };
        engine.increment_epoch();
        idle = if owned.calls.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle < PATIENCE {
            continue;
        }
        owned.asleep.store(true, Ordering::SeqCst);
        let needed = owned.calls.load(Ordering::SeqCst) > 0;
        // While it sleeps it owns neither: who drops the last of them wakes it.
        drop((owned, engine));
        if !needed {
            std::thread::park();
        }
        let Some(owned) = clock.upgrade() else { return };
        owned.asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_limit_is_never_cut_short_by_a_running_tick() {
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_millis(10)), 2);
        assert_eq!(ticks(Duration::from_secs(1)), 101);
    }

    #[test]
    fn the_clock_sleeps_without_calls_wakes_for_one_and_ends_with_its_owner() {
        let engine = Engine::default();
        let clock = Clock::start(&engine).unwrap();
        let until = |what: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while !what() {
                assert!(Instant::now() < deadline);
                std::thread::yield_now();
            }
        };
        for _ in 0..3 {
            until(&|| clock.asleep.load(Ordering::SeqCst));
            let running = clock.call();
            until(&|| !clock.asleep.load(Ordering::SeqCst));
            drop(running);
        }
        until(&|| clock.asleep.load(Ordering::SeqCst));
        let weak = Arc::downgrade(&clock);
        drop(clock);
        until(&|| weak.strong_count() == 0);
    }
}
