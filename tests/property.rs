//! Random inputs against naive reference implementations: slow, written from the standard, and by another
//! route than the code they check.

use proptest::prelude::*;
use realchat_gateway::http::{FieldKind, ProtocolError, Request};
use realchat_gateway::http1::{
    BodyDecoder, Framing, HeadLimits, HeadScan, LAST_CHUNK, RequestHead, Step, encode_size,
};

// --- Request framing ---------------------------------------------------------------------------------------

/// What the rules say about a request with these fields, read from text.
fn reference_framing(version: &str, fields: &[(String, String)]) -> Option<Framing> {
    let of = |wanted: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(name, _)| name.to_lowercase() == wanted);
        named.map(|(_, value)| value.trim_matches([' ', '\t'])).collect()
    };
    let (lengths, encodings) = (of("content-length"), of("transfer-encoding"));
    match (lengths.as_slice(), encodings.as_slice()) {
        ([], []) => Some(Framing::None),
        ([length], []) if !length.is_empty() && length.chars().all(|c: char| c.is_ascii_digit()) => {
            let number: i64 = length.parse().ok()?;
            Some(Framing::Length(number as u64))
        }
        ([], [encoding]) if version == "HTTP/1.1" && encoding.eq_ignore_ascii_case("chunked") => {
            Some(Framing::Chunked)
        }
        _ => None,
    }
}

fn framing_field() -> impl Strategy<Value = (String, String)> {
    let name = prop::sample::select(vec![
        "Content-Length",
        "content-length",
        "CONTENT-LENGTH",
        "Content_Length",
        "Content.Length",
        "Transfer-Encoding",
        "transfer-encoding",
        "Transfer_Encoding",
        "X-Content-Length",
        "Accept",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "chunked",
            "CHUNKED",
            " chunked\t",
            "chunked, chunked",
            "gzip",
            "gzip, chunked",
            "identity",
            "xchunked",
            "chunked;a",
            "\u{a0}chunked",
            "0",
            "5",
            " 5 ",
            "+5",
            "-5",
            "0x5",
            "5, 5",
            "5 5",
            "",
            "007",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551619",
        ])
        .prop_map(String::from),
        "[ 0-9,+]{0,4}",
        "[0-9]{1,22}",
    ];
    (name.prop_map(String::from), value)
}

fn parse(head: &str) -> Result<RequestHead, ProtocolError> {
    let (bytes, limits) = (head.as_bytes(), HeadLimits::DEFAULT);
    let end = HeadScan::default().advance(bytes, &limits)?.ok_or(ProtocolError::HeadIncomplete)?;
    RequestHead::parse(&bytes[..end], &limits, &mut Request::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn framing_accepts_exactly_what_the_reference_accepts(
        version in prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0"]),
        fields in prop::collection::vec(framing_field(), 0..4),
    ) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let found = parse(&format!("POST / {version}\r\nHost: h\r\n{lines}\r\n"));
        prop_assert_eq!(found.ok().map(|request| request.framing), reference_framing(version, &fields));
    }

    // --- Heads ---------------------------------------------------------------------------------------------

    #[test]
    fn a_field_line_is_accepted_exactly_when_the_reference_accepts_it(
        line in "[A-Za-z\u{e9}_@ \t:\r\n\0\x0b\x7f-]{1,12}",
    ) {
        // The grammar of RFC 9112 §5, as text. An empty line would end the head: not a field line.
        let reference = line.split_once(':').is_some_and(|(name, value)| {
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let is_value = |c: char| c == '\t' || c == ' ' || c > '~' && c != '\x7f' || c.is_ascii_graphic();
            !name.is_empty() && name.chars().all(is_token) && value.chars().all(is_value)
        });
        prop_assume!(!line.contains("\r\n"));
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
        prop_assert_eq!(parse(&head).is_ok(), reference, "{:?}", head);
    }

    #[test]
    fn random_bytes_never_panic_and_cuts_change_nothing(
        tail in prop::collection::vec(prop::sample::select(b"AZaz09: \t\r\n\0%/.;_-\xff\x85,".to_vec()), 0..80),
        cut in 0usize..100,
    ) {
        let bytes = [b"GET / HTTP/1.1\r\nHost: h\r\n".as_slice(), &tail].concat();
        let limits = HeadLimits::default();
        let whole = HeadScan::default().advance(&bytes, &limits);
        let mut scan = HeadScan::default();
        let first = scan.advance(&bytes[..cut.min(bytes.len())], &limits);
        let second = if first == Ok(None) { scan.advance(&bytes, &limits) } else { first };
        prop_assert_eq!(whole, second);
        let _ = RequestHead::parse(&bytes, &limits, &mut Request::default());
    }

    // --- Paths ---------------------------------------------------------------------------------------------

    #[test]
    fn a_canonical_path_means_one_thing(
        path in "/(%[0-9a-fA-F]{2}|%25([0-9a-fA-F]{2}|2[ef5])|%2[5ef]|[a-z./%;2ef5\"\\[\\]{|^\u{e9}\u{85}]){0,12}",
    ) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
        let mut request = Request::default();
        if RequestHead::parse(&head, &HeadLimits::DEFAULT, &mut request).is_ok() {
            let canonical = String::from_utf8(request.path().to_vec()).unwrap();
            // However often a server decodes it, it has the same segments.
            let (mut before, mut rounds) = (canonical.clone(), 0);
            loop {
                let after = decode_once(&before);
                prop_assert_eq!(after.matches('/').count(), canonical.matches('/').count(), "{}", path);
                prop_assert!(!after.contains(['\\', '\0']), "{}", path);
                prop_assert!(after.split('/').all(|segment| segment != "." && segment != ".."), "{}", path);
                rounds += 1;
                if after == before || rounds > 4 {
                    break;
                }
                before = after;
            }
            let again = format!("GET {canonical} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
            prop_assert!(RequestHead::parse(&again, &HeadLimits::DEFAULT, &mut request).is_ok());
            prop_assert_eq!(request.path(), canonical.as_bytes());
            // What a client could have encoded itself means the same if it has.
            let encoded = percent_encoded(&path);
            let head = format!("GET {encoded} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
            prop_assert!(RequestHead::parse(&head, &HeadLimits::DEFAULT, &mut request).is_ok(), "{}", encoded);
            prop_assert_eq!(request.path(), canonical.as_bytes());
        }
    }

    #[test]
    fn a_query_passes_as_it_came(query in prop::collection::vec(any::<u8>(), 0..24)) {
        let head = [b"GET /%61[?".as_slice(), &query, b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        let mut request = Request::default();
        let is_opaque = |byte: &u8| matches!(byte, b'!'..=b'~' | 0x80..) && *byte != b'#';
        let parsed = RequestHead::parse(&head, &HeadLimits::DEFAULT, &mut request);
        prop_assert_eq!(parsed.is_ok(), query.iter().all(is_opaque), "{:?}", query);
        if parsed.is_ok() {
            prop_assert_eq!(request.path(), b"/a%5B");
            let raw = |byte: &u8| if byte.is_ascii() { vec![*byte] } else { format!("%{byte:02X}").into_bytes() };
            let expected: Vec<u8> = std::iter::once(b'?').chain(query.iter().flat_map(raw)).collect();
            prop_assert_eq!(request.query(), &expected);
            let again = [b"GET /a?".as_slice(), &expected[1..], b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
            prop_assert!(RequestHead::parse(&again, &HeadLimits::DEFAULT, &mut request).is_ok());
            prop_assert_eq!(request.query(), &expected);
        }
    }

    // --- Names ---------------------------------------------------------------------------------------------

    #[test]
    fn no_spelling_of_a_protected_name_is_other(
        name in prop::sample::select(PROTECTED.to_vec()),
        spelling in prop::collection::vec((any::<bool>(), prop::sample::select(vec!['-', '_', '.'])), 40),
    ) {
        let spelled: String = name.chars().zip(&spelling).map(|(c, &(upper, separator))| match c {
            '-' => separator,
            c if upper => c.to_ascii_uppercase(),
            c => c,
        }).collect();
        let kind = FieldKind::of(spelled.as_bytes());
        prop_assert_ne!(kind, FieldKind::Other, "{}", spelled);
        prop_assert!(!kind.may_be_trailer());
        if spelled.contains(['_', '.']) {
            prop_assert!(matches!(kind, FieldKind::Alias | FieldKind::Internal), "{}", spelled);
        } else {
            prop_assert_eq!(kind, FieldKind::of(name.as_bytes()));
        }
    }

    // --- Chunks --------------------------------------------------------------------------------------------

    #[test]
    fn chunks_come_back_whole_however_they_are_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        pieces in prop::collection::vec(1usize..20, 1..20),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            let mut line = [0; 18];
            let length = encode_size(chunk.len() as u64, &mut line);
            wire.extend_from_slice(&line[..length]);
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(LAST_CHUNK);
        let length = wire.len();
        wire.extend_from_slice(b"0\r\n\r\nGET / HTTP/1.1");
        let (body, end) = decode(&wire, &pieces).unwrap();
        prop_assert_eq!(body, chunks.concat());
        prop_assert_eq!(end, length);
    }

    #[test]
    fn chunk_decoding_accepts_exactly_what_the_reference_accepts(
        wire in prop::collection::vec(prop::sample::select(vec![
            "0", "1", "3", "a", "\r\n", "\r\n", "\r\n", "\n", "\r", ";x", " ", "+", "0x", "X: y", "\0",
        ]), 1..14),
        pieces in prop::collection::vec(1usize..5, 1..8),
    ) {
        let wire = wire.concat().into_bytes();
        let found = decode(&wire, &pieces);
        prop_assert_eq!(found.ok(), reference_chunks(&wire), "{}", wire.escape_ascii());
    }
}

const PROTECTED: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "authorization",
    "cookie",
    "set-cookie",
    "x-internal-user-id",
    "x-internal-",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-anything",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-request-id",
    "via",
    "traceparent",
    "tracestate",
    "origin",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "access-control-allow-origin",
];

/// The path as a client would send it that encodes what RFC 3986 asks it to.
fn percent_encoded(path: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'"' | b'[' | b']' | b'{' | b'|' | b'^' | 0x80.. => format!("%{byte:02X}"),
        _ => char::from(byte).to_string(),
    };
    path.bytes().map(encoded).collect()
}

/// Every percent escape replaced by its byte, as a careless server does it.
fn decode_once(path: &str) -> String {
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let escape = path.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Body and the offset of what follows it, from bytes that come in pieces.
fn decode(wire: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, usize), ProtocolError> {
    let (mut decoder, mut body, mut at, mut filled) = (BodyDecoder::new(Framing::Chunked), Vec::new(), 0, 0);
    let mut pieces = pieces.iter().cycle();
    loop {
        match decoder.step(&wire[at..filled])? {
            Step::End { consumed } => return Ok((body, at + consumed)),
            Step::Trailers { consumed, length, rest } => at += consumed + length + rest,
            Step::Data { consumed, length } => {
                body.extend_from_slice(&wire[at + consumed..][..length]);
                at += consumed + length;
            }
            Step::More { .. } if filled == wire.len() => return Err(ProtocolError::BodyIncomplete),
            Step::More { consumed } => {
                at += consumed;
                filled = wire.len().min(filled + pieces.next().unwrap());
            }
        }
    }
}

/// RFC 9112 §7.1 by splitting at the first CRLF, over and over.
fn reference_chunks(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let next_line = |at: usize| -> Option<(String, usize)> {
        let end = (at..wire.len().saturating_sub(1)).find(|&end| &wire[end..end + 2] == b"\r\n")?;
        let line = String::from_utf8(wire[at..end].to_vec()).ok()?;
        line.chars().all(|c| c == '\t' || !c.is_control()).then_some((line, end + 2))
    };
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let (line, after) = next_line(at)?;
        let digits = line.split(';').next()?;
        let well_formed = (1..=16).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        let size = i64::from_str_radix(digits, 16).ok().filter(|_| well_formed)? as usize;
        at = after;
        if size == 0 {
            break;
        }
        body.extend_from_slice(wire.get(at..at.checked_add(size)?)?);
        at += size;
        if wire.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let (line, after) = next_line(at)?;
        at = after;
        if line.is_empty() {
            return Some((body, at));
        }
        let (name, _) = line.split_once(':')?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return None;
        }
    }
}
