//! Between the generated contract and the [`Rule`] trait. Used by `register_rule!`, and by benches
//! that call a rule natively just as the host calls it.

use std::cell::RefCell;
use std::sync::Once;

use crate::wit;
use crate::{Batch, Edit, Rule, host};

/// Holds the one instance of a rule.
///
/// ```
/// use millrace_sdk::glue::Slot;
/// # use millrace_sdk::prelude::*;
/// # struct Quiet;
/// # impl Rule for Quiet {
/// #     type Settings = NoSettings;
/// #     fn configure(_: NoSettings) -> Result<Self, Refusal> { Ok(Self) }
/// # }
///
/// let slot = Slot::<Quiet>::new();
/// assert!(slot.finish(millrace_sdk::testing::cycle(1)).is_err(), "not configured");
/// slot.configure("{}").unwrap();
/// assert!(slot.finish(millrace_sdk::testing::cycle(1)).is_ok());
/// ```
#[derive(Debug)]
pub struct Slot<R>(RefCell<Option<R>>);

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Slot<R> {
    /// An empty slot.
    #[must_use]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }
}

impl<R: Rule> Slot<R> {
    /// Makes the rule from its settings, a JSON object.
    ///
    /// # Errors
    /// `settings` with the key and the reason.
    pub fn configure(&self, settings: &str) -> Result<(), wit::Error> {
        log_panics();
        let text = if settings.is_empty() { "{}" } else { settings };
        let settings = crate::settings::read(text).map_err(wit::Error::Settings)?;
        let rule = R::configure(settings).map_err(|refusal| wit::Error::Settings(refusal.reason().to_owned()))?;
        *self.0.borrow_mut() = Some(rule);
        Ok(())
    }

    /// Answers one batch.
    ///
    /// # Errors
    /// `batch` with the rule's refusal; `fatal` before `configure`.
    pub fn process(&self, cycle: wit::Cycle, batch: wit::Batch) -> Result<wit::Edit, wit::Error> {
        let mut slot = self.0.borrow_mut();
        let rule = slot.as_mut().ok_or_else(not_configured)?;
        let batch = Batch::new(cycle, batch);
        let mut edit = Edit::for_batch(&batch);
        rule.process(&batch, &mut edit).map_err(|refusal| wit::Error::Batch(refusal.reason().to_owned()))?;
        Ok(edit.into_wit())
    }

    /// Ends a cycle.
    ///
    /// # Errors
    /// As [`Slot::process`].
    pub fn finish(&self, cycle: wit::Cycle) -> Result<wit::Edit, wit::Error> {
        let mut slot = self.0.borrow_mut();
        let rule = slot.as_mut().ok_or_else(not_configured)?;
        let mut edit = Edit::for_totals();
        rule.finish(&cycle, &mut edit).map_err(|refusal| wit::Error::Batch(refusal.reason().to_owned()))?;
        Ok(edit.into_wit())
    }
}

/// What `describe` answers.
///
/// ```
/// let description = millrace_sdk::glue::describe("drop-idle", "0.1.0", "{}");
/// assert!(description.sdk.starts_with("millrace-sdk/"));
/// ```
#[must_use]
pub fn describe(name: &str, version: &str, settings_schema: &str) -> wit::Description {
    wit::Description {
        name: name.to_owned(),
        version: version.to_owned(),
        sdk: concat!("millrace-sdk/", env!("CARGO_PKG_VERSION")).to_owned(),
        settings_schema: settings_schema.to_owned(),
    }
}

fn not_configured() -> wit::Error {
    wit::Error::Fatal("called before `configure`".to_owned())
}

/// A panic's message would die with the instance; the host's log keeps it.
fn log_panics() {
    static ONCE: Once = Once::new();
    if cfg!(target_arch = "wasm32") {
        ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| host::error(&panic.to_string()))));
    }
}
