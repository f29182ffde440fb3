//! Places where batches go: one module a sink.

pub mod influxdb;
pub mod log;
