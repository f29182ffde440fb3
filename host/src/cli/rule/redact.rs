//! Takes names out of recorded batches: every label's value becomes a hash, the same one throughout
//! a recording and another in the next, so that none can be guessed by trying.

use sha2::{Digest, Sha256};

use crate::batch::{Batch, Origin, Symbols};

/// Labels whose values come from a list that Kubernetes or this program has, and say nothing of a
/// cluster.
const PLAIN: [&str; 5] = ["type", "__origin", "__phase", "__init", "__owner_kind"];
/// Of a hash, bytes: enough for a cluster's values to differ.
const HASH_BYTES: usize = 8;

/// Hashes with a salt of its own.
pub(super) struct Redaction {
    salt: [u8; 32],
}

impl Redaction {
    /// With a salt that nobody will ever see.
    pub(super) fn new() -> Self {
        Self { salt: rand::random() }
    }

    fn hash(&self, value: &str) -> String {
        if value.is_empty() {
            return String::new();
        }
        let digest = Sha256::new().chain_update(self.salt).chain_update(value).finalize();
        digest.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The batch without labels' values. Names of labels and metrics stay: rules go by them.
    pub(super) fn batch(&self, mut batch: Batch) -> Batch {
        batch.origin = match batch.origin {
            Origin::Node(name) => Origin::Node(self.hash(&name)),
            Origin::Totals(rule) => Origin::Totals(rule),
        };
        let old = std::mem::take(&mut batch.symbols);
        let mut symbols = Symbols::default();
        let plain: Vec<Option<u32>> = PLAIN.iter().map(|name| old.find(name)).collect();
        let kept = |name: u32| plain.contains(&Some(name));
        let mut hashed = vec![u32::MAX; old.len()];
        let mut value = |symbols: &mut Symbols, name: u32, value: &mut u32| {
            if kept(name) {
                *value = symbols.intern(old.get(*value));
                return;
            }
            let known = &mut hashed[*value as usize];
            if *known == u32::MAX {
                *known = symbols.intern(&self.hash(old.get(*value)));
            }
            *value = *known;
        };
        let (entities, sets) = (&mut batch.entities, &mut batch.label_sets);
        for (name, id) in entities.label_names.iter().zip(&mut entities.label_values) {
            value(&mut symbols, *name, id);
        }
        for (name, id) in sets.names.iter().zip(&mut sets.values) {
            value(&mut symbols, *name, id);
        }
        let names = entities.label_names.iter_mut().chain(&mut sets.names);
        let names = names.chain(&mut batch.metrics.name).chain(&mut batch.metrics.unit);
        for id in names {
            *id = symbols.intern(old.get(*id));
        }
        batch.symbols = symbols;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::rows::{Descriptors, Detail, build, parse, rows};

    #[test]
    fn values_go_and_what_is_equal_stays_equal() {
        let text = "pod {__phase=Running,a=secret,pod_name=web} x{disk=secret} = 1\npod {a=,pod_name=pod_name} x = 2";
        let parsed = parse(text, &Descriptors::new()).unwrap();
        let batch = || build(&parsed, Origin::Node("secret".into()), 0, &Descriptors::new()).unwrap();
        let redaction = Redaction::new();
        let (one, two) = (redaction.batch(batch()), redaction.batch(batch()));
        let shown: Vec<String> = rows(&one, 0).iter().map(|row| row.text(Detail::default())).collect();
        let (secret, web, name) = (redaction.hash("secret"), redaction.hash("web"), redaction.hash("pod_name"));
        assert_eq!(
            shown,
            [
                format!("pod {{__phase=Running,a={secret},pod_name={web}}} x{{disk={secret}}} = 1"),
                format!("pod {{a=,pod_name={name}}} x = 2"),
            ]
        );
        assert_eq!(rows(&one, 0), rows(&two, 0));
        assert_eq!(one.origin, Origin::Node(secret.clone()));
        assert!(!one.symbols.text().windows(6).any(|text| text == b"secret"));
        assert_ne!(Redaction::new().hash("secret"), secret, "another recording, another salt");
    }
}
