//! Paths as clients write them. The dashboard has two slashes where one belongs.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The same without slashes that follow another; `None` if there are none.
pub(super) fn cleaned(uri: &Uri) -> Option<Uri> {
    if !uri.path().contains("//") {
        return None;
    }
    let mut path = String::with_capacity(uri.path().len());
    for character in uri.path().chars() {
        if character != '/' || !path.ends_with('/') {
            path.push(character);
        }
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_that_follow_another_are_left_out() {
        for (path, want) in [
            ("/api/v1//model/nodes?a=//", Some("/api/v1/model/nodes?a=//")),
            ("//", Some("/")),
            ("http://h:1//a///b/", Some("http://h:1/a/b/")),
            ("/api/v1/model/", None),
        ] {
            let cleaned = cleaned(&path.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(cleaned.as_deref(), want, "{path}");
        }
    }
}
