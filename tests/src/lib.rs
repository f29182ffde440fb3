//! Millrace.

pub mod fixtures;
