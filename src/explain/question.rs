//! The request that is asked about, as a client would send it.

use crate::http::is_token;

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// Its method.
    pub method: &'q str,
    /// Its URL, or its path alone.
    pub url: &'q str,
    /// Its fields, as `Name: value`. None: one of each kind that has its own rule, and no token among them.
    pub fields: &'q [String],
    /// Its token, wherever it would stand.
    pub token: Option<&'q str>,
}

impl Question<'_> {
    /// The head of the request.
    ///
    /// # Errors
    /// A line for the operator about a field that is none. Nothing of its value is in it: that may be a token.
    pub(super) fn head(&self) -> Result<Vec<u8>, String> {
        let mut lines = String::new();
        let (mut asked, mut target) = (None, self.url);
        for (nth, written) in self.fields.iter().enumerate() {
            let (name, value) = field(written).map_err(|why| format!("--header {}: {why}", nth + 1))?;
            // A second one is for the parser to refuse.
            if name.eq_ignore_ascii_case("host") && asked.is_none() {
                (asked, target) = (Some(value), path(self.url));
            } else {
                lines += &format!("{name}: {value}\r\n");
            }
        }
        let host = asked.or_else(|| host(self.url)).unwrap_or("example");
        let lines = if self.fields.is_empty() { PROBES } else { &lines };
        Ok(format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n", self.method).into_bytes())
    }

    /// Whether its fields are those of a real request, and the token among them its own.
    pub(super) fn is_of_client(&self) -> bool {
        !self.fields.is_empty()
    }
}

/// Name and value of a field.
fn field(written: &str) -> Result<(&str, &str), String> {
    let Some((name, value)) = written.split_once(':') else {
        return Err("is not NAME: VALUE".to_owned());
    };
    if !is_token(name.as_bytes()) {
        return Err("does not begin with the name of a field and a colon".to_owned());
    }
    match value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        true => Err(format!("the value of {name} has a control character")),
        false => Ok((name, value.trim_matches([' ', '\t']))),
    }
}

/// The authority of a URL. A path has none.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://").filter(|_| !url.starts_with('/'))?;
    rest.split(['/', '?', '#']).next()
}

/// What of a URL a client sends to the host that it names.
fn path(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://").filter(|_| !url.starts_with('/')) else { return url };
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// One header field of each kind that has its own rule.
const PROBES: &str = "Connection: keep-alive, X-Nominated-By-Connection\r\nX-Nominated-By-Connection: 1\r\n\
Keep-Alive: 1\r\nProxy-Connection: 1\r\nProxy-Authorization: 1\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\n\
X-Internal-User-Id: 1\r\nX_Internal_Anything: 1\r\nX-Forwarded-For: 1\r\nX-Forwarded-Proto: http\r\n\
X-Forwarded-Host: h\r\nForwarded: for=1\r\nX-Real-IP: 1\r\nX-Request-Id: 1\r\nVia: 1.1 x\r\nProxy: 1\r\n\
X-HTTP-Method-Override: 1\r\ntraceparent: 1\r\ntracestate: 1\r\nContent_Length: 1\r\n\
Authorization: Bearer x\r\nCookie: a=b\r\nAccept: */*\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn head(url: &str, fields: &[&str]) -> Result<String, String> {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let question = Question { method: "GET", url, fields: &fields, token: None };
        question.head().map(|head| String::from_utf8(head).expect("text"))
    }

    #[test]
    fn a_request_has_the_fields_of_its_client() {
        let told = head("/x", &["X-A:  b c ", "X-A: d"]);
        assert_eq!(told.as_deref(), Ok("GET /x HTTP/1.1\r\nHost: example\r\nX-A: b c\r\nX-A: d\r\n\r\n"));
        let told = head("https://a.example/x?y", &["host: b.example:80"]);
        assert_eq!(told.as_deref(), Ok("GET /x?y HTTP/1.1\r\nHost: b.example:80\r\n\r\n"));
        let told = head("https://a.example", &["X-A: b"]);
        assert_eq!(
            told.as_deref(),
            Ok("GET https://a.example HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\n\r\n")
        );
        assert!(head("/x", &[]).is_ok_and(|head| head.contains("\r\nVia: 1.1 x\r\n")));
    }

    #[test]
    fn what_is_no_field_is_told_without_its_value() {
        for (field, why) in [
            ("Authorization Bearer secret", "--header 2: is not NAME: VALUE"),
            (": secret", "--header 2: does not begin with the name of a field"),
            ("X A: secret", "--header 2: does not begin with the name of a field"),
            ("X-A : secret", "--header 2: does not begin with the name of a field"),
            ("X-A: secret\r\nX-B: c", "--header 2: the value of X-A has a control character"),
            ("X-A: secret\0", "--header 2: the value of X-A has a control character"),
        ] {
            let told = head("/x", &["X-Ok: 1", field]).expect_err(field);
            assert!(told.starts_with(why) && !told.contains("secret") && told.lines().count() == 1, "{told}");
        }
    }
}
