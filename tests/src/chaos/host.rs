//! Millrace under test: one process after the other, its ledgers as last seen.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::plan::Plan;
use crate::fixtures::process::{Process, Signal};
use crate::fixtures::router::Setup;
use crate::fixtures::tools;

/// The topic that Kafka's sink writes.
pub const TOPIC: &str = "chaos";
/// How long a process may take to come up or to end.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a status may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sink's ledger, from `/api/v1/status` or from the last line of its log.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Ledger {
    /// Its name.
    pub sink: String,
    /// Points handed to it.
    pub offered: u64,
    /// Points found in the spool.
    pub recovered: u64,
    /// Points that its server took.
    pub written: u64,
    /// Points that wait.
    pub queued: u64,
    /// Those of them that are in no spool.
    #[serde(default)]
    pub unsaved: u64,
    /// What must be 0.
    pub imbalance: i64,
    /// Points given up: a number, or one for every reason.
    dropped: Value,
}

impl Ledger {
    /// Points given up.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.dropped {
            Value::Object(reasons) => reasons.values().filter_map(Value::as_u64).sum(),
            number => number.as_u64().unwrap_or_default(),
        }
    }
}

/// One process, from its start to its end.
#[derive(Debug, Clone)]
pub struct Life {
    /// Its ledgers, the final ones or the last that were seen.
    pub ledgers: Vec<Ledger>,
    /// When it was killed, ns since 1970; `None`: it ended as it was asked to.
    pub killed: Option<i64>,
}

impl Life {
    /// The ledger of a sink, by its place in the configuration.
    #[must_use]
    pub fn ledger(&self, at: usize) -> Ledger {
        self.ledgers.get(at).cloned().unwrap_or_default()
    }
}

/// A running process.
pub struct Host {
    process: Process,
    address: String,
    client: reqwest::Client,
    ledgers: Vec<Ledger>,
    /// The numbers of its cycles so far.
    pub cycles: u64,
    /// Ledgers that did not balance.
    pub faults: Vec<String>,
}

impl Host {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// What it printed instead.
    pub async fn start(setup: &Setup) -> Result<Self, String> {
        let process = setup.process("run", &["--log-format=json"]);
        let client =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().map_err(|error| error.to_string())?;
        let mut host =
            Self { process, address: String::new(), client, ledgers: Vec::new(), cycles: 0, faults: Vec::new() };
        let until = Instant::now() + DEADLINE;
        loop {
            let address = host.lines("address").next().and_then(|line| line["address"].as_str().map(str::to_owned));
            if let Some(address) = address {
                host.address = address;
                return Ok(host);
            }
            if !host.process.is_running() || Instant::now() > until {
                return Err(format!("millrace does not come up: {}", host.process.stderr()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Looks at its ledgers. One that does not answer in time is only noted by what it doesn't say.
    pub async fn look(&mut self) {
        let Ok(answer) = self.client.get(format!("http://{}/api/v1/status", self.address)).send().await else { return };
        let Ok(text) = answer.text().await else { return };
        let Ok(status) = serde_json::from_str::<Value>(&text) else { return };
        self.cycles = status["cycle"]["number"].as_u64().unwrap_or(self.cycles);
        match serde_json::from_value::<Vec<Ledger>>(status["sinks"].clone()) {
            Ok(ledgers) => self.ledgers = ledgers,
            Err(error) => self.faults.push(format!("/api/v1/status: {error}")),
        }
        self.check();
    }

    /// The ledger of a sink as it was last seen.
    #[must_use]
    pub fn ledger(&self, at: usize) -> Ledger {
        self.ledgers.get(at).cloned().unwrap_or_default()
    }

    /// Whether a sink under test has anything left, or is not known to have nothing.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let tested = self.ledgers.iter().enumerate().filter(|(at, _)| *at != 1);
        self.ledgers.is_empty() || tested.into_iter().any(|(_, ledger)| ledger.queued > 0)
    }

    /// Kills it.
    pub async fn kill(mut self, now: i64) -> (Life, Vec<String>) {
        self.look().await;
        let (ledgers, faults, process) = (self.ledgers, self.faults, self.process);
        let killed = tokio::task::spawn_blocking(move || process.stop(Signal::Kill, DEADLINE)).await;
        let faults = faults.into_iter().chain(killed.err().map(|error| error.to_string())).collect();
        (Life { ledgers, killed: Some(now) }, faults)
    }

    /// Stops it as Kubernetes would.
    ///
    /// # Errors
    /// It ends otherwise than it should.
    pub async fn stop(mut self) -> Result<(Life, Vec<String>), String> {
        self.look().await;
        let process = self.process;
        let ended = tokio::task::spawn_blocking(move || process.stop(Signal::Terminate, DEADLINE)).await;
        let outcome = ended.map_err(|error| error.to_string())?;
        if outcome.code() != Some(0) {
            return Err(format!("millrace ends with {:?}: {}", outcome.code(), tail(&outcome.stderr)));
        }
        self.ledgers = closed(&outcome.stderr).collect();
        let mut faults = self.faults;
        faults.extend(outcome.stderr.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
        for ledger in &self.ledgers {
            if ledger.imbalance != 0 {
                faults.push(format!("at the end: {ledger:?}"));
            }
        }
        Ok((Life { ledgers: self.ledgers, killed: None }, faults))
    }

    /// What it has said lately.
    #[must_use]
    pub fn said(&self) -> String {
        tail(&self.process.stderr())
    }

    fn check(&mut self) {
        for ledger in &self.ledgers {
            if ledger.imbalance != 0 {
                self.faults.push(format!("{ledger:?}"));
            }
        }
    }

    fn lines(&self, with: &str) -> impl Iterator<Item = Value> {
        let text = self.process.stderr();
        let with = with.to_owned();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter().filter(move |line: &Value| line.get(&with).is_some())
    }
}

fn closed(log: &str) -> impl Iterator<Item = Ledger> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "sink closed").filter_map(|line| serde_json::from_value(line).ok())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The configuration of a run; `FOLDER/spool` is where the spool is.
#[must_use]
pub fn configuration(plan: &Plan, api: &str, kubelet: u16, doors: [&str; 2], brokers: Option<&str>) -> Setup {
    let [door, control] = doors;
    let spool = match plan.queue {
        super::plan::Queue::Memory => "",
        _ => "[sink.spool]\ndirectory = 'FOLDER/spool'\nmax-bytes = '8MiB'\nfsync = false\n",
    };
    let resolution = super::plan::RESOLUTION.as_secs();
    let kafka = brokers.map_or_else(String::new, |brokers| {
        format!("[[sink]]\ntype = 'kafka'\nbrokers = '{brokers}'\ntopic = '{TOPIC}'\n{spool}")
    });
    Setup::new(&format!(
        "resolution = '{resolution}s'\n[store]\nkeep = '0s'\n\
         [source.kubernetes]\napi-server = '{api}'\n\
         [source.kubernetes.kubelet]\nhttps = false\nport = {kubelet}\n\
         [[sink]]\ntype = 'influxdb'\nurl = '{door}'\ntimeout = '2s'\nmax-lines = 400\nconcurrency = {}\n{spool}\
         [[sink]]\ntype = 'influxdb'\nurl = '{control}'\n{kafka}",
        plan.concurrency,
    ))
}

/// The library that lets the clock jump, if it is installed.
#[must_use]
pub fn faketime() -> Option<PathBuf> {
    let roots = tools::unpacked("libfaketime").into_iter().map(|folder| folder.join("usr/lib"));
    let roots = roots.chain([PathBuf::from("/usr/lib")]).filter_map(|root| std::fs::read_dir(root).ok());
    let candidates = roots.flatten().flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    candidates.into_iter().find(|path| path.is_file())
}

/// Lets the clock of a setup follow a file: `+3` seconds, `-7200` seconds.
#[must_use]
pub fn with_clock(setup: Setup, library: &Path, clock: &Path) -> Setup {
    setup
        .variable("LD_PRELOAD", &library.display().to_string())
        .variable("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}
