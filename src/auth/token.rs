//! The shape of a token: three parts, strict base64url, and a header with few parameters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{CredentialError, TokenFault};
use super::json;
use crate::config::Algorithm;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_HEADER_BYTES_MAX};

/// A token cut at its dots, nothing decoded yet.
///
/// ```text
/// eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.3bVw…
/// └────── header ────┘ └───── claims ─────┘ └ signature
/// └──────────────── signed ───────────────┘
/// ```
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) signed: &'a [u8],
    pub(super) header: &'a [u8],
    pub(super) claims: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Cuts a token into exactly three parts, none of them empty, the header no longer than its bound.
pub(super) fn split(token: &[u8]) -> Result<Parts<'_>, CredentialError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenFault::TooLong.into());
    }
    let mut parts = token.split(|&byte| byte == b'.');
    let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(TokenFault::Malformed.into());
    };
    // An encrypted token is header, key, vector, ciphertext and tag (RFC 7516 §7.1). The key may be empty.
    match parts.by_ref().take(PARTS_COUNTED_MAX).count() {
        0 => {}
        2 => return Err(TokenFault::Encrypted.into()),
        _ => return Err(TokenFault::Malformed.into()),
    }
    if header.is_empty() || claims.is_empty() || signature.is_empty() {
        return Err(TokenFault::Malformed.into());
    }
    if header.len() > HEADER_CHARACTERS_MAX {
        return Err(TokenFault::Malformed.into());
    }
    Ok(Parts { signed: &token[..header.len() + 1 + claims.len()], header, claims, signature })
}

/// Decodes one part. Each sequence of bytes has exactly one valid spelling: "Base64url Encoding … with all
/// trailing '=' characters omitted … and without the inclusion of any line breaks, whitespace, or other
/// additional characters" (RFC 7515 §2), and the unused bits of the last character are zero.
pub(super) fn decode(part: &[u8]) -> Result<Vec<u8>, CredentialError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Encoding.into())
}

/// What a header says of its token.
#[derive(Debug)]
pub(super) struct Header {
    /// It never *chooses* how a token is verified: a key has the algorithms of its type, and verifies no token that
    /// names another. `None`: none that is supported.
    pub(super) algorithm: Option<Algorithm>,
    /// The name of the key.
    pub(super) kid: Option<Box<str>>,
    /// What kind of token it is, in lower case and without `application/` (RFC 7515 §4.1.9).
    pub(super) typ: Option<Box<str>>,
}

/// Reads a decoded header. Parameters that would say where keys are (`jku`, `x5u`) or bring one (`jwk`, `x5c`) are
/// not looked at: whoever writes the header could name his own.
pub(super) fn header(header: &[u8]) -> Result<Header, CredentialError> {
    let header = json::object(header).ok_or(TokenFault::Header)?;
    if MEANING_CHANGERS.iter().any(|name| header.get(name).is_some()) {
        return Err(TokenFault::CriticalHeader.into());
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(TokenFault::Header),
    };
    let algorithm = text("alg")?.ok_or(TokenFault::Header)?;
    let typ = text("typ")?.map(|typ| {
        let lower = typ.to_ascii_lowercase();
        lower.strip_prefix("application/").map_or_else(|| lower.as_str().into(), Box::from)
    });
    Ok(Header { algorithm: Algorithm::named(algorithm), kid: text("kid")?.map(Box::from), typ })
}

/// Header parameters that would change what the other parts mean. `crit`: "If any of the listed extension
/// Header Parameters are not understood and supported by the recipient, then the JWS is invalid" (RFC 7515
/// §4.1.11), and the gateway supports none. `b64` (RFC 7797), `enc` and `zip` (RFC 7516) say that the payload
/// is not base64url of plain JSON.
const MEANING_CHANGERS: [&str; 4] = ["crit", "b64", "enc", "zip"];

/// Parts behind the third one that are counted.
const PARTS_COUNTED_MAX: usize = 3;

/// Characters of a header of [`TOKEN_HEADER_BYTES_MAX`] bytes: four for three bytes, without padding.
const HEADER_CHARACTERS_MAX: usize = (4 * TOKEN_HEADER_BYTES_MAX).div_ceil(3);

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::super::testing::{
        CLAIMS, HEADER, INVALID, NOW, SECRET, encode, jwt, sealed, signed_by, token, verdict,
    };
    use super::*;
    use crate::config::IssuerSet;

    #[track_caller]
    fn refused(token: impl AsRef<[u8]>) {
        assert_eq!(verdict(&jwt(), token.as_ref(), NOW), Err(INVALID));
    }

    #[test]
    fn takes_an_ordinary_token() {
        assert_eq!(verdict(&jwt(), token(HEADER, CLAIMS), NOW).as_deref(), Ok("alice"));
        // RFC 7515 appendix A.1 writes its header over two lines.
        let spread = "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}";
        assert_eq!(verdict(&jwt(), token(spread, CLAIMS), NOW).as_deref(), Ok("alice"));
    }

    #[test]
    fn none_is_no_algorithm_in_any_case() {
        for name in ["none", "None", "nOnE", "NONE", ""] {
            let header = format!(r#"{{"alg":"{name}"}}"#);
            refused(token(&header, CLAIMS));
            refused(format!("{}.{}.", encode(&header), encode(CLAIMS)));
            refused(format!("{}.{}", encode(&header), encode(CLAIMS)));
        }
    }

    #[test]
    fn takes_no_other_algorithm_with_the_same_secret() {
        for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
            for named in [name, "HS256"] {
                let header = format!(r#"{{"alg":"{named}"}}"#);
                let message = format!("{}.{}", encode(header), encode(CLAIMS));
                refused(signed_by(&message, SECRET, algorithm));
            }
        }
    }

    #[test]
    fn the_header_must_name_exactly_the_algorithm_of_the_key() {
        for alg in [
            r#""RS256""#,
            r#""ES256""#,
            r#""EdDSA""#,
            r#""hs256""#,
            r#""HS256 ""#,
            r#"["HS256"]"#,
            "256",
            "null",
        ] {
            refused(token(format!(r#"{{"alg":{alg}}}"#), CLAIMS));
        }
        refused(token("{}", CLAIMS));
        refused(token(r#"{"typ":"JWT"}"#, CLAIMS));
        refused(token(r#"{"ALG":"HS256"}"#, CLAIMS));
    }

    #[test]
    fn refuses_header_parameters_that_change_the_meaning() {
        for parameter in [
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""crit":null"#,
            r#""\u0063rit":["b64"]"#,
            r#""b64":true"#,
            r#""b64":false"#,
            r#""zip":"DEF""#,
            r#""enc":"A128GCM""#,
            r#""typ":5"#,
            r#""typ":null"#,
        ] {
            refused(token(format!(r#"{{"alg":"HS256",{parameter}}}"#), CLAIMS));
        }
        let hints = r#"{"alg":"HS256","kid":"1","jku":"https://evil.example/","typ":"at+jwt"}"#;
        assert!(verdict(&jwt(), token(hints, CLAIMS), NOW).is_ok());
        // RFC 8259 §2: white space around the object is part of JSON.
        for header in ["{\"alg\":\"HS256\"}\n", "\r\n\t {\"alg\":\"HS256\"} "] {
            assert!(verdict(&jwt(), token(header, CLAIMS), NOW).is_ok());
        }
    }

    #[test]
    fn a_header_is_one_object_without_repeated_names_or_trailing_bytes() {
        for header in [
            r#"{"alg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"\u0061lg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256","x":{"y":1,"y":2}}"#,
            r#"{"alg":"HS256"}x"#,
            "{\"alg\":\"HS256\"}\u{b}",
            r#"{"alg":"HS256"}{}"#,
            "{\"alg\":\"HS256\"}\0",
            "\u{feff}{\"alg\":\"HS256\"}",
            r#"{"alg":"HS256",}"#,
            r#"{"alg":"HS256""#,
            r#"[{"alg":"HS256"}]"#,
            r#""HS256""#,
            "null",
        ] {
            refused(token(header, CLAIMS));
        }
        refused(token(b"{\"alg\":\"HS256\",\"x\":\"\xff\"}", CLAIMS));
    }

    #[test]
    fn a_token_has_exactly_three_parts_and_none_is_empty() {
        let good = token(HEADER, CLAIMS);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        for bad in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            header.to_owned(),
            message.to_owned(),
            format!("{message}."),
            format!("{good}."),
            format!(".{good}"),
            format!("{good}.{signature}"),
            format!("{header}..{claims}.{signature}"),
            sealed(&format!("{header}.")),
            sealed(&format!(".{claims}")),
            sealed("."),
            sealed(&format!("{header}.{claims}.{claims}")),
            sealed(header),
        ] {
            refused(bad);
        }
    }

    #[test]
    fn splitting_alone_refuses_an_empty_part() {
        assert!(split(b"a.b.c").is_ok());
        for bad in [&b".b.c"[..], b"a..c", b"a.b.", b"a.b", b"a.b.c.", b"a.b.c.d", b"a.b.c.d.e.f"] {
            assert_eq!(split(bad).unwrap_err(), CredentialError::Invalid(TokenFault::Malformed));
        }
    }

    #[test]
    fn base64url_is_strict_in_every_part() {
        // Chosen so that the standard alphabet would show: `~` and `?` give `-` and `_`.
        let claims = r#"{"sub":"alice","exp":1800000060,"x":"~~~???>>>"}"#;
        let good = token(HEADER, claims);
        assert!(verdict(&jwt(), &good, NOW).is_ok());
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        assert!(claims.contains('_') || claims.contains('-'));
        for (header, claims) in [
            (format!("{header}="), claims.to_owned()),
            (format!("{header}=="), claims.to_owned()),
            (format!("{header} "), claims.to_owned()),
            (format!("{header}\n"), claims.to_owned()),
            (format!("{header}A"), claims.to_owned()),
            (header.to_owned(), format!("{claims}=")),
            (header.to_owned(), format!("{claims}==")),
            (header.to_owned(), format!(" {claims}")),
            (header.to_owned(), format!("{claims}%3D")),
            (header.to_owned(), claims.replace('-', "+").replace('_', "/")),
        ] {
            refused(sealed(&format!("{header}.{claims}")));
        }
        for bad in ["=", "==", " ", "\r\n", "\t", "\0", "A", "AAAA"] {
            refused(format!("{message}.{signature}{bad}"));
        }
        refused(format!("{message}. {signature}"));
        refused(format!("{message}.{}", &signature[1..]));
        refused(format!("{message}.{}", &signature[..signature.len() - 1]));
        refused(format!(" {good}"));
    }

    #[test]
    fn the_last_character_has_no_bits_to_spare() {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // 32 bytes of signature leave two bits unused in the last character: only one of four spellings counts.
        let good = token(HEADER, CLAIMS).into_bytes();
        let mut accepted = 0;
        for &last in ALPHABET {
            let mut other = good.clone();
            *other.last_mut().unwrap() = last;
            accepted += usize::from(verdict(&jwt(), &other, NOW).is_ok());
        }
        assert_eq!(accepted, 1);
        assert!(
            decode(b"QQ").is_ok()
                && decode(b"QR").is_err()
                && decode(b"QUE").is_ok()
                && decode(b"QUF").is_err()
        );
    }

    #[test]
    fn one_flipped_bit_anywhere_is_refused() {
        let good = token(HEADER, CLAIMS).into_bytes();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                refused(bad);
            }
        }
    }

    #[test]
    fn cut_anywhere_a_token_is_refused() {
        let good = token(HEADER, CLAIMS);
        for at in 0..good.len() {
            refused(&good[..at]);
            if at > 0 {
                refused(&good[at..]);
            }
        }
    }

    #[test]
    fn the_size_bound_is_exact_and_comes_before_decoding() {
        let sized = |filler: usize| {
            let filler = "x".repeat(filler);
            token(HEADER, format!(r#"{{"sub":"alice","exp":1800000060,"x":"{filler}"}}"#))
        };
        let longest = (5000..7000).map(sized).rfind(|token| token.len() <= TOKEN_BYTES_MAX).unwrap();
        assert!(longest.len() > TOKEN_BYTES_MAX - 4);
        assert!(verdict(&jwt(), &longest, NOW).is_ok());
        refused(sized(7000));
        assert!(split(&vec![b'.'; TOKEN_BYTES_MAX + 1]).is_err());
        assert!(split(format!("a.{}.c", "b".repeat(TOKEN_BYTES_MAX - 4)).as_bytes()).is_ok());
        assert!(split(format!("a.{}.c", "b".repeat(TOKEN_BYTES_MAX - 3)).as_bytes()).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_and_not_recursed_into() {
        for deep in
            ["[".repeat(4000), r#"{"a":"#.repeat(900), format!("{}{}", "[".repeat(1500), "]".repeat(1500))]
        {
            refused(token(format!(r#"{{"alg":"HS256","x":{deep}}}"#), CLAIMS));
            refused(token(HEADER, format!(r#"{{"sub":"alice","exp":1800000060,"x":{deep}}}"#)));
        }
    }

    #[test]
    fn a_header_over_its_bound_is_malformed_and_not_decoded() {
        let sized = |bytes: usize| format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(bytes - 22));
        assert_eq!(sized(TOKEN_HEADER_BYTES_MAX).len(), TOKEN_HEADER_BYTES_MAX);
        assert!(verdict(&jwt(), token(sized(TOKEN_HEADER_BYTES_MAX), CLAIMS), NOW).is_ok());
        let over = token(sized(TOKEN_HEADER_BYTES_MAX + 1), CLAIMS);
        assert_eq!(split(over.as_bytes()).unwrap_err(), CredentialError::Invalid(TokenFault::Malformed));
        // Not base64url at all: whoever decoded it would call that another fault.
        let not_encoded = format!("{}.b.c", "*".repeat(HEADER_CHARACTERS_MAX + 1));
        assert_eq!(split(not_encoded.as_bytes()).unwrap_err(), TokenFault::Malformed.into());
    }

    /// Whoever floods with forged tokens pays for each with a request of its size: the dearest may cost a few times as
    /// much as one whose signature is just wrong.
    #[test]
    fn no_forged_token_costs_much_more_than_a_wrong_signature() {
        use std::time::{Duration, Instant};
        let keys = super::super::testing::keys(&jwt());
        let cost = |token: &str| {
            let once = || {
                let begun = Instant::now();
                (0..50).for_each(|_| {
                    drop(std::hint::black_box(keys.verify(token.as_bytes(), IssuerSet::ALL, NOW)))
                });
                begun.elapsed()
            };
            std::iter::repeat_with(once).take(20).min().unwrap_or_default()
        };
        let signed = |header: &str, signature: &str| {
            let header = encode(header);
            let claims = "a".repeat(TOKEN_BYTES_MAX - header.len() - 2 - signature.len());
            format!("{header}.{claims}.{signature}")
        };
        let wrong = "A".repeat(43);
        let plain = cost(&signed(HEADER, &wrong)).max(Duration::from_micros(50));
        let members = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!(r#""{n:x}":1"#)).collect();
            format!(r#"{{"alg":"HS256",{}}}"#, names.join(","))
        };
        for (name, forged) in [
            ("members", signed(&members(55), &wrong)),
            ("more members than the bound", signed(&members(500), &wrong)),
            (
                "nesting",
                signed(&format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(100), "]".repeat(100)), &wrong),
            ),
            ("a long signature", format!("{}.a.{}", encode(HEADER), "A".repeat(8100))),
        ] {
            assert!(forged.len() <= TOKEN_BYTES_MAX, "{name}");
            let cost = cost(&forged);
            println!("{name}: {:?}, a wrong signature {:?}", cost / 50, plain / 50);
            assert!(cost < plain * 4, "{name}: {cost:?}, a wrong signature {plain:?}");
        }
    }
}
