//! Discovery documents: what there is, for clients that ask before they use it.

use serde_json::{Value, json};

use super::route::Api;

/// `/api`: there are no objects without a group here.
pub fn legacy() -> Value {
    json!({"kind": "APIVersions", "versions": [], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub fn groups() -> Value {
    let groups: Vec<_> = ["metrics.k8s.io", "metrics"].into_iter().map(fields).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub fn group(name: &str) -> Value {
    let mut group = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(group), Value::Object(fields)) = (group.as_object_mut(), fields(name)) {
        group.extend(fields);
    }
    group
}

/// The group's own part; the first version is preferred.
fn fields(name: &str) -> Value {
    let version = |api: &Api| json!({"groupVersion": format!("{name}/{}", api.version()), "version": api.version()});
    let versions: Vec<_> = versions(name).iter().map(version).collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn versions(group: &str) -> Vec<Api> {
    Api::ALL.into_iter().filter(|api| api.group() == group).collect()
}

/// `/apis/GROUP/VERSION`.
pub fn resources(api: Api) -> Value {
    let resources: Vec<_> = KINDS
        .iter()
        .map(|(name, kind, namespaced)| {
            json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]})
        })
        .collect();
    let version = format!("{}/{}", api.group(), api.version());
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}

/// Name, kind, whether namespaces have them.
const KINDS: [(&str, &str, bool); 2] = [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// All of `/api` or `/apis` at once; `version` is that of `apidiscovery.k8s.io`.
pub fn aggregated(version: &str, legacy: bool) -> Value {
    let groups: &[&str] = if legacy { &[] } else { &["metrics.k8s.io", "metrics"] };
    let items: Vec<_> = groups
        .iter()
        .map(|group| {
            let versions: Vec<_> = versions(group).into_iter().map(aggregated_version).collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    let version = format!("apidiscovery.k8s.io/{version}");
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": version, "metadata": {}, "items": items})
}

fn aggregated_version(api: Api) -> Value {
    let resources: Vec<_> = KINDS
        .iter()
        .map(|(name, kind, namespaced)| {
            json!({
                "resource": name,
                "responseKind": {"group": api.group(), "version": api.version(), "kind": kind},
                "scope": if *namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": "",
                "verbs": ["get", "list"],
            })
        })
        .collect();
    json!({"version": api.version(), "resources": resources, "freshness": "Current"})
}

/// The content type of [`aggregated`].
pub fn aggregated_kind(version: &str) -> &'static str {
    match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    }
}

/// `/version`: which program this is, in the fields that clients read.
pub fn version() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = version.split('.');
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": parts.next(),
        "minor": parts.next(),
        "gitVersion": format!("v{version}"),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{architecture}", std::env::consts::OS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_versions_the_newest_first() {
        let groups = groups();
        assert_eq!(groups["groups"][0]["preferredVersion"]["groupVersion"], "metrics.k8s.io/v1beta1");
        assert_eq!(
            groups["groups"][1]["versions"],
            json!([{"groupVersion": "metrics/v1alpha1", "version": "v1alpha1"}])
        );
        let mut one = group("metrics.k8s.io");
        assert_eq!(one["kind"], "APIGroup");
        for field in ["kind", "apiVersion"] {
            one.as_object_mut().unwrap().remove(field);
        }
        assert_eq!(one, groups["groups"][0]);
    }

    #[test]
    fn aggregated_discovery_says_the_same_at_once() {
        let all = aggregated("v2", false);
        let beta = &all["items"][0]["versions"][0];
        assert_eq!((&beta["version"], &beta["resources"][1]["scope"]), (&json!("v1beta1"), &json!("Namespaced")));
        assert_eq!(aggregated("v2beta1", true)["items"], json!([]));
    }
}
