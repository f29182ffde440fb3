//! The kubelets' side: asks each for its Summary, and turns the answers into batches of facts.
//! When to ask is the cycle's business; rates, sums and policy are the rules'.

mod client;
#[cfg(test)]
mod client_tests;
mod credentials;
mod decode;
mod failure;
pub mod names;
mod number;
mod sessions;
pub mod summary;
mod target;
mod turns;
mod verify;

pub use client::{Body, NodeAnswer, Place, Scraper};
pub use credentials::ScrapeSetupError;
pub(crate) use decode::parse;
pub use decode::{DecodeBounds, DecodeCounts, Decoded, decode};
pub use failure::ScrapeFailure;
pub use turns::{Room, Turn};
