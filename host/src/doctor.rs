//! `millrace doctor`: asks everybody whom Millrace would ask, and says what is wrong and what helps.
//!
//! It changes nothing: no object, no database, no topic, no file that stays. What it asks is what Millrace itself
//! asks, by the same code where there is any; what it finds is a [`Report`]. Printing is the command line's.

mod aggregation;
mod asker;
mod certificate;
mod cluster;
mod grant;
mod inventory;
mod kubelets;
mod process;
mod progress;
mod report;
mod rights;
mod rules;
mod settings;
mod sinks;
mod summary;

use std::time::Duration;

pub use progress::Progress;
pub use report::Report;

use crate::config::{Config, Loaded};
use crate::finding::Finding;
use crate::kube::{ConnectError, Connected, connect};

use asker::Asker;

/// How to look, as far as it is no matter of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only these nodes' kubelets; empty: all.
    pub nodes: Vec<String>,
    /// Kubelets that are asked at most; of more nodes some from everywhere in their list.
    pub most_nodes: usize,
    /// Longest wait for one answer of the API server, and for the inventory's first lists six times that.
    pub timeout: Duration,
    /// Whose rights are asked for, namespace and name; `None`: those of the credentials that are used.
    pub service_account: Option<(String, String)>,
}

/// Looks at everything. What of it can't be looked at is said, and keeps the rest from nothing.
pub async fn examine(loaded: &Loaded, options: &Options, progress: &Progress) -> Report {
    let config = &loaded.config;
    let cluster = async {
        let findings = cluster(config, options, progress).await;
        progress.at("loading the rules, asking the sinks");
        findings
    };
    let (cluster, sinks, rules) = tokio::join!(cluster, sinks::examine(config), rules::examine(config.clone()));
    let mut findings = settings::examine(loaded);
    findings.extend(cluster);
    findings.extend(sinks);
    findings.extend(rules);
    Report::new(findings)
}

/// Everything for which the API server is needed.
async fn cluster(config: &Config, options: &Options, progress: &Progress) -> Vec<Finding> {
    progress.at("connecting to the API server");
    let connected = match connect(&config.source.api).await {
        Ok(connected) => connected,
        Err(error) => return without_client(&error),
    };
    let asker = Asker::new(connected.client.clone(), options.timeout);
    let (mut findings, reached) = cluster::examine(&asker, &connected.server, &connected.credentials).await;
    let Some(reached) = reached else {
        findings.push(Finding::note("rights.skipped", "", "not checked: the API server does not answer"));
        findings.push(Finding::note("kubelets.skipped", "", "not checked: the API server does not answer"));
        return findings;
    };
    progress.at("asking the API server for rights");
    findings.extend(rights::examine(&asker, config, &reached, options.service_account.as_ref()).await);
    findings.extend(aggregation::examine(&asker, config).await);
    findings.extend(nodes(connected, config, options, progress).await);
    findings
}

/// The lists, and the kubelets of the nodes that they name.
async fn nodes(connected: Connected, config: &Config, options: &Options, progress: &Progress) -> Vec<Finding> {
    progress.at("listing nodes, pods and namespaces");
    let Connected { client, credentials, .. } = connected;
    let (inventory, mut findings) = inventory::gather(client, config, options.timeout * 6).await;
    findings.extend(process::examine(config, inventory.nodes().len()));
    findings.extend(kubelets::examine(&inventory, &credentials, config, options, progress).await);
    findings
}

fn without_client(error: &ConnectError) -> Vec<Finding> {
    let remedy = match error {
        ConnectError::InCluster(_) => {
            "run it in a pod (kubectl exec), or name a kubeconfig by `--kubeconfig` or as `api-server`"
        }
        ConnectError::Kubeconfig { .. } => "check the file: kubectl --kubeconfig FILE get --raw /version",
        ConnectError::File { .. } | ConnectError::Url(_) | ConnectError::Client(_) => {
            "check `api-server` and the keys beside it in [source.kubernetes]"
        }
    };
    let failed = Finding::of_sentence("api.client", "", crate::finding::Status::Failure, &error.to_string());
    vec![
        failed.remedy(remedy),
        Finding::note("rights.skipped", "", "not checked: there is no API server to ask"),
        Finding::note("kubelets.skipped", "", "not checked: there is no API server to ask"),
    ]
}
