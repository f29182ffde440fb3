//! What the cluster's metrics and labels are called for Prometheus: one table, and one rule for what does not stand
//! there. docs/PROMETHEUS.md holds both.
//!
//! Not here: how it is written down, which `http::exposition` and `sinks::prometheus` do each in their way.

mod labels;
mod names;
mod table;

pub use labels::{Labels, info};
pub use names::{Form, Mapped, mapped};
