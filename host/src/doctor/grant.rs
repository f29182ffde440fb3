//! The rights that Millrace needs, and the YAML that grants those that are missing. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::config::{Config, KubeletToken};

/// Where standard clusters publish whom they trust, and the Role that may read it.
pub(super) const TRUST_NAMESPACE: &str = "kube-system";
pub(super) const TRUST_MAP: &str = "extension-apiserver-authentication";
const TRUST_READER: &str = "extension-apiserver-authentication-reader";
const DELEGATOR: &str = "system:auth-delegator";

/// Something that has to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right {
    pub verb: &'static str,
    /// Empty: the core group.
    pub group: &'static str,
    pub resource: &'static str,
    /// Empty: the resource itself.
    pub subresource: &'static str,
    /// Empty: everywhere.
    pub namespace: &'static str,
    /// Empty: all.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    pub by: By,
}

/// What grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A rule of a ClusterRole of Millrace's own.
    Rule,
    /// The ClusterRole of those who ask who somebody is.
    Delegator,
    /// The Role of those who may know whom the cluster trusts.
    TrustReader,
}

/// To whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// Namespace and name.
    ServiceAccount(String, String),
    User(String),
}

impl Right {
    /// `nodes/stats`, `tokenreviews.authentication.k8s.io`.
    pub fn what(&self) -> String {
        let mut what = self.resource.to_owned();
        if !self.subresource.is_empty() {
            what = format!("{what}/{}", self.subresource);
        }
        if !self.group.is_empty() {
            what = format!("{what}.{}", self.group);
        }
        if self.name.is_empty() { what } else { format!("{what} {}/{}", self.namespace, self.name) }
    }

    /// As a review's `resourceAttributes`.
    pub fn attributes(&self) -> Value {
        let mut attributes = json!({"verb": self.verb, "group": self.group, "resource": self.resource});
        for (key, value) in [("subresource", self.subresource), ("namespace", self.namespace), ("name", self.name)] {
            if !value.is_empty() {
                attributes[key] = json!(value);
            }
        }
        attributes
    }
}

impl Subject {
    /// The one that a user name stands for.
    pub fn of(user: &str) -> Self {
        let parts = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        match parts {
            Some((namespace, name)) => Self::ServiceAccount(namespace.to_owned(), name.to_owned()),
            None => Self::User(user.to_owned()),
        }
    }

    /// The name that reviews know it by.
    pub fn user(&self) -> String {
        match self {
            Self::ServiceAccount(namespace, name) => format!("system:serviceaccount:{namespace}:{name}"),
            Self::User(user) => user.clone(),
        }
    }

    fn yaml(&self) -> String {
        match self {
            Self::ServiceAccount(namespace, name) => {
                format!("  - kind: ServiceAccount\n    name: {}\n    namespace: {}\n", quoted(name), quoted(namespace))
            }
            Self::User(user) => {
                format!("  - kind: User\n    apiGroup: rbac.authorization.k8s.io\n    name: {}\n", quoted(user))
            }
        }
    }
}

/// A scalar of YAML, whatever it holds: JSON's form is one of YAML's.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    // `no`, `true` and the like are no text for YAML.
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_plain && !is_word { text.to_owned() } else { Value::from(text).to_string() }
}

/// What Millrace needs with this configuration.
pub(super) fn needed(config: &Config) -> Vec<Right> {
    let right = |verb, resource, purpose| Right {
        verb,
        group: "",
        resource,
        subresource: "",
        namespace: "",
        name: "",
        purpose,
        by: By::Rule,
    };
    let mut rights = Vec::new();
    for (resource, purpose) in [
        ("nodes", "to know which kubelets there are"),
        ("pods", "for labels, requests and limits"),
        ("namespaces", "for their ids"),
    ] {
        rights.extend(["list", "watch"].map(|verb| right(verb, resource, purpose)));
    }
    if asks_with_ours(config) {
        rights.push(Right { subresource: "stats", ..right("get", "nodes", "for the kubelets' statistics") });
    }
    if config.http.secure.is_some() {
        let delegated = |group, resource| Right {
            group,
            by: By::Delegator,
            ..right("create", resource, "for [http.secure], to know who asks and what they may")
        };
        rights.push(delegated("authentication.k8s.io", "tokenreviews"));
        rights.push(delegated("authorization.k8s.io", "subjectaccessreviews"));
        rights.extend(["list", "watch"].map(|verb| Right {
            namespace: TRUST_NAMESPACE,
            name: TRUST_MAP,
            by: By::TrustReader,
            ..right(verb, "configmaps", "for [http.secure], to know the API server's front proxy")
        }));
    }
    rights
}

/// Whether kubelets are shown what the API server is shown, so that it knows what they will say.
pub(super) fn asks_with_ours(config: &Config) -> bool {
    let kubelet = &config.source.kubelet;
    kubelet.https && kubelet.token == KubeletToken::Cluster && kubelet.client_certificate.is_none()
}

/// YAML that grants what is missing, for `kubectl apply`.
pub(super) fn manifest(missing: &[Right], subject: &Subject) -> String {
    let mut documents = Vec::new();
    if let Some(rules) = rules(missing) {
        documents.push(format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: millrace-missing-rights\n\
             rules:\n{rules}"
        ));
        documents.push(binding("millrace-missing-rights", None, "ClusterRole", "millrace-missing-rights", subject));
    }
    if missing.iter().any(|right| right.by == By::Delegator) {
        documents.push(binding("millrace:system:auth-delegator", None, "ClusterRole", DELEGATOR, subject));
    }
    if missing.iter().any(|right| right.by == By::TrustReader) {
        documents.push(binding("millrace-auth-reader", Some(TRUST_NAMESPACE), "Role", TRUST_READER, subject));
    }
    documents.join("---\n")
}

/// The rules of a ClusterRole, resources with the same verbs together.
fn rules(missing: &[Right]) -> Option<String> {
    let mut verbs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for right in missing.iter().filter(|right| right.by == By::Rule) {
        verbs.entry(right.what()).or_default().push(right.verb);
    }
    let mut resources: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
    for (resource, verbs) in verbs {
        resources.entry(verbs).or_default().push(resource);
    }
    let mut out = String::new();
    for (verbs, resources) in resources {
        // Writing to a string can't fail.
        let _ = writeln!(out, "  - apiGroups: [\"\"]");
        let _ = writeln!(out, "    resources: [{}]", resources.join(", "));
        let _ = writeln!(out, "    verbs: [{}]", verbs.join(", "));
    }
    (!out.is_empty()).then_some(out)
}

fn binding(name: &str, namespace: Option<&str>, kind: &str, role: &str, subject: &Subject) -> String {
    let (binding, place) = match namespace {
        Some(namespace) => ("RoleBinding", format!("  namespace: {namespace}\n")),
        None => ("ClusterRoleBinding", String::new()),
    };
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {binding}\nmetadata:\n  name: {name}\n{place}roleRef:\n  \
         apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {role}\nsubjects:\n{}",
        subject.yaml()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecureConfig;

    fn config(secure: bool) -> Config {
        let mut config = Config::default();
        config.http.secure = secure.then(|| SecureConfig::on("127.0.0.1:4443".parse().unwrap()));
        config
    }

    fn named(config: &Config) -> Vec<String> {
        needed(config).iter().map(|right| format!("{} {}", right.verb, right.what())).collect()
    }

    #[test]
    fn what_is_needed_follows_from_the_configuration() {
        let base = [
            "list nodes",
            "watch nodes",
            "list pods",
            "watch pods",
            "list namespaces",
            "watch namespaces",
            "get nodes/stats",
        ];
        assert_eq!(named(&config(false)), base);
        let secure = [
            "create tokenreviews.authentication.k8s.io",
            "create subjectaccessreviews.authorization.k8s.io",
            "list configmaps kube-system/extension-apiserver-authentication",
            "watch configmaps kube-system/extension-apiserver-authentication",
        ];
        assert_eq!(named(&config(true)), [&base[..], &secure[..]].concat());
        let mut other = config(false);
        other.source.kubelet.token = KubeletToken::File("/token".into());
        assert_eq!(named(&other), base[..6], "what another token may is not ours to ask");
    }

    #[test]
    fn the_manifest_grants_what_is_missing_and_nothing_else() {
        let all = needed(&config(true));
        let missing: Vec<Right> = all
            .iter()
            .filter(|right| ["pods", "configmaps"].contains(&right.resource) || right.subresource == "stats")
            .copied()
            .collect();
        let yaml = manifest(&missing, &Subject::of("system:serviceaccount:kube-system:millrace"));
        assert_eq!(
            yaml,
            r#"apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: millrace-missing-rights
rules:
  - apiGroups: [""]
    resources: [nodes/stats]
    verbs: [get]
  - apiGroups: [""]
    resources: [pods]
    verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: millrace-missing-rights
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: millrace-missing-rights
subjects:
  - kind: ServiceAccount
    name: millrace
    namespace: kube-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: millrace-auth-reader
  namespace: kube-system
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: extension-apiserver-authentication-reader
subjects:
  - kind: ServiceAccount
    name: millrace
    namespace: kube-system
"#
        );
    }

    #[test]
    fn a_user_of_any_name_stays_one_scalar() {
        for (user, want) in [
            ("anna", "name: anna\n"),
            ("no", "name: \"no\"\n"),
            ("x: y\n- kind: Group", "name: \"x: y\\n- kind: Group\"\n"),
            ("system:admin", "name: \"system:admin\"\n"),
        ] {
            assert!(Subject::of(user).yaml().ends_with(want), "{}", Subject::of(user).yaml());
        }
    }
}
