//! How much of a message is still to come, from its first bytes.

use memchr::memmem;

/// Bytes that follow those that have arrived. `None`: these do not hold a whole head, or hold more than the message.
pub fn missing_bytes(arrived: &[u8]) -> Option<usize> {
    let body_at = memmem::find(arrived, b"\r\n\r\n")? + 4;
    let total = body_at + content_length(&arrived[..body_at]).unwrap_or(0);
    total.checked_sub(arrived.len())
}

fn content_length(head: &[u8]) -> Option<usize> {
    let digits = &head[memmem::find(head, FIELD)? + FIELD.len()..];
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit());
    Some(length.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

const FIELD: &[u8] = b"\r\nContent-Length: ";
