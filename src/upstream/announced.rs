//! How long a service says that it keeps a connection open (`Keep-Alive: timeout=5`, RFC 2068 §19.7.1.1). A request
//! that meets the end of that time fails, and one that is not idempotent is not sent again.

use crate::http::{Field, FieldKind, tokens, values};

/// For how long a connection may be idle, as the response says, in milliseconds: the announced seconds but one, for the
/// way there and for clocks. 0: it carries no other request. `None`: the response says nothing that can be understood.
pub(super) fn announced_ms(head: &[u8], fields: &[Field]) -> Option<u64> {
    let seconds = values(head, fields, FieldKind::KeepAlive).flat_map(tokens).filter_map(timeout_s);
    seconds.min().map(|seconds| seconds.saturating_sub(1).saturating_mul(1_000))
}

/// The number of `timeout=5`. More digits than a number has are a long time.
fn timeout_s(parameter: &[u8]) -> Option<u64> {
    let (name, digits) = parameter.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

const NAME: &[u8] = b"timeout=";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Method, Response};
    use crate::http1::{HeadLimits, ResponseHead};

    #[test]
    fn an_announced_time_counts_less_a_second() {
        for (fields, expected) in [
            ("", None),
            ("Keep-Alive: timeout=5\r\n", Some(4_000)),
            ("keep-alive: max=100, Timeout=5\r\n", Some(4_000)),
            ("Keep-Alive: timeout=15\r\nKeep-Alive: timeout=3\r\n", Some(2_000)),
            ("Keep-Alive: timeout=2\r\n", Some(1_000)),
            ("Keep-Alive: timeout=1\r\n", Some(0)),
            ("Keep-Alive: timeout=0\r\n", Some(0)),
            ("Keep-Alive: timeout=99999999999999999999999\r\n", Some(u64::MAX)),
            ("Keep-Alive: timeout=\r\n", None),
            ("Keep-Alive: timeout=-1\r\n", None),
            ("Keep-Alive: timeout=5s\r\n", None),
            ("Keep-Alive: timeout =5\r\n", None),
            ("Keep-Alive: timeout=5;x\r\n", None),
            ("Keep-Alive: xtimeout=5\r\n", None),
            ("Keep-Alive: \r\n", None),
        ] {
            let head = format!("HTTP/1.1 204 x\r\n{fields}\r\n").into_bytes();
            let mut response = Response::default();
            ResponseHead::parse(&head, &HeadLimits::DEFAULT, Method::Get, &mut response).expect("a head");
            assert_eq!(announced_ms(&head, &response.fields), expected, "{fields}");
        }
    }
}
