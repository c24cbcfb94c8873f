//! URLs of key sets and of issuers' configuration documents.

use super::meaning::KeysUrl;
use super::value::{Parsed, host_and_port, quoted};

/// Whether a URL may be one without TLS. Whoever can change what comes over it makes the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlainHttp {
    /// To any host.
    Anywhere,
    /// To this machine.
    Loopback,
    /// To no host.
    Nowhere,
}

/// Reads a URL.
pub(super) fn parse(text: &str, plain: PlainHttp) -> Parsed<KeysUrl> {
    let wrong = || format!("{} is not a URL (use https://id.example/keys)", quoted(text));
    if text.len() > URL_BYTES_MAX {
        return Err(format!("is over {URL_BYTES_MAX} bytes"));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_plain_text = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let (host, _) = host_and_port(authority).filter(|_| is_plain_text).ok_or_else(wrong)?;
    match scheme {
        "https" => {}
        "http" if plain == PlainHttp::Anywhere => {}
        "http" if plain == PlainHttp::Loopback && is_loopback(&host) => {}
        "http" => return Err(format!("{} is not https", quoted(text))),
        _ => return Err(wrong()),
    }
    Ok(KeysUrl(text.to_owned()))
}

/// The URL that a document names: one with TLS, unless the document came without: then one of this machine will do, or
/// any if the document itself came from another machine without TLS, which the operator has allowed.
///
/// # Errors
/// What is wrong with it.
pub fn named_by(document: &KeysUrl, text: &str) -> Result<KeysUrl, String> {
    let plain = match parse(&document.0, PlainHttp::Loopback) {
        _ if document.0.starts_with("https://") => PlainHttp::Nowhere,
        Ok(_) => PlainHttp::Loopback,
        Err(_) => PlainHttp::Anywhere,
    };
    parse(text, plain)
}

/// The URL of an issuer's configuration document: "a JSON document available at the path formed by concatenating the
/// string /.well-known/openid-configuration to the Issuer", whose "terminating / MUST be removed" (OpenID Connect
/// Discovery 1.0 §4).
pub(super) fn discovery(issuer: &str, plain: PlainHttp) -> Parsed<KeysUrl> {
    if issuer.contains('?') {
        return Err(format!("{} has a query, so it has no configuration document", quoted(issuer)));
    }
    let url = parse(issuer, plain)?;
    Ok(KeysUrl(format!("{}/.well-known/openid-configuration", url.0.trim_end_matches('/'))))
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The longest URL.
const URL_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_unless_it_is_of_this_machine() {
        for right in [
            "https://id.example/keys",
            "https://id.example:8443/a/b?c=d",
            "https://id.example",
            "https://[2001:db8::1]/k",
            "http://localhost:8080/k",
            "http://127.0.0.1/k",
            "http://[::1]:1/k",
        ] {
            assert_eq!(parse(right, PlainHttp::Loopback).map(|url| url.0), Ok(right.to_owned()));
        }
        for wrong in [
            "http://id.example/keys",
            "http://127.0.0.1.example/keys",
            "ftp://id.example/keys",
            "https://",
            "https:///keys",
            "https://user@id.example/keys",
            "https://id.example/keys#1",
            "https://id.example/ke ys",
            "https://id.example/k\u{e4}",
            "id.example/keys",
            "",
        ] {
            assert!(parse(wrong, PlainHttp::Loopback).is_err(), "{wrong}");
        }
        assert!(parse("http://id.example/keys", PlainHttp::Anywhere).is_ok());
    }

    #[test]
    fn a_document_that_came_over_tls_names_no_url_without() {
        let named = |document: &str, text: &str| named_by(&KeysUrl(document.to_owned()), text).is_ok();
        assert!(named("https://id.example/d", "https://keys.example/k"));
        assert!(!named("https://id.example/d", "http://127.0.0.1/k"));
        assert!(named("http://127.0.0.1/d", "http://127.0.0.1/k"));
        assert!(!named("http://127.0.0.1/d", "http://id.example/k"));
        assert!(
            named("http://id.example/d", "http://keys.example/k"),
            "the operator has allowed the document"
        );
        assert!(!named("http://127.0.0.1/d", "file:///etc/passwd"));
    }

    #[test]
    fn the_document_is_below_the_issuer() {
        let of = |issuer: &str| discovery(issuer, PlainHttp::Loopback).map(|url| url.0);
        let document = "https://id.example/.well-known/openid-configuration";
        assert_eq!(of("https://id.example").as_deref(), Ok(document));
        assert_eq!(of("https://id.example/").as_deref(), Ok(document));
        assert_eq!(
            of("https://id.example/realms/chat").as_deref(),
            Ok("https://id.example/realms/chat/.well-known/openid-configuration")
        );
        assert!(of("accounts").is_err() && of("https://id.example/?a=b").is_err());
    }
}
