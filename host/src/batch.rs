//! The batch: what one node gave in one cycle, or what a rule's `finish` made, as columns.
//!
//! Columns in the host are the same as in a rule, so that crossing into Wasm is a handful of
//! memcpys. No I/O here, and no arithmetic on values: that is for rules.

pub mod apply;
pub mod bounds;
pub mod builder;
pub mod changes;
mod check;
pub mod columns;
pub mod edit;
mod keep;
pub mod merge;
pub mod registry;
pub mod rows;
mod strings;
pub mod symbols;
pub mod types;
pub mod view;
pub mod wire;

pub use apply::{EditStats, apply};
pub use bounds::{BatchBounds, EditBounds};
pub use builder::{BatchBuilder, Descriptor};
pub use changes::Changes;
pub use columns::{Batch, Entities, LabelSets, Metrics, Origin, Points};
pub use edit::{Edit, EditError};
pub use merge::strip_private;
pub use registry::{NamedBy, TypeConflict, TypeRegistry};
pub use rows::level_word;
pub use symbols::Symbols;
pub use types::{Cycle, Kind, Level, Merge, UNKNOWN_AT, ValueType};
pub use view::{EntityView, PointView, Value};
