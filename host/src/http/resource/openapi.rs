//! OpenAPI documents of `metrics.k8s.io/v1beta1`, for `kubectl explain` and the API server, which joins those of
//! all the servers behind it.

use serde_json::{Map, Value, json};

use super::discovery;

const GROUP: &str = "/apis/metrics.k8s.io";
const MODEL: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1.";

/// `/openapi/v2`.
pub fn version2() -> Value {
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths(&|schema| json!({"description": "OK", "schema": schema}), "#/definitions/"),
        "definitions": schemas("#/definitions/"),
    })
}

/// `/openapi/v3`: where the other documents are.
pub fn version3() -> Value {
    let path = |path: &str| json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
    let (group, version) = ("apis/metrics.k8s.io", "apis/metrics.k8s.io/v1beta1");
    json!({"paths": {group: path(group), version: path(version)}})
}

/// `/openapi/v3/apis/metrics.k8s.io/v1beta1`, and the same without the version, which has only the group's own path.
pub fn version3_of(whole: bool) -> Value {
    let answer = |schema: Value| json!({"description": "OK", "content": {"application/json": {"schema": schema}}});
    let (mut paths, at) = (paths(&answer, "#/components/schemas/"), format!("{GROUP}/"));
    paths.retain(|path, _| (*path == at) != whole);
    let schemas = if whole { schemas("#/components/schemas/") } else { Map::new() };
    json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}})
}

fn info() -> Value {
    json!({"title": "Millrace", "version": discovery::version()["gitVersion"]})
}

/// Every path with what it answers.
fn paths(answer: &dyn Fn(Value) -> Value, at: &str) -> Map<String, Value> {
    let kind = |kind: &str| json!({"group": "metrics.k8s.io", "version": "v1beta1", "kind": kind});
    let of = |name: &str| json!({"$ref": format!("{at}{MODEL}{name}")});
    let operation = |id: &str, about: &str, action: &str, kind: Value, answered: Value| {
        json!({"get": {
            "description": about,
            "operationId": id,
            "tags": ["metrics_v1beta1"],
            "responses": {"200": answer(answered)},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
        }})
    };
    let version = format!("{GROUP}/v1beta1");
    let rows = [
        ("nodes", "listMetricsV1beta1NodeMetrics", "list", "NodeMetrics", "NodeMetricsList"),
        ("nodes/{name}", "readMetricsV1beta1NodeMetrics", "get", "NodeMetrics", "NodeMetrics"),
        ("pods", "listMetricsV1beta1PodMetricsForAllNamespaces", "list", "PodMetrics", "PodMetricsList"),
        (
            "namespaces/{namespace}/pods",
            "listMetricsV1beta1NamespacedPodMetrics",
            "list",
            "PodMetrics",
            "PodMetricsList",
        ),
        (
            "namespaces/{namespace}/pods/{name}",
            "readMetricsV1beta1NamespacedPodMetrics",
            "get",
            "PodMetrics",
            "PodMetrics",
        ),
    ];
    let mut all = Map::new();
    for (path, id, action, object, answered) in rows {
        let about = if action == "list" {
            format!("list objects of kind {object}")
        } else {
            format!("read the specified {object}")
        };
        let mut operation = operation(id, &about, action, kind(object), of(answered));
        operation["parameters"] = parameters(path, at.contains("definitions"));
        all.insert(format!("{version}/{path}"), operation);
    }
    // Nothing is said of what discovery documents look like.
    for (path, id) in
        [(format!("{GROUP}/"), "getMetricsAPIGroup"), (format!("{version}/"), "getMetricsV1beta1APIResources")]
    {
        let about = "get information of a group or its resources";
        let mut operation = operation(id, about, "get", Value::Null, json!({"type": "object"}));
        if let Some(get) = operation["get"].as_object_mut() {
            get.retain(|name, _| !name.starts_with("x-kubernetes"));
        }
        all.insert(path, operation);
    }
    all
}

/// What stands in braces in the path, and selectors of lists.
fn parameters(path: &str, second: bool) -> Value {
    let typed = |mut parameter: Value| {
        if second {
            parameter["type"] = json!("string");
        } else {
            parameter["schema"] = json!({"type": "string"});
        }
        parameter
    };
    let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<_> =
        in_path.map(|name| typed(json!({"name": name, "in": "path", "required": true, "description": name}))).collect();
    if !path.ends_with("{name}") {
        for name in ["labelSelector", "fieldSelector"] {
            let about = "restricts the list to what it selects";
            all.push(typed(json!({"name": name, "in": "query", "description": about})));
        }
    }
    Value::Array(all)
}

fn schemas(at: &str) -> Map<String, Value> {
    let string = |about: &str| json!({"type": "string", "description": about});
    let time = |about: &str| json!({"type": "string", "format": "date-time", "description": about});
    let list_of = |name: &str| json!({"type": "array", "items": {"$ref": format!("{at}{MODEL}{name}")}});
    let usage = json!({"type": "object", "additionalProperties": {"type": "string"},
        "description": "usage of cpu and memory, as quantities"});
    let typed = |mut properties: Value, metadata: Value| {
        properties["kind"] = string("the kind of this object");
        properties["apiVersion"] = string("the version of this object's schema");
        properties["metadata"] = metadata;
        properties
    };
    let object = json!({"type": "object", "description": "standard object metadata", "properties": {
        "name": string("unique within a namespace"),
        "namespace": string("the namespace; none for nodes"),
        "creationTimestamp": time("when the answer was made"),
        "labels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "the labels of the node or pod"},
    }});
    let list = json!({"type": "object", "description": "standard list metadata"});
    let metrics = |about: &str, name: &'static str, value: Value| {
        let properties = json!({
            "timestamp": time("the end of the window in which usage was measured"),
            "window": string("the length of that window"),
            name: value,
        });
        (about.to_owned(), typed(properties, object.clone()), vec!["timestamp", "window", name])
    };
    let container = json!({"name": string("the container's name"), "usage": usage});
    let rows = [
        ("NodeMetrics", metrics("resource usage of a node", "usage", usage)),
        ("PodMetrics", metrics("resource usage of a pod", "containers", list_of("ContainerMetrics"))),
        (
            "NodeMetricsList",
            (
                "a list of NodeMetrics".to_owned(),
                typed(json!({"items": list_of("NodeMetrics")}), list.clone()),
                vec!["items"],
            ),
        ),
        (
            "PodMetricsList",
            ("a list of PodMetrics".to_owned(), typed(json!({"items": list_of("PodMetrics")}), list), vec!["items"]),
        ),
        ("ContainerMetrics", ("resource usage of a container".to_owned(), container, vec!["name", "usage"])),
    ];
    let schema = |(name, (about, properties, required)): (&str, (String, Value, Vec<&str>))| {
        let mut schema =
            json!({"description": about, "type": "object", "required": required, "properties": properties});
        if name != "ContainerMetrics" {
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": "metrics.k8s.io", "version": "v1beta1", "kind": name}]);
        }
        (format!("{MODEL}{name}"), schema)
    };
    rows.into_iter().map(schema).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of a document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_an_id_of_its_own() {
        for document in [version2(), version3_of(true), version3_of(false)] {
            let mut found = Vec::new();
            references(&document, &mut found);
            for reference in found {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            let paths = document["paths"].as_object().unwrap();
            let mut ids: Vec<_> = paths.values().map(|path| path["get"]["operationId"].as_str().unwrap()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), paths.len());
            for (path, item) in paths {
                let named = item["parameters"]
                    .as_array()
                    .map_or(0, |all| all.iter().filter(|parameter| parameter["in"] == "path").count());
                assert_eq!(named, path.matches('{').count(), "{path}");
            }
        }
        assert_eq!(version3_of(true)["paths"].as_object().unwrap().len(), 6);
        assert_eq!(version3_of(false)["paths"].as_object().unwrap().len(), 1);
    }
}
