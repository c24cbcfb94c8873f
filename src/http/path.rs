//! The one canonical path, which is matched *and* forwarded.

use super::ProtocolError;

/// Makes the path canonical where it stands: encoded unreserved characters are decoded once (RFC 3986
/// §6.2.2.2), the hex digits of the other escapes become upper case (§6.2.2.1). Gives its new length, which
/// is never more.
///
/// # Errors
/// Whatever a server behind us could read as another path is refused, each kind by its name.
pub fn canonicalise(path: &mut [u8]) -> Result<usize, ProtocolError> {
    let length = if path.contains(&b'%') { decode(path)? } else { check_raw(path)? };
    // On the result, so that `.%2e` and `%25%32%66` are seen for what they are.
    check_segments(&path[..length])?;
    Ok(length)
}

/// Whether a path has `;parameters`, raw or encoded. On a canonical path only.
pub(crate) fn has_parameters(path: &[u8]) -> bool {
    memchr::memchr2_iter(b';', b'%', path).any(|at| path[at] == b';' || path[at..].starts_with(b"%3B"))
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

fn check_raw(path: &[u8]) -> Result<usize, ProtocolError> {
    match path.iter().find(|&&byte| !is_path_byte(byte)) {
        None => Ok(path.len()),
        Some(b'#') => Err(ProtocolError::Fragment),
        Some(b'\\') => Err(ProtocolError::PathBackslash),
        Some(_) => Err(ProtocolError::PathByte),
    }
}

/// ```text
/// /a%2Db%c3%a9   read   >
/// /a-b%C3%A9     write  >   never ahead of read
/// ```
fn decode(path: &mut [u8]) -> Result<usize, ProtocolError> {
    let (mut read, mut write) = (0, 0);
    while read < path.len() {
        if path[read] != b'%' {
            check_raw(&path[read..=read])?;
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

fn check_segments(path: &[u8]) -> Result<(), ProtocolError> {
    if !path.starts_with(b"/") {
        return Err(ProtocolError::InvalidTarget);
    }
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'%', &path[from..]) {
        from += at + 1;
        // `%25` with two hex digits behind it: a service that decodes twice sees another path.
        if let [b'2', b'5', high, low, ..] = &path[from..]
            && high.is_ascii_hexdigit()
            && low.is_ascii_hexdigit()
        {
            return Err(ProtocolError::PathDoubleEncoding);
        }
    }
    let mut segments = path[1..].split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(ProtocolError::PathEmptySegment);
        }
        if matches!(name(segment), b"." | b"..") {
            return Err(ProtocolError::PathDotSegment);
        }
    }
    Ok(())
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

    fn canonical(path: &str) -> Result<String, ProtocolError> {
        let mut bytes = path.as_bytes().to_vec();
        let length = canonicalise(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
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
            ("/a\"", ProtocolError::PathByte),
            ("/a<b>", ProtocolError::PathByte),
            ("/a|b", ProtocolError::PathByte),
            ("/a\u{e9}", ProtocolError::PathByte),
            ("/%20\u{e9}", ProtocolError::PathByte),
            ("/a[b]", ProtocolError::PathByte),
            ("//", ProtocolError::PathEmptySegment),
            ("//evil.example/", ProtocolError::PathEmptySegment),
            ("/a//b", ProtocolError::PathEmptySegment),
            ("/a//", ProtocolError::PathEmptySegment),
            ("/a#b", ProtocolError::Fragment),
            ("/%20#", ProtocolError::Fragment),
            ("/%252f", ProtocolError::PathDoubleEncoding),
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
}
