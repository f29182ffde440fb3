//! Copies labels that Kubernetes knows of a pod into labels of its series.
//!
//! ```toml
//! [settings.copy]
//! app = "app.kubernetes.io/name"     # series label = pod label
//! ```

use std::collections::BTreeMap;

use millrace_sdk::prelude::*;

/// What stands under `[settings]` in `{{name}}.toml`. A key that is not here is refused.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Series label to pod label.
    copy: BTreeMap<String, String>,
}

/// The rule.
pub struct {{Type}} {
    /// Series label, and the host's name for the pod's label.
    copy: Vec<(String, String)>,
}

impl Rule for {{Type}} {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = r#"{"type":"object","required":["copy"],"additionalProperties":false,
        "properties":{"copy":{"type":"object","additionalProperties":{"type":"string"}}}}"#;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        if settings.copy.is_empty() {
            return Err("`copy` is empty; name at least one label".into());
        }
        // What the host knows of a pod's labels stands in labels for rules only.
        let copy = settings.copy.into_iter().map(|(to, from)| (to, format!("__label_{from}"))).collect();
        Ok(Self { copy })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        for (to, from) in &self.copy {
            // Looked up once: comparing symbols is comparing strings.
            let Some(from) = batch.symbol(from) else {
                continue;
            };
            let to = edit.symbol(to);
            for entity in batch.all() {
                if let Some(value) = entity.label_symbol(from) {
                    edit.set_label(entity, to, value);
                }
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
    fn a_pods_label_becomes_a_series_label() {
        let batch = testing::batch("node-a")
            .entity(Level::Pod, &[("pod_name", "web"), ("__label_app", "shop")])
            .int("memory/usage", 3)
            .build();
        let mut rule = {{Type}} { copy: vec![("app".into(), "__label_app".into())] };
        let rows = testing::process(&mut rule, &batch).unwrap();
        assert_eq!(rows, ["pod {__label_app=shop,app=shop,pod_name=web} memory/usage = 3"]);
    }
}
