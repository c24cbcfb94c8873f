//! Browser origins: `https://chat.example`, `http://localhost:3000`, or `https://*.chat.example`.

use std::net::IpAddr;

use super::meaning::{Cors, origins};
use super::value::{Parsed, host_and_port, items, quoted};

/// A list of browser origins, `*`, or `none`.
pub(super) fn cors(value: &str) -> Parsed<Cors> {
    let items = items(value)?;
    if items == ["*"] {
        return Ok(Cors::Any);
    }
    let mut origins = items.into_iter().map(origin).collect::<Parsed<Vec<_>>>()?;
    origins.sort_unstable();
    origins.dedup();
    Ok(if origins.is_empty() { Cors::Off } else { Cors::Origins(origins) })
}

/// One origin as browsers serialize it: lower case, without the default port of the scheme (RFC 6454 §6.2).
fn origin(value: &str) -> Parsed<String> {
    let wrong = |why: &str| Err(format!("{} {why}", quoted(value)));
    if value == "*" {
        return wrong("stands alone or not at all");
    }
    let lower = value.to_ascii_lowercase();
    let Some((scheme, authority)) = lower.split_once("://") else {
        return wrong("is not an origin (use https://chat.example or http://localhost:3000)");
    };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme_ok {
        return wrong("is not an origin: its scheme is not valid");
    }
    let (wildcard, authority) = match authority.strip_prefix(origins::WILDCARD) {
        Some(below) => (origins::WILDCARD, below),
        None => ("", authority),
    };
    if authority.contains('*') {
        return wrong(
            "is not an origin: a wildcard stands for whole names below one (use https://*.chat.example)",
        );
    }
    if authority.contains(['/', '?', '#', '@']) {
        return wrong("is not an origin: it is scheme://host or scheme://host:port, without anything behind");
    }
    let Some((host, port)) = host_and_port(authority) else {
        return wrong("is not an origin: its host or port is not valid");
    };
    if !wildcard.is_empty() && !has_names_below(&host) {
        return wrong("is not an origin: a wildcard needs a name of two parts behind it, or localhost");
    }
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{wildcard}{bracketed}"),
        (_, Some(port)) => format!("{scheme}://{wildcard}{bracketed}:{port}"),
    })
}

/// Whether every name below this one is likely its owner's: below `com` there is everybody. An address has no names.
fn has_names_below(host: &str) -> bool {
    let is_address = host.parse::<IpAddr>().is_ok();
    !is_address && (host == "localhost" || host.trim_end_matches('.').contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_origins_as_browsers_write_them() {
        let one = |value| match cors(value) {
            Ok(Cors::Origins(origins)) => origins.join(" "),
            other => format!("{other:?}"),
        };
        assert_eq!(cors("none"), Ok(Cors::Off));
        assert_eq!(cors("*"), Ok(Cors::Any));
        assert_eq!(one("https://Chat.Example"), "https://chat.example");
        assert_eq!(one("HTTPS://chat.example:443"), "https://chat.example");
        assert_eq!(one("http://localhost:3000,http://[::1]:3000"), "http://[::1]:3000 http://localhost:3000");
        assert_eq!(one("capacitor://localhost"), "capacitor://localhost");
        assert_eq!(one("https://*.Chat.Example:443"), "https://*.chat.example");
        assert_eq!(one("http://*.localhost:3000"), "http://*.localhost:3000");
        for value in [
            "https://*.com",
            "https://*.10.0.0.1",
            "https://*.[::1]",
            "https://*.*.chat.example",
            "https://*chat.example",
            "https://a.*.chat.example",
            "https://*",
            "https://*.",
            "*://chat.example",
            "https://*.chat.example:*",
            "chat.example",
            "https://chat.example/",
            "https://chat.example/x",
            "https://*.example",
            "*,https://a",
            "null",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://u@a",
            "https://a?b",
            "://a",
            "https://a b#",
        ] {
            assert!(cors(value).is_err(), "{value}");
        }
    }
}
