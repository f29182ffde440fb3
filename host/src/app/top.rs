//! The pods that use most CPU, for the live table.

use crate::batch::{Batch, Level, Value};

/// How many are shown.
const SHOWN: usize = 5;

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// CPU, millicores.
    pub millicores: i64,
    /// Working set, bytes.
    pub memory_bytes: i64,
    /// `namespace/name`.
    pub pod: String,
    /// Its node.
    pub node: String,
}

/// The largest so far.
#[derive(Debug, Default)]
pub struct Top(Vec<PodUsage>);

impl Top {
    /// Looks at the pods of one batch.
    pub fn see(&mut self, batch: &Batch) {
        for pod in batch.iter().filter(|entity| entity.level() == Level::Pod) {
            let Some(Value::Int(millicores)) = pod.value("cpu/usage_rate") else { continue };
            if self.0.len() == SHOWN && self.0.last().is_some_and(|least| least.millicores >= millicores) {
                continue;
            }
            let label = |name| pod.label(name).unwrap_or("");
            let memory_bytes = match pod.value("memory/working_set") {
                Some(Value::Int(bytes)) => bytes,
                _ => 0,
            };
            self.0.push(PodUsage {
                millicores,
                memory_bytes,
                pod: format!("{}/{}", label("namespace_name"), label("pod_name")),
                node: label("nodename").to_owned(),
            });
            self.0.sort_by(|a, b| b.millicores.cmp(&a.millicores).then_with(|| a.pod.cmp(&b.pod)));
            self.0.truncate(SHOWN);
        }
    }

    /// The largest, the first one first; forgets them.
    pub fn take(&mut self) -> Vec<PodUsage> {
        std::mem::take(&mut self.0)
    }
}
