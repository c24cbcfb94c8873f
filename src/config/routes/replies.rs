//! `redirect` and `respond` of a route, which has no upstream then.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{Piece, Redirect, Reply, Respond, RouteKind};
use crate::config::regular_file::read_file;
use crate::config::value::{Parsed, quoted};
use crate::config::written::{WrittenRedirect, WrittenRespond, WrittenRoute};
use crate::limits::{CONTENT_TYPE_BYTES_MAX, REDIRECT_BYTES_MAX, RESPOND_BODY_BYTES_MAX};

/// A redirect instead of an upstream.
pub(super) const REDIRECT: RouteKey = RouteKey {
    name: "redirect",
    default: "none",
    help: "Instead of `upstream`: a table with `status` (301, 302, 303, 307 or 308) and `to` ([answers of a \
           route](#answers-of-a-route)).",
};

/// A fixed answer instead of an upstream.
pub(super) const RESPOND: RouteKey = RouteKey {
    name: "respond",
    default: "none",
    help: "Instead of `upstream`: a table with `status` (default: 200), `body` or `body_file` (up to 64 KiB), and \
           `content_type` (default: `text/plain; charset=utf-8`).",
};

/// Whether the route answers without an upstream.
pub(super) fn is_written(route: &WrittenRoute) -> bool {
    route.redirect.is_some() || route.respond.is_some()
}

pub(super) fn reply(route: &WrittenRoute, kind: RouteKind, report: &mut Report<'_>) -> Option<Reply> {
    if is_written(route) && kind != RouteKind::Http {
        report.add("takes WebSockets, which need an upstream");
    }
    let lowered = match (&route.redirect, &route.respond) {
        (None, None) => return None,
        (Some(_), Some(_)) => Err("has redirect and respond; it can have one of them".to_owned()),
        (Some(written), None) => redirect(written).map_err(|why| format!("redirect: {why}")),
        (None, Some(written)) => respond(written).map_err(|why| format!("respond: {why}")),
    };
    // A mistake ends the start, so what stands in its place answers nobody.
    Some(lowered.unwrap_or_else(|why| {
        report.add(&why);
        Reply::Redirect(Redirect { status: 308, to: vec![Piece::Text("/".to_owned())] })
    }))
}

fn redirect(written: &WrittenRedirect) -> Parsed<Reply> {
    let status = match written.status.as_deref() {
        None => return Err("status is missing".to_owned()),
        Some(text) => text.parse().ok().filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308)),
    };
    let status = status.ok_or("status is not 301, 302, 303, 307 or 308")?;
    let to = written.to.as_deref().ok_or("to is missing")?;
    let to = target(to).map_err(|why| format!("to {} {why}", quoted(to)))?;
    Ok(Reply::Redirect(Redirect { status, to }))
}

/// Reads the target of a redirect.
fn target(text: &str) -> Parsed<Vec<Piece>> {
    let wrong = |why: &str| Err(why.to_owned());
    if text.len() > REDIRECT_BYTES_MAX {
        return Err(format!("is over {REDIRECT_BYTES_MAX} bytes"));
    }
    let is_uri = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`|".contains(&byte);
    if !text.bytes().all(is_uri) {
        return wrong("has a character that no URL has (percent-encode it)");
    }
    let pieces = pieces(text)?;
    let Some(Piece::Text(first)) = pieces.first() else {
        return wrong("does not begin with https://, http:// or /");
    };
    match first.strip_prefix("https://").or_else(|| first.strip_prefix("http://")) {
        Some(rest) => check_authority(rest)?,
        None if first.starts_with("//") => return wrong("begins with //, which is another host"),
        None if first.starts_with('/') => {}
        None => return wrong("does not begin with https://, http:// or /"),
    }
    let ends_with_slash = |piece: &Piece| matches!(piece, Piece::Text(text) if text.ends_with('/'));
    if pieces.windows(2).any(|two| two[1] == Piece::Path && ends_with_slash(&two[0])) {
        return wrong("has a / before {path}, which begins with one itself");
    }
    let is_text_with =
        |piece: &Piece, what: &[char]| matches!(piece, Piece::Text(text) if text.contains(what));
    let path = pieces.iter().position(|piece| *piece == Piece::Path);
    if path.is_some_and(|at| pieces[..at].iter().any(|piece| is_text_with(piece, &['?', '#']))) {
        return wrong("has {path} behind a ? or #");
    }
    let query = pieces.iter().position(|piece| *piece == Piece::Query);
    if query.is_some_and(|at| {
        at + 1 != pieces.len() || pieces.iter().any(|piece| is_text_with(piece, &['?', '#']))
    }) {
        return wrong("has a {query} that is not its end, or stands behind another query");
    }
    let times = |wanted: &Piece| pieces.iter().filter(|piece| *piece == wanted).count();
    match times(&Piece::Path) > 1 || times(&Piece::Query) > 1 {
        true => wrong("has {path} or {query} twice"),
        false => Ok(pieces),
    }
}

fn pieces(text: &str) -> Parsed<Vec<Piece>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let end = rest.find(['{', '}']).unwrap_or(rest.len());
        if end > 0 {
            pieces.push(Piece::Text(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if let Some(behind) = rest.strip_prefix("{path}") {
            (rest, _) = (behind, pieces.push(Piece::Path));
        } else if let Some(behind) = rest.strip_prefix("{query}") {
            (rest, _) = (behind, pieces.push(Piece::Query));
        } else {
            return Err("has a brace that is not of {path} or {query}".to_owned());
        }
    }
    Ok(pieces)
}

/// Checks that a text begins with a whole authority: a host, and perhaps a port.
fn check_authority(rest: &str) -> Parsed<()> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && !port.starts_with('+'));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !host.is_empty() && host.bytes().all(is_plain);
    match (is_address || is_name) && port.is_none_or(is_port) {
        true => Ok(()),
        false => Err("has no valid host behind its scheme".to_owned()),
    }
}

fn respond(written: &WrittenRespond) -> Parsed<Reply> {
    let status: Option<u16> = written.status.as_deref().map_or(Some(200), |text| text.parse().ok());
    let status = status.filter(|status| (200..600).contains(status) && !(300..400).contains(status));
    let status = status.ok_or("status is not a number from 200 to 299 or 400 to 599")?;
    let (body, file): (Arc<[u8]>, _) = match (&written.body, &written.body_file) {
        (Some(_), Some(_)) => return Err("has body and body_file; it can have one of them".to_owned()),
        (Some(text), None) => (text.as_bytes().into(), None),
        (None, Some(path)) => (read_file(Path::new(path))?.into(), Some(PathBuf::from(path))),
        (None, None) => (Arc::default(), None),
    };
    if body.len() > RESPOND_BODY_BYTES_MAX {
        return Err(format!("the body has {} bytes, over {RESPOND_BODY_BYTES_MAX}", body.len()));
    }
    // RFC 9110 §15.3.5 and §15.3.6.
    if matches!(status, 204 | 205) && !body.is_empty() {
        return Err(format!("a {status} has no body"));
    }
    let content_type = written.content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
    let is_text = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let is_type = content_type.contains('/')
        && content_type.trim() == content_type
        && content_type.len() <= CONTENT_TYPE_BYTES_MAX
        && content_type.bytes().all(is_text);
    if !is_type {
        return Err(format!("content_type {} is not a media type", quoted(content_type)));
    }
    Ok(Reply::Respond(Respond { status, content_type: content_type.to_owned(), body, file }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::lowered_toml;

    fn lowered(keys: &str) -> Result<Reply, String> {
        let text = format!("[[route]]\nname = 'r'\npaths = ['/old/*']\n{keys}\n");
        let lowered = lowered_toml(&text).map_err(|mistakes| mistakes.to_string())?;
        Ok(lowered.config.routes[0].reply.clone().expect("a reply"))
    }

    fn to(target: &str) -> Result<String, String> {
        lowered(&format!("redirect = {{ status = 308, to = '{target}' }}")).map(|reply| reply.to_string())
    }

    #[test]
    fn a_redirect_names_its_host_itself() {
        for target in [
            "/",
            "/new{path}",
            "/new{path}{query}",
            "/new/{query}",
            "/a?b=c",
            "/a#b",
            "https://a.example",
            "https://a.example{path}{query}",
            "http://a.example:8080/x{path}",
            "https://[::1]:1/x",
            "https://a{query}",
        ] {
            assert_eq!(to(target), Ok(format!("redirect 308 to {target}")));
        }
        for (target, why) in [
            ("//evil", "another host"),
            ("/{path}", "a / before {path}"),
            ("{path}", "does not begin with"),
            ("{query}", "does not begin with"),
            ("https://{path}", "no valid host"),
            ("https://a:{path}", "no valid host"),
            ("https:/a", "does not begin with"),
            ("https://a/{path}", "a / before {path}"),
            ("https://u@a/", "no valid host"),
            ("https://a:0/", "no valid host"),
            ("https://a:x/", "no valid host"),
            ("https:///x", "no valid host"),
            ("https://a,b/", "no valid host"),
            ("ftp://a/", "does not begin with"),
            ("javascript:alert(1)", "does not begin with"),
            ("/\\\\evil", "no URL has"),
            ("/a b", "no URL has"),
            ("/é", "no URL has"),
            ("/a{id}", "a brace"),
            ("/a{path}{path}", "twice"),
            ("/a?x={path}", "{path} behind a ?"),
            ("/a{query}{path}", "not its end"),
            ("/a?b{query}", "another query"),
            ("", "does not begin with"),
        ] {
            let told = to(target).expect_err(target);
            assert!(told.contains(why) && told.lines().count() == 1, "{target}: {told}");
        }
        let broken = lowered("redirect = { status = 308, to = \"/a\\r\\nSet-Cookie: x\" }").unwrap_err();
        assert!(broken.contains("no URL has") && broken.lines().count() == 1, "{broken}");
        assert!(to(&format!("/{}", "a".repeat(REDIRECT_BYTES_MAX))).unwrap_err().contains("over 2048"));
    }

    #[test]
    fn an_answer_has_a_status_a_type_and_a_body() {
        let Ok(Reply::Respond(found)) = lowered("respond = { status = 503, body = 'closed' }") else {
            panic!("no answer")
        };
        assert_eq!((found.status, &found.body[..]), (503, &b"closed"[..]));
        assert_eq!(found.content_type, "text/plain; charset=utf-8");
        assert!(lowered("respond = {}").is_ok() && lowered("respond = { status = 204 }").is_ok());
        let more = "x".repeat(RESPOND_BODY_BYTES_MAX + 1);
        for (keys, why) in [
            ("respond = { status = 302 }", "status is not"),
            ("respond = { status = 101 }", "status is not"),
            ("respond = { status = 600 }", "status is not"),
            ("respond = { status = 'ok' }", "status is not"),
            ("respond = { status = 204, body = 'x' }", "a 204 has no body"),
            ("respond = { body = 'x', body_file = '/x' }", "one of them"),
            ("respond = { body_file = '/nowhere/at/all' }", "cannot be read"),
            ("respond = { content_type = \"a/b\\r\\nX: y\" }", "not a media type"),
            ("respond = { content_type = 'text' }", "not a media type"),
            (&format!("respond = {{ body = '{more}' }}"), "over 65536"),
            ("redirect = { to = '/' }", "status is missing"),
            ("redirect = { status = 301 }", "to is missing"),
            ("redirect = { status = 304, to = '/' }", "status is not 301"),
            ("redirect = { status = 301, to = '/' }\nrespond = {}", "one of them"),
            ("respond = {}\nkind = 'websocket'", "need an upstream"),
            ("respond = {}\nupstream = 'a'\n[upstreams.a]\nurl = 'http://a'", "an answer of its own"),
            ("redirect = { status = 301, to = '/', code = 1 }", "code"),
        ] {
            let told = lowered(keys).expect_err(keys);
            assert!(told.contains(why), "{keys}: {told}");
        }
    }
}
