//! The parts of the URL that a key set is fetched from.

use crate::config::KeysUrl;

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Location {
    /// Whether it is behind TLS.
    pub(in super::super) is_tls: bool,
    /// A name, or an address without brackets.
    pub(in super::super) host: String,
    pub(in super::super) port: u16,
    /// The value of `Host`.
    pub(in super::super) authority: String,
    /// Path and query.
    pub(in super::super) target: String,
}

impl Location {
    /// Where a URL leads. It was checked when it was read; `None`: it is none after all.
    pub(in super::super) fn of(url: &KeysUrl) -> Option<Location> {
        let (scheme, rest) = url.as_str().split_once("://")?;
        let is_tls = scheme == "https";
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Location {
            is_tls,
            host: host.to_ascii_lowercase(),
            port,
            authority: authority.to_owned(),
            target: format!("{slash}{target}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn of(text: &str) -> (bool, String, u16, String, String) {
        let url = config::testing::keys_url(text);
        let location = Location::of(&url).expect("a location");
        (location.is_tls, location.host, location.port, location.authority, location.target)
    }

    #[test]
    fn a_url_has_its_parts() {
        let parts = |is_tls, host: &str, port, authority: &str, target: &str| {
            (is_tls, host.to_owned(), port, authority.to_owned(), target.to_owned())
        };
        assert_eq!(of("https://Id.example"), parts(true, "id.example", 443, "Id.example", "/"));
        assert_eq!(
            of("https://id.example:8443/a/b?c=d"),
            parts(true, "id.example", 8443, "id.example:8443", "/a/b?c=d")
        );
        assert_eq!(of("http://127.0.0.1?a=b"), parts(false, "127.0.0.1", 80, "127.0.0.1", "/?a=b"));
        assert_eq!(of("http://[::1]:81/k"), parts(false, "::1", 81, "[::1]:81", "/k"));
        assert_eq!(of("http://[::1]/k"), parts(false, "::1", 80, "[::1]", "/k"));
    }
}
