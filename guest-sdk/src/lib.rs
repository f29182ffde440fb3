//! Write rules for Millrace: filter, relabel and aggregate Kubernetes metrics in WebAssembly.
//!
//! A rule sees each node's batch of metrics once a cycle and answers with an [`Edit`]: what to
//! drop, relabel and add. At the end of the cycle it may add totals. It has no clock, no files and
//! no network, so the same batches always give the same answers: `cargo test` runs a rule natively.
//!
//! ```
//! use millrace_sdk::prelude::*;
//!
//! /// Drops every container that uses less CPU than a floor.
//! struct DropIdle { min_millicores: i64 }
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields, rename_all = "kebab-case")]
//! struct Settings { min_millicores: i64 }
//!
//! impl Rule for DropIdle {
//!     type Settings = Settings;
//!
//!     fn configure(settings: Settings) -> Result<Self, Refusal> {
//!         Ok(Self { min_millicores: settings.min_millicores })
//!     }
//!
//!     fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
//!         for container in batch.entities(Level::Container) {
//!             if container.int("cpu/usage_rate").is_some_and(|used| used < self.min_millicores) {
//!                 edit.drop_entity(container);
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//! millrace_sdk::register_rule!(DropIdle);
//!
//! let batch = millrace_sdk::testing::batch("node-a")
//!     .entity(Level::Container, &[("container_name", "busy")]).int("cpu/usage_rate", 50)
//!     .entity(Level::Container, &[("container_name", "idle")]).int("cpu/usage_rate", 1)
//!     .build();
//! let mut rule = DropIdle { min_millicores: 5 };
//! let rows = millrace_sdk::testing::process(&mut rule, &batch).unwrap();
//! assert_eq!(rows, ["container {container_name=busy} cpu/usage_rate = 50"]);
//! ```

mod batch;
mod edit;
mod glob;
pub mod glue;
mod group;
pub mod host;
mod rate;
mod rule;
mod settings;
mod stats;
pub mod testing;
mod types;
pub mod wit;

pub use batch::{Batch, Entity, Metric, Point, Symbol};
pub use edit::{Edit, NewEntity, Text};
pub use glob::Globs;
pub use group::{BatchGroups, GroupBy};
pub use rate::{Change, EntityRates, Rates};
pub use rule::{NoSettings, Refusal, Rule};
pub use stats::{Quantiles, Stats};
pub use types::{Cycle, Descriptor, Kind, Level, Merge, OwnedDescriptor, Value, ValueType};

/// All that most rules need.
///
/// ```
/// use millrace_sdk::prelude::*;
///
/// fn busy(container: Entity<'_>) -> bool {
///     container.int("cpu/usage_rate").is_some_and(|millicores| millicores > 10)
/// }
/// let batch: Batch = millrace_sdk::testing::sample();
/// assert_eq!(batch.entities(Level::Container).filter(|&container| busy(container)).count(), 1);
/// ```
pub mod prelude {
    pub use crate::{Batch, Cycle, Descriptor, Edit, Entity, Level, NoSettings, Point, Refusal, Rule, Value, host};
}

/// Makes a type that implements [`Rule`] the rule of this Wasm module. Once a crate.
///
/// Natively it does nothing, so that the same crate is tested and benchmarked without Wasm.
///
/// ```
/// use millrace_sdk::prelude::*;
///
/// struct Quiet;
/// impl Rule for Quiet {
///     type Settings = NoSettings;
///     fn configure(_: NoSettings) -> Result<Self, Refusal> { Ok(Self) }
/// }
/// millrace_sdk::register_rule!(Quiet);
/// ```
#[macro_export]
macro_rules! register_rule {
    ($rule:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            ::std::thread_local! {
                static RULE: $crate::glue::Slot<$rule> = const { $crate::glue::Slot::new() };
            }

            impl $crate::wit::Guest for Exported {
                fn describe() -> $crate::wit::Description {
                    $crate::glue::describe(
                        env!("CARGO_PKG_NAME"),
                        env!("CARGO_PKG_VERSION"),
                        <$rule as $crate::Rule>::SETTINGS_SCHEMA,
                    )
                }
                fn configure(settings: String) -> Result<(), $crate::wit::Error> {
                    RULE.with(|slot| slot.configure(&settings))
                }
                fn process(
                    cycle: $crate::wit::Cycle,
                    batch: $crate::wit::Batch,
                ) -> Result<$crate::wit::Edit, $crate::wit::Error> {
                    RULE.with(|slot| slot.process(cycle, batch))
                }
                fn finish(cycle: $crate::wit::Cycle) -> Result<$crate::wit::Edit, $crate::wit::Error> {
                    RULE.with(|slot| slot.finish(cycle))
                }
            }
    $crate::wit::export!(Exported with_types_in $crate::wit::bindings);
        };
    };
}

/// The README's rule compiles as it stands.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
