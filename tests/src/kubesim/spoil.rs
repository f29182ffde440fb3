//! Turns a right body into the wrong ones of the failure kit.
//!
//! Goes through a parsed tree: slow, and good enough for the few nodes that fail.

use serde_json::{Map, Value, json};

use super::failure::Failure;

/// What a wrapped-around swap counter reads (KEP-2400).
const UNDERFLOW: u64 = 18_446_743_709_127_774_000;
const DEPTH: usize = 100_000;
const PAGE_FROM_A_PROXY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// The body as the failing node sends it. `answers`: how often it has answered before. Failures that are not in the body
/// leave it as it is.
pub(super) fn spoiled(failure: Failure, body: Vec<u8>, answers: u64) -> Vec<u8> {
    match failure {
        Failure::Truncated => truncated(body),
        Failure::Empty => Vec::new(),
        Failure::Html => PAGE_FROM_A_PROXY.into(),
        Failure::Deep => deep("bomb", &body),
        Failure::DeepValue => deep("node", &body),
        _ => match (edit(failure, answers), serde_json::from_slice(&body)) {
            (Some(edit), Ok(mut tree)) => {
                edit(&mut tree);
                tree.to_string().into_bytes()
            }
            _ => body,
        },
    }
}

/// A change of the parsed body.
type Edit = Box<dyn Fn(&mut Value)>;

fn edit(failure: Failure, answers: u64) -> Option<Edit> {
    let each_field = |change: fn(&mut Map<String, Value>)| -> Option<Edit> {
        Some(Box::new(move |tree| objects(tree, &|fields| change(fields))))
    };
    match failure {
        Failure::PodsEmpty => Some(Box::new(|tree| tree["pods"] = json!([]))),
        Failure::PodsNull => Some(Box::new(|tree| tree["pods"] = Value::Null)),
        Failure::WrongName => Some(Box::new(|tree| tree["node"]["nodeName"] = json!("somebody-else"))),
        Failure::DupPods => Some(Box::new(duplicate_pods)),
        Failure::DupContainers => Some(Box::new(duplicate_containers)),
        Failure::ZeroNode => Some(Box::new(|tree| {
            for part in ["cpu", "memory"] {
                objects(&mut tree["node"][part], &|fields| change_numbers(fields, |_, _| Some(0)));
            }
        })),
        Failure::ContainersNull => each_field(|fields| {
            fields.entry("containers").and_modify(|list| *list = Value::Null);
        }),
        Failure::NoTimes => each_field(|fields| fields.retain(|key, _| key != "time" && key != "startTime")),
        Failure::NullStart => each_field(|fields| {
            fields.entry("startTime").and_modify(|time| *time = Value::Null);
        }),
        Failure::NoNano => each_field(|fields| {
            fields.remove("usageNanoCores");
        }),
        Failure::U64Max => each_field(|fields| {
            change_numbers(fields, |key, _| {
                let chosen = ["usageBytes", "workingSetBytes", "rssBytes", "rxBytes", "txBytes", "inodesFree"];
                chosen.contains(&key).then_some(u64::MAX)
            });
        }),
        Failure::SwapUnderflow => Some(Box::new(|tree| {
            let time = tree["node"]["cpu"]["time"].clone();
            let swap = json!({"time": time, "swapAvailableBytes": 0, "swapUsageBytes": UNDERFLOW});
            objects(tree, &|fields| {
                if fields.contains_key("memory") {
                    fields.insert("swap".to_owned(), swap.clone());
                }
            });
        })),
        Failure::Decrease => Some(Box::new(move |tree| {
            objects(tree, &|fields| {
                change_numbers(fields, |key, _| {
                    let counters =
                        ["usageCoreNanoSeconds", "rxBytes", "txBytes", "pageFaults", "majorPageFaults", "total"];
                    counters.contains(&key).then(|| 1_000_000_000_000 - answers)
                });
            });
        })),
        _ => None,
    }
}

/// Calls `change` for every object of the tree, outer ones first.
fn objects(value: &mut Value, change: &dyn Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            change(fields);
            fields.values_mut().for_each(|value| objects(value, change));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| objects(value, change)),
        _ => {}
    }
}

fn change_numbers(fields: &mut Map<String, Value>, new: impl Fn(&str, u64) -> Option<u64>) {
    for (key, value) in fields {
        if let Some(new) = value.as_u64().and_then(|old| new(key, old)) {
            *value = json!(new);
        }
    }
}

fn duplicate_pods(tree: &mut Value) {
    if let Some(pods) = tree["pods"].as_array_mut() {
        let mut copies = pods.clone();
        if let Some(mut namesake) = pods.first().cloned() {
            namesake["podRef"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
            copies.push(namesake);
        }
        pods.extend(copies);
    }
}

/// As in old kubelets' answers: the dead run of a container stays listed after the living one.
fn duplicate_containers(tree: &mut Value) {
    objects(tree, &|fields| {
        if let Some(containers) = fields.get_mut("containers").and_then(Value::as_array_mut) {
            let mut dead = containers.clone();
            for container in &mut dead {
                container["startTime"] = json!("2020-01-01T00:00:00Z");
                container["cpu"]["usageNanoCores"] = json!(0);
                objects(&mut container["cpu"], &|fields| change_numbers(fields, |_, old| Some(old / 2)));
            }
            containers.extend(dead);
        }
    });
}

/// Cuts behind the first letter of a string near the middle. Names in our bodies contain no quotes.
fn truncated(mut body: Vec<u8>) -> Vec<u8> {
    let quotes = body.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at);
    let opening = quotes.step_by(2).take_while(|at| *at <= body.len() / 2).last();
    body.truncate(opening.map_or(0, |at| at + 2));
    body
}

/// Lists in lists under `key`, then the body as it was.
fn deep(key: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("{{\"{key}\":").into_bytes();
    out.resize(out.len() + DEPTH, b'[');
    out.resize(out.len() + DEPTH, b']');
    out.push(b',');
    out.extend_from_slice(body.get(1..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_bodies_end_within_a_string() {
        let body = truncated(br#"{"a": "one", "b": "two", "c": "three", "d": 5}"#.to_vec());
        let error = serde_json::from_slice::<Value>(&body).unwrap_err();
        assert!(error.is_eof() && error.to_string().contains("string"), "{error}: {}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn other_failures_leave_the_body_alone() {
        assert_eq!(spoiled(Failure::Never, b"{}".to_vec(), 0), b"{}");
    }
}
