//! Keeps chosen metrics and drops all others, by allow and deny lists of patterns.
//!
//! | setting | default | |
//! |---|---|---|
//! | `allow` | all | patterns of the metrics to keep |
//! | `deny` | none | patterns of the metrics to drop; it wins over `allow` |
//! | `levels` | all | the levels at which this holds; points of others stay |
//!
//! In a pattern `*` stands for any text, also across `/`, and `?` for any one character. Metrics that
//! begin with `__` are facts for rules and reach no sink; only a pattern that begins with `__` chooses
//! them, and `allow` alone never drops them. So the rule may stand before or after `heapster`; after it,
//! it can choose rates and sums too. Above 50 nothing that `heapster` needs can be lost.
//!
//! ```toml
//! [settings]
//! allow = ["cpu/*", "memory/usage", "memory/working_set", "uptime"]
//! deny = ["cpu/usage"]
//! ```

use millrace_sdk::Globs;
use millrace_sdk::prelude::*;

/// The settings.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// The metrics to keep; all if absent.
    allow: Option<Globs>,
    /// The metrics to drop.
    deny: Globs,
    /// Where; everywhere if absent.
    levels: Option<Vec<Level>>,
}

/// The rule.
pub struct KeepMetrics {
    settings: Settings,
}

impl Rule for KeepMetrics {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = r#"{"type":"object","additionalProperties":false,"properties":{
"allow":{"type":"array","items":{"type":"string"},"description":"patterns of the metrics to keep; all if absent"},
"deny":{"type":"array","items":{"type":"string"},"description":"patterns of the metrics to drop; wins over allow"},
"levels":{"type":"array","items":{"enum":["cluster","node","namespace","pod","container","system-container","other"]}}}}"#;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        if settings.allow.as_ref().is_some_and(Globs::is_empty) {
            return Err("`allow` is empty, so nothing would be kept; name metrics, or leave it out to keep all".into());
        }
        if settings.allow.is_none() && settings.deny.is_empty() {
            return Err("neither `allow` nor `deny` names a metric; name some, or remove the rule".into());
        }
        if settings.levels.as_ref().is_some_and(Vec::is_empty) {
            return Err("`levels` is empty; name levels, or leave it out for all".into());
        }
        Ok(Self { settings })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        let kept: Vec<bool> = batch.metrics().map(|metric| self.keeps(batch.metric_name(metric))).collect();
        if kept.iter().all(|&kept| kept) {
            return Ok(());
        }
        for entity in batch.all() {
            if self.settings.levels.as_ref().is_some_and(|levels| !levels.contains(&entity.level())) {
                continue;
            }
            for point in entity.points() {
                if !kept[point.metric().index()] {
                    edit.drop_point(point);
                }
            }
        }
        Ok(())
    }
}

impl KeepMetrics {
    fn keeps(&self, metric: &str) -> bool {
        let allowed =
            self.settings.allow.as_ref().is_none_or(|allow| metric.starts_with("__") || allow.matches(metric));
        allowed && !self.settings.deny.matches(metric)
    }
}

millrace_sdk::register_rule!(KeepMetrics);

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_sdk::testing;

    fn kept(settings: &str) -> Vec<String> {
        let batch = testing::batch("n")
            .entity(Level::Node, &[])
            .int("cpu/usage", 1)
            .int("memory/usage", 2)
            .int("__capacity/cpu", 3)
            .entity(Level::Pod, &[])
            .int("cpu/usage", 4)
            .int("cpu/usage_rate", 5)
            .build();
        let mut rule: KeepMetrics = testing::configure(settings).unwrap();
        let rows = testing::process(&mut rule, &batch).unwrap();
        rows.iter().filter_map(|row| Some(row.rsplit_once(" = ")?.1.to_owned())).collect()
    }

    #[test]
    fn allow_and_deny_choose() {
        for (settings, want) in [
            (r#"{"allow":["cpu/*"]}"#, vec!["1", "3", "4", "5"]),
            (r#"{"allow":["cpu/*"],"deny":["cpu/usage"]}"#, vec!["3", "5"]),
            (r#"{"deny":["*"]}"#, vec!["3"]),
            (r#"{"deny":["__*","cpu/*"]}"#, vec!["2"]),
            (r#"{"deny":["*"],"levels":["pod"]}"#, vec!["1", "2", "3"]),
            (r#"{"allow":["cpu/usage?rate"]}"#, vec!["3", "5"]),
        ] {
            assert_eq!(kept(settings), want, "{settings}");
        }
    }

    #[test]
    fn settings_that_choose_nothing_are_refused() {
        for (settings, key) in [
            ("{}", "allow"),
            (r#"{"allow":[]}"#, "allow"),
            (r#"{"deny":["a"],"levels":[]}"#, "levels"),
            (r#"{"deny":["a"],"levels":["pood"]}"#, "levels[0]"),
            (r#"{"denied":["a"]}"#, "denied"),
        ] {
            let refusal = testing::configure::<KeepMetrics>(settings).err().unwrap();
            assert!(refusal.reason().contains(&format!("`{key}`")), "{settings}: {refusal}");
        }
    }
}
