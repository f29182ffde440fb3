//! The log sink: batches in a readable form.

pub mod config;
