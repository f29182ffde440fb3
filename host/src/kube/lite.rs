//! The API server's objects with only the fields that are used. Every field may be absent or null;
//! unknown ones are skipped without being stored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A kind of object that can be listed and watched.
pub(super) trait Kind: DeserializeOwned + Clone + Send + Sync + 'static {
    /// What people call it, plural.
    const NAME: &'static str;
    /// Where it is listed, over all namespaces.
    const PATH: &'static str;

    fn meta(&self) -> &Meta;
}

/// `ObjectMeta`, in part.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub annotations: Option<BTreeMap<String, String>>,
    pub owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    pub kind: String,
    pub name: String,
    pub controller: Option<bool>,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "K: DeserializeOwned")]
pub(super) struct Page<K> {
    #[serde(default)]
    pub metadata: PageMeta,
    #[serde(default = "Option::default")]
    pub items: Option<Vec<K>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PageMeta {
    pub resource_version: Option<String>,
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NamespaceLite {
    pub metadata: Meta,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeLite {
    pub metadata: Meta,
    pub spec: Option<NodeSpec>,
    pub status: Option<NodeStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    #[serde(rename = "externalID")]
    pub external_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeStatus {
    pub addresses: Option<Vec<Address>>,
    pub conditions: Option<Vec<Condition>>,
    pub daemon_endpoints: Option<DaemonEndpoints>,
    pub capacity: Option<BTreeMap<String, Quantity>>,
    pub allocatable: Option<BTreeMap<String, Quantity>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Address {
    #[serde(rename = "type")]
    pub kind: String,
    pub address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct DaemonEndpoints {
    pub kubelet_endpoint: Option<DaemonEndpoint>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct DaemonEndpoint {
    #[serde(rename = "Port")]
    pub port: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodLite {
    pub metadata: Meta,
    pub spec: Option<PodSpec>,
    pub status: Option<PodStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub node_name: Option<String>,
    pub containers: Option<Vec<ContainerLite>>,
    pub init_containers: Option<Vec<ContainerLite>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerLite {
    pub name: String,
    pub image: Option<String>,
    pub resources: Option<ResourcesLite>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResourcesLite {
    pub requests: Option<BTreeMap<String, Quantity>>,
    pub limits: Option<BTreeMap<String, Quantity>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub phase: Option<String>,
    pub start_time: Option<String>,
    pub container_statuses: Option<Vec<ContainerStatus>>,
    pub init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub name: String,
    pub restart_count: Option<i64>,
    pub state: Option<ContainerState>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub running: Option<Running>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Running {
    pub started_at: Option<String>,
}

/// Quantities are strings, but plain numbers are accepted by Kubernetes too.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Quantity {
    Text(String),
    Whole(i64),
    Fraction(f64),
}

impl Kind for NamespaceLite {
    const NAME: &'static str = "namespaces";
    const PATH: &'static str = "/api/v1/namespaces";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Kind for NodeLite {
    const NAME: &'static str = "nodes";
    const PATH: &'static str = "/api/v1/nodes";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Kind for PodLite {
    const NAME: &'static str = "pods";
    const PATH: &'static str = "/api/v1/pods";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
