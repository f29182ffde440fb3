//! Drops every container that uses less CPU than a floor.
//!
//! ```toml
//! [settings]
//! min-millicores = 5
//! ```

use millrace_sdk::prelude::*;

/// What stands under `[settings]` in `{{name}}.toml`. A key that is not here is refused.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Containers that use less are dropped.
    min_millicores: i64,
}

/// The rule.
pub struct {{Type}} {
    min_millicores: i64,
}

impl Rule for {{Type}} {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = r#"{"type":"object","required":["min-millicores"],"additionalProperties":false,
        "properties":{"min-millicores":{"type":"integer","minimum":1}}}"#;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        if settings.min_millicores < 1 {
            return Err("`min-millicores` is less than 1; nothing would ever be dropped".into());
        }
        Ok(Self { min_millicores: settings.min_millicores })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        for container in batch.entities(Level::Container) {
            if container.int("cpu/usage_rate").is_some_and(|used| used < self.min_millicores) {
                edit.drop_entity(container);
            }
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
    fn idle_containers_go() {
        let batch = testing::batch("node-a")
            .entity(Level::Container, &[("container_name", "busy")])
            .int("cpu/usage_rate", 50)
            .entity(Level::Container, &[("container_name", "idle")])
            .int("cpu/usage_rate", 1)
            .build();
        let mut rule = {{Type}} { min_millicores: 5 };
        let rows = testing::process(&mut rule, &batch).unwrap();
        assert_eq!(rows, ["container {container_name=busy} cpu/usage_rate = 50"]);
    }
}
