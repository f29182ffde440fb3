//! Whom a request is from.

use std::collections::BTreeMap;

/// Members may do everything, without anybody being asked: a cluster whose authorisation is broken
/// must be mendable.
const MASTERS: &str = "system:masters";
/// Everybody whom something proved.
const AUTHENTICATED: &str = "system:authenticated";
/// And everybody else.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Whose name this is.
const ANONYMOUS: &str = "system:anonymous";

/// Somebody who has proved who they are, as Kubernetes describes users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User {
    /// The name, such as `system:serviceaccount:kube-system:metrics`.
    pub name: String,
    /// May be empty.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else authentication knows, by lower-case key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Whether nobody need be asked what they may.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// Adds the group of all who are somebody, but to those whom the front proxy calls nobody.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        let is_settled = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
        if self.name != ANONYMOUS && !self.groups.iter().any(is_settled) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}
