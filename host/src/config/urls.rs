//! URLs of servers: what is accepted, and how one is shown without what it may hide.

use url::Url;

/// Reads the root of an HTTP server.
///
/// # Errors
/// The remedy.
pub fn server_url(text: &str) -> Result<Url, String> {
    let example = "write it as http://host:port";
    let url = Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{example} or https://host:port"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("leave out the user and password; they have options of their own".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{example}, with nothing after the port"));
    }
    Ok(url)
}

/// A URL as it may be shown: without user, password and query.
pub fn redacted(url: &str) -> String {
    let (base, rest) = url.split_once('?').map_or((url, ""), |(base, _)| (base, "?…"));
    match base.rfind('@') {
        Some(at) => {
            let scheme = base.find("://").map_or("", |end| &base[..end + 3]);
            format!("{scheme}…{}{rest}", &base[at..])
        }
        None => format!("{base}{rest}"),
    }
}
