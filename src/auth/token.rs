//! The shape of a token: three parts, strict base64url, and a header that may say little.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Refusal, json};
use crate::limits::TOKEN_BYTES_MAX;

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

/// Cuts a token into exactly three parts, none of them empty.
pub(super) fn split(token: &[u8]) -> Result<Parts<'_>, Refusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::Invalid);
    }
    let mut parts = token.split(|&byte| byte == b'.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::Invalid);
    };
    if header.is_empty() || claims.is_empty() || signature.is_empty() {
        return Err(Refusal::Invalid);
    }
    Ok(Parts { signed: &token[..header.len() + 1 + claims.len()], header, claims, signature })
}

/// Decodes one part. Each sequence of bytes has exactly one spelling: "Base64url Encoding … with all
/// trailing '=' characters omitted … and without the inclusion of any line breaks, whitespace, or other
/// additional characters" (RFC 7515 §2), and the unused bits of the last character are zero.
pub(super) fn decode(part: &[u8]) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Invalid)
}

/// The `alg` of a decoded header. It never *chooses* how a token is verified: a key has one algorithm, and a
/// token that names another is not for that key.
pub(super) fn algorithm(header: &[u8]) -> Result<String, Refusal> {
    let header = json::object(header).ok_or(Refusal::Invalid)?;
    if MEANING_CHANGERS.iter().any(|name| header.get(name).is_some()) {
        return Err(Refusal::Invalid);
    }
    if header.get("typ").is_some_and(|typ| typ.as_str().is_none()) {
        return Err(Refusal::Invalid);
    }
    let algorithm = header.get("alg").and_then(json::Json::as_str).ok_or(Refusal::Invalid)?;
    Ok(algorithm.to_owned())
}

/// Header parameters that would change what the other parts mean. `crit`: "If any of the listed extension
/// Header Parameters are not understood and supported by the recipient, then the JWS is invalid" (RFC 7515
/// §4.1.11), and none is supported here. `b64` (RFC 7797), `enc` and `zip` (RFC 7516) say that the payload
/// is no base64url of plain JSON.
const MEANING_CHANGERS: [&str; 4] = ["crit", "b64", "enc", "zip"];
