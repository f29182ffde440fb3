//! Millrace: scrapes every kubelet of a cluster, passes each batch through a chain of Wasm rules,
//! and hands what comes out to its sinks.
//!
//! The modules stand in the order of the data flow.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod cli;
pub mod config;
pub mod tls;

pub mod batch;
pub mod kube;
pub mod prometheus;
pub mod scrape;

pub mod recordings;
pub mod reloads;
pub mod rules;
pub mod sinks;
pub mod store;
pub mod taps;

pub mod allocator;
pub mod app;
pub mod auth;
mod causes;
pub mod doctor;
pub mod finding;
mod glob;
pub mod http;
pub mod status;
mod text;
mod throttle;

#[cfg(test)]
mod loopback;
