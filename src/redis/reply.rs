//! Parses replies out of a byte stream: where one ends, and what it says (RESP2,
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! The script answers with an array of integers, which is parsed here without allocating: the parser of the `redis`
//! crate needs a whole reply, does not say how long it was, and makes a `Vec` of it. Of any other reply (errors, those
//! of the handshake) only the end is found here, and the crate parses it.

use std::fmt;

use memchr::memchr;

use crate::limits::{REDIS_INTEGERS_MAX, REDIS_REPLY_BYTES_MAX};

/// One whole reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'b> {
    /// An array of this many integers.
    Integers(usize),
    /// Any other reply, unparsed.
    Other(&'b [u8]),
}

/// Bytes that are not a reply, or a reply of a kind that no command here can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub(super) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The reply at the front and its length in bytes. `None`: it is not complete yet. The integers of an array go into
/// `integers`.
///
/// # Errors
/// Bytes that cannot become a reply, and a reply longer than `REDIS_REPLY_BYTES_MAX`.
pub fn next<'b>(
    bytes: &'b [u8],
    integers: &mut [i64; REDIS_INTEGERS_MAX],
) -> Result<Option<(usize, Reply<'b>)>, Malformed> {
    if let Some((length, count)) = all_integers(bytes, integers) {
        return Ok(Some((length, Reply::Integers(count))));
    }
    Ok(length(bytes)?.map(|length| (length, Reply::Other(&bytes[..length]))))
}

/// The length of the reply at the front. `None`: it is not complete yet.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let (mut at, mut missing) = (0, 1);
    while missing > 0 {
        let Some(line) = line(&bytes[at..])? else { return unfinished(bytes) };
        at += line.len() + 2;
        missing -= 1;
        match line[0] {
            b'$' => {
                let size = count(&line[1..])?;
                let Some(size) = size else { continue };
                at += size + 2;
                if at > REDIS_REPLY_BYTES_MAX {
                    return Err(TOO_LONG);
                }
                let Some(value) = bytes.get(..at) else { return unfinished(bytes) };
                if !value.ends_with(b"\r\n") {
                    return Err(Malformed("a string that does not end where it should"));
                }
            }
            b'*' => missing += count(&line[1..])?.unwrap_or(0),
            b':' => {
                integer(&line[1..]).ok_or(Malformed("a malformed integer"))?;
            }
            _ => {}
        }
        // Each item has at least three bytes.
        if at > REDIS_REPLY_BYTES_MAX || missing > REDIS_REPLY_BYTES_MAX / 3 {
            return Err(TOO_LONG);
        }
    }
    Ok(Some(at))
}

/// An incomplete reply: an error only if it is already longer than a reply may be.
fn unfinished(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.len() > REDIS_REPLY_BYTES_MAX { Err(TOO_LONG) } else { Ok(None) }
}

fn all_integers(bytes: &[u8], integers: &mut [i64; REDIS_INTEGERS_MAX]) -> Option<(usize, usize)> {
    let (mut at, items) = field(bytes, 0, b'*')?;
    let items = usize::try_from(items).ok()?;
    for integer in integers.get_mut(..items)? {
        (at, *integer) = field(bytes, at, b':')?;
    }
    Some((at, items))
}

/// The number that follows `kind` at this position, and the position after its line.
fn field(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, i64)> {
    let rest = bytes.get(at..)?.strip_prefix(&[kind])?;
    let end = memchr(b'\r', rest)?;
    let number = integer(&rest[..end])?;
    (rest.get(end + 1) == Some(&b'\n')).then_some((at + 1 + end + 2, number))
}

/// The line at the front, with its kind and without its CRLF.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    match bytes.first() {
        None => return Ok(None),
        Some(b'+' | b'-' | b':' | b'$' | b'*') => {}
        Some(_) => return Err(Malformed("bytes that are not a reply of Redis")),
    }
    let Some(end) = memchr(b'\r', bytes) else { return Ok(None) };
    match bytes.get(end + 1) {
        Some(b'\n') => Ok(Some(&bytes[..end])),
        Some(_) => Err(Malformed("a CR without its LF")),
        None => Ok(None),
    }
}

/// The size of a string or array. `None`: the null string or array.
fn count(digits: &[u8]) -> Result<Option<usize>, Malformed> {
    match integer(digits) {
        Some(-1) => Ok(None),
        Some(n) => match usize::try_from(n) {
            Ok(n) if n <= REDIS_REPLY_BYTES_MAX => Ok(Some(n)),
            Ok(_) => Err(TOO_LONG),
            Err(_) => Err(Malformed("a negative length")),
        },
        None => Err(Malformed("a malformed length")),
    }
}

fn integer(digits: &[u8]) -> Option<i64> {
    let (digits, is_negative) = match digits {
        [b'-', rest @ ..] => (rest, true),
        _ => (digits, false),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        let number = number.checked_mul(10)?;
        if is_negative { number.checked_sub(digit) } else { number.checked_add(digit) }
    })
}

const TOO_LONG: Malformed = Malformed("a reply that is longer than any command asks for");
/// A reply although no command waits for one.
pub(super) const UNASKED: Malformed = Malformed("a reply without a command");
/// A reply to a call that is neither an array of integers nor an error.
pub(super) const UNEXPECTED_FORM: Malformed = Malformed("an answer of another form than the script gives");

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Option<(usize, Reply<'_>)>, Malformed> {
        next(bytes, &mut [0; REDIS_INTEGERS_MAX])
    }

    #[test]
    fn an_array_of_integers_is_read_in_place() {
        let mut integers = [0; REDIS_INTEGERS_MAX];
        let bytes = b"*3\r\n:1\r\n:-42\r\n:9223372036854775807\r\n:7\r\n";
        let (length, reply) = next(bytes, &mut integers).unwrap().unwrap();
        assert_eq!((length, reply), (bytes.len() - 4, Reply::Integers(3)));
        assert_eq!(integers[..3], [1, -42, i64::MAX]);
    }

    #[test]
    fn other_replies_are_delimited_for_the_crate() {
        for whole in [
            &b"+OK\r\n"[..],
            b"-NOSCRIPT No matching script.\r\n",
            b":5\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n*0\r\n",
            b"*2\r\n:1\r\n$1\r\n2\r\n",
        ] {
            let twice = [whole, whole].concat();
            assert_eq!(parsed(&twice), Ok(Some((whole.len(), Reply::Other(whole)))));
            assert!(redis::parse_redis_value(whole).is_ok());
        }
    }

    #[test]
    fn a_reply_cut_anywhere_is_not_yet_there() {
        for whole in
            [&b"*3\r\n:1\r\n:99\r\n:-5\r\n"[..], b"*2\r\n$3\r\na\r\n\r\n-ERR x\r\n", b"-READONLY x\r\n"]
        {
            for cut in 0..whole.len() {
                assert_eq!(parsed(&whole[..cut]), Ok(None), "{cut}");
            }
        }
    }

    #[test]
    fn garbage_and_giants_are_refused_at_once() {
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b">2\r\n",
            b"*1000000000\r\n",
            b"$1000000000\r\n",
            b"*99999999999999999999\r\n",
            b"*-2\r\n",
            b"$3\r\nabcde",
            b":1x\r\n",
            b":\r\n",
            b"+a\rb\r\n",
            b"\0",
        ] {
            assert!(parsed(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        let endless = [&b"+"[..], &[b'x'; REDIS_REPLY_BYTES_MAX]].concat();
        assert_eq!(parsed(&endless), Err(TOO_LONG));
        let deep = b"*1\r\n".repeat(REDIS_REPLY_BYTES_MAX / 4 + 1);
        assert_eq!(parsed(&deep), Err(TOO_LONG));
    }
}
