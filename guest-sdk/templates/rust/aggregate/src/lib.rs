//! Adds a metric of all pods up by some of their labels, and gives the sums once a cycle.
//!
//! ```toml
//! [settings]
//! metric = "memory/usage"
//! by = ["namespace_name"]
//! ```

use millrace_sdk::prelude::*;
use millrace_sdk::GroupBy;

/// What stands under `[settings]` in `{{name}}.toml`. A key that is not here is refused.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The metric to add up; a whole number.
    metric: String,
    /// The labels to group by.
    by: Vec<String>,
}

/// The rule.
pub struct {{Type}} {
    metric: String,
    by: Vec<String>,
    /// Kept from batch to batch until the cycle ends.
    sums: GroupBy<i64>,
}

impl Rule for {{Type}} {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = r#"{"type":"object","required":["metric","by"],"additionalProperties":false,
        "properties":{"metric":{"type":"string"},"by":{"type":"array","items":{"type":"string"},"minItems":1}}}"#;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        if settings.by.is_empty() {
            return Err("`by` is empty; name at least one label".into());
        }
        let sums = GroupBy::new(&settings.by);
        Ok(Self { metric: settings.metric, by: settings.by, sums })
    }

    fn process(&mut self, batch: &Batch, _edit: &mut Edit) -> Result<(), Refusal> {
        let mut groups = self.sums.batch(batch);
        for pod in batch.entities(Level::Pod) {
            if let Some(value) = pod.int(&self.metric)
                && let Some(sum) = groups.of(pod)
            {
                *sum = sum.saturating_add(value);
            }
        }
        Ok(())
    }

    fn finish(&mut self, _cycle: &Cycle, edit: &mut Edit) -> Result<(), Refusal> {
        let metric = edit.metric(Descriptor::gauge(&self.metric, ""));
        for (values, sum) in self.sums.drain() {
            let labels: Vec<(&str, &str)> =
                self.by.iter().map(String::as_str).zip(values.iter().map(|value| &**value)).collect();
            edit.add_entity(Level::Other, &labels).point(metric, sum);
        }
        Ok(())
    }
}

millrace_sdk::register_rule!({{Type}});

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_sdk::testing;

    #[test]
    fn pods_of_a_namespace_are_added_up() {
        let batch = testing::batch("node-a")
            .entity(Level::Pod, &[("namespace_name", "shop"), ("pod_name", "web")])
            .int("memory/usage", 3)
            .entity(Level::Pod, &[("namespace_name", "shop"), ("pod_name", "db")])
            .int("memory/usage", 4)
            .build();
        let settings = Settings { metric: "memory/usage".into(), by: vec!["namespace_name".into()] };
        let mut rule = {{Type}}::configure(settings).unwrap();
        testing::process(&mut rule, &batch).unwrap();
        assert_eq!(testing::finish(&mut rule, 1).unwrap(), ["other {namespace_name=shop} memory/usage = 7"]);
    }
}
