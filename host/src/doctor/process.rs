//! What the machine allows this process, held against the number of nodes.

use std::fs;

use crate::config::{ApiServer, Config};
use crate::finding::Finding;

/// Open files besides the connections to kubelets: clients, sinks, watches, the program's own.
const OTHER_FILES: u64 = 512;
/// Kubelets that hang are waited for beside the others.
const HANGING: usize = 1024;
/// The limit that DEPLOYING.md wants: MiB in any case, and KiB for each node with 30 pods.
const MEMORY: (u64, u64) = (250, 1280);
/// Where the kernel says how much memory this container may have, by version of the control groups.
const MEMORY_LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Looks at limits of this process: they are Millrace's where doctor runs in its place.
pub(super) fn examine(config: &Config, nodes: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    findings.extend(files(open_files(&limits), config.source.kubelet.concurrency, nodes));
    if matches!(config.source.api, ApiServer::InCluster { .. }) {
        let limit = MEMORY_LIMITS.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
        findings.extend(memory(limit, nodes));
    }
    findings
}

/// The soft limit in the words of `/proc/self/limits`; `None`: there is none, or it can't be read.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn files(allowed: Option<u64>, concurrency: usize, nodes: usize) -> Option<Finding> {
    let allowed = allowed?;
    let needed = nodes.min(concurrency.saturating_add(HANGING)) as u64 + OTHER_FILES;
    if allowed >= needed {
        let says = format!("{allowed} open files are allowed, and {needed} may be needed");
        return Some(Finding::ok("process.files", "", &says).fact("allowed", allowed).fact("needed", needed));
    }
    let says = format!("only {allowed} open files are allowed, and {needed} may be needed when kubelets hang");
    let remedy =
        "raise the limit where Millrace is started (ulimit -n, LimitNOFILE=), or lower the kubelet `concurrency`";
    Some(Finding::warning("process.files", "", &says, remedy).fact("allowed", allowed).fact("needed", needed))
}

fn memory(limit: Option<u64>, nodes: usize) -> Option<Finding> {
    let (base, each) = MEMORY;
    let needed = base + each * nodes as u64 / 1024;
    let limit = limit? >> 20;
    if limit >= needed {
        return None;
    }
    let says = format!("the container may have {limit} MiB of memory, and {nodes} nodes need about {needed} MiB");
    let remedy = "raise the memory limit (see DEPLOYING.md, or the overlay addon-resizer), or lower `store.keep` and \
                  `store.max-memory`";
    Some(Finding::warning("process.memory", "", &says, remedy).fact("limit_mib", limit).fact("needed_mib", needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Status;

    #[test]
    fn limits_are_held_against_the_nodes() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 1048576              files     \n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(open_files("Max open files            unlimited            unlimited  files"), None);
        for (allowed, nodes, want) in [(1024, 100, Status::Ok), (1024, 5000, Status::Warning), (4096, 5000, Status::Ok)]
        {
            assert_eq!(files(Some(allowed), 128, nodes).unwrap().status, want, "{allowed} {nodes}");
        }
        assert_eq!(memory(Some(512 << 20), 100), None);
        assert!(memory(Some(512 << 20), 5000).unwrap().says.contains("need about 6500 MiB"));
        assert_eq!(memory(None, 5000), None);
    }
}
