//! Drops every pod and container of some namespaces, and what a rule summed for them.
//!
//! | setting | |
//! |---|---|
//! | `namespaces` | names of namespaces, or patterns: `*` stands for any text, `?` for any one character |
//!
//! Before `heapster` (50) the sums of nodes and of the cluster do not count what is dropped; after it only
//! the rows go.
//!
//! ```toml
//! [settings]
//! namespaces = ["kube-system"]
//! ```

use millrace_sdk::prelude::*;
use millrace_sdk::{Globs, Symbol};

/// The settings.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The namespaces to drop.
    namespaces: Globs,
}

/// The rule.
pub struct DropNamespaces {
    namespaces: Globs,
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
        // Few namespaces, many entities: a name is looked at once a batch, and the last one is mostly the next.
        let mut verdicts: Vec<(Symbol, bool)> = Vec::new();
        for entity in batch.all() {
            let Some(namespace) = entity.label_symbol(label) else {
                continue;
            };
            let known = verdicts.iter().rev().find(|(known, _)| *known == namespace);
            let drops = match known {
                Some(&(_, drops)) => drops,
                None => {
                    let drops = self.namespaces.matches(batch.text(namespace));
                    verdicts.push((namespace, drops));
                    drops
                }
            };
            if drops {
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
        let Ok(mut rule) = DropNamespaces::configure(Settings { namespaces: Globs::new(&["kube-system"]) }) else {
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
        assert!(DropNamespaces::configure(Settings { namespaces: Globs::default() }).is_err());
    }
}
