//! What a client takes, read from `Accept`: which of the forms that an answer has here.

use axum::http::{HeaderMap, header};

/// Forms of a discovery document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// One document a group.
    Plain,
    /// All groups at once, `apidiscovery.k8s.io` of this version.
    Aggregated(&'static str),
}

/// Forms of an object or a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Itself.
    Object,
    /// Rows for a person, `meta.k8s.io` of this version.
    Table(&'static str),
}

/// One media range.
#[derive(Debug)]
struct Range {
    kind: String,
    subkind: String,
    params: Vec<(String, String)>,
    /// Thousandths.
    weight: u16,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = match parts.next()? {
            "" => return None,
            "*" => ("*", "*"),
            kind => kind.split_once('/')?,
        };
        let (mut params, mut weight) = (Vec::new(), 1000);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if name == "q" {
                // What is no number counts as none.
                weight = value.parse::<f32>().map_or(1000, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u16);
            } else {
                params.push((name, value.to_owned()));
            }
        }
        Some(Self { kind: kind.to_ascii_lowercase(), subkind: subkind.to_ascii_lowercase(), params, weight })
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn is_json(&self) -> bool {
        match self.kind.as_str() {
            "*" => self.subkind == "*",
            "application" => self.subkind == "*" || self.subkind == "json",
            _ => false,
        }
    }

    /// The version of what it is to be turned into; an empty one: nothing.
    fn version(&self, group: &str, kinds: &[&str], versions: &[&'static str]) -> Option<&'static str> {
        let Some(kind) = self.param("as") else { return Some("") };
        let wanted = kinds.contains(&kind) && self.param("g") == Some(group);
        let version = versions.iter().find(|version| self.param("v") == Some(version));
        version.copied().filter(|_| wanted)
    }
}

/// The ranges of JSON, the most wanted first; without the header everything will do.
fn ranges(headers: &HeaderMap) -> Vec<Range> {
    let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges: Vec<Range> = texts.flat_map(|text| text.split(',')).filter_map(Range::read).collect();
    if ranges.is_empty() && !headers.contains_key(header::ACCEPT) {
        ranges.extend(Range::read("*/*"));
    }
    ranges.retain(|range| range.weight > 0 && range.is_json());
    // Of equal weight, what is more exact first; else the client's order.
    ranges.sort_by_key(|range| (std::cmp::Reverse(range.weight), range.kind == "*", range.subkind == "*"));
    ranges
}

/// The form of a discovery document; `None`: the client takes none.
pub fn discovery(headers: &HeaderMap) -> Option<Discovery> {
    let form =
        |range: &Range| match range.version("apidiscovery.k8s.io", &["APIGroupDiscoveryList"], &["v2", "v2beta1"])? {
            "" => Some(Discovery::Plain),
            version => Some(Discovery::Aggregated(version)),
        };
    ranges(headers).iter().find_map(form)
}

/// The form of an object or a list; `None`: the client takes none.
pub fn form(headers: &HeaderMap) -> Option<Form> {
    let form = |range: &Range| match range.version("meta.k8s.io", &["Table"], &["v1", "v1beta1"])? {
        "" => Some(Form::Object),
        version => Some(Form::Table(version)),
    };
    ranges(headers).iter().find_map(form)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepting(text: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !text.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_static(text));
        }
        headers
    }

    #[test]
    fn the_first_form_that_there_is_is_chosen() {
        use Form::{Object, Table};
        const KUBECTL: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        for (accept, want) in [
            ("", Some(Object)),
            ("*/*", Some(Object)),
            ("*", Some(Object)),
            ("application/*;q=0.1", Some(Object)),
            ("application/vnd.kubernetes.protobuf, */*", Some(Object)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Object)),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/yaml", None),
            ("text/html", None),
            ("application/json;q=0", None),
            ("nonsense", None),
            (KUBECTL, Some(Table("v1"))),
            ("application/json;as=Table;g=meta.k8s.io;v=v1beta1, application/json", Some(Table("v1beta1"))),
            ("application/json;as=Table;g=meta.k8s.io;v=v9, application/json", Some(Object)),
            ("application/json;as=Table;g=meta.k8s.io;v=v9", None),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", None),
            ("*/*;q=0.1, application/json;as=Table;v=v1;g=meta.k8s.io;q=0.5", Some(Table("v1"))),
            ("application/json; charset=utf-8", Some(Object)),
        ] {
            assert_eq!(form(&accepting(accept)), want, "{accept}");
        }
    }

    #[test]
    fn aggregated_discovery_is_given_to_those_who_ask() {
        use Discovery::{Aggregated, Plain};
        const KUBECTL: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
            application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        for (accept, want) in [
            ("", Some(Plain)),
            ("application/json, */*", Some(Plain)),
            (KUBECTL, Some(Aggregated("v2"))),
            (
                "application/json;v=v2beta1;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList,application/json",
                Some(Aggregated("v2beta1")),
            ),
            ("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList", None),
            ("application/vnd.kubernetes.protobuf", None),
        ] {
            assert_eq!(discovery(&accepting(accept)), want, "{accept}");
        }
    }
}
