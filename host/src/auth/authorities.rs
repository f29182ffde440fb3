//! Whom the cluster trusts to say who somebody is: the ConfigMap in which the API server publishes its
//! front proxy's authority and header names, and the authority of client certificates. Watched, for
//! authorities are replaced while everything runs.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::{HeaderMap, HeaderValue};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{info, warn};

use super::User;
use super::certificate::{Authority, Presented, common_name};
use crate::throttle::Throttle;

/// Where the API server publishes it.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// Groups, and values of one extra key, that a front proxy may name.
const MAX_VALUES: usize = 1024;

/// What the ConfigMap says.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// The front proxy; `None`: nobody may speak for others.
    pub front_proxy: Option<FrontProxy>,
    /// Whose certificates are users'.
    pub clients: Option<Authority>,
    /// What could not be understood.
    pub problems: Vec<String>,
}

/// The API server, as it passes requests on.
#[derive(Debug)]
pub(super) struct FrontProxy {
    authority: Authority,
    /// Common names its certificate may have; empty: any.
    allowed_names: Vec<String>,
    user_headers: Vec<String>,
    uid_headers: Vec<String>,
    group_headers: Vec<String>,
    /// In lower case, as header names are.
    extra_prefixes: Vec<String>,
}

impl FrontProxy {
    /// Whether the certificate is the front proxy's.
    pub(super) fn is(&self, presented: &Presented, since_1970: Duration) -> bool {
        let allowed = || {
            let name = common_name(presented);
            self.allowed_names.is_empty() || name.is_some_and(|name| self.allowed_names.contains(&name))
        };
        self.authority.vouches_for(presented, since_1970).is_ok() && allowed()
    }

    /// Whom it speaks for, if it says so and all of it is text. Must be called only for its own requests.
    pub(super) fn user(&self, headers: &HeaderMap) -> Option<User> {
        let text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).map(str::to_owned).ok();
        let first = |names: &[String]| {
            let mut found = names.iter().flat_map(|name| headers.get_all(name.as_str()));
            found.find(|value| !value.is_empty()).map_or(Some(String::new()), text)
        };
        let name = first(&self.user_headers).filter(|name| !name.is_empty())?;
        let mut groups = Vec::new();
        for header in &self.group_headers {
            for value in headers.get_all(header.as_str()).into_iter().take(MAX_VALUES) {
                groups.push(text(value)?);
            }
        }
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (header, value) in headers {
            let key = self.extra_prefixes.iter().find_map(|prefix| header.as_str().strip_prefix(prefix.as_str()));
            if let Some(key) = key {
                let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
                let values = extra.entry(key).or_default();
                if values.len() < MAX_VALUES {
                    values.push(text(value)?);
                }
            }
        }
        Some(User { name, uid: first(&self.uid_headers)?, groups, extra }.authenticated())
    }
}

impl Authorities {
    /// What the ConfigMap's data says. A part that is unusable is left out and named.
    fn read(data: &BTreeMap<String, String>) -> Self {
        let mut problems = Vec::new();
        let mut authority = |key: &str| {
            let pem = data.get(key).filter(|pem| !pem.trim().is_empty())?;
            let read = Authority::from_pem(pem.as_bytes());
            read.map_err(|error| problems.push(format!("`{key}`: {error}"))).ok()
        };
        let (front_proxy, clients) = (authority("requestheader-client-ca-file"), authority("client-ca-file"));
        let mut list = |key: &str, default: &[&str]| match data.get(key) {
            None => Some(default.iter().map(|&name| name.to_owned()).collect()),
            Some(text) => {
                let read = serde_json::from_str::<Vec<String>>(text);
                read.map_err(|error| problems.push(format!("`{key}` is no JSON list of texts: {error}"))).ok()
            }
        };
        // Names that nobody can read allow nobody: an empty list would allow everybody.
        let front_proxy = front_proxy.and_then(|authority| {
            Some(FrontProxy {
                authority,
                allowed_names: list("requestheader-allowed-names", &[])?,
                user_headers: list("requestheader-username-headers", &["X-Remote-User"])?,
                uid_headers: list("requestheader-uid-headers", &[])?,
                group_headers: list("requestheader-group-headers", &["X-Remote-Group"])?,
                extra_prefixes: list("requestheader-extra-headers-prefix", &["X-Remote-Extra-"])?
                    .iter()
                    .filter(|prefix| !prefix.is_empty())
                    .map(|prefix| prefix.to_ascii_lowercase())
                    .collect(),
            })
        });
        Self { front_proxy, clients, problems }
    }
}

/// What the ConfigMap says, for whoever explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The front proxy's common names (empty: any) and the last moment of its authority, seconds since 1970; `None`:
    /// there is none, or nobody can read it.
    pub front_proxy: Option<(Vec<String>, i64)>,
    /// Whether certificates of users are known by an authority.
    pub clients: bool,
    /// What could not be understood.
    pub problems: Vec<String>,
}

impl Trust {
    /// Reads the ConfigMap's data as the secure port does.
    #[must_use]
    pub fn read(data: &BTreeMap<String, String>) -> Self {
        let Authorities { front_proxy, clients, problems } = Authorities::read(data);
        let front_proxy = front_proxy.map(|proxy| (proxy.allowed_names, proxy.authority.until()));
        Self { front_proxy, clients: clients.is_some(), problems }
    }
}

/// Follows the ConfigMap until the task is dropped. While the API server does not answer, what is
/// known stays.
pub(super) async fn follow(client: Client, known: watch::Sender<Arc<Authorities>>) {
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut events = pin!(watcher(maps, only).default_backoff());
    let mut failures = Throttle::default();
    let mut listed = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = None,
            Ok(Event::InitApply(map)) => listed = Some(map),
            Ok(Event::InitDone) => publish(&known, listed.take().as_ref()),
            Ok(Event::Apply(map)) => publish(&known, Some(&map)),
            Ok(Event::Delete(_)) => publish(&known, None),
            Err(error) => {
                if let Some(more) = failures.pass() {
                    let error = described(&error);
                    warn!(
                        error,
                        more,
                        "ConfigMap {NAMESPACE}/{NAME} can't be watched; what is known of it stays, and without it who \
                         comes through the API server is known only by token"
                    );
                }
            }
        }
    }
}

/// The error, with its remedy where there is one. A server that starts refuses everybody for a moment.
fn described(error: &watcher::Error) -> String {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        watcher::Error::WatchError(status) => Some(status),
        _ => None,
    };
    match status {
        Some(status) if status.code == 403 => format!(
            "{}: if this goes on, bind the Role `extension-apiserver-authentication-reader` of {NAMESPACE} to \
             Millrace's service account",
            status.message
        ),
        _ => error.to_string(),
    }
}

fn publish(known: &watch::Sender<Arc<Authorities>>, map: Option<&ConfigMap>) {
    let empty = BTreeMap::new();
    let data = map.and_then(|map| map.data.as_ref()).unwrap_or(&empty);
    let read = Authorities::read(data);
    for problem in &read.problems {
        warn!(problem, "ConfigMap {NAMESPACE}/{NAME}");
    }
    info!(front_proxy = read.front_proxy.is_some(), clients = read.clients.is_some(), "authorities of the cluster");
    known.send_replace(Arc::new(read));
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::super::certificate::tests::{NOW, client, issuer};
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_front_proxy_is_known_by_authority_and_name() {
        let (ours, theirs) = (issuer("front-proxy"), issuer("cluster"));
        let pem = ours.pem();
        let named = |names: &str| {
            let read = data(&[("requestheader-client-ca-file", &pem), ("requestheader-allowed-names", names)]);
            Authorities::read(&read).front_proxy
        };
        let proxy = named(r#"["front-proxy-client"]"#).unwrap();
        assert!(proxy.is(&client(&ours, "front-proxy-client", "", 2040), NOW));
        assert!(!proxy.is(&client(&ours, "somebody", "", 2040), NOW));
        assert!(!proxy.is(&client(&ours, "front-proxy-client", "", 2024), NOW));
        assert!(!proxy.is(&client(&theirs, "front-proxy-client", "", 2040), NOW));
        assert!(named("[]").unwrap().is(&client(&ours, "somebody", "", 2040), NOW));
        assert!(named("front-proxy-client").is_none(), "a list that nobody can read allows nobody");
    }

    #[test]
    fn the_proxy_s_headers_name_the_user() {
        let pem = issuer("front-proxy").pem();
        let uid = ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#);
        let read = Authorities::read(&data(&[("requestheader-client-ca-file", &pem), uid]));
        let proxy = read.front_proxy.unwrap();
        let user = proxy.user(&headers(&[
            ("x-remote-user", "anna"),
            ("x-remote-group", "readers"),
            ("x-remote-group", "writers"),
            ("x-remote-uid", "7"),
            ("x-remote-extra-scopes", "a"),
            ("x-remote-extra-acme%2fteam", "b"),
            ("x-forwarded-for", "::1"),
        ]));
        let extra = [("acme/team".to_owned(), vec!["b".to_owned()]), ("scopes".to_owned(), vec!["a".to_owned()])];
        let groups = ["readers", "writers", "system:authenticated"].map(str::to_owned).to_vec();
        let want = User { name: "anna".to_owned(), uid: "7".to_owned(), groups, extra: extra.into() };
        assert_eq!(user, Some(want));
        assert_eq!(proxy.user(&headers(&[("x-remote-group", "system:masters")])), None);
        let named = |pairs: &[(&str, &[u8])]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap()));
            proxy.user(&pairs.collect())
        };
        let user = named(&[("x-remote-user", "jürgen".as_bytes()), ("x-remote-group", "Büro".as_bytes())]).unwrap();
        assert_eq!((user.name.as_str(), user.groups[0].as_str()), ("jürgen", "Büro"));
        assert_eq!(named(&[("x-remote-user", b"anna"), ("x-remote-group", b"\xff")]), None, "no group is lost");
        let nobody = named(&[("x-remote-user", b"system:anonymous"), ("x-remote-group", b"system:unauthenticated")]);
        assert_eq!(nobody.unwrap().groups, ["system:unauthenticated"]);
        assert_eq!(proxy.user(&headers(&[("x-remote-user", "")])), None);
    }

    #[test]
    fn what_is_unusable_is_left_out_and_named() {
        let pem = issuer("clients").pem();
        let read = Authorities::read(&data(&[("requestheader-client-ca-file", "words"), ("client-ca-file", &pem)]));
        assert!(read.front_proxy.is_none() && read.clients.is_some());
        assert_eq!(read.problems, ["`requestheader-client-ca-file`: there is no PEM certificate in it"]);
        let nothing = Authorities::read(&BTreeMap::new());
        assert!(nothing.front_proxy.is_none() && nothing.clients.is_none() && nothing.problems.is_empty());
    }
}
