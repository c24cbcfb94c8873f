//! Which browser origins may call: the CORS protocol of the Fetch standard
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>, a living text: its parts are named here by title).
//!
//! The gateway answers preflights itself: a browser sends them without a token, so no protected route could.

use crate::config::{Cors, listed_origins as origins};
use crate::http::{is_token, tokens};
use crate::limits::{CORS_EXPOSED_MAX, CORS_HEADERS_BYTES_MAX};
use crate::message::HeadWriter;

/// What the configuration says about origins, ready to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsPolicy(Policy);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Policy {
    Off,
    Any,
    Origins {
        /// Without wildcards, ascending.
        exact: Vec<String>,
        wildcards: Vec<String>,
    },
}

/// An origin may read the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed<'p> {
    /// The value of `Access-Control-Allow-Origin`.
    pub origin: &'p [u8],
    /// `Access-Control-Allow-Credentials: true` goes with it.
    pub credentials: bool,
}

/// A preflight ("CORS-preflight fetch") that the gateway answers: 204 with [`Preflight::fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preflight<'a> {
    /// `None`: the origin may not call. The answer is the same without permission, which is what a browser
    /// takes for a no.
    pub allowed: Option<Allowed<'a>>,
    headers: &'a [u8],
}

impl CorsPolicy {
    /// The policy of a configuration.
    pub fn new(cors: &Cors) -> Self {
        Self(match cors {
            Cors::Off => Policy::Off,
            Cors::Any => Policy::Any,
            Cors::Origins(origins) => {
                // "null" is every sandboxed frame and every local file at once: nobody in particular.
                let mut origins: Vec<_> = origins.iter().filter(|&o| o != "null").cloned().collect();
                origins.sort_unstable();
                let (wildcards, exact) = origins.into_iter().partition(|origin| origins::is_wildcard(origin));
                Policy::Origins { exact, wildcards }
            }
        })
    }

    /// What a response may say to this `Origin`; compared byte for byte, as browsers serialize it.
    ///
    /// `*` is said to requests without an origin too, so that a cached response serves a later one with
    /// ("CORS protocol and HTTP caches"); and never with credentials ("CORS protocol and credentials").
    pub fn answer<'a>(&self, origin: Option<&'a [u8]>) -> Option<Allowed<'a>> {
        match &self.0 {
            Policy::Off => None,
            Policy::Any => Some(Allowed { origin: b"*", credentials: false }),
            Policy::Origins { exact, wildcards } => {
                let origin = origin?;
                let is_known = exact.binary_search_by(|known| known.as_bytes().cmp(origin)).is_ok()
                    || wildcards.iter().any(|listed| {
                        origins::means(listed, origin) && !origin.iter().any(u8::is_ascii_uppercase)
                    });
                is_known.then_some(Allowed { origin, credentials: true })
            }
        }
    }

    /// The gateway speaks for its upstreams in these matters.
    pub fn is_on(&self) -> bool {
        self.0 != Policy::Off
    }

    /// Gives each field that an ordinary response gets to `put`, as name and value.
    ///
    /// `Vary` is said to every request, allowed or not, where the answer depends on the origin
    /// ("CORS protocol and HTTP caches"). What an upstream says about these fields itself has to be taken out:
    /// they must not be there twice.
    pub fn response_fields(&self, origin: Option<&[u8]>, put: &mut impl FnMut(&'static str, &[u8])) {
        if self.permission_fields(origin, put) {
            put(EXPOSE_HEADERS, EXPOSED.as_bytes());
        }
    }

    /// Writes the fields that the response of a service gets. What it exposes itself (`exposed`, the values of its
    /// `Access-Control-Expose-Headers`) stands behind what the gateway does, without doubles.
    pub fn compose_response<'v>(
        &self,
        head: &mut HeadWriter,
        origin: Option<&[u8]>,
        exposed: impl Iterator<Item = &'v [u8]>,
    ) {
        if !self.permission_fields(origin, &mut |name, value| head.field(name.as_bytes(), value)) {
            return;
        }
        head.begin_field(EXPOSE_HEADERS.as_bytes());
        head.put_value([EXPOSED.as_bytes()]);
        let mut exposed = exposed.flat_map(tokens).peekable();
        if exposed.peek().is_some() {
            compose_exposed(head, exposed);
        }
        head.end_field();
    }

    /// Gives the fields that say who may read a response. False: nobody may.
    fn permission_fields(&self, origin: Option<&[u8]>, put: &mut impl FnMut(&'static str, &[u8])) -> bool {
        if matches!(self.0, Policy::Origins { .. }) {
            put("Vary", b"Origin");
        }
        let allowed = self.answer(origin);
        if let Some(allowed) = allowed {
            allowed.fields(put);
        }
        allowed.is_some()
    }

    /// Is this request a preflight that the gateway answers? `OPTIONS` with `Origin` and
    /// `Access-Control-Request-Method` is, unless CORS is off; any other request is an ordinary one.
    ///
    /// `requested_headers` is the value of `Access-Control-Request-Headers`. It is repeated if it is a list
    /// of tokens of bounded length: permission to send a field is no permission to use it, and `*` does not
    /// cover `Authorization` (a "CORS non-wildcard request-header name").
    pub fn preflight<'a>(
        &'a self,
        method: &[u8],
        origin: Option<&'a [u8]>,
        requested_method: Option<&[u8]>,
        requested_headers: Option<&'a [u8]>,
    ) -> Option<Preflight<'a>> {
        if self.0 == Policy::Off || method != b"OPTIONS" || requested_method.is_none() {
            return None;
        }
        let allowed = self.answer(Some(origin?));
        let headers = requested_headers.filter(|value| is_token_list(value)).unwrap_or(HEADERS.as_bytes());
        Some(Preflight { allowed, headers })
    }
}

impl Allowed<'_> {
    fn fields(&self, put: &mut impl FnMut(&'static str, &[u8])) {
        put("Access-Control-Allow-Origin", self.origin);
        if self.credentials {
            put("Access-Control-Allow-Credentials", b"true");
        }
    }
}

impl Preflight<'_> {
    /// Gives each field of the answer to `put`, as name and value.
    pub fn fields(&self, put: &mut impl FnMut(&'static str, &[u8])) {
        put("Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
        let Some(allowed) = self.allowed else { return };
        allowed.fields(put);
        put("Access-Control-Allow-Methods", METHODS.as_bytes());
        put("Access-Control-Allow-Headers", self.headers);
        put("Access-Control-Max-Age", MAX_AGE_S.as_bytes());
    }
}

/// Goes on with a list that begins with the gateway's own names: with those of a service that are not in it yet.
fn compose_exposed<'v>(head: &mut HeadWriter, exposed: impl Iterator<Item = &'v [u8]>) {
    let mut names: [&[u8]; CORS_EXPOSED_MAX] = [b""; CORS_EXPOSED_MAX];
    let mut count = 0;
    for name in exposed.filter(|name| is_token(name)) {
        let is_same = |known: &[u8]| known.eq_ignore_ascii_case(name);
        if tokens(EXPOSED.as_bytes()).any(is_same) || names[..count].iter().copied().any(is_same) {
            continue;
        }
        let Some(place) = names.get_mut(count) else { break };
        *place = name;
        count += 1;
        head.put_value([b", ", name]);
    }
}

/// `1#field-name` (RFC 9110 §5.6.1), bounded; empty elements are not repeated.
fn is_token_list(value: &[u8]) -> bool {
    value.len() <= CORS_HEADERS_BYTES_MAX
        && value.split(|&byte| byte == b',').all(|element| {
            is_token(element.trim_ascii())
        })
        // `trim_ascii` knows more white space than HTTP does.
        && value.iter().all(|&byte| byte == b'\t' || (b' '..0x7f).contains(&byte))
}

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str = "Authorization, Content-Type, X-Request-Id";
/// What a page may read besides the safelisted fields: the gateway's own.
const EXPOSED: &str = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id";
const EXPOSE_HEADERS: &str = "Access-Control-Expose-Headers";
/// Browsers cap it anyway (Chromium at two hours); a change of policy should not take longer to arrive.
const MAX_AGE_S: &str = "600";

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> CorsPolicy {
        let origins = ["https://chat.example", "http://localhost:3000", "https://app.example", "null"];
        CorsPolicy::new(&Cors::Origins(origins.map(String::from).to_vec()))
    }

    fn lines(write: impl FnOnce(&mut dyn FnMut(&'static str, &[u8]))) -> String {
        let mut out = String::new();
        write(&mut |name, value| {
            out += &format!("{name}: {}\n", String::from_utf8_lossy(value));
        });
        out
    }

    fn preflight(policy: &CorsPolicy, origin: &str, headers: Option<&str>) -> String {
        let found = policy
            .preflight(b"OPTIONS", Some(origin.as_bytes()), Some(b"PUT"), headers.map(str::as_bytes))
            .unwrap();
        lines(|mut put| found.fields(&mut put))
    }

    #[test]
    fn off_says_nothing() {
        let policy = CorsPolicy::new(&Cors::Off);
        assert_eq!(policy.answer(Some(b"https://chat.example")), None);
        assert_eq!(policy.preflight(b"OPTIONS", Some(b"https://a"), Some(b"GET"), None), None);
        assert_eq!(lines(|mut put| policy.response_fields(Some(b"https://a"), &mut put)), "");
    }

    #[test]
    fn any_origin_is_allowed_without_credentials() {
        let policy = CorsPolicy::new(&Cors::Any);
        let expected = Some(Allowed { origin: b"*", credentials: false });
        for origin in [None, Some(&b"https://evil.example"[..]), Some(b"null")] {
            assert_eq!(policy.answer(origin), expected);
        }
        let fields = lines(|mut put| policy.response_fields(None, &mut put));
        assert!(fields.starts_with("Access-Control-Allow-Origin: *\n"), "{fields}");
        assert!(!fields.contains("Credentials") && !fields.contains("Vary"), "{fields}");
    }

    #[test]
    fn named_origins_are_compared_byte_for_byte() {
        let policy = named();
        for origin in ["https://chat.example", "http://localhost:3000", "https://app.example"] {
            assert_eq!(
                policy.answer(Some(origin.as_bytes())),
                Some(Allowed { origin: origin.as_bytes(), credentials: true })
            );
        }
        for origin in [
            "null",
            "",
            "*",
            "https://chat.example.evil",
            "https://evil-chat.example",
            "http://chat.example",
            "https://chat.example:443",
            "https://chat.example/",
            "HTTPS://chat.example",
            "https://chat.exampl",
        ] {
            assert_eq!(policy.answer(Some(origin.as_bytes())), None, "{origin}");
        }
        assert_eq!(policy.answer(None), None);
    }

    #[test]
    fn a_wildcard_is_answered_with_the_origin_that_asked() {
        let listed = ["https://chat.example", "https://*.chat.example"];
        let policy = CorsPolicy::new(&Cors::Origins(listed.map(String::from).to_vec()));
        for origin in ["https://chat.example", "https://a.chat.example", "https://a.b.chat.example"] {
            let origin = origin.as_bytes();
            assert_eq!(policy.answer(Some(origin)), Some(Allowed { origin, credentials: true }));
        }
        for origin in ["https://evil-chat.example", "https://A.chat.example", "https://*.chat.example"] {
            assert_eq!(policy.answer(Some(origin.as_bytes())), None, "{origin}");
        }
    }

    #[test]
    fn what_a_service_exposes_stands_behind_what_the_gateway_does() {
        let exposed = |policy: &CorsPolicy, values: &[&str]| {
            let pool = crate::net::BufferPool::new();
            let mut head = HeadWriter::H1(pool.buffer());
            let values = values.iter().map(|value| value.as_bytes());
            policy.compose_response(&mut head, Some(b"https://chat.example"), values);
            let HeadWriter::H1(out) = head;
            let text = String::from_utf8(out.filled().to_vec()).expect("text");
            let line = text.lines().find_map(|line| line.strip_prefix("Access-Control-Expose-Headers: "));
            line.map(|line| line.strip_prefix(EXPOSED).expect("ours first").to_owned())
        };
        let behind = |values: &[&str]| exposed(&named(), values).expect("a line");
        assert_eq!(behind(&[]), "");
        assert_eq!(behind(&["Upload-Offset, Location"]), ", Upload-Offset, Location");
        assert_eq!(behind(&["A,,a , b", "B, x-request-ID", "c"]), ", A, b, c");
        assert_eq!(behind(&["a b, *, c\0, \u{e9}"]), ", *");
        let many: Vec<String> = (0..CORS_EXPOSED_MAX + 5).map(|nth| format!("x{nth}")).collect();
        assert_eq!(behind(&[&many.join(",")]).matches(", ").count(), CORS_EXPOSED_MAX);
        let strangers = CorsPolicy::new(&Cors::Origins(vec!["https://a".to_owned()]));
        assert_eq!(exposed(&strangers, &["Location"]), None);
    }

    #[test]
    fn a_response_varies_by_origin_even_without_permission() {
        let policy = named();
        for origin in [None, Some(&b"https://evil.example"[..])] {
            assert_eq!(lines(|mut put| policy.response_fields(origin, &mut put)), "Vary: Origin\n");
        }
        let fields = lines(|mut put| policy.response_fields(Some(b"https://chat.example"), &mut put));
        assert_eq!(
            fields,
            "Vary: Origin\nAccess-Control-Allow-Origin: https://chat.example\n\
             Access-Control-Allow-Credentials: true\n\
             Access-Control-Expose-Headers: RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, \
             Retry-After, X-Request-Id\n"
        );
    }

    #[test]
    fn only_options_with_both_fields_is_a_preflight() {
        let (policy, origin) = (named(), Some(&b"https://chat.example"[..]));
        assert!(policy.preflight(b"OPTIONS", origin, Some(b"GET"), None).is_some());
        assert_eq!(policy.preflight(b"GET", origin, Some(b"GET"), None), None);
        assert_eq!(policy.preflight(b"OPTIONS", None, Some(b"GET"), None), None);
        assert_eq!(policy.preflight(b"OPTIONS", origin, None, None), None);
    }

    #[test]
    fn a_preflight_is_told_what_it_may_send() {
        assert_eq!(
            preflight(&named(), "https://chat.example", Some("authorization,x-trace")),
            "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\n\
             Access-Control-Allow-Origin: https://chat.example\n\
             Access-Control-Allow-Credentials: true\n\
             Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE\n\
             Access-Control-Allow-Headers: authorization,x-trace\n\
             Access-Control-Max-Age: 600\n"
        );
        let any = preflight(&CorsPolicy::new(&Cors::Any), "https://a", None);
        assert!(any.contains("Allow-Origin: *\n") && !any.contains("Credentials"), "{any}");
    }

    #[test]
    fn a_stranger_is_told_nothing() {
        for origin in ["https://evil.example", "null"] {
            let fields = preflight(&named(), origin, Some("authorization"));
            assert_eq!(fields.lines().count(), 1, "{fields}");
            assert!(fields.starts_with("Vary:"), "{fields}");
        }
    }

    #[test]
    fn only_a_token_list_is_repeated() {
        let long = "x".repeat(CORS_HEADERS_BYTES_MAX + 1);
        let fixed = format!("Access-Control-Allow-Headers: {HEADERS}\n");
        for headers in ["a b", "a,,b", "", "a\r\nSet-Cookie: x", "a\x0cb", "a,\x0cb", "h\u{e4}", "a:b", &long]
        {
            let fields = preflight(&named(), "https://chat.example", Some(headers));
            assert!(fields.contains(&fixed), "{headers:?}: {fields}");
        }
        for headers in ["a", "a, b,\tc", "X-Y_z.1"] {
            let fields = preflight(&named(), "https://chat.example", Some(headers));
            assert!(fields.contains(&format!("Access-Control-Allow-Headers: {headers}\n")), "{fields}");
        }
    }
}
