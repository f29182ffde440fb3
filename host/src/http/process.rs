//! What the system says of this process, under the names that Prometheus clients use.

use std::time::Duration;

/// CPU time and memory of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time of all threads since the start, in user and in kernel mode.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub resident: u64,
    /// The most that was ever resident, bytes.
    pub peak: u64,
}

/// Reads `/proc`; `None` on systems without it.
pub(super) fn usage() -> Option<Usage> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?, &std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The program's name is in parentheses and may hold anything; fields are counted from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    // Linux shows 100 ticks a second on every architecture.
    let cpu = Duration::from_millis((ticks()? + ticks()?).saturating_mul(10));
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024))
    };
    Some(Usage { cpu, resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "17 (mill (race) x) S 1 17 17 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 9 0 100 1 2";
        let status = "Name:\tmillrace\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let usage = Usage { cpu: Duration::from_secs(3), resident: 1 << 20, peak: 2 << 20 };
        assert_eq!(parse(stat, status), Some(usage));
        assert_eq!(parse("", status), None);
        assert_eq!(parse(stat, "VmRSS: many kB"), None);
    }
}
