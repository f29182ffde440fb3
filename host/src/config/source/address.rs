//! Addresses that stand for a node's own.

use std::net::Ipv6Addr;

/// `host`, `host:port`, `v6`, `[v6]`, `[v6]:port`.
pub fn is_address(text: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if text.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    if let Some((inner, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = after.strip_prefix(':');
        return inner.parse::<Ipv6Addr>().is_ok() && (after.is_empty() || port.is_some_and(is_port));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    is_host(host) && port.is_none_or(is_port)
}

/// A host name or an IPv4 address, as far as its characters tell.
pub fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_an_optional_port() {
        for (text, want) in [
            ("10.0.0.1", true),
            ("10.0.0.1:10250", true),
            ("tunnel.example.com:1", true),
            ("fd00::1", true),
            ("[fd00::1]", true),
            ("[fd00::1]:10250", true),
            ("", false),
            (":1", false),
            ("a:", false),
            ("a:0", false),
            ("a:65536", false),
            ("[fd00::1]x", false),
            ("a/b", false),
            ("http://a", false),
        ] {
            assert_eq!(is_address(text), want, "{text}");
        }
    }
}
