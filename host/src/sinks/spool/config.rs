//! The settings of a sink's spool. Pure: no folder is opened here.

use std::path::PathBuf;
use std::time::Duration;

use toml::Table;

use crate::config::fields::Fields;
use crate::config::values;

/// Least bound of a spool, bytes: eight segments of the smallest size.
const MIN_BYTES: u64 = 8 << 20;
/// Greatest bound of a spool, bytes.
const MAX_BYTES: u64 = 16 << 40;
/// Bounds of the age of what is kept.
const AGES: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3600);

/// `[sink.spool]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Holds one folder for every type of sink. Two sinks of a type may not share it.
    pub directory: PathBuf,
    /// Bound of the files, bytes. Default 1 GiB.
    pub max_bytes: u64,
    /// Nothing older is sent. Default one day.
    pub max_age: Duration,
    /// Whether what is spooled outlives the machine's power too, not only the process. Default yes.
    pub fsync: bool,
}

impl SpoolConfig {
    /// Reads `spool` of a `[[sink]]`; `None` where it has none.
    pub fn from_toml(fields: &Fields<'_>) -> Option<Self> {
        if !fields.has("spool") {
            return None;
        }
        let fields = fields.table("spool");
        let directory = fields.path_of("directory");
        if directory.is_none() && !fields.has("directory") {
            let at = fields.path("directory");
            fields.problems.push(format!("`{at}` is missing; name a folder on a volume that outlives the pod"));
        }
        let default = Self::at(directory.clone().unwrap_or_default());
        let config = Self {
            max_bytes: fields.bytes("max-bytes", MIN_BYTES..=MAX_BYTES).unwrap_or(default.max_bytes),
            max_age: fields.duration("max-age", AGES).unwrap_or(default.max_age),
            fsync: fields.boolean("fsync").unwrap_or(default.fsync),
            directory: default.directory,
        };
        fields.finish();
        directory.map(|_| config)
    }

    /// A spool in `directory` with every other setting at its default.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory, max_bytes: 1 << 30, max_age: Duration::from_secs(24 * 3600), fsync: true }
    }

    /// The same as `[sink.spool]`, defaults left out.
    pub fn to_toml(&self) -> Table {
        let default = Self::at(self.directory.clone());
        let mut table = Table::new();
        table.insert("directory".to_owned(), self.directory.display().to_string().into());
        if self.max_bytes != default.max_bytes {
            table.insert("max-bytes".to_owned(), values::bytes_text(self.max_bytes).into());
        }
        if self.max_age != default.max_age {
            table.insert("max-age".to_owned(), humantime::format_duration(self.max_age).to_string().into());
        }
        if !self.fsync {
            table.insert("fsync".to_owned(), false.into());
        }
        table
    }
}
