//! An example filter: drops every pod and container of some namespaces.
//!
//! ```toml
//! [settings]
//! namespaces = ["kube-system"]
//! ```

use millrace_sdk::Symbol;
use millrace_sdk::prelude::*;

/// The settings.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The namespaces to drop.
    namespaces: Vec<String>,
}

/// The rule.
pub struct DropNamespaces {
    namespaces: Vec<String>,
}

impl Rule for DropNamespaces {
    type Settings = Settings;
    const SETTINGS_SCHEMA: &'static str = r#"{"type":"object","required":["namespaces"],"additionalProperties":false,
        "properties":{"namespaces":{"type":"array","items":{"type":"string"}}}}"#;

    fn configure(settings: Settings) -> Result<Self, Refusal> {
        if settings.namespaces.is_empty() {
            return Err("`namespaces` is empty; name at least one, or remove the rule".into());
        }
        Ok(Self { namespaces: settings.namespaces })
    }

    fn process(&mut self, batch: &Batch, edit: &mut Edit) -> Result<(), Refusal> {
        let Some(label) = batch.symbol("namespace_name") else {
            return Ok(());
        };
        let dropped: Vec<Symbol> = self.namespaces.iter().filter_map(|name| batch.symbol(name)).collect();
        if dropped.is_empty() {
            return Ok(());
        }
        for entity in batch.all() {
            if entity.label_symbol(label).is_some_and(|namespace| dropped.contains(&namespace)) {
                edit.drop_entity(entity);
            }
        }
        Ok(())
    }
}

millrace_sdk::register_rule!(DropNamespaces);

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_sdk::testing;

    #[test]
    fn only_the_named_namespaces_go() {
        let batch = testing::batch("n")
            .entity(Level::Node, &[("nodename", "n")])
            .int("memory/usage", 1)
            .entity(Level::Pod, &[("namespace_name", "kube-system"), ("pod_name", "dns")])
            .int("memory/usage", 2)
            .entity(Level::Pod, &[("namespace_name", "default"), ("pod_name", "web")])
            .int("memory/usage", 3)
            .build();
        let Ok(mut rule) = DropNamespaces::configure(Settings { namespaces: vec!["kube-system".into()] }) else {
            unreachable!("the settings are right")
        };
        assert_eq!(
            testing::process(&mut rule, &batch),
            Ok(vec![
                "node {nodename=n} memory/usage = 1".to_owned(),
                "pod {namespace_name=default,pod_name=web} memory/usage = 3".to_owned(),
            ])
        );
    }

    #[test]
    fn no_namespace_at_all_is_refused() {
        assert!(DropNamespaces::configure(Settings { namespaces: vec![] }).is_err());
    }
}
