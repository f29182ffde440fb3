//! What a path asks for. Knows no data.

use percent_encoding::percent_decode_str;

/// A version of the metrics API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `metrics/v1alpha1`: Heapster's, for the first `kubectl top` and autoscalers.
    Old,
    /// `metrics.k8s.io/v1alpha1`: the same, as Heapster named it at last.
    Alpha,
    /// `metrics.k8s.io/v1beta1`: that of today.
    Beta,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Beta, Self::Alpha, Self::Old];

    /// Its group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Old => "metrics",
            Self::Alpha | Self::Beta => "metrics.k8s.io",
        }
    }

    /// Its version.
    pub fn version(self) -> &'static str {
        match self {
            Self::Old | Self::Alpha => "v1alpha1",
            Self::Beta => "v1beta1",
        }
    }

    /// Whether it answers as Heapster did.
    pub fn is_heapsters(self) -> bool {
        self != Self::Beta
    }

    fn of(group: &str, version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| (api.group(), api.version()) == (group, version))
    }
}

/// The objects that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// All nodes.
    Nodes,
    /// One node.
    Node(String),
    /// All pods, or those of a namespace.
    Pods(Option<String>),
    /// One pod: namespace, name.
    Pod(String, String),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The versions without a group.
    Legacy,
    /// All groups.
    Groups,
    /// One group.
    Group(&'static str),
    /// What a version of a group has.
    Resources(Api),
    /// Metrics.
    Metrics(Api, Objects),
    /// Which program this is.
    Version,
    /// All schemas in one document.
    OpenApi2,
    /// Where the schemas are.
    OpenApi3,
    /// The schemas of a path: of a group's, or of a version's.
    OpenApi3Of(Option<Api>),
    /// There is no such route; and whether Heapster is the one who says so.
    Nowhere(Option<Api>),
}

/// Reads a path.
pub fn parse(path: &str) -> Ask {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let parts: Option<Vec<_>> = parts.map(|part| percent_decode_str(part).decode_utf8().ok()).collect();
    let Some(parts) = parts else { return Ask::Nowhere(None) };
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    match parts.as_slice() {
        ["api"] => Ask::Legacy,
        ["apis"] => Ask::Groups,
        ["apis", "metrics.k8s.io"] => Ask::Group(Api::Beta.group()),
        ["apis", "metrics"] => Ask::Group(Api::Old.group()),
        ["apis", group, version] => Api::of(group, version).map_or(Ask::Nowhere(None), Ask::Resources),
        ["apis", group, version, rest @ ..] => match Api::of(group, version) {
            Some(api) => objects(rest).map_or(Ask::Nowhere(Some(api)), |objects| Ask::Metrics(api, objects)),
            None => Ask::Nowhere(None),
        },
        ["version"] => Ask::Version,
        ["openapi", "v2"] => Ask::OpenApi2,
        ["openapi", "v3"] => Ask::OpenApi3,
        ["openapi", "v3", "apis", "metrics.k8s.io"] => Ask::OpenApi3Of(None),
        ["openapi", "v3", "apis", "metrics.k8s.io", "v1beta1"] => Ask::OpenApi3Of(Some(Api::Beta)),
        _ => Ask::Nowhere(None),
    }
}

fn objects(parts: &[&str]) -> Option<Objects> {
    let owned = |text: &str| text.to_owned();
    match parts {
        ["nodes"] => Some(Objects::Nodes),
        ["nodes", name] => Some(Objects::Node(owned(name))),
        ["pods"] => Some(Objects::Pods(None)),
        ["namespaces", namespace, "pods"] => Some(Objects::Pods(Some(owned(namespace)))),
        ["namespaces", namespace, "pods", name] => Some(Objects::Pod(owned(namespace), owned(name))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let text = str::to_owned;
        for (path, want) in [
            ("/api/", Ask::Legacy),
            ("/apis", Ask::Groups),
            ("/apis/metrics.k8s.io/", Ask::Group("metrics.k8s.io")),
            ("/apis/metrics", Ask::Group("metrics")),
            ("/apis/metrics/v1beta1", Ask::Nowhere(None)),
            ("/apis/metrics.k8s.io/v1beta1/", Ask::Resources(Api::Beta)),
            ("/apis/metrics/v1alpha1/nodes/", Ask::Metrics(Api::Old, Objects::Nodes)),
            ("/apis/metrics.k8s.io/v1alpha1/nodes/a%2Eb", Ask::Metrics(Api::Alpha, Objects::Node(text("a.b")))),
            ("/apis/metrics.k8s.io/v1beta1/pods", Ask::Metrics(Api::Beta, Objects::Pods(None))),
            (
                "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods",
                Ask::Metrics(Api::Beta, Objects::Pods(Some(text("ns")))),
            ),
            (
                "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods/p",
                Ask::Metrics(Api::Beta, Objects::Pod(text("ns"), text("p"))),
            ),
            ("/apis/metrics.k8s.io/v1beta1/namespaces/ns", Ask::Nowhere(Some(Api::Beta))),
            ("/apis/metrics.k8s.io/v1beta1/nodes/%FF", Ask::Nowhere(None)),
            ("/apis/apps/v1/deployments", Ask::Nowhere(None)),
            ("/openapi/v3/apis/metrics.k8s.io/v1beta1", Ask::OpenApi3Of(Some(Api::Beta))),
            ("/openapi/v3/apis/apps/v1", Ask::Nowhere(None)),
        ] {
            assert_eq!(parse(path), want, "{path}");
        }
    }
}
