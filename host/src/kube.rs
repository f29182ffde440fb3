//! What is known of the cluster from its API server: nodes, pods and namespaces, with only the
//! facts that rules are given. It asks no kubelet and decides no policy.

mod connect;
mod facts;
mod intern;
mod inventory;
#[cfg(test)]
mod inventory_tests;
mod lite;
mod quantity;
mod status;
mod store;
mod timestamp;
mod watch;

pub use connect::{ClusterCredentials, ConnectError, Connected, Pem, TokenSource, connect};
pub use facts::{ContainerFacts, FactOptions, NodeFacts, Pairs, PodFacts, Resources};
pub use inventory::Inventory;
pub use quantity::{BadQuantity, Scale, parse_quantity};
pub use status::{InventoryStatus, KindStatus};
pub use timestamp::parse_timestamp;
