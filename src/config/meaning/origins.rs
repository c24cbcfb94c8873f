//! Browser origins of a list: `https://chat.example`, or `https://*.chat.example` for every name below one.

/// What stands in a listed origin for one or more labels.
pub(crate) const WILDCARD: &str = "*.";

/// Whether a listed origin has a wildcard.
pub fn is_wildcard(listed: &str) -> bool {
    listed.contains(WILDCARD)
}

/// Whether a listed origin means this one. The case of letters does not matter; a wildcard is one label or more, and
/// scheme and port are exact.
pub fn means(listed: &str, origin: &[u8]) -> bool {
    let Some((scheme, domain)) = listed.split_once(WILDCARD) else {
        return listed.as_bytes().eq_ignore_ascii_case(origin);
    };
    let (scheme, domain) = (scheme.as_bytes(), domain.as_bytes());
    let Some(labels) = origin.len().checked_sub(domain.len()).filter(|end| *end > scheme.len()) else {
        return false;
    };
    let (begin, end) = origin.split_at(labels);
    begin[..scheme.len()].eq_ignore_ascii_case(scheme)
        && end.eq_ignore_ascii_case(domain)
        && is_labels(&begin[scheme.len()..])
}

/// Labels of a name with a dot behind each: `a.`, `a.b.`.
fn is_labels(labels: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        !label.is_empty() && label.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
    };
    labels.strip_suffix(b".").is_some_and(|labels| labels.split(|byte| *byte == b'.').all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_the_labels_below_a_name_and_nothing_else() {
        let listed = "https://*.example.com";
        for origin in ["https://a.example.com", "https://a.b-c.example.com", "HTTPS://A.Example.com"] {
            assert!(means(listed, origin.as_bytes()), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evil-example.com",
            "https://evilexample.com",
            "https://a.example.com.evil",
            "https://example.com.evil",
            "https://a.example.com:8443",
            "https://a.example.com:443",
            "https://a.example.com/",
            "http://a.example.com",
            "https://evil.test/.example.com",
            "https://evil.test:1.example.com",
            "https://evil@a.example.com",
            "https://evil.test#.example.com",
            "https://evil.test?.example.com",
            "https://[::1].example.com",
            "https://\u{e9}.example.com",
            "https://*.example.com",
            "https://a .example.com",
            "https://",
            "null",
            "",
        ] {
            assert!(!means(listed, origin.as_bytes()), "{origin}");
        }
        assert!(means("http://*.localhost:3000", b"http://a.localhost:3000"));
        for origin in ["http://a.localhost", "http://a.localhost:30001", "http://a.localhost:300"] {
            assert!(!means("http://*.localhost:3000", origin.as_bytes()), "{origin}");
        }
    }
}
