//! How else a path may be read by the server behind the gateway.
//!
//! A service decides by the path who may do what, and so does the gateway. Where both read a path in two ways, a
//! client could pass as one route and be served as another. So a path with `%2F` or `;parameters` has to lead to the
//! same route in every reading.

use crate::config::Oddities;

/// A path as another server may read it.
pub(super) struct Reading {
    pub(super) path: Vec<u8>,
    /// `%2F` was read as a slash.
    pub(super) is_decoded: bool,
}

impl Reading {
    fn new(mut path: Vec<u8>, is_decoded: bool) -> Reading {
        // As servers do it.
        path.dedup_by(|later, earlier| (*later, *earlier) == (b'/', b'/'));
        Reading { path, is_decoded }
    }
}

/// The other readings of a path with these oddities: without what follows a `;` in its segment, with `%2F` for a slash,
/// or both, in either order.
pub(super) fn readings(path: &[u8], oddities: Oddities) -> Vec<Reading> {
    let mut readings = Vec::new();
    if oddities.encoded_slash {
        readings.push(Reading::new(decoded(path), true));
    }
    for ends in [Ends::Raw, Ends::Encoded] {
        if oddities.parameters {
            readings.push(Reading::new(stripped(path, ends), false));
        }
        if oddities.parameters && oddities.encoded_slash {
            readings.push(Reading::new(stripped(&decoded(path), ends), true));
            readings.push(Reading::new(decoded(&stripped(path, ends)), true));
        }
    }
    readings
}

/// Where a server takes parameters to begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// At `;`.
    Raw,
    /// At `%3B` too.
    Encoded,
}

/// The path with every `%2F` read as a slash. It is canonical, so it has them in upper case.
fn decoded(path: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((&byte, after)) = rest.split_first() {
        match rest.strip_prefix(b"%2F") {
            Some(behind) => (rest, _) = (behind, out.push(b'/')),
            None => (rest, _) = (after, out.push(byte)),
        }
    }
    out
}

/// The path without the parameters of its segments.
fn stripped(path: &[u8], ends: Ends) -> Vec<u8> {
    let is_end = |rest: &[u8]| rest.starts_with(b";") || (ends == Ends::Encoded && rest.starts_with(b"%3B"));
    let name = |segment: &[u8]| {
        let end = (0..segment.len()).find(|&at| is_end(&segment[at..])).unwrap_or(segment.len());
        segment[..end].to_vec()
    };
    let segments: Vec<Vec<u8>> = path.split(|&byte| byte == b'/').map(name).collect();
    segments.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, encoded_slash: bool, parameters: bool) -> Vec<String> {
        let oddities = Oddities { encoded_slash, parameters, ..Oddities::default() };
        let text = |reading: Reading| String::from_utf8_lossy(&reading.path).into_owned();
        let mut all: Vec<String> = readings(path.as_bytes(), oddities).into_iter().map(text).collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn every_reading_of_a_path() {
        assert_eq!(of("/a/b", false, false).len(), 0);
        assert_eq!(of("/a%2Fb/%2Fc%2F", true, false), ["/a/b/c/"]);
        assert_eq!(of("/a;x/b;y=1;z", false, true), ["/a/b"]);
        assert_eq!(of("/a%3Bx/b;y", false, true), ["/a%3Bx/b", "/a/b"]);
        assert_eq!(of("/;x/a/;", false, true), ["/a/"]);
        assert_eq!(of("/a;x%2Fb", true, true), ["/a", "/a/b", "/a;x/b"]);
        let expected = ["/a%2Fb/e", "/a/b/d/e", "/a/b/e", "/a/b;c/d/e"];
        assert_eq!(of("/a%2Fb;c%2Fd/e", true, true), expected);
    }
}
