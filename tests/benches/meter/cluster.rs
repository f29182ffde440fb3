//! What `millrace` is measured with: a simulated cluster as a process of its own, and chains of rules.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use millrace_tests::fixtures::process::{self, Process, Signal};

/// A cluster's size and habits.
pub struct Size<'a> {
    pub nodes: usize,
    pub pods: usize,
    pub containers: usize,
    /// Between two cycles, seconds.
    pub resolution: usize,
    /// Percent of the pods replaced every minute.
    pub churn: f64,
    pub https: bool,
    pub shape: &'a str,
}

/// Writes a chain of `count` rules, the bundled one among them, into `folder`: what takes whole pods
/// away stands before heapster, what looks at metrics and labels after it. `[rules]` for it.
pub fn rules(folder: &Path, count: usize) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder)?;
    for number in 1..count {
        let (slot, name, settings) = match number % 3 {
            1 => (10, "drop-namespaces", "namespaces = ['scratch']"),
            2 => (60, "keep-metrics", "deny = ['filesystem/inodes*']"),
            _ => (
                70,
                "relabel",
                "steps = [{ source-labels = ['pod_name'], regex = '(.+)-[^-]+', target-label = 'app', replacement = '$1' }]",
            ),
        };
        let stem = format!("{}-{name}", slot + number / 3);
        std::fs::copy(process::rule(format!("rules-examples/{name}.wasm")), folder.join(format!("{stem}.wasm")))?;
        std::fs::write(folder.join(format!("{stem}.toml")), format!("[settings]\n{settings}\n"))?;
    }
    Ok(format!("[rules]\ndir = \"{}\"\n", folder.display()))
}

/// A simulated cluster as a process of its own, and what it says of itself.
pub struct Cluster {
    process: Process,
    ready: serde_json::Value,
}

impl Cluster {
    /// Starts one, with its files in `folder`.
    pub fn start(size: &Size<'_>, folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("ready.json");
        let mut command = vec![format!("--ready-file={}", file.display()), format!("--shape={}", size.shape)];
        for (flag, value) in [
            ("nodes", size.nodes),
            ("pods", size.pods),
            ("containers", size.containers),
            // Every cycle finds new samples, as at a minute's resolution with real kubelets.
            ("resolution", size.resolution.min(5)),
        ] {
            command.push(format!("--{flag}={value}"));
        }
        command.push(format!("--churn={}", size.churn));
        if size.https {
            command.push("--https".to_owned());
        }
        let mut process = Process::kubesim(command);
        let until = Instant::now() + Duration::from_secs(120);
        while !file.exists() {
            ensure!(process.is_running() && Instant::now() < until, "the cluster does not start: {process:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let ready = serde_json::from_slice(&std::fs::read(&file)?)?;
        if let Some(token) = field(&ready, "token") {
            std::fs::write(folder.join("token"), token)?;
        }
        Ok(Self { process, ready })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it.
    pub fn stop(self) {
        self.process.stop(Signal::Terminate, Duration::from_secs(30));
    }

    /// `[source]` for this cluster.
    pub fn source(&self, https: bool) -> String {
        let api = field(&self.ready, "api_url").unwrap_or_default();
        let port = self.ready["kubelet_port"].as_u64().unwrap_or_default();
        let (credentials, kubelet) = match field(&self.ready, "ca_file").filter(|_| https) {
            None => (String::new(), String::new()),
            Some(ca) => {
                let token = Path::new(ca).with_file_name("token");
                let ca = format!("certificate-authority = \"{ca}\"\n");
                (format!("{ca}token-file = \"{}\"\n", token.display()), ca)
            }
        };
        format!(
            "[source.kubernetes]\napi-server = \"{api}\"\n{credentials}\
             [source.kubernetes.kubelet]\nhttps = {https}\nport = {port}\n{kubelet}"
        )
    }
}

fn field<'a>(ready: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    ready[key].as_str()
}
