//! What labels become: those that say which series it is are on every series, those that only describe an entity are
//! on one series of its own, `heapster_pod_info` and the like.

use std::borrow::Cow;

use super::names::{clean, level_word};
use crate::batch::Level;

/// Labels that say which entity it is, and what they are called.
const IDENTITY: [(&str, &str); 4] =
    [("namespace_name", "namespace"), ("pod_name", "pod"), ("container_name", "container"), ("nodename", "node")];
/// Labels that describe it, of these levels, and what they are called.
const DESCRIPTION: [(&str, &str, &[Level]); 6] = [
    ("hostname", "hostname", &[Level::Node]),
    ("host_id", "host_id", &[Level::Node]),
    ("namespace_id", "uid", &[Level::Namespace]),
    ("pod_id", "uid", &[Level::Pod]),
    ("container_base_image", "image", &[Level::Container]),
    ("labels", "labels", &[Level::Node, Level::Namespace, Level::Pod]),
];
/// The name says the level.
const LEVEL: &str = "type";

/// Labels of a series, sorted by their names, each name once, none empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Labels<'a> {
    /// Those of an entity's series.
    pub fn of_entity(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::default();
        for (name, value) in labels {
            let describes = || DESCRIPTION.iter().any(|(described, ..)| *described == name);
            match IDENTITY.iter().find(|(ours, _)| *ours == name) {
                Some((_, known)) => found.put(Cow::Borrowed(known), value, true),
                None if name == LEVEL || describes() => {}
                None => found.put(label_name(name), value, false),
            }
        }
        found
    }

    /// These with a point's own, which win.
    #[must_use]
    pub fn with(&self, own: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = self.clone();
        for (name, value) in own {
            all.put(label_name(name), value, true);
        }
        all
    }

    /// Adds one; another of this name stays, unless this one wins.
    pub fn put(&mut self, name: Cow<'a, str>, value: &'a str, wins: bool) {
        if value.is_empty() {
            return;
        }
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(place) if wins => self.0[place].1 = value,
            Ok(_) => {}
            Err(place) => self.0.insert(place, (name, value)),
        }
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

/// The series that describes an entity: its family's name, without `_info`, and its labels. `None`: there is nothing
/// to say.
pub fn info<'a>(
    level: Level,
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<(String, Labels<'a>)> {
    let mut found = Labels::of_entity(labels.clone());
    let mut described = false;
    for (name, value) in labels {
        let row = DESCRIPTION.iter().find(|(known, _, levels)| *known == name && levels.contains(&level));
        if let Some((_, called, _)) = row.filter(|_| !value.is_empty()) {
            found.put(Cow::Borrowed(called), value, true);
            described = true;
        }
    }
    described.then(|| (format!("heapster_{}", level_word(level)), found))
}

/// A name that Prometheus takes. Two underscores at the beginning are its own.
fn label_name(name: &str) -> Cow<'_, str> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = |c: char| c.is_ascii_digit();
    if !name.is_empty() && name.chars().all(good) && !name.starts_with(begins) && !name.starts_with("__") {
        return Cow::Borrowed(name);
    }
    let cleaned = clean(name);
    Cow::Owned(format!("label_{}", cleaned.trim_start_matches('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(labels: &Labels<'_>) -> String {
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn identity_is_on_every_series_and_description_on_one() {
        let pod = [
            ("type", "pod"),
            ("pod_name", "web-1"),
            ("namespace_name", "default"),
            ("nodename", "node-a"),
            ("pod_id", "uid-1"),
            ("hostname", "h"),
            ("labels", "app:web"),
            ("team", "blue"),
            ("empty", ""),
        ];
        let labels = Labels::of_entity(pod.into_iter());
        assert_eq!(text(&labels), "namespace=default,node=node-a,pod=web-1,team=blue");
        let (name, described) = info(Level::Pod, pod.into_iter()).unwrap();
        assert_eq!(name, "heapster_pod");
        assert_eq!(text(&described), "labels=app:web,namespace=default,node=node-a,pod=web-1,team=blue,uid=uid-1");
        assert_eq!(info(Level::Pod, [("pod_name", "x")].into_iter()), None);
    }

    #[test]
    fn a_name_stands_once_whatever_rules_make() {
        let labels = [("a.b", "1"), ("a-b", "2"), ("pod", "mine"), ("pod_name", "web"), ("1st", "x"), ("__p", "y")];
        let labels = Labels::of_entity(labels.into_iter());
        assert_eq!(text(&labels), "label_1st=x,label_a_b=1,label_p=y,pod=web");
        let with = labels.with([("resource_id", "/"), ("pod", "own"), ("", "z")].into_iter());
        assert_eq!(text(&with), "label_=z,label_1st=x,label_a_b=1,label_p=y,pod=own,resource_id=/");
    }
}
