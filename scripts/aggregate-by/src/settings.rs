//! The settings.

use millrace_sdk::{Globs, Level, Refusal};

/// For operators; the host shows it.
pub const SCHEMA: &str = r#"{"type":"object","required":["by","metrics"],"additionalProperties":false,"properties":{
"by":{"type":"array","items":{"type":"string"},"description":"labels to group by: name, or new=name"},
"metrics":{"type":"array","items":{"type":"string"},"description":"patterns of metrics"},
"levels":{"type":"array","default":["pod"],"items":{"enum":["cluster","node","namespace","pod","container","system-container","other"]}},
"functions":{"type":"array","default":["sum"],"items":{"enum":["sum","min","max","count","avg"]},"description":"avg is not mergeable"},
"quantiles":{"type":"array","items":{"type":"number","minimum":0,"maximum":1},"description":"not mergeable"},
"max-groups":{"type":"integer","default":10000,"minimum":1,"maximum":1000000}}}"#;

/// `[settings]` of the rule.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The labels to group by: `name`, or `new=name`.
    pub by: Vec<String>,
    /// The metrics to aggregate.
    pub metrics: Globs,
    /// The entities to count.
    #[serde(default = "pods")]
    pub levels: Vec<Level>,
    /// How.
    #[serde(default = "sums")]
    pub functions: Vec<Function>,
    /// Shares from 0 to 1.
    #[serde(default)]
    pub quantiles: Vec<f64>,
    /// Groups of one cycle.
    #[serde(default = "max_groups")]
    pub max_groups: usize,
}

/// How values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Function {
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// How many there are.
    Count,
    /// The average: not mergeable.
    Avg,
}

fn pods() -> Vec<Level> {
    vec![Level::Pod]
}

fn sums() -> Vec<Function> {
    vec![Function::Sum]
}

fn max_groups() -> usize {
    10_000
}

impl Settings {
    /// Refuses what would aggregate nothing, or name one metric twice. The labels are the groups'.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.by.is_empty() {
            return Err("`by` is empty; name the labels to group by".into());
        }
        if self.metrics.is_empty() {
            return Err("`metrics` is empty; name metrics, or patterns such as `cpu/*`".into());
        }
        if self.levels.is_empty() {
            return Err("`levels` is empty; name levels, or leave it out for pods".into());
        }
        if self.functions.is_empty() && self.quantiles.is_empty() {
            return Err("`functions` is empty and there are no `quantiles`; name at least one".into());
        }
        if twice(&self.functions).is_some() {
            return Err("`functions` names one twice".into());
        }
        if let Some(at) = self.quantiles.iter().position(|quantile| !(0.0..=1.0).contains(quantile)) {
            // Without the value: the formatting of floats would make the rule 20 KB larger.
            return Err(format!("`quantiles[{at}]` is not from 0 to 1; write a share, such as 0.99").into());
        }
        if self.quantiles.len() > 20 || twice(&self.quantiles).is_some() {
            return Err("`quantiles` holds one twice, or more than 20; name each once".into());
        }
        if !(1..=1_000_000).contains(&self.max_groups) {
            return Err(format!("`max-groups` is {}; use 1 to 1000000", self.max_groups).into());
        }
        Ok(())
    }
}

fn twice<T: PartialEq>(list: &[T]) -> Option<&T> {
    list.iter().enumerate().find_map(|(at, item)| list[..at].contains(item).then_some(item))
}

/// A share in hundredths as a metric's name has it: `50`, `99.9`.
pub fn percent(quantile: f64) -> String {
    // In millionths: the product of 0.999 and 100 is not 99.9 in binary, and whole numbers format without
    // the 20 KB that floats take.
    let millionths = (quantile * 1e8).round() as u64;
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
