//! Millrace: scrapes every kubelet of a cluster, passes each batch through a chain of Wasm rules,
//! and hands what comes out to its sinks.
//!
//! The modules stand in the order of the data flow.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod batch;
pub mod sinks;
pub mod tls;

pub mod config;

pub mod cli;
