//! Names and values of fields, as the keys of a route write them.

use crate::config::value::Parsed;
use crate::limits::FIELD_NAME_BYTES_MAX;

/// A field's name in lower case. It has one spelling, but for case: no byte that a server may read as another one.
pub(super) fn name(text: &str) -> Parsed<String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match text.len() {
        1..=FIELD_NAME_BYTES_MAX if is_plain => Ok(text.to_ascii_lowercase()),
        _ => Err(format!("is not a name of up to {FIELD_NAME_BYTES_MAX} letters, digits and '-'")),
    }
}

/// A field's value: visible ASCII, with spaces in between.
pub(super) fn value(text: &str, bytes_max: usize) -> Parsed<()> {
    let is_text = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if text.is_empty() || text.len() > bytes_max {
        return Err(format!("its value is not 1 to {bytes_max} bytes long"));
    }
    match is_text && text.trim_matches(' ') == text {
        true => Ok(()),
        false => Err("its value is not visible ASCII with spaces in between".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling_and_values_end_no_line() {
        assert_eq!(name("X-Api-Version"), Ok("x-api-version".to_owned()));
        for wrong in ["", "x_api", "x.api", "x api", "x:", "x\r\n", "\u{fc}", &"x".repeat(65)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
        assert!(value("max-age=60, public; \"a\"", 64).is_ok());
        for wrong in ["", " a", "a ", "a\r\nB: c", "a\n", "\0", "\t", "a\tb", "\u{fc}", &"a".repeat(65)] {
            assert!(value(wrong, 64).is_err(), "{wrong:?}");
        }
    }
}
