//! What the benches work on: a simulated cluster's answers over several cycles, and the batches
//! that they become.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use millrace::batch::{Batch, Cycle, TypeRegistry};
use millrace::config::source::ApiServer;
use millrace::kube::{FactOptions, Inventory, NodeFacts, PodFacts, connect};
use millrace::scrape::{DecodeBounds, decode};
use millrace_tests::kubesim::Kubesim;

/// Seconds from cycle to cycle.
pub const WINDOW: u32 = 60;
const NS: i64 = 1_000_000_000;

/// A simulated cluster's answers: `cycles` rounds over all its nodes.
pub struct Load {
    pub nodes: Vec<Arc<NodeFacts>>,
    pub pods: Vec<Arc<[Arc<PodFacts>]>>,
    /// One a cycle, with each node's body.
    pub rounds: Vec<(Cycle, Vec<Vec<u8>>)>,
    inventory: Inventory,
}

impl Load {
    /// Answers of `nodes` nodes with 30 pods of two containers each.
    pub fn new(nodes: usize, cycles: u64) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(Self::gather(nodes, cycles))
    }

    async fn gather(nodes: usize, cycles: u64) -> anyhow::Result<Self> {
        millrace::tls::install_provider();
        let cluster = Kubesim::builder().size(nodes, 30, 2).frozen_at(1_800_000_000).start().await?;
        let api = ApiServer::Url {
            url: cluster.api_url().parse()?,
            insecure_tls: false,
            token_file: None,
            certificate_authority: None,
        };
        let inventory = Inventory::start(connect(&api).await?.client, FactOptions::default());
        tokio::time::timeout(Duration::from_secs(30), inventory.wait_synced()).await.context("no inventory")?;
        let rounds = (1..=cycles).map(|number| {
            let time = cluster.now();
            let bodies = (0..nodes).map(|node| cluster.summary(node, time)).collect();
            cluster.advance(WINDOW);
            let asked = u32::try_from(nodes).unwrap_or(u32::MAX);
            let window = i64::from(WINDOW) * NS;
            (Cycle { number, time: time * NS, window, nodes_asked: asked, nodes_answered: asked }, bodies)
        });
        let rounds = rounds.collect();
        let names = (0..nodes).map(|node| cluster.node_name(node));
        let nodes = names.map(|name| inventory.node(&name).context(name)).collect::<Result<Vec<_>, _>>()?;
        let pods = nodes.iter().map(|node| inventory.pods_of(&node.name)).collect();
        cluster.stop().await;
        Ok(Self { nodes, pods, rounds, inventory })
    }

    /// The batch of one node in one cycle.
    pub fn batch(&self, cycle: &Cycle, node: usize, body: &[u8], types: &TypeRegistry) -> anyhow::Result<Batch> {
        let uid = |namespace: &str| self.inventory.namespace_uid(namespace);
        let bounds = DecodeBounds::default();
        Ok(decode(body, &self.nodes[node], &self.pods[node], uid, cycle, &bounds, types)?.batch)
    }

    /// The batches of every cycle.
    pub fn batches(&self, types: &TypeRegistry) -> anyhow::Result<Vec<(Cycle, Vec<Batch>)>> {
        let round = |(cycle, bodies): &(Cycle, Vec<Vec<u8>>)| {
            let batches = bodies.iter().enumerate().map(|(node, body)| self.batch(cycle, node, body, types));
            Ok((*cycle, batches.collect::<anyhow::Result<_>>()?))
        };
        self.rounds.iter().map(round).collect()
    }
}
