//! An example relabelling: copies labels of the pods' own into labels of their series.
//!
//! ```toml
//! [settings.copy]
//! app = "app.kubernetes.io/name"     # series label = pod label
//! ```

use std::collections::BTreeMap;

use millrace_sdk::prelude::*;

/// The settings.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Series label to pod label.
    copy: BTreeMap<String, String>,
}

/// The rule.
pub struct Relabel {
    /// Series label, and the host's name for the pod's label.
    copy: Vec<(String, String)>,
}

impl Rule for Relabel {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = r#"{"type":"object","required":["copy"],"additionalProperties":false,
        "properties":{"copy":{"type":"object","additionalProperties":{"type":"string"}}}}"#;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        let copy = settings.copy.into_iter().map(|(to, from)| (to, format!("__label_{from}"))).collect();
        Ok(Self { copy })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        for (to, from) in &self.copy {
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

millrace_sdk::register_rule!(Relabel);

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_sdk::testing;

    #[test]
    fn a_pods_label_becomes_a_series_label() {
        let batch = testing::batch("n")
            .entity(Level::Pod, &[("pod_name", "web"), ("__label_app", "shop")])
            .int("memory/usage", 3)
            .entity(Level::Pod, &[("pod_name", "bare")])
            .int("memory/usage", 4)
            .build();
        let mut rule = Relabel { copy: vec![("app".into(), "__label_app".into())] };
        assert_eq!(
            testing::process(&mut rule, &batch),
            Ok(vec![
                "pod {__label_app=shop,app=shop,pod_name=web} memory/usage = 3".to_owned(),
                "pod {pod_name=bare} memory/usage = 4".to_owned(),
            ])
        );
    }
}
