//! The failure kit: every way in which a node is known to go wrong, by name, and which nodes a rule of it names.
//!
//! This file only names and parses. What a failure does is in `kubelet` (answers), `spoil` (bodies) and `population`
//! (what the API says of the node).

use std::{fmt, ops::Range, str::FromStr, time::Duration};

/// One way to go wrong. Its text form is what `--fail` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Answers rightly after so long.
    Slow(Duration),
    /// Takes the request and never answers.
    Never,
    /// Starts an answer and never ends it, a kilobyte every 100 ms.
    NeverBody,
    /// 401, as with an expired token.
    Unauthorized,
    /// 403 with the kubelet's text.
    Forbidden,
    /// 404.
    NotFound,
    /// 500 with the text of a runtime that does not list its pods.
    Internal,
    /// Connections are refused.
    Refused,
    /// Connections are reset in the middle of the answer.
    Reset,
    /// Connections are taken, and then nothing: not even a TLS handshake.
    Blackhole,
    /// A whole HTTP answer whose JSON ends within a string.
    Truncated,
    /// 200 with an empty body.
    Empty,
    /// 200 with a proxy's HTML page.
    Html,
    /// A valid document of that many bytes, sent without its length.
    Huge(u64),
    /// `"pods": []` although pods run.
    PodsEmpty,
    /// `"pods": null`.
    PodsNull,
    /// `"containers": null` in every pod.
    ContainersNull,
    /// Every container twice: first the present one, then a dead one with an older start and smaller counters.
    DupContainers,
    /// Every pod twice, and the first once more under another uid.
    DupPods,
    /// The body is that of another node.
    WrongName,
    /// No times at all.
    NoTimes,
    /// Every `startTime` is null.
    NullStart,
    /// The node's CPU and memory are all zero.
    ZeroNode,
    /// `usageNanoCores` is absent everywhere.
    NoNano,
    /// Memory and network counters are 2^64-1.
    U64Max,
    /// Swap usage wrapped around below zero.
    SwapUnderflow,
    /// Every counter is smaller by one at every answer.
    Decrease,
    /// A hundred thousand nested lists under an unknown key.
    Deep,
    /// The same as the node's figures.
    DeepValue,
    /// The kubelet's clock is that many seconds ahead (negative: behind).
    Skew(i64),
    /// The kubelet's clock began in 1970.
    SkewEpoch,
    /// The API says the node is not ready. The kubelet still answers.
    NotReady,
    /// The API knows no address of the node.
    NoAddress,
}

/// Names and meanings, for `--help`; in `--fail` an argument follows a colon.
pub const KIT: &[(&str, &str)] = &[
    ("slow:SECS", "answers rightly, but after SECS seconds"),
    ("never", "takes the request, never answers"),
    ("never-body", "never ends its answer, 1 KB every 100 ms"),
    ("401, 403, 404, 500", "answers with that status and the kubelet's text"),
    ("refused", "refuses connections"),
    ("reset", "resets connections in the middle of the answer"),
    ("blackhole", "takes connections, says nothing"),
    ("truncated", "ends its JSON within a string"),
    ("empty", "200 with an empty body"),
    ("html", "200 with a proxy's HTML page"),
    ("huge:BYTES", "a valid document of BYTES bytes without Content-Length"),
    ("pods-empty, pods-null, containers-null", "lists that are empty or null"),
    ("dup-containers, dup-pods", "lists things twice"),
    ("wrong-name", "answers in another node's name"),
    ("no-times, null-start", "leaves out times, sets startTime to null"),
    ("zero-node", "reports zeros for the node"),
    ("no-nano", "leaves out usageNanoCores"),
    ("u64-max, swap-underflow", "figures past every signed integer"),
    ("decrease", "counters fall by one at every answer"),
    ("deep, deep-value", "nests 100,000 lists, in a field that nobody knows or where a value belongs"),
    ("skew:SECS, skew:epoch", "a clock that is off, or began in 1970"),
    ("not-ready, no-address", "what the API says of the node"),
];

const PLAIN: [(&str, Failure); 28] = [
    ("never", Failure::Never),
    ("never-body", Failure::NeverBody),
    ("401", Failure::Unauthorized),
    ("403", Failure::Forbidden),
    ("404", Failure::NotFound),
    ("500", Failure::Internal),
    ("refused", Failure::Refused),
    ("reset", Failure::Reset),
    ("blackhole", Failure::Blackhole),
    ("truncated", Failure::Truncated),
    ("empty", Failure::Empty),
    ("html", Failure::Html),
    ("pods-empty", Failure::PodsEmpty),
    ("pods-null", Failure::PodsNull),
    ("containers-null", Failure::ContainersNull),
    ("dup-containers", Failure::DupContainers),
    ("dup-pods", Failure::DupPods),
    ("wrong-name", Failure::WrongName),
    ("no-times", Failure::NoTimes),
    ("null-start", Failure::NullStart),
    ("zero-node", Failure::ZeroNode),
    ("no-nano", Failure::NoNano),
    ("u64-max", Failure::U64Max),
    ("swap-underflow", Failure::SwapUnderflow),
    ("decrease", Failure::Decrease),
    ("deep", Failure::Deep),
    ("deep-value", Failure::DeepValue),
    ("not-ready", Failure::NotReady),
];

impl Failure {
    /// Whether it happens below HTTP, so that connections must be closed when it has passed.
    pub(super) fn is_below_http(self) -> bool {
        matches!(self, Self::Refused | Self::Reset | Self::Blackhole)
    }

    /// How far the clock is ahead, seconds, in a cluster that came up at `began`; `None`: it is right.
    pub(super) fn skew(self, began: i64) -> Option<i64> {
        match self {
            Self::Skew(secs) => Some(secs),
            Self::SkewEpoch => Some(-began),
            _ => None,
        }
    }

    /// Whether it is in what the API says of the node.
    pub(super) fn is_in_the_api(self) -> bool {
        matches!(self, Self::NotReady | Self::NoAddress)
    }
}

impl FromStr for Failure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, failure)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(*failure);
        }
        let bad = |what: &str| format!("`{text}` needs {what} after the colon");
        match text.split_once(':').unwrap_or((text, "")) {
            ("no-address", "") => Ok(Self::NoAddress),
            ("slow", secs) => secs
                .parse()
                .ok()
                .and_then(|secs| Duration::try_from_secs_f64(secs).ok())
                .map(Self::Slow)
                .ok_or_else(|| bad("seconds")),
            ("huge", bytes) => bytes.parse().map(Self::Huge).map_err(|_| bad("a number of bytes")),
            ("skew", "epoch") => Ok(Self::SkewEpoch),
            ("skew", secs) => match secs.parse() {
                Ok(secs) if (-2_000_000_000..=2_000_000_000).contains(&secs) => Ok(Self::Skew(secs)),
                _ => Err(bad("seconds within 2,000,000,000 or `epoch`")),
            },
            _ => Err(format!("unknown failure `{text}`; kubesim --help lists them")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(time) => write!(f, "slow:{}", time.as_secs_f64()),
            Self::Huge(bytes) => write!(f, "huge:{bytes}"),
            Self::Skew(secs) => write!(f, "skew:{secs}"),
            Self::SkewEpoch => f.write_str("skew:epoch"),
            Self::NoAddress => f.write_str("no-address"),
            plain => f.write_str(PLAIN.iter().find(|(_, failure)| failure == plain).map_or("", |(name, _)| name)),
        }
    }
}

/// Which nodes a failure befalls.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeSet {
    /// By index.
    Range(Range<usize>),
    /// That share of all nodes, spread evenly.
    Percent(f64),
}

impl NodeSet {
    /// The indices, of a cluster with so many nodes.
    pub fn nodes(&self, count: usize) -> Vec<usize> {
        match self {
            Self::Range(range) => range.clone().filter(|node| *node < count).collect(),
            Self::Percent(percent) => {
                let share = percent / 100.0;
                let step = |node: usize| (node as f64 * share) as usize;
                (0..count).filter(|node| step(node + 1) > step(*node)).collect()
            }
        }
    }
}

impl FromStr for NodeSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` names no nodes; use an index, a range as `0-9`, or a share as `10%`");
        if let Some(percent) = text.strip_suffix('%') {
            return match percent.parse() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            };
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last < usize::MAX => Ok(Self::Range(first..last + 1)),
            _ => Err(wrong()),
        }
    }
}

/// `NODES=KIND[:ARG]`, as `--fail` takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct FailRule {
    /// Whom.
    pub nodes: NodeSet,
    /// How.
    pub failure: Failure,
}

impl FromStr for FailRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (nodes, failure) =
            text.split_once('=').ok_or_else(|| format!("`{text}` is not NODES=KIND, for instance `3=500`"))?;
        Ok(Self { nodes: nodes.parse()?, failure: failure.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_reads_back_as_it_is_written() {
        let with_arguments = ["slow:2.5", "huge:1000", "skew:-300", "skew:epoch", "no-address"];
        for text in PLAIN.iter().map(|(name, _)| *name).chain(with_arguments) {
            assert_eq!(text.parse::<Failure>().unwrap().to_string(), text);
        }
        for text in ["", "slow", "slow:-1", "huge:x", "skew:", "nope", "never:1"] {
            assert!(text.parse::<Failure>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_kit_in_the_help_is_the_kit() {
        let listed: Vec<_> = KIT.iter().flat_map(|(names, _)| names.split(", ")).collect();
        for (name, _) in PLAIN {
            assert!(listed.contains(&name), "{name} is not in the help");
        }
        assert_eq!(listed.len(), PLAIN.len() + 5);
    }

    #[test]
    fn node_sets_name_nodes() {
        for (text, count, want) in [
            ("3", 10, vec![3]),
            ("8-12", 10, vec![8, 9]),
            ("20%", 10, vec![4, 9]),
            ("0%", 10, vec![]),
            ("100%", 3, vec![0, 1, 2]),
        ] {
            assert_eq!(text.parse::<NodeSet>().unwrap().nodes(count), want, "{text}");
        }
        for text in ["", "x", "5-3", "-1", "101%"] {
            assert!(text.parse::<NodeSet>().is_err(), "{text}");
        }
    }
}
