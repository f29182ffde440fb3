//! Faults at moments that a seed decides, against the real program, a simulated cluster and a real
//! InfluxDB; afterwards every point is looked for.
//!
//! Beside the sink under test a second one writes to a door that takes everything: it says what
//! there was to be written.

pub mod door;
pub mod host;
mod kafka;
pub mod lines;
pub mod plan;
mod spool;
mod verdict;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use crate::fixtures::influxd::Influxd;
use crate::fixtures::kafka::Kafka;
use crate::fixtures::process::Signal;
use crate::fixtures::router::Setup;
use crate::kubesim::Kubesim;
use door::Door;
use host::{Host, Life};
use plan::{Damage, Event, Fault, NODES, Plan, Queue, RESOLUTION};
use spool::Disk;

/// How long the sink may take to get rid of what it has once all is well again.
const RECOVERY: Duration = Duration::from_secs(90);
/// How often the ledgers are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Points that there were to be written.
    pub points: u64,
    /// Points that the sink under test gave up, by its own count.
    pub dropped: u64,
    /// Points that went with a process that was killed.
    pub killed: u64,
    /// Points that a later process took from the spool.
    pub recovered: u64,
    /// What could not be done here, and why.
    pub skipped: Vec<String>,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Carries a plan out and looks at what became of every point.
///
/// # Errors
/// The run could not be made, which says nothing of the program.
pub async fn run(plan: &Plan) -> Result<Report, String> {
    let mut stage = Stage::set(plan).await?;
    stage.play(plan).await?;
    stage.recover().await?;
    stage.judge(plan).await
}

/// Everything that takes part.
struct Stage {
    sim: Kubesim,
    server: Influxd,
    door: Door,
    control: Door,
    kafka: Option<Kafka>,
    folder: TempDir,
    disk: Option<Disk>,
    setup: Setup,
    host: Option<Host>,
    lives: Vec<Life>,
    report: Report,
}

impl Stage {
    async fn set(plan: &Plan) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let builder = Kubesim::builder().size(NODES, 4, 2).configure(|config| config.seed = plan.seed);
        let sim = builder.start().await.map_err(|error| text(&error))?;
        let server = Influxd::start().await;
        let door = Door::open(Some(server.url())).await.map_err(|error| text(&error))?;
        let control = Door::open(None).await.map_err(|error| text(&error))?;
        let kafka = match plan.kafka {
            true => kafka::start().await,
            false => None,
        };
        let folder = tempfile::tempdir().map_err(|error| text(&error))?;
        let mut report = Report::default();
        let spool = folder.path().join("spool");
        fs::create_dir_all(&spool).map_err(|error| text(&error))?;
        let disk = match plan.queue {
            Queue::SmallSpool(kib) => Disk::mount(&spool, kib)
                .map_err(|error| report.skipped.push(format!("a disk of its own for the spool: {error}")))
                .ok(),
            _ => None,
        };
        if plan.kafka && kafka.is_none() {
            report.skipped.push("Kafka: `make setup-kafka` fetches it".to_owned());
        }
        let servers = kafka.as_ref().map(Kafka::servers);
        let doors = [door.url(), control.url()];
        let doors = [doors[0].as_str(), doors[1].as_str()];
        let setup = host::configuration(plan, &sim.api_url(), sim.kubelet_port(), doors, servers.as_deref());
        let mut setup = setup.replacing("FOLDER/spool", &spool.display().to_string());
        if plan.jumps() {
            match host::faketime() {
                Some(library) => {
                    let clock = folder.path().join("clock");
                    fs::write(&clock, "+0").map_err(|error| text(&error))?;
                    setup = host::with_clock(setup, &library, &clock);
                }
                None => report.skipped.push("jumps of the clock: there is no libfaketime".to_owned()),
            }
        }
        let host = Some(Host::start(&setup).await?);
        Ok(Self { sim, server, door, control, kafka, folder, disk, setup, host, lives: Vec::new(), report })
    }

    /// Lets everything happen at its time.
    async fn play(&mut self, plan: &Plan) -> Result<(), String> {
        self.first_cycle().await?;
        let mut times: Vec<(u64, bool, &Event)> = Vec::new();
        for event in &plan.events {
            times.push((event.at, true, event));
            times.push((event.at + event.lasts, false, event));
        }
        times.sort_by_key(|(at, begins, _)| (*at, *begins));
        let start = Instant::now();
        for (at, begins, event) in times {
            self.look_until(start + Duration::from_millis(at)).await;
            if begins {
                self.begin(event.fault, plan).await?;
            } else {
                self.end(event.fault).await?;
            }
        }
        Ok(())
    }

    async fn first_cycle(&mut self) -> Result<(), String> {
        let until = Instant::now() + RECOVERY;
        while self.host.as_ref().is_some_and(|host| host.cycles == 0) {
            if Instant::now() > until {
                return Err("there is no first cycle".to_owned());
            }
            self.look().await;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn begin(&mut self, fault: Fault, plan: &Plan) -> Result<(), String> {
        match fault {
            Fault::StopServer => self.server.kill().await,
            Fault::PauseServer => self.signal_server(Signal::Stop),
            Fault::Kill(damage) => self.kill(damage, plan).await,
            Fault::FillDisk => self.disk.iter().for_each(Disk::fill),
            Fault::Clock(seconds) => self.set_clock(seconds)?,
            Fault::Kubelet(node, failure) => self.sim.fail(node, failure).await,
            Fault::KillBroker => self.with_broker(|kafka| kafka.kill(1)),
            Fault::PauseBroker => self.with_broker(|kafka| kafka.signal(1, Signal::Stop)),
            door => self.door.set(Some(door)).await.map_err(|error| error.to_string())?,
        }
        Ok(())
    }

    async fn end(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::StopServer if self.server.process().is_none() => self.server.start_again().await,
            Fault::StopServer => {}
            Fault::PauseServer => self.signal_server(Signal::Continue),
            Fault::Kill(_) if self.host.is_none() => self.host = Some(Host::start(&self.setup).await?),
            Fault::Kill(_) => {}
            Fault::FillDisk => self.disk.iter().for_each(Disk::empty),
            Fault::Clock(_) => self.set_clock(0)?,
            Fault::Kubelet(node, _) => self.sim.heal(node).await,
            Fault::KillBroker => self.with_broker(|kafka| kafka.start_again(1)),
            Fault::PauseBroker => self.with_broker(|kafka| kafka.signal(1, Signal::Continue)),
            _ => self.door.set(None).await.map_err(|error| error.to_string())?,
        }
        Ok(())
    }

    fn signal_server(&mut self, signal: Signal) {
        if let Some(process) = self.server.process() {
            process.signal(signal);
        }
    }

    /// What is done with brokers waits for them.
    fn with_broker(&mut self, work: impl FnOnce(&mut Kafka)) {
        if let Some(kafka) = &mut self.kafka {
            tokio::task::block_in_place(|| work(kafka));
        }
    }

    async fn kill(&mut self, damage: Damage, plan: &Plan) {
        let Some(host) = self.host.take() else { return };
        let (life, faults) = host.kill(now()).await;
        self.lives.push(life);
        self.report.faults.extend(faults);
        let sinks = ["influxdb", "kafka"];
        for sink in &sinks[..if self.kafka.is_some() { 2 } else { 1 }] {
            spool::spoil(&self.folder.path().join("spool").join(sink), damage, plan.seed);
        }
    }

    fn set_clock(&self, seconds: i64) -> Result<(), String> {
        let clock = self.folder.path().join("clock");
        match clock.exists() {
            true => fs::write(clock, format!("{seconds:+}")).map_err(|error| error.to_string()),
            false => Ok(()),
        }
    }

    /// Waits until all is well and the sink under test has nothing left, then stops.
    async fn recover(&mut self) -> Result<(), String> {
        self.signal_server(Signal::Continue);
        if self.server.process().is_none() {
            self.server.start_again().await;
        }
        self.disk.iter().for_each(Disk::empty);
        self.set_clock(0)?;
        for node in 0..NODES {
            self.sim.heal(node).await;
        }
        self.door.set(None).await.map_err(|error| error.to_string())?;
        if self.host.is_none() {
            self.host = Some(Host::start(&self.setup).await?);
        }
        // Two more cycles in which all is well.
        self.look_until(Instant::now() + 2 * RESOLUTION).await;
        let until = Instant::now() + RECOVERY;
        while self.host.as_ref().is_some_and(|host| host.is_busy() || host.cycles == 0) {
            if Instant::now() > until {
                let said = self.host.as_ref().map(Host::said).unwrap_or_default();
                self.report.faults.push(format!("the sink does not get rid of what it has: {said}"));
                break;
            }
            self.look().await;
            tokio::time::sleep(LOOK / 4).await;
        }
        if let Some(host) = self.host.take() {
            let (life, faults) = host.stop().await?;
            self.lives.push(life);
            self.report.faults.extend(faults);
        }
        Ok(())
    }

    async fn judge(mut self, plan: &Plan) -> Result<Report, String> {
        let stored = lines::stored(&self.server, "k8s").await?;
        verdict::judge(plan, &self.lives, &self.door.book(), &self.control.book(), &stored, &mut self.report);
        if let Some(kafka) = &self.kafka {
            let messages = tokio::task::block_in_place(|| kafka.messages(host::TOPIC));
            let there = self.control.book().granted.clone();
            kafka::judge(plan, &self.lives, &messages, &there, &mut self.report);
        }
        self.sim.stop().await;
        Ok(self.report)
    }

    async fn look(&mut self) {
        if let Some(host) = &mut self.host {
            host.look().await;
        }
    }

    async fn look_until(&mut self, until: Instant) {
        while Instant::now() < until {
            self.look().await;
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }
}

/// ns since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
