//! What a path of the historical API asks for. Knows no data.

use crate::http::model::route::{Subject, metric, parts, subject};

/// So many pods are answered for at once.
const MAX_PODS: usize = 500;
/// The last part of Heapster's own paths, and what it means.
const FUNCTIONS: [(&str, Function); 8] = [
    ("average", Function::Average),
    ("max", Function::Max),
    ("min", Function::Min),
    ("median", Function::Median),
    ("count", Function::Count),
    ("50-perc", Function::Percentile(50)),
    ("95-perc", Function::Percentile(95)),
    ("99-perc", Function::Percentile(99)),
];

/// What is made of the values in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// The arithmetic mean.
    Average,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The middle one, or the mean of the two in the middle.
    Median,
    /// How many there are.
    Count,
    /// The one that so many percent are no larger than.
    Percentile(u8),
}

/// An entity, or all of some kind, as its tags name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// The tag `type`.
    pub kind: &'static str,
    /// Other tags and their values.
    pub tags: Vec<(&'static str, String)>,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// The values of a tag that these entities have.
    Names(&'static str, Entity),
    /// Names of the metrics that an entity has without labels.
    Metrics(Entity),
    /// Values of one metric.
    Series(Series),
}

/// Values of one metric, of one entity or of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    /// In the request's order.
    pub entities: Vec<Entity>,
    /// Whether the answer has items.
    pub is_list: bool,
    /// The metric's name.
    pub metric: String,
    /// What is made of them; `None`: they are wanted as they are. None stands twice.
    pub functions: Option<Vec<Function>>,
}

/// Why nothing is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such route.
    Nowhere,
    /// Text for an answer of 400.
    Bad(String),
}

/// Reads what follows `/api/v1/historical`.
///
/// # Errors
/// [`Refused`].
pub fn parse(path: &str) -> Result<Ask, Refused> {
    let parts = parts(path).ok_or(Refused::Nowhere)?;
    if parts.iter().any(|part| part.contains(char::is_control)) {
        return Err(Refused::Bad("names can't hold control characters".to_owned()));
    }
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    let all = |kind, tags: &[(&'static str, &str)]| entity(kind, tags);
    Ok(match parts.as_slice() {
        ["nodes"] => Ask::Names("nodename", all("node", &[])),
        ["nodes", node, "freecontainers"] => Ask::Names("container_name", all("sys_container", &[("nodename", node)])),
        ["namespaces"] => Ask::Names("namespace_name", all("ns", &[])),
        ["namespaces", ns, "pods"] => Ask::Names("pod_name", all("pod", &[("namespace_name", ns)])),
        ["namespaces", ns, "pods", pod, "containers"] => {
            Ask::Names("container_name", all("pod_container", &[("namespace_name", ns), ("pod_name", pod)]))
        }
        ["namespaces", ns, "pod-list", pods, rest @ ..] => {
            series(list(pods, |pod| entity("pod", &[("namespace_name", ns), ("pod_name", pod)]))?, true, rest)?
        }
        ["pod-id-list", ids, rest @ ..] => series(list(ids, |id| entity("pod", &[("pod_id", id)]))?, true, rest)?,
        ["pod-id", id, "containers", name, rest @ ..] => {
            of(entity("pod_container", &[("pod_id", id), ("container_name", name)]), rest)?
        }
        ["pod-id", id, rest @ ..] => of(entity("pod", &[("pod_id", id)]), rest)?,
        parts => {
            let (subject, rest) = subject(parts);
            of(of_subject(&subject), rest)?
        }
    })
}

fn of(entity: Entity, rest: &[&str]) -> Result<Ask, Refused> {
    match rest {
        ["metrics"] => Ok(Ask::Metrics(entity)),
        rest => series(vec![entity], false, rest),
    }
}

fn series(entities: Vec<Entity>, is_list: bool, rest: &[&str]) -> Result<Ask, Refused> {
    let (functions, name) = match rest {
        ["metrics", name @ ..] => (None, name),
        ["metrics-aggregated", names, name @ ..] => (Some(functions(names)?), name),
        _ => return Err(Refused::Nowhere),
    };
    if name.is_empty() {
        return Err(Refused::Nowhere);
    }
    Ok(Ask::Series(Series { entities, is_list, metric: metric(name), functions }))
}

fn functions(names: &str) -> Result<Vec<Function>, Refused> {
    let mut found = Vec::new();
    for name in names.split(',') {
        let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
        let Some((_, function)) = known else {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(known, _)| *known).collect();
            let name = serde_json::Value::from(name);
            return Err(Refused::Bad(format!("Unknown aggregation {name}; there are {}", known.join(", "))));
        };
        if !found.contains(function) {
            found.push(*function);
        }
    }
    Ok(found)
}

fn list(names: &str, entity: impl Fn(&str) -> Entity) -> Result<Vec<Entity>, Refused> {
    let count = names.split(',').count();
    if count > MAX_PODS {
        return Err(Refused::Bad(format!("{count} pods are too many for one request, {MAX_PODS} are the most")));
    }
    Ok(names.split(',').map(entity).collect())
}

fn entity(kind: &'static str, tags: &[(&'static str, &str)]) -> Entity {
    Entity { kind, tags: tags.iter().map(|(tag, value)| (*tag, (*value).to_owned())).collect() }
}

fn of_subject(subject: &Subject) -> Entity {
    match subject {
        Subject::Cluster => entity("cluster", &[]),
        Subject::Node(node) => entity("node", &[("nodename", node)]),
        Subject::FreeContainer(node, name) => entity("sys_container", &[("nodename", node), ("container_name", name)]),
        Subject::Namespace(ns) => entity("ns", &[("namespace_name", ns)]),
        Subject::Pod(ns, pod) => entity("pod", &[("namespace_name", ns), ("pod_name", pod)]),
        Subject::Container(ns, pod, name) => {
            entity("pod_container", &[("namespace_name", ns), ("pod_name", pod), ("container_name", name)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: &'static str, tags: &[(&'static str, &str)], metric: &str, functions: Option<Vec<Function>>) -> Ask {
        Ask::Series(Series { entities: vec![entity(kind, tags)], is_list: false, metric: metric.to_owned(), functions })
    }

    #[test]
    fn paths_are_read() {
        use Function::{Average, Percentile};
        let pod = [("namespace_name", "ns"), ("pod_name", "p")];
        for (path, want) in [
            ("/nodes/", Ask::Names("nodename", entity("node", &[]))),
            ("/namespaces/ns/pods", Ask::Names("pod_name", entity("pod", &[("namespace_name", "ns")]))),
            ("/metrics", Ask::Metrics(entity("cluster", &[]))),
            ("/metrics/cpu-usage", one("cluster", &[], "cpu/usage_rate", None)),
            ("/nodes/n/metrics/memory/usage", one("node", &[("nodename", "n")], "memory/usage", None)),
            (
                "/namespaces/ns/pods/p/metrics-aggregated/average,99-perc,average/cpu/usage",
                one("pod", &pod, "cpu/usage", Some(vec![Average, Percentile(99)])),
            ),
            ("/pod-id/u-1/metrics/uptime", one("pod", &[("pod_id", "u-1")], "uptime", None)),
            (
                "/pod-id/u-1/containers/c/metrics-aggregated/average/uptime",
                one("pod_container", &[("pod_id", "u-1"), ("container_name", "c")], "uptime", Some(vec![Average])),
            ),
            (
                "/pod-id-list/a,b/metrics/uptime",
                Ask::Series(Series {
                    entities: vec![entity("pod", &[("pod_id", "a")]), entity("pod", &[("pod_id", "b")])],
                    is_list: true,
                    metric: "uptime".to_owned(),
                    functions: None,
                }),
            ),
        ] {
            assert_eq!(parse(path), Ok(want), "{path}");
        }
    }

    #[test]
    fn what_is_no_route_or_too_much_is_refused() {
        for path in ["", "/nope", "/nodes/n", "/debug/allkeys", "/metrics-aggregated/max", "/nodes/%FF/metrics/a"] {
            assert_eq!(parse(path), Err(Refused::Nowhere), "{path}");
        }
        let many = format!("/namespaces/ns/pod-list/a{}/metrics/uptime", ",a".repeat(MAX_PODS));
        for (path, want) in [
            ("/metrics-aggregated/mode/uptime", "Unknown aggregation \"mode\""),
            ("/nodes/a%0Ab/metrics/uptime", "names can't hold control characters"),
            (&*many, "501 pods are too many"),
        ] {
            let Err(Refused::Bad(text)) = parse(path) else { panic!("{path}") };
            assert!(text.starts_with(want), "{text}");
        }
    }
}
