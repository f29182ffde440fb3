//! Kubelet by kubelet: asked as Millrace asks them, and what keeps one from answering explained.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::certificate::{self, Shown};
use super::cluster::{millis, now_seconds};
use super::summary;
use super::{Options, Progress};
use crate::batch::{Cycle, TypeRegistry};
use crate::causes::TlsFault;
use crate::config::{Config, KubeletCa};
use crate::finding::{Finding, Status};
use crate::kube::{ClusterCredentials, Inventory, NodeFacts};
use crate::scrape::{NodeAnswer, Place, ScrapeFailure, Scraper, names};

/// How long a certificate is waited for, how many are looked at, and at one time.
const LOOK: Duration = Duration::from_secs(3);
const MOST_LOOKS: usize = 64;
const LOOKS_AT_ONCE: usize = 16;
/// A node that hangs is waited for beside the others; this much more for each bounds it all.
const EACH: Duration = Duration::from_millis(20);
/// Answers that wait to be looked at.
const AT_A_TIME: usize = 16;

/// Asks the kubelets of the chosen nodes.
pub(super) async fn examine(
    inventory: &Inventory,
    credentials: &ClusterCredentials,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Vec<Finding> {
    let all = inventory.nodes();
    if all.is_empty() {
        return vec![Finding::note("kubelets.skipped", "", "not checked: no node is known")];
    }
    let scraper = match Scraper::new(config.source.kubelet.clone(), credentials) {
        Ok(scraper) => scraper,
        Err(error) => {
            return vec![Finding::of_sentence("kubelets.credentials", "", Status::Failure, &error.to_string())];
        }
    };
    let mut findings = manner(config);
    let (chosen, left_out) = choose(&all, options);
    findings.extend(left_out);
    let asked = chosen.len();
    let cycle = cycle(config, asked);
    let types = TypeRegistry::default();
    // Nobody has named a metric yet: there is nothing to be in conflict with.
    let _ = names::reserve(&types);
    let (mut each, mut times, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    ask(&scraper, cycle, config, chosen, progress, |NodeAnswer { node, result, took }| match result {
        Ok(body) => {
            let address = scraper.place(&node).map(|place| place.address).unwrap_or_default();
            let look = summary::Look {
                node: &node,
                pods: &inventory.pods_of(&node.name),
                address: &address,
                took,
                wait: scraper.longest_wait(&cycle),
                most_bytes: config.source.kubelet.max_body,
                now: now_seconds(),
            };
            each.extend(look.examine(&body, &cycle, &types));
            times.push((took, node.name.clone()));
        }
        Err(failure) => failed.push(Failed { place: scraper.place(&node).ok(), node, failure }),
    })
    .await;
    findings.push(overview(times, asked));
    let shown = certificates(&failed).await;
    each.extend(failed.iter().zip(&shown).map(|(failed, shown)| explained(failed, shown.as_ref())));
    // What is alike stands together, the worst first.
    each.sort_by(|a, b| (b.status, a.check, &a.subject).cmp(&(a.status, b.check, &b.subject)));
    findings.extend(each);
    findings
}

/// What holds for all of them.
fn manner(config: &Config) -> Vec<Finding> {
    let kubelet = &config.source.kubelet;
    if !kubelet.https {
        let says = "kubelets are asked over plain HTTP, without credentials: anybody on the way reads and forges what \
                    they say";
        let remedy = "use the secure port (10250) with `https = true`; the read-only port is off by default and gone \
                      from hardened nodes";
        return vec![Finding::warning("kubelets.plain", "", says, remedy)];
    }
    if kubelet.certificate_authority == KubeletCa::InsecureSkip {
        let says = "the kubelets' certificates are not checked: whoever takes a node's address gets our token";
        let remedy = "let the kubelets have certificates of the cluster (serverTLSBootstrap: true, and approve their \
                      requests), or name their authority as `certificate-authority`";
        return vec![Finding::warning("kubelets.insecure", "", says, remedy)];
    }
    Vec::new()
}

/// The nodes that are asked, and a word on those that are not.
fn choose(all: &[Arc<NodeFacts>], options: &Options) -> (Vec<Arc<NodeFacts>>, Vec<Finding>) {
    if !options.nodes.is_empty() {
        let (mut chosen, mut unknown) = (Vec::new(), Vec::new());
        for name in &options.nodes {
            match all.iter().find(|node| *node.name == **name) {
                Some(node) if chosen.iter().any(|other: &Arc<NodeFacts>| other.name == node.name) => {}
                Some(node) => chosen.push(Arc::clone(node)),
                None => {
                    let says = "there is no node of this name";
                    unknown.push(Finding::failure("kubelets.unknown", name, says, "kubectl get nodes"));
                }
            }
        }
        return (chosen, unknown);
    }
    let (count, most) = (all.len(), options.most_nodes.max(1));
    if count <= most {
        return (all.to_vec(), Vec::new());
    }
    // From everywhere: names of one pool stand together.
    let chosen = (0..most).filter_map(|place| all.get(place * count / most).cloned()).collect();
    let says = format!("{most} of {count} kubelets are asked; `--max-nodes {count}` asks all, `--node NAME` one");
    (chosen, vec![Finding::note("kubelets.chosen", "", &says).fact("asked", most).fact("nodes", count)])
}

fn cycle(config: &Config, nodes: usize) -> Cycle {
    let window = i64::try_from(config.resolution.as_nanos()).unwrap_or(i64::MAX);
    let time = now_seconds().saturating_mul(1_000_000_000);
    Cycle { number: 1, time, window, nodes_asked: u32::try_from(nodes).unwrap_or(u32::MAX), nodes_answered: 0 }
}

/// A kubelet that gave nothing.
struct Failed {
    node: Arc<NodeFacts>,
    failure: ScrapeFailure,
    place: Option<Place>,
}

/// Asks, and hands over each answer as it comes: whoever keeps one keeps others from being asked.
async fn ask(
    scraper: &Scraper,
    cycle: Cycle,
    config: &Config,
    nodes: Vec<Arc<NodeFacts>>,
    progress: &Progress,
    mut take: impl FnMut(NodeAnswer),
) {
    let count = nodes.len();
    let spread = Scraper::spread(count, config.resolution);
    let most = u32::try_from(count).unwrap_or(u32::MAX);
    let deadline = Instant::now() + spread + scraper.longest_wait(&cycle) * 2 + EACH * most;
    let (out, mut incoming) = mpsc::channel(AT_A_TIME);
    let scraper = scraper.clone();
    let mut asking = JoinSet::new();
    asking.spawn(async move { scraper.scrape_all(cycle, nodes, spread, deadline, out).await });
    progress.at(format!("asking {count} kubelets"));
    let mut done = 0;
    while let Some(answer) = incoming.recv().await {
        take(answer);
        done += 1;
        progress.at(format!("asking kubelets: {done} of {count} done"));
    }
}

/// The certificates of those whose handshake failed, of some of them.
async fn certificates(failed: &[Failed]) -> Vec<Option<Shown>> {
    let mut left = MOST_LOOKS;
    let looks: Vec<_> = failed
        .iter()
        .map(|Failed { failure, place, .. }| {
            let is_wanted = matches!(failure, ScrapeFailure::Tls { .. }) && left > 0;
            left -= usize::from(is_wanted);
            async move {
                let Place { address, name } = place.as_ref().filter(|_| is_wanted)?;
                certificate::shown(address, name.as_deref()?, LOOK).await
            }
        })
        .collect();
    stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await
}

/// One line on those that answered.
fn overview(mut times: Vec<(Duration, Arc<str>)>, asked: usize) -> Finding {
    times.sort();
    let check = "kubelets.overview";
    let (Some((median, _)), Some((longest, slowest))) = (times.get(times.len() / 2), times.last()) else {
        return Finding::note(check, "", &format!("none of {asked} kubelets gave a Summary"));
    };
    let says = format!(
        "{} of {asked} kubelets answer; half of them within {}, the slowest, {slowest}, in {}",
        times.len(),
        millis(*median),
        millis(*longest)
    );
    let (answered, longest) = (times.len(), longest.as_secs_f64() * 1e3);
    let finding = if answered == asked { Finding::ok } else { Finding::note };
    finding(check, "", &says).fact("asked", asked).fact("answered", answered).fact("slowest_ms", longest)
}

/// Why a kubelet gave nothing, and what helps.
fn explained(Failed { node, failure, place }: &Failed, shown: Option<&Shown>) -> Finding {
    let place = place.as_ref();
    let address = place.map_or("", |place| place.address.as_str());
    let fails = |check, says: &str, remedy: &str| Finding::failure(check, &node.name, says, remedy);
    let finding = match failure {
        ScrapeFailure::NotReady => {
            let says = "the node is not Ready, and Millrace does not ask it";
            let remedy = "kubectl describe node; Millrace asks again as soon as it is Ready";
            Finding::warning("kubelets.not-ready", &node.name, says, remedy)
        }
        ScrapeFailure::Tls { reason, fault, .. } => tls(node, reason, *fault, place, shown),
        ScrapeFailure::Unauthorized(excerpt) => fails(
            "kubelets.unauthorized",
            &format!("{address}: 401, it does not accept our credentials{excerpt}"),
            "let the kubelet ask the API server about tokens (authentication.webhook.enabled: true, or \
             --authentication-token-webhook), and see that the token is of this cluster",
        ),
        ScrapeFailure::Forbidden(excerpt) => {
            // It takes those without a known token for this user.
            let remedy = if excerpt.to_string().contains("system:anonymous") {
                "it took us for nobody: let it ask the API server about tokens (authentication.webhook.enabled: true, \
                 or --authentication-token-webhook)"
            } else {
                "grant `get` on `nodes/stats` by a ClusterRole (nodes/proxy is neither needed nor safe)"
            };
            fails("kubelets.forbidden", &format!("{address}: 403{excerpt}"), remedy)
        }
        ScrapeFailure::Timeout(after) => fails(
            "kubelets.timeout",
            &format!("{address}: no complete answer within {}", millis(*after)),
            "does a firewall, a security group or a NetworkPolicy swallow the packets to this port, or do the pods' \
             addresses overlap the nodes'? Else look at the node's load, or raise the kubelet `timeout`",
        ),
        ScrapeFailure::Refused(_) => fails(
            "kubelets.refused",
            &format!("{address}: nothing listens there"),
            "is the kubelet running, and is this its port? 10255 is off by default; `port = \"node-status\"` takes \
             the one of the node's status",
        ),
        ScrapeFailure::Connection { reason, .. } => fails(
            "kubelets.connection",
            &format!("{address}: no connection: {reason}"),
            "look at the way to the node: routes, firewalls, NetworkPolicies; `addresses` can name another address",
        ),
        ScrapeFailure::NoAddress(_) => {
            Finding::of_sentence("kubelets.address", &node.name, Status::Failure, &failure.told())
        }
        ScrapeFailure::NotTls(_) | ScrapeFailure::NotHttp(_) | ScrapeFailure::NotFound(_) => {
            Finding::of_sentence("kubelets.protocol", &node.name, Status::Failure, &failure.told())
                .remedy("check the kubelet `port` and `https`: 10250 speaks TLS, 10255 plain HTTP")
        }
        ScrapeFailure::Server { .. } => fails(
            "kubelets.server",
            &format!("{address}: {}", failure.told()),
            "look at the kubelet's log and at its container runtime: `crictl stats` on the node",
        ),
        ScrapeFailure::NoTurn | ScrapeFailure::InFlight => {
            Finding::note("kubelets.skipped", &node.name, "not asked: too many others are slow")
        }
        ScrapeFailure::NameMismatch { .. }
        | ScrapeFailure::Body(_)
        | ScrapeFailure::OverBound { .. }
        | ScrapeFailure::TooLarge(_)
        | ScrapeFailure::Status { .. } => unreadable(node, failure),
    };
    finding.fact("address", address).fact("reason", failure.reason())
}

/// An answer that is no Summary of this node.
pub(super) fn unreadable(node: &NodeFacts, failure: &ScrapeFailure) -> Finding {
    let remedy = match failure {
        ScrapeFailure::NameMismatch { .. } => {
            "the address has a new owner, or the node registers by another name: kubectl get nodes -o wide"
        }
        ScrapeFailure::TooLarge(_) => "raise the kubelet `max-body` if it is no mistake",
        _ => "look at what answers there: kubectl get --raw /api/v1/nodes/NODE/proxy/stats/summary",
    };
    let finding = Finding::of_sentence("kubelets.summary", &node.name, Status::Failure, &failure.told());
    finding.remedy(remedy).fact("reason", failure.reason())
}

/// What is wrong between its certificate and what we want of it.
fn tls(node: &NodeFacts, reason: &str, fault: TlsFault, place: Option<&Place>, shown: Option<&Shown>) -> Finding {
    let (address, name) =
        place.map_or(("", ""), |place| (place.address.as_str(), place.name.as_deref().unwrap_or_default()));
    let told = shown.map_or_else(|| reason.to_owned(), |shown| shown.told(now_seconds()));
    let bears = |name: &str| shown.is_some_and(|shown| shown.names.iter().any(|own| own.eq_ignore_ascii_case(name)));
    let (check, what, remedy) = match fault {
        TlsFault::Name => (
            "kubelets.tls-name",
            format!("its certificate is not for `{name}`"),
            if bears(&node.name) {
                "set the kubelet `server-name = \"node-name\"`"
            } else {
                "let the kubelets have certificates with their addresses (serverTLSBootstrap: true, and approve their \
                 requests: kubectl get csr), or set `server-name` to a name that all of them bear"
            },
        ),
        TlsFault::Authority => (
            "kubelets.tls-authority",
            "its certificate is of an authority that we don't believe".to_owned(),
            "a kubelet signs its own certificate by default: set serverTLSBootstrap: true and approve the requests \
             (kubectl get csr, signer kubernetes.io/kubelet-serving), or name what signed it as the kubelet \
             `certificate-authority`; `insecure-tls = true` gives up the check",
        ),
        TlsFault::Expired => (
            "kubelets.tls-expired",
            "its certificate is valid no longer".to_owned(),
            "let the kubelet renew it (rotateCertificates, and approve its request: kubectl get csr), or set the \
             clocks",
        ),
        TlsFault::NotYetValid => (
            "kubelets.tls-expired",
            "its certificate is not valid yet".to_owned(),
            "one of the clocks is wrong: this one, the node's, or that of who signed it",
        ),
        TlsFault::ClientCertificate => (
            "kubelets.tls-client",
            format!("it does not want our certificate, or wants one: {reason}"),
            "set `client-certificate` and `client-key` of the kubelet to what its --client-ca-file knows",
        ),
        TlsFault::Other => {
            ("kubelets.tls", format!("TLS fails: {reason}"), "look at the kubelet's --tls- flags and log")
        }
    };
    Finding::failure(check, &node.name, &format!("{address}: {what}; {told}"), remedy)
}

#[cfg(test)]
#[path = "kubelets_tests.rs"]
mod tests;
