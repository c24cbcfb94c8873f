//! The one canonical path, which is matched *and* forwarded.

use super::ProtocolError;
use crate::config::Oddities;

/// Makes the path canonical where it stands: encoded unreserved characters are decoded once (RFC 3986
/// §6.2.2.2), the hex digits of the other escapes become upper case (§6.2.2.1). Gives its new length, which
/// is never more, and which oddities the path had. Of these it takes the ones in `taken`: empty segments are merged,
/// encoded slashes stay what they are. Parameters are not looked for.
///
/// # Errors
/// Whatever a server behind us could read as another path is refused, each kind by its name. `PathByte`: the path has
/// a byte that must be percent-encoded, and has not been touched.
pub fn canonicalise(path: &mut [u8], taken: Oddities) -> Result<(usize, Oddities), ProtocolError> {
    let mut found = Oddities::default();
    let length = match path.iter().position(|&byte| !is_path_byte(byte)) {
        None => path.len(),
        // What has to be encoded makes the path longer, so it cannot be done here.
        Some(from) if path[from..].iter().any(|&byte| is_encoded(byte)) => {
            return Err(ProtocolError::PathByte);
        }
        Some(from) => decode(path, from, taken, &mut found)?,
    };
    // On the result, so that `.%2e` and `%25%32%66` are seen for what they are.
    match check_segments(&path[..length], found) {
        Err(ProtocolError::PathEmptySegment) if taken.empty_segments => {
            found.empty_segments = true;
            let length = merge(&mut path[..length]);
            check_segments(&path[..length], found)?;
            Ok((length, found))
        }
        checked => checked.map(|()| (length, found)),
    }
}

/// Makes one slash of several. Gives the new length.
///
/// ```text
/// //a///b   read   >
/// /a/b      write  >   never ahead of read
/// ```
#[cold]
fn merge(path: &mut [u8]) -> usize {
    let mut write = 0;
    for read in 0..path.len() {
        if path[read] == b'/' && write > 0 && path[write - 1] == b'/' {
            continue;
        }
        path[write] = path[read];
        write += 1;
    }
    write
}

/// Whether a raw byte of a path is percent-encoded before it goes on: what is visible and no URI has, which browsers
/// send (the URL standard's path state leaves `[ ] | ^` as they are), and whatever is not ASCII. Nobody reads such a
/// byte as anything but itself.
pub(crate) fn is_encoded(byte: u8) -> bool {
    match byte {
        b'%' | b'#' | b'?' | b'\\' => false,
        0x21..=0x7e => !is_path_byte(byte),
        _ => byte >= 0x80,
    }
}

/// Appends bytes to `out`, those that have to be as escapes.
pub(crate) fn push_encoded(
    out: &mut Vec<u8>,
    range: std::ops::Range<usize>,
    is_encoded: impl Fn(u8) -> bool,
) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for at in range {
        let byte = out[at];
        match is_encoded(byte) {
            true => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            false => out.push(byte),
        }
    }
}

/// Whether a path has `;parameters`, raw or encoded. On a canonical path only.
pub(crate) fn has_parameters(path: &[u8]) -> bool {
    memchr::memchr2_iter(b';', b'%', path).any(|at| path[at] == b';' || path[at..].starts_with(b"%3B"))
}

/// A path up to where some service would take what follows for parameters or a query, which may hold a token: raw or
/// encoded, however often.
pub(crate) fn before_parameters(path: &[u8]) -> &[u8] {
    let is_end = |at: &usize| {
        let mut rest = &path[at + 1..];
        if path[*at] != b'%' {
            return true;
        }
        while let Some(after) = rest.strip_prefix(b"25") {
            rest = after;
        }
        matches!(rest, [b'3', b'b' | b'B' | b'f' | b'F', ..])
    };
    let stops = path.iter().enumerate().filter(|(_, byte)| matches!(byte, b'%' | b';' | b'?' | b'#'));
    let end = stops.map(|(at, _)| at).find(is_end);
    &path[..end.unwrap_or(path.len())]
}

/// `pchar` without its escapes (RFC 3986 §3.3), and the slash.
pub(crate) fn is_path_byte(byte: u8) -> bool {
    PATH_BYTES[usize::from(byte)]
}

/// A look at a table instead of a dozen comparisons, for every byte of every path.
const PATH_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_unreserved(byte as u8) || is_delimiter(byte as u8);
        byte += 1;
    }
    table
};

const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
    )
}

/// The value of a percent escape at the start of `bytes`; `None` where there is none.
pub(crate) fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

fn check_raw(byte: u8) -> Result<(), ProtocolError> {
    match byte {
        b'#' => Err(ProtocolError::Fragment),
        b'\\' => Err(ProtocolError::PathBackslash),
        _ if is_path_byte(byte) => Ok(()),
        _ => Err(ProtocolError::PathByte),
    }
}

/// ```text
/// /a%2Db%c3%a9   read   >
/// /a-b%C3%A9     write  >   never ahead of read
/// ```
///
/// Before `from` there is nothing to decode.
fn decode(
    path: &mut [u8],
    from: usize,
    taken: Oddities,
    found: &mut Oddities,
) -> Result<usize, ProtocolError> {
    let (mut read, mut write) = (from, from);
    while read < path.len() {
        if path[read] != b'%' {
            check_raw(path[read])?;
            path[write] = path[read];
            (read, write) = (read + 1, write + 1);
            continue;
        }
        let value = escape(&path[read..]).ok_or(ProtocolError::PathEscape)?;
        if is_unreserved(value) {
            path[write] = value;
            (read, write) = (read + 3, write + 1);
            continue;
        }
        let escapes = match value {
            0x00 => return Err(ProtocolError::PathNul),
            b'/' if taken.encoded_slash => {
                found.encoded_slash = true;
                1
            }
            b'/' => return Err(ProtocolError::PathEncodedSlash),
            b'\\' => return Err(ProtocolError::PathEncodedBackslash),
            0x01..=0x1f | 0x7f => return Err(ProtocolError::PathControl),
            0x80.. => check_utf8(&path[read..])?,
            _ => 1,
        };
        for _ in 0..escapes * 3 {
            path[write] = path[read].to_ascii_uppercase();
            (read, write) = (read + 1, write + 1);
        }
    }
    Ok(write)
}

/// One character of two to four escapes at the start of `bytes`: how many.
fn check_utf8(bytes: &[u8]) -> Result<usize, ProtocolError> {
    let mut character = [0; 4];
    let length = match escape(bytes) {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => return Err(ProtocolError::PathNotUtf8),
    };
    for (at, byte) in character[..length].iter_mut().enumerate() {
        *byte = bytes.get(at * 3..).and_then(escape).ok_or(ProtocolError::PathNotUtf8)?;
    }
    // Refuses overlong forms, surrogates and what is over U+10FFFF, too.
    let text = std::str::from_utf8(&character[..length]).map_err(|_| ProtocolError::PathNotUtf8)?;
    let is_control = text.chars().any(char::is_control);
    if is_control { Err(ProtocolError::PathControl) } else { Ok(length) }
}

fn check_segments(path: &[u8], found: Oddities) -> Result<(), ProtocolError> {
    if !path.starts_with(b"/") {
        return Err(ProtocolError::InvalidTarget);
    }
    let mut segments = path[1..].split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(ProtocolError::PathEmptySegment);
        }
        if is_dots(segment) {
            return Err(ProtocolError::PathDotSegment);
        }
    }
    // Some server takes `..%2F..` for what it looks like.
    if found.encoded_slash {
        check_between_slashes(path)?;
    }
    let is_double = |at: usize| matches!(&path[at..], [b'%', b'2', b'5', rest @ ..] if is_hex_pair(rest));
    match memchr::memchr_iter(b'%', path).any(is_double) {
        true => check_hidden(path),
        false => Ok(()),
    }
}

/// Refuses dot segments between slashes of either kind.
#[cold]
fn check_between_slashes(path: &[u8]) -> Result<(), ProtocolError> {
    let starts = (0..path.len()).filter(|&at| path[at] == b'/').map(|at| at + 1);
    let encoded = (0..path.len()).filter(|&at| path[at..].starts_with(b"%2F")).map(|at| at + 3);
    let segment = |from: usize| {
        let rest = &path[from..];
        let end = (0..rest.len()).find(|&at| rest[at] == b'/' || rest[at..].starts_with(b"%2F"));
        &rest[..end.unwrap_or(rest.len())]
    };
    match starts.chain(encoded).any(|from| is_dots(segment(from))) {
        true => Err(ProtocolError::PathDotSegment),
        false => Ok(()),
    }
}

fn is_hex_pair(bytes: &[u8]) -> bool {
    matches!(bytes, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// A percent sign that is correctly encoded may stand before two hex digits (`/100%2541.txt`). A service that decodes
/// the path once more than it should must find no other segments in it: what then appears is no separator, no dot and
/// no control character, in overlong UTF-8 either.
#[cold]
fn check_hidden(path: &[u8]) -> Result<(), ProtocolError> {
    let structure = |text: &[u8]| text.iter().filter(|byte| matches!(byte, b'/' | b'.')).count();
    // Those that are kept become slashes the first time, and no more of them afterwards.
    let kept = (0..path.len()).filter(|&at| path[at..].starts_with(b"%2F")).count();
    let (mut text, expected) = (path.to_vec(), structure(path) + kept);
    for _ in 0..PATH_DECODES_MAX {
        let before = text.len();
        decode_again(&mut text);
        if text.len() == before {
            return Ok(());
        }
        if structure(&text) != expected || has_control(&text) {
            return Err(ProtocolError::PathDoubleEncoding);
        }
        if text.split(|&byte| byte == b'/').any(is_dots) {
            return Err(ProtocolError::PathDotSegment);
        }
    }
    Err(ProtocolError::PathDoubleEncoding)
}

/// Every escape becomes its byte, as a careless server does it.
fn decode_again(text: &mut Vec<u8>) {
    let (mut read, mut write) = (0, 0);
    while read < text.len() {
        let value = escape(&text[read..]);
        text[write] = value.unwrap_or(text[read]);
        read += if value.is_some() { 3 } else { 1 };
        write += 1;
    }
    text.truncate(write);
}

/// A backslash, a control character, or a spelling in UTF-8 of either or of ASCII that only careless decoders read.
fn has_control(text: &[u8]) -> bool {
    let is_overlong = |pair: &[u8]| {
        matches!(
            pair,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xc2, 0x80..=0x9f] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]
        )
    };
    text.iter().any(|byte| matches!(byte, 0..=0x1f | 0x7f | b'\\')) || text.windows(2).any(is_overlong)
}

/// How often a path is decoded to find what it hides. Over it: it is refused as encoded twice.
const PATH_DECODES_MAX: usize = 4;

fn is_dots(segment: &[u8]) -> bool {
    matches!(name(segment), b"." | b"..")
}

/// A segment without its parameters: some servers take `..;a` for `..`.
fn name(segment: &[u8]) -> &[u8] {
    let dots = segment.iter().take_while(|&&byte| byte == b'.').count();
    let rest = &segment[dots..];
    if rest.starts_with(b";") || rest.starts_with(b"%3B") { &segment[..dots] } else { segment }
}

const fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Oddities = Oddities { empty_segments: true, encoded_slash: true, parameters: true };

    fn canonical(path: &str) -> Result<String, ProtocolError> {
        let (path, found) = canonical_of(path, Oddities::default())?;
        assert!(!found.any(), "{path}");
        Ok(path)
    }

    fn canonical_of(path: &str, taken: Oddities) -> Result<(String, Oddities), ProtocolError> {
        let mut bytes = path.as_bytes().to_vec();
        let (length, found) = canonicalise(&mut bytes, taken)?;
        Ok((String::from_utf8_lossy(&bytes[..length]).into_owned(), found))
    }

    #[test]
    fn empty_segments_are_merged_where_somebody_takes_them() {
        for (path, expected) in [
            ("//", "/"),
            ("///a", "/a"),
            ("/a//b///c", "/a/b/c"),
            ("/a//", "/a/"),
            ("//evil.example/", "/evil.example/"),
            ("/%61//%2d", "/a/-"),
        ] {
            let found = Oddities { empty_segments: true, ..Oddities::default() };
            assert_eq!(canonical_of(path, ALL), Ok((expected.into(), found)), "{path}");
        }
        for path in ["/a//../b", "//.", "/a/..//b", "//%2e%2e/a"] {
            assert_eq!(canonical_of(path, ALL), Err(ProtocolError::PathDotSegment), "{path}");
        }
        assert_eq!(canonical_of("/a/b/", ALL), Ok(("/a/b/".into(), Oddities::default())));
    }

    #[test]
    fn encoded_slashes_stay_where_somebody_takes_them_and_hide_no_dots() {
        for (path, expected) in [
            ("/a%2fb", "/a%2Fb"),
            ("/%2F", "/%2F"),
            ("/a%2F%2fb/c", "/a%2F%2Fb/c"),
            ("/a%2f100%2541", "/a%2F100%2541"),
            ("/a%2F...", "/a%2F..."),
        ] {
            let found = Oddities { encoded_slash: true, ..Oddities::default() };
            assert_eq!(canonical_of(path, ALL), Ok((expected.into(), found)), "{path}");
        }
        for (path, error) in [
            ("/a%2f..%2fb", ProtocolError::PathDotSegment),
            ("/..%2fb", ProtocolError::PathDotSegment),
            ("/a%2F%2e%2E", ProtocolError::PathDotSegment),
            ("/a%2F.", ProtocolError::PathDotSegment),
            ("/a%2F..;x/b", ProtocolError::PathDotSegment),
            ("/a%2F..%3bx%2fb", ProtocolError::PathDotSegment),
            ("/a%2f%5cb", ProtocolError::PathEncodedBackslash),
            ("/a%2f%00", ProtocolError::PathNul),
            ("/a%2f%252fb", ProtocolError::PathDoubleEncoding),
            ("/a%252fb", ProtocolError::PathDoubleEncoding),
            ("/a%2f%252e%252e", ProtocolError::PathDoubleEncoding),
        ] {
            assert_eq!(canonical_of(path, ALL), Err(error), "{path}");
        }
    }

    #[test]
    fn unreserved_characters_are_decoded_once_and_other_escapes_kept() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/%61%2d%7E", "/a-~"),
            ("/%C3%a9", "/%C3%A9"),
            ("/a%20b%3f", "/a%20b%3F"),
            ("/100%25", "/100%25"),
            ("/%25zz", "/%25zz"),
            ("/f/100%2541.txt", "/f/100%2541.txt"),
            ("/100%2525", "/100%2525"),
            ("/100%25ff", "/100%25ff"),
            ("/%25C3%25A9", "/%25C3%25A9"),
            ("/50%2520off", "/50%2520off"),
            ("/%f0%9f%98%80/x", "/%F0%9F%98%80/x"),
            ("/a;b=c", "/a;b=c"),
            ("/a%2ejpg", "/a.jpg"),
            ("/...", "/..."),
            ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
        ] {
            assert_eq!(canonical(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_canonical_path_is_its_own_canonical_path() {
        for path in ["/%61b%c3%a9%25", "/a%3bb", "/%7e"] {
            let once = canonical(path).unwrap();
            assert_eq!(canonical(&once), Ok(once));
        }
    }

    #[test]
    fn refuses_what_could_be_read_as_another_path() {
        for (path, error) in [
            ("/a%00", ProtocolError::PathNul),
            ("/a%2fb", ProtocolError::PathEncodedSlash),
            ("/a%2Fb", ProtocolError::PathEncodedSlash),
            ("/a%5cb", ProtocolError::PathEncodedBackslash),
            ("/a%5C", ProtocolError::PathEncodedBackslash),
            ("/a\\b", ProtocolError::PathBackslash),
            ("/%20\\b", ProtocolError::PathBackslash),
            ("/.", ProtocolError::PathDotSegment),
            ("/..", ProtocolError::PathDotSegment),
            ("/a/./b", ProtocolError::PathDotSegment),
            ("/a/../b", ProtocolError::PathDotSegment),
            ("/a/%2e%2E/b", ProtocolError::PathDotSegment),
            ("/a/.%2e", ProtocolError::PathDotSegment),
            ("/a/%2e/", ProtocolError::PathDotSegment),
            ("/a/..;x=y/b", ProtocolError::PathDotSegment),
            ("/a/..%3bx/b", ProtocolError::PathDotSegment),
            ("/a/.;/b", ProtocolError::PathDotSegment),
            ("/%", ProtocolError::PathEscape),
            ("/%2", ProtocolError::PathEscape),
            ("/%zz", ProtocolError::PathEscape),
            ("/%+1", ProtocolError::PathEscape),
            ("/%u0041", ProtocolError::PathEscape),
            ("/a\tb", ProtocolError::PathByte),
            ("/a b", ProtocolError::PathByte),
            ("//", ProtocolError::PathEmptySegment),
            ("//evil.example/", ProtocolError::PathEmptySegment),
            ("/a//b", ProtocolError::PathEmptySegment),
            ("/a//", ProtocolError::PathEmptySegment),
            ("/a#b", ProtocolError::Fragment),
            ("/%20#", ProtocolError::Fragment),
            ("/%252f", ProtocolError::PathDoubleEncoding),
            ("/%252F", ProtocolError::PathDoubleEncoding),
            ("/a%255cb", ProtocolError::PathDoubleEncoding),
            ("/a%252eb", ProtocolError::PathDoubleEncoding),
            ("/a%2500b", ProtocolError::PathDoubleEncoding),
            ("/a%250db", ProtocolError::PathDoubleEncoding),
            ("/a%257F", ProtocolError::PathDoubleEncoding),
            ("/a%25252fb", ProtocolError::PathDoubleEncoding),
            ("/a%252%2566b", ProtocolError::PathDoubleEncoding),
            ("/a%25%32%35%32%66", ProtocolError::PathDoubleEncoding),
            ("/a%25C0%25AFb", ProtocolError::PathDoubleEncoding),
            ("/a%25c0%2525afb", ProtocolError::PathDoubleEncoding),
            ("/a%25E0%2580%25AFb", ProtocolError::PathDoubleEncoding),
            ("/a%25C2%2585b", ProtocolError::PathDoubleEncoding),
            ("/a%252525252541", ProtocolError::PathDoubleEncoding),
            ("/a/..%253Bx/b", ProtocolError::PathDotSegment),
            ("/%252e%252e", ProtocolError::PathDoubleEncoding),
            ("/%25%32%66", ProtocolError::PathDoubleEncoding),
            ("/%252%66", ProtocolError::PathDoubleEncoding),
            ("/%c0%af", ProtocolError::PathNotUtf8),
            ("/%e0%80%af", ProtocolError::PathNotUtf8),
            ("/%c3", ProtocolError::PathNotUtf8),
            ("/%c3a", ProtocolError::PathNotUtf8),
            ("/%c3%41", ProtocolError::PathNotUtf8),
            ("/%80", ProtocolError::PathNotUtf8),
            ("/%ff", ProtocolError::PathNotUtf8),
            ("/%ed%a0%80", ProtocolError::PathNotUtf8),
            ("/%f4%90%80%80", ProtocolError::PathNotUtf8),
            ("/%c3%a9%a9", ProtocolError::PathNotUtf8),
            ("a", ProtocolError::InvalidTarget),
        ] {
            assert_eq!(canonical(path), Err(error), "{path}");
        }
    }

    #[test]
    fn parameters_are_seen_raw_and_encoded() {
        for (path, has) in [("/a;b", true), ("/a%3bb", true), ("/a%3B", true), ("/a", false), ("/%3a", false)]
        {
            assert_eq!(has_parameters(canonical(path).unwrap().as_bytes()), has, "{path}");
        }
    }

    #[test]
    fn what_may_be_parameters_is_behind_the_path() {
        for (path, before) in [
            ("/ws", "/ws"),
            ("/a%20b%C3%A4/", "/a%20b%C3%A4/"),
            ("/ws;access_token=x", "/ws"),
            ("/ws%3Baccess_token=x", "/ws"),
            ("/ws%3Faccess_token=x", "/ws"),
            ("/ws%3faccess_token=x", "/ws"),
            ("/ws%253Baccess_token=x", "/ws"),
            ("/ws%252525253Faccess_token=x", "/ws"),
            ("/%23room:h/100%2541", "/%23room:h/100%2541"),
            ("/%", "/%"),
            ("/%25", "/%25"),
            ("/%25%3", "/%25%3"),
        ] {
            assert_eq!(before_parameters(path.as_bytes()), before.as_bytes());
        }
    }
}
