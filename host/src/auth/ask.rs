//! What a request asks for, as Kubernetes' authorisation sees it: a resource of an API, or a path.

use http::Method;
use percent_encoding::percent_decode_str;

/// Groups whose paths are resources; every other path is a path.
const GROUPS: [&str; 2] = ["metrics.k8s.io", "metrics"];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// `/apis/metrics.k8s.io/v1beta1/…`
    Resource {
        /// `get`, `list`, `watch`….
        verb: &'static str,
        /// `metrics.k8s.io`.
        group: &'static str,
        /// `v1beta1`.
        version: String,
        /// `nodes` or `pods`, or whatever was asked for.
        resource: String,
        /// Empty: all of them.
        namespace: String,
        /// Empty: all of them.
        name: String,
    },
    /// Anything else.
    Path {
        /// `get`, `post`….
        verb: &'static str,
        /// Decoded, without the query.
        path: String,
    },
}

impl Ask {
    /// What a request asks for. `None` if its path could be read in two ways: an encoded slash, or
    /// bytes that are no text.
    pub fn of(method: &Method, path: &str, query: &str) -> Option<Self> {
        let parts: Option<Vec<String>> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let parts = parts?;
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        if let ["apis", group, version, ref rest @ ..] = words[..]
            && let Some(group) = GROUPS.into_iter().find(|known| *known == group)
            && !rest.is_empty()
        {
            let (namespace, resource, name) = match *rest {
                // Nobody asks for what else there may be below; with all its words it is no known resource.
                ["namespaces", namespace, resource] => (namespace, resource.to_owned(), ""),
                ["namespaces", namespace, resource, name] => (namespace, resource.to_owned(), name),
                [resource] => ("", resource.to_owned(), ""),
                [resource, name] if resource != "namespaces" => ("", resource.to_owned(), name),
                _ => ("", rest.join("/"), ""),
            };
            let verb = verb(method, name.is_empty(), query);
            let (version, namespace, name) = (version.to_owned(), namespace.to_owned(), name.to_owned());
            return Some(Self::Resource { verb, group, version, resource, namespace, name });
        }
        // A slash at the end is asked with: rules for paths are about it, too.
        let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
        Some(Self::Path { verb: path_verb(method), path: format!("/{}{end}", parts.join("/")) })
    }

    /// The sentence that Kubernetes refuses with.
    pub fn forbidden(&self, user: &str) -> String {
        match self {
            Self::Path { verb, path } => format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\""),
            Self::Resource { verb, group, resource, namespace, name, .. } => {
                let place = if namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace \"{namespace}\"")
                };
                let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
                format!(
                    "{resource}.{group}{named} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in \
                     API group \"{group}\" {place}"
                )
            }
        }
    }
}

fn decoded(part: &str) -> Option<String> {
    let text = percent_decode_str(part).decode_utf8().ok()?;
    (!text.contains(['/', '\0'])).then(|| text.into_owned())
}

fn verb(method: &Method, all: bool, query: &str) -> &'static str {
    let watched = || query.split('&').any(|part| matches!(part, "watch=true" | "watch=1" | "watch"));
    match *method {
        Method::GET | Method::HEAD if all && watched() => "watch",
        Method::GET | Method::HEAD if all => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if all => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
}

fn path_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        Method::CONNECT => "connect",
        Method::TRACE => "trace",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_the_api_server_reads_them() {
        let resource = |verb, version: &str, resource: &str, namespace: &str, name: &str| {
            let (version, resource) = (version.to_owned(), resource.to_owned());
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            Some(Ask::Resource { verb, group: "metrics.k8s.io", version, resource, namespace, name })
        };
        let path = |verb, path: &str| Some(Ask::Path { verb, path: path.to_owned() });
        for (method, asked, want) in [
            (Method::GET, "/apis/metrics.k8s.io/v1beta1/nodes", resource("list", "v1beta1", "nodes", "", "")),
            (Method::GET, "/apis/metrics.k8s.io/v1beta1/nodes/", resource("list", "v1beta1", "nodes", "", "")),
            (Method::GET, "/apis/metrics.k8s.io/v1beta1/nodes/n%31", resource("get", "v1beta1", "nodes", "", "n1")),
            (
                Method::GET,
                "/apis/metrics.k8s.io/v1alpha1/namespaces/a/pods",
                resource("list", "v1alpha1", "pods", "a", ""),
            ),
            (
                Method::HEAD,
                "/apis/metrics.k8s.io/v1alpha1/namespaces/a/pods/p",
                resource("get", "v1alpha1", "pods", "a", "p"),
            ),
            (Method::POST, "/apis/metrics.k8s.io/v1beta1/pods", resource("create", "v1beta1", "pods", "", "")),
            (
                Method::GET,
                "/apis/metrics.k8s.io/v1beta1/namespaces/a/pods/p/log",
                resource("list", "v1beta1", "namespaces/a/pods/p/log", "", ""),
            ),
            (Method::GET, "/apis/metrics.k8s.io/v1beta1", path("get", "/apis/metrics.k8s.io/v1beta1")),
            (Method::GET, "/api/v1/model/nodes/a/metrics/", path("get", "/api/v1/model/nodes/a/metrics/")),
            (Method::POST, "/api/v1/rules/reload", path("post", "/api/v1/rules/reload")),
            (Method::GET, "/", path("get", "/")),
            (Method::GET, "/apis/metrics.k8s.io/v1beta1/namespaces/a%2fpods/pods", None),
            (Method::GET, "/%FF", None),
        ] {
            assert_eq!(Ask::of(&method, asked, ""), want, "{asked}");
        }
        let watch = Ask::of(&Method::GET, "/apis/metrics.k8s.io/v1beta1/nodes", "limit=5&watch=true");
        assert_eq!(watch, resource("watch", "v1beta1", "nodes", "", ""));
    }

    #[test]
    fn a_refusal_says_who_may_not_do_what() {
        let said = |path| Ask::of(&Method::GET, path, "").unwrap().forbidden("anna");
        assert_eq!(
            said("/apis/metrics.k8s.io/v1beta1/nodes"),
            "nodes.metrics.k8s.io is forbidden: User \"anna\" cannot list resource \"nodes\" in API group \
             \"metrics.k8s.io\" at the cluster scope"
        );
        assert_eq!(
            said("/apis/metrics.k8s.io/v1beta1/namespaces/a/pods/p"),
            "pods.metrics.k8s.io \"p\" is forbidden: User \"anna\" cannot get resource \"pods\" in API group \
             \"metrics.k8s.io\" in the namespace \"a\""
        );
        assert_eq!(said("/metrics"), "forbidden: User \"anna\" cannot get path \"/metrics\"");
    }
}
