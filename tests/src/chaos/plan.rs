//! What goes wrong in a run, and when. The same seed gives the same plan.

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::kubesim::Failure;

/// How long cycles are.
pub const RESOLUTION: Duration = Duration::from_secs(2);
/// For how long things go wrong, ms.
const TROUBLE: std::ops::Range<u64> = 6_000..12_000;
/// Nodes of the cluster.
pub const NODES: usize = 3;

/// Where the sink under test keeps its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// In memory alone.
    Memory,
    /// On a disk with room.
    Spool,
    /// On a file system of its own, so many KiB large.
    SmallSpool(u64),
}

/// What is done to the spool while the process is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// The last so many thousandths of a file are cut off.
    Truncate(u32),
    /// So many bits of a file are flipped.
    Flip(u32),
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server answers this status and takes nothing.
    Status(u16),
    /// The server takes no body over 2 KB: 413.
    TooLarge,
    /// The server refuses connections.
    Refuse,
    /// The server takes requests and does not answer.
    Stall,
    /// The server answers rightly after so many ms.
    Slow(u64),
    /// The server takes the points, and its answer is lost.
    LostAnswer,
    /// The server's process is killed, and started again at the end.
    StopServer,
    /// The server's process is stopped (SIGSTOP), and goes on at the end.
    PauseServer,
    /// Millrace is killed (-9), and started again at the end.
    Kill(Damage),
    /// Somebody else fills the spool's disk.
    FillDisk,
    /// The wall clock jumps by so many seconds, and back at the end.
    Clock(i64),
    /// Kafka's broker is killed, and started again at the end.
    KillBroker,
    /// Kafka's broker is stopped (SIGSTOP), and goes on at the end.
    PauseBroker,
    /// A kubelet fails.
    Kubelet(usize, Failure),
}

/// A fault with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When it begins, ms after the first cycle.
    pub at: u64,
    /// How long it lasts, ms.
    pub lasts: u64,
    /// What it is.
    pub fault: Fault,
}

/// All that goes wrong in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was made of; the damage's bits too.
    pub seed: u64,
    /// Where the sink keeps its queue.
    pub queue: Queue,
    /// Requests at a time.
    pub concurrency: usize,
    /// Whether a sink to a real Kafka takes part, with a queue of the same kind.
    pub kafka: bool,
    /// In the order of their beginnings.
    pub events: Vec<Event>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let queue = match random.random_range(0..6) {
            0 => Queue::Memory,
            1 | 2 => Queue::SmallSpool(random.random_range(160..1_200)),
            _ => Queue::Spool,
        };
        // Points bear the clock's time: where it jumps, a kill's loss can't be told from it.
        let jumps = random.random_bool(0.2);
        let count = random.random_range(2..7);
        let trouble = random.random_range(TROUBLE);
        let mut events: Vec<Event> = (0..count)
            .map(|_| Event {
                at: random.random_range(0..trouble),
                lasts: random.random_range(100..4_000),
                fault: fault(&mut random, queue, jumps),
            })
            .collect();
        if queue != Queue::Memory && !jumps && random.random_bool(0.6) {
            events.extend(kill_in_an_outage(&mut random, queue));
        }
        // It takes the machine most: so it is spread evenly.
        let kafka = seed.is_multiple_of(4);
        if kafka && random.random_bool(0.7) {
            events.push(Event {
                at: random.random_range(0..trouble),
                lasts: random.random_range(100..5_000),
                fault: *[Fault::KillBroker, Fault::PauseBroker].choose(&mut random).unwrap_or(&Fault::KillBroker),
            });
        }
        events.sort_by_key(|event| event.at);
        Self { seed, queue, concurrency: *[1, 1, 2, 4].choose(&mut random).unwrap_or(&1), kafka, events }
    }

    /// Whether Millrace is killed in it.
    #[must_use]
    pub fn kills(&self) -> bool {
        self.events.iter().any(|event| matches!(event.fault, Fault::Kill(_)))
    }

    /// Whether the clock jumps in it.
    #[must_use]
    pub fn jumps(&self) -> bool {
        self.events.iter().any(|event| matches!(event.fault, Fault::Clock(_)))
    }
}

/// What a spool is for: the process dies while it holds what the server did not take.
fn kill_in_an_outage(random: &mut SmallRng, queue: Queue) -> [Event; 2] {
    let outages = [Fault::Refuse, Fault::Stall, Fault::Status(503), Fault::StopServer, Fault::PauseServer];
    let at = random.random_range(0..5_000);
    let outage =
        Event { at, lasts: random.random_range(4_000..8_000), fault: *outages.choose(random).unwrap_or(&Fault::Stall) };
    let kill = Event {
        at: at + random.random_range(2_500..4_000),
        lasts: random.random_range(100..1_500),
        fault: Fault::Kill(damage(random, queue)),
    };
    [outage, kill]
}

fn damage(random: &mut SmallRng, queue: Queue) -> Damage {
    match random.random_range(0..3) {
        _ if queue == Queue::Memory => Damage::None,
        0 => Damage::None,
        1 => Damage::Truncate(random.random_range(1..1_000)),
        _ => Damage::Flip(random.random_range(1..40)),
    }
}

fn fault(random: &mut SmallRng, queue: Queue, jumps: bool) -> Fault {
    loop {
        let fault = match random.random_range(0..14) {
            0..3 => Fault::Status(*[500, 503, 429, 400, 401, 404].choose(random).unwrap_or(&500)),
            3 => Fault::TooLarge,
            4 => Fault::Refuse,
            5 => Fault::Stall,
            6 => Fault::Slow(random.random_range(50..2_500)),
            7 => Fault::LostAnswer,
            8 => Fault::StopServer,
            9 => Fault::PauseServer,
            10 | 11 if !jumps => Fault::Kill(damage(random, queue)),
            12 if matches!(queue, Queue::SmallSpool(_)) => Fault::FillDisk,
            12 if jumps => Fault::Clock(*[-7_200, -3, 3, 61, 86_400].choose(random).unwrap_or(&3)),
            13 => {
                let failures = [
                    Failure::Never,
                    Failure::Internal,
                    Failure::Refused,
                    Failure::Truncated,
                    Failure::Html,
                    Failure::DupPods,
                    Failure::NoTimes,
                    Failure::U64Max,
                    Failure::NotReady,
                ];
                Fault::Kubelet(random.random_range(0..NODES), *failures.choose(random).unwrap_or(&Failure::Never))
            }
            _ => continue,
        };
        return fault;
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kafka = if self.kafka { ", Kafka too" } else { "" };
        write!(f, "seed {}: queue {:?}, {} at a time{kafka}", self.seed, self.queue, self.concurrency)?;
        for Event { at, lasts, fault } in &self.events {
            write!(f, "\n  {:>5.1} s for {:.1} s: {fault:?}", *at as f64 / 1e3, *lasts as f64 / 1e3)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_all_faults_come_up() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let plan = Plan::of(seed);
            assert_eq!(plan, Plan::of(seed));
            assert!(!(plan.jumps() && plan.kills()));
            for event in &plan.events {
                let name = format!("{:?}", event.fault);
                seen.insert(name.split('(').next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(seen.len(), 14, "{seen:?}");
    }
}
