//! What a rule author implements.

use serde::de::DeserializeOwned;

use crate::{Batch, Cycle, Edit};

/// A filter, a relabelling, an aggregation: anything that answers batches with edits.
///
/// ```
/// use millrace_sdk::prelude::*;
///
/// /// Puts the name of the cluster on everything.
/// struct Cluster { name: String }
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, rename_all = "kebab-case")]
/// struct Settings { cluster_name: String }
///
/// impl Rule for Cluster {
///     type Settings = Settings;
///
///     fn configure(settings: Settings) -> Result<Self, Refusal> {
///         if settings.cluster_name.is_empty() {
///             return Err("`cluster-name` is empty; name the cluster".into());
///         }
///         Ok(Self { name: settings.cluster_name })
///     }
///
///     fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
///         for entity in batch.all() {
///             edit.set_label(entity, "cluster", &self.name);
///         }
///         Ok(())
///     }
/// }
///
/// use millrace_sdk::testing;
/// let mut rule: Cluster = testing::configure(r#"{"cluster-name":"test"}"#).unwrap();
/// let rows = testing::process(&mut rule, &testing::sample()).unwrap();
/// assert_eq!(rows[0], "node {cluster=test,nodename=node-a} memory/usage = 100");
/// ```
pub trait Rule: Sized + 'static {
    /// The `[settings]` of `NAME.toml` beside the rule, read by serde. Use
    /// `#[serde(deny_unknown_fields)]`, so that a misspelt key is refused and not ignored, and
    /// [`NoSettings`] where there are none.
    type Settings: DeserializeOwned;

    /// A JSON Schema of the settings, shown to operators; `{}` says nothing of them.
    const SETTINGS_SCHEMA: &'static str = "{}";

    /// Makes the rule. Called once for each instance: when it is loaded, and again after a failure.
    ///
    /// # Errors
    /// A [`Refusal`] that names the setting and the remedy: the rule is not loaded.
    fn configure(settings: Self::Settings) -> Result<Self, Refusal>;

    /// Answers the batch of one node, or the totals that an earlier rule made.
    ///
    /// # Errors
    /// A [`Refusal`]: this batch can't be processed, and `on-error` decides what becomes of it.
    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        let _ = (batch, edit);
        Ok(())
    }

    /// The end of a cycle: adds totals. There is no batch, so only new entities are valid.
    /// State that grows with entities is to be purged here.
    ///
    /// # Errors
    /// A [`Refusal`]: the cycle has no totals of this rule.
    fn finish(&mut self, cycle: &Cycle, edit: &mut Edit) -> Result<(), Refusal> {
        let _ = (cycle, edit);
        Ok(())
    }
}

/// Why a rule will not do what it was asked.
///
/// ```
/// use millrace_sdk::Refusal;
///
/// fn check(groups: usize) -> Result<(), Refusal> {
///     if groups == 0 { Err("`groups` is 0; use at least 1".into()) } else { Ok(()) }
/// }
/// assert_eq!(check(0).unwrap_err().to_string(), "`groups` is 0; use at least 1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// A refusal with its reason: what is wrong, and the remedy.
    ///
    /// ```
    /// let refusal = millrace_sdk::Refusal::new(format!("`{}` is no level", "pood"));
    /// assert_eq!(refusal.reason(), "`pood` is no level");
    /// ```
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The reason.
    ///
    /// ```
    /// assert_eq!(millrace_sdk::Refusal::new("why").reason(), "why");
    /// ```
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl<S: Into<String>> From<S> for Refusal {
    fn from(reason: S) -> Self {
        Self(reason.into())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The settings of a rule that has none: any key is refused.
///
/// ```
/// use millrace_sdk::prelude::*;
///
/// struct Quiet;
/// impl Rule for Quiet {
///     type Settings = NoSettings;
///     fn configure(_: NoSettings) -> Result<Self, Refusal> { Ok(Self) }
/// }
/// assert!(millrace_sdk::testing::configure::<Quiet>(r#"{"a":1}"#).is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}
