//! The settings of the log sink.

use toml::Table;

use crate::config::fields::Fields;
use crate::config::outside::Outside;
use crate::config::problems::Problems;
use crate::config::uri::Uri;
use crate::config::values;

const MIN_QUEUE: u64 = 1 << 20;
const MAX_QUEUE: u64 = 64 << 30;
const QUEUE: usize = 16 << 20;

/// `[[sink]]` of type `log`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Bound of the queue in memory, bytes. Default 16 MiB.
    pub queue: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { queue: QUEUE }
    }
}

/// Reads a `[[sink]]`; the caller has seen its `type`.
pub fn from_toml(fields: Fields<'_>) -> LogConfig {
    let queue = fields.bytes("queue", MIN_QUEUE..=MAX_QUEUE).and_then(|bytes| usize::try_from(bytes).ok());
    fields.finish();
    LogConfig { queue: queue.unwrap_or(QUEUE) }
}

/// Reads `--sink=log`, which had no options in Heapster.
pub fn from_uri(uri: &Uri, outside: &Outside, problems: &Problems) -> LogConfig {
    if uri.has_url {
        problems.warn(format!("`{}` has a URL; the log sink needs none", uri.at));
    }
    from_toml(uri.fields(&[], outside, problems))
}

impl LogConfig {
    /// The same as `[[sink]]`, defaults left out.
    pub fn to_toml(&self) -> Table {
        let mut table = Table::new();
        if self.queue != QUEUE {
            table.insert("queue".to_owned(), values::bytes_text(self.queue as u64).into());
        }
        table
    }
}
