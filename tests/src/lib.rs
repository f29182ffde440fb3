//! What Millrace's tests, demo and benchmarks stand on.
//!
//! Nothing here is part of the product.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod chaos;
pub mod exposition;
pub mod fixtures;
pub mod heapster;
pub mod kubesim;
pub mod pki;
pub mod recorded;

/// The rules in `docs/RULES.md` compile and pass their tests as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../docs/RULES.md")]
struct Recipes;
