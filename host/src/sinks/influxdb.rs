//! The InfluxDB 1.x sink, in Heapster's schema.

pub mod config;
