//! Where a service sends a client. A service that builds URLs from the `Host` that it got names itself in `Location`,
//! `Content-Location` and `Refresh`, by an address that means nothing to the client; the gateway names what the client
//! has asked for in its place.

use std::net::IpAddr;

use crate::config::{self, Prefixes, UpstreamAddress};
use crate::http::{Field, Scheme, without_port};
use crate::message::HeadWriter;
use crate::net::Endpoint;
use crate::upstream::Upstream;

/// The names of a service, and that of the gateway in their place.
#[derive(Clone, Copy)]
pub struct Locations<'a> {
    /// The service as it is written.
    pub written: &'a config::Upstream,
    /// The service and its members.
    pub upstream: &'a Upstream,
    /// How the path that went upstream differs from the client's.
    pub prefixes: &'a Prefixes,
    /// How the client has come.
    pub scheme: Scheme,
    /// The authority that the client has asked for; nobody knows one if it is empty.
    pub authority: &'a [u8],
}

impl Locations<'_> {
    /// Writes a field of a response with the gateway's name, if it sends the client to the service itself. False: it
    /// does not.
    pub fn compose(&self, head: &mut HeadWriter, field: &Field, bytes: &[u8]) -> bool {
        let (name, value) = (field.name.of(bytes), field.value.of(bytes));
        let Some((before, url)) = split(name, value) else { return false };
        let Some(rest) = self.behind_own(url) else { return false };
        let [prefix, rest] = self.prefixes.undo(rest);
        let begins = prefix.first().or(rest.first()) == Some(&b'/');
        let scheme = self.scheme.name().as_bytes();
        match self.authority {
            b"" if begins => head.field_of(name, [before, prefix, rest]),
            b"" => head.field_of(name, [before, b"/", rest]),
            authority => head.field_of(name, [before, scheme, b"://", authority, prefix, rest]),
        }
        true
    }

    /// What stands behind scheme and authority of a URL of the service itself.
    fn behind_own<'v>(&self, url: &'v [u8]) -> Option<&'v [u8]> {
        let (scheme_length, port) = scheme(url)?;
        let rest = &url[scheme_length..];
        let end = rest.iter().position(|byte| b"/?#\"' \t;,".contains(byte)).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        self.is_own(authority, port).then_some(rest)
    }

    /// Whether an authority is the service's, whatever the scheme: behind a gateway with TLS it may think that its own
    /// is `https`.
    fn is_own(&self, authority: &[u8], default_port: u16) -> bool {
        if authority.is_empty() || authority.eq_ignore_ascii_case(self.written.authority.as_bytes()) {
            return !authority.is_empty();
        }
        let Some((host, port)) = host_and_port(authority, default_port) else { return false };
        let is_it = |known: &str, at: u16| at == port && host.eq_ignore_ascii_case(known);
        let listed = match &self.written.members {
            config::Members::Listed(listed) => listed.as_slice(),
            config::Members::Srv(_) | config::Members::File(_) => &[],
        };
        let own_port = if self.written.tls.is_some() { 443 } else { 80 };
        let own = host_and_port(self.written.authority.as_bytes(), own_port);
        own.is_some_and(|(own, at)| is_it(own, at))
            || listed.iter().any(|one| match &one.address {
                UpstreamAddress::Tcp { host, port } => is_it(host, *port),
                UpstreamAddress::Unix(_) => false,
            })
            || host.parse::<IpAddr>().is_ok_and(|ip| {
                let is_there = |endpoint: &Endpoint| match endpoint {
                    Endpoint::Tcp(address, _) => (address.ip(), address.port()) == (ip, port),
                    Endpoint::Unix(..) => false,
                };
                self.upstream.members().iter().any(|member| is_there(member.endpoint()))
            })
    }
}

/// The part of a value before its URL, and the rest. `None`: the field sends nobody anywhere.
fn split<'v>(name: &[u8], value: &'v [u8]) -> Option<(&'v [u8], &'v [u8])> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        8 if is(b"location") => Some((b"", value)),
        16 if is(b"content-location") => Some((b"", value)),
        7 if is(b"refresh") => refresh_url(value).map(|at| value.split_at(at)),
        _ => None,
    }
}

/// Where the URL begins in `5; url=http://a/` (HTML, "shared declarative refresh steps").
fn refresh_url(value: &[u8]) -> Option<usize> {
    let behind = |at: usize, skipped: &[u8]| {
        let rest = &value[at..];
        at + rest.iter().position(|byte| !skipped.contains(byte)).unwrap_or(rest.len())
    };
    let at = behind(behind(0, b"0123456789. \t"), b";, \t");
    let is_named = value[at..].get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"url"));
    let at = if is_named { behind(at + 3, b" \t") } else { return Some(behind(at, b"\"'")) };
    (value.get(at) == Some(&b'=')).then(|| behind(at + 1, b" \t\"'"))
}

/// The length of the scheme with its slashes, and its default port.
fn scheme(url: &[u8]) -> Option<(usize, u16)> {
    let known: [(&[u8], u16); 3] = [(b"http://", 80), (b"https://", 443), (b"//", 80)];
    let begins = |name: &[u8]| url.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    known.into_iter().find(|(name, _)| begins(name)).map(|(name, port)| (name.len(), port))
}

/// Host, without brackets, and port.
fn host_and_port(authority: &[u8], default_port: u16) -> Option<(&str, u16)> {
    let host = without_port(authority);
    let port = match authority[host.len()..].strip_prefix(b":") {
        Some(digits) => std::str::from_utf8(digits).ok()?.parse().ok()?,
        None => default_port,
    };
    let host = std::str::from_utf8(host).ok()?;
    Some((host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_refresh_is_found_where_browsers_find_it() {
        for (value, url) in [
            ("5; url=http://a/", Some("http://a/")),
            ("0;URL='http://a/'", Some("http://a/'")),
            ("1.5, url = \"http://a/\"", Some("http://a/\"")),
            ("5; http://a/", Some("http://a/")),
            ("5", Some("")),
            ("5; url", None),
            ("5; url:http://a/", None),
            ("", Some("")),
        ] {
            let found = refresh_url(value.as_bytes()).map(|at| &value[at..]);
            assert_eq!(found, url, "{value}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for (authority, expected) in [
            ("a:81", Some(("a", 81))),
            ("a", Some(("a", 80))),
            ("[::1]:81", Some(("::1", 81))),
            ("[::1]", Some(("::1", 80))),
            ("a:", None),
            ("a:99999", None),
            ("u@a:81", Some(("u@a", 81))),
        ] {
            assert_eq!(host_and_port(authority.as_bytes(), 80), expected, "{authority}");
        }
    }
}
