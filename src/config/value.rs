//! Parsers and printers of values that several settings share. An error says what would be valid.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::meaning::{Choice, Rate};
use crate::limits;

/// A value, or what is wrong with it: the second half of a sentence that begins with the key.
pub(super) type Parsed<T> = Result<T, String>;

/// A value as an error shows it: on one line, and cut after 80 characters.
pub(super) fn quoted(value: &str) -> String {
    let mut text: String = value.chars().take(QUOTED_CHARS_MAX).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    format!("{text:?}")
}

/// A whole number from `min` to `max`, digits only.
pub(crate) fn count<T>(value: &str, min: T, max: T) -> Parsed<T>
where
    T: FromStr + PartialOrd + Display,
{
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<T>() {
        Ok(number) if digits && number >= min && number <= max => Ok(number),
        _ => Err(format!("{} is not a whole number from {min} to {max}", quoted(value))),
    }
}

/// One of the words of a [`Choice`].
pub(super) fn choice<T: Choice>(value: &str) -> Parsed<T> {
    let found = T::ALL.iter().find(|choice| choice.word() == value);
    found.copied().ok_or_else(|| {
        let words: Vec<&str> = T::ALL.iter().map(|choice| choice.word()).collect();
        match words[..] {
            [one, other] => format!("{} is neither {one} nor {other}", quoted(value)),
            _ => format!("{} is none of {}", quoted(value), words.join(", ")),
        }
    })
}

/// A duration with its unit, from `min` to `max`. `0` needs no unit.
///
/// # Errors
/// The value is no duration, or not in the range.
pub fn duration(value: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let Some(duration) = plain_duration(value) else {
        return Err(format!("{} is not a duration (use 500ms, 10s, 5m, 1h)", quoted(value)));
    };
    if duration < min || duration > max {
        return Err(format!(
            "{} is not from {} to {}",
            quoted(value),
            show_duration(min),
            show_duration(max)
        ));
    }
    Ok(duration)
}

/// Digits and a unit.
fn plain_duration(value: &str) -> Option<Duration> {
    if value == "0" {
        return Some(Duration::ZERO);
    }
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let number = number.parse::<u64>().ok()?;
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(ms_per_unit).map(Duration::from_millis)
}

/// A duration as an operator writes it: in the largest unit that divides it.
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// A size in bytes from `min` to `max`, plain or in `KiB`, `MiB`, `GiB`.
pub(super) fn size(value: &str, min: u64, max: u64) -> Parsed<u64> {
    let Some(bytes) = plain_size(value) else {
        return Err(format!("{} is not a size (use 512, 64KiB, 10MiB, 1GiB)", quoted(value)));
    };
    if bytes < min || bytes > max {
        return Err(format!("{} is not from {} to {}", quoted(value), show_size(min), show_size(max)));
    }
    Ok(bytes)
}

/// A size as [`size`] reads it that fits a buffer.
pub(super) fn buffer_size(value: &str, min: usize, max: usize) -> Parsed<usize> {
    let bytes = size(value, min as u64, max as u64)?;
    usize::try_from(bytes).map_err(|error| error.to_string())
}

/// Digits and an optional unit.
fn plain_size(value: &str) -> Option<u64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let number = number.parse::<u64>().ok()?;
    let bytes_per_unit = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes_per_unit)
}

/// A size as an operator writes it: in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// A rate per second: a decimal number with at most three decimals. No exponent, no sign, no `inf`.
pub(super) fn rate(value: &str) -> Parsed<Rate> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = decimals.trim_end_matches('0');
    let has_form = value.split('.').all(is_number) && decimals.len() <= 3;
    let milli = has_form.then(|| format!("{whole}{decimals:0<3}").parse::<u32>().ok()).flatten();
    milli.filter(|milli| *milli <= limits::RATE_MILLI_MAX).map(Rate::from_milli).ok_or_else(|| {
        let max = Rate::from_milli(limits::RATE_MILLI_MAX);
        format!(
            "{} is not a number of requests per second (use 0, or 0.001 to {max}, up to three decimals)",
            quoted(value)
        )
    })
}

/// Tokens in a full bucket.
pub(super) fn burst(value: &str) -> Parsed<u32> {
    count(value, 1, limits::BURST_MAX)
}

/// Text for a comparison: no control characters, at most [`limits::SUBJECT_BYTES_MAX`] bytes.
pub(super) fn text(value: &str) -> Parsed<String> {
    if value.chars().any(char::is_control) {
        return Err("has a control character in it".to_owned());
    }
    if value.len() > limits::SUBJECT_BYTES_MAX {
        return Err(format!("is over {} bytes", limits::SUBJECT_BYTES_MAX));
    }
    Ok(value.to_owned())
}

/// The items of a list, separated by commas and white space; `none` alone is the empty list.
pub(super) fn items(value: &str) -> Parsed<Vec<&str>> {
    if value.trim() == "none" {
        return Ok(Vec::new());
    }
    let items: Vec<&str> = value.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()).collect();
    if items.is_empty() {
        return Err(format!("{} names nothing (use none)", quoted(value)));
    }
    if items.len() > limits::LISTED_MAX {
        return Err(format!("has {} items, over {}", items.len(), limits::LISTED_MAX));
    }
    Ok(items)
}

/// The items of a list, separated by commas; `none` if there are none.
pub(super) fn show_list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An upper bound in bytes: `zero` for 0, a size with its unit, or a number of bytes.
pub(super) fn show_bytes(bytes: u64, zero: &str) -> String {
    match bytes {
        0 => zero.to_owned(),
        _ if bytes.is_multiple_of(1024) => show_size(bytes),
        _ => format!("{bytes} bytes"),
    }
}

/// A host in lower case, without brackets, and its port, if both are well-formed.
pub(super) fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        (plain_host(host).then_some(host)?, port)
    };
    let port = match port {
        Some(port) => Some(count::<u16>(port, 1, u16::MAX).ok()?),
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// A name or an IPv4 address. A name whose last label is a number would be read as an address by some
/// resolvers, so such a host must be one.
fn plain_host(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let numeric = labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253
        && labels.split('.').all(label_ok)
        && (!numeric || host.parse::<std::net::Ipv4Addr>().is_ok())
}

/// The shortest timeout: the resolution of all timeouts.
pub(super) const TICK: Duration = Duration::from_millis(limits::TICK_MS);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// Characters of a value that an error shows.
const QUOTED_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meaning::{LimitHeaders, LimitStore};

    #[test]
    fn reads_durations_with_their_unit() {
        let ms = |value| duration(value, Duration::ZERO, DAY).map(|d| d.as_millis());
        for (value, expected) in
            [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0), ("0", 0)]
        {
            assert_eq!(ms(value), Ok(expected), "{value}");
        }
        for value in ["5x", "10", "", "s", "-1s", "1.5s", "1 s", "+1s", "10S", "99999999999999999999s", "25h"]
        {
            assert!(ms(value).is_err(), "{value}");
        }
        assert_eq!(ms("5x"), Err("\"5x\" is not a duration (use 500ms, 10s, 5m, 1h)".to_owned()));
        assert_eq!(ms("25h"), Err("\"25h\" is not from 0s to 24h".to_owned()));
        assert_eq!(ms("18446744073709551615h").ok(), None);
    }

    #[test]
    fn shows_durations_and_sizes_as_they_would_be_written() {
        for value in ["500ms", "10s", "5m", "1h", "0s", "90s"] {
            assert_eq!(show_duration(plain_duration(value).unwrap()), value);
        }
        for value in ["0", "512", "64KiB", "10MiB", "1GiB", "1025"] {
            assert_eq!(show_size(plain_size(value).unwrap()), value);
        }
    }

    #[test]
    fn reads_sizes_plain_or_with_a_unit() {
        for (value, expected) in
            [("0", 0), ("512", 512), ("64KiB", 65_536), ("10MiB", 10 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(value, 0, u64::MAX), Ok(expected), "{value}");
        }
        for value in [
            "10M",
            "10MB",
            "1.5MiB",
            "-1",
            "MiB",
            "",
            "1kib",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert!(size(value, 0, u64::MAX).is_err(), "{value}");
        }
        assert_eq!(size("1KiB", 2048, 4096), Err("\"1KiB\" is not from 2KiB to 4KiB".to_owned()));
    }

    #[test]
    fn reads_counts_and_booleans_exactly() {
        assert_eq!(count("7", 1, 9), Ok(7));
        for value in ["0", "10", "+7", "-7", " 7", "7.0", "", "0x7"] {
            assert!(count(value, 1, 9).is_err(), "{value}");
        }
        assert_eq!((choice("true"), choice("false")), (Ok(true), Ok(false)));
        for value in ["True", "1", "yes", "on", ""] {
            assert!(choice::<bool>(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        assert_eq!(choice("memory"), Ok(LimitStore::Memory));
        let told = |error: Parsed<_>| error.unwrap_err();
        assert_eq!(told(choice::<LimitStore>("Redis").map(drop)), "\"Redis\" is none of redis, memory, off");
        assert_eq!(told(choice::<LimitHeaders>("").map(drop)), "\"\" is neither refused nor all");
    }

    #[test]
    fn lists_are_separated_by_commas_or_white_space() {
        assert_eq!(items("a, b\tc"), Ok(vec!["a", "b", "c"]));
        assert_eq!(items("none"), Ok(vec![]));
        assert!(items(",").is_err() && items(&"a,".repeat(limits::LISTED_MAX + 1)).is_err());
        assert_eq!((show_list(&[1, 2]), show_list::<u8>(&[])), ("1, 2".to_owned(), "none".to_owned()));
    }

    #[test]
    fn reads_rates_with_fractions_and_without_tricks() {
        for (value, milli) in [
            ("0", 0),
            ("0.000", 0),
            ("10", 10_000),
            ("10.0", 10_000),
            ("0.5", 500),
            ("0.5000", 500),
            ("3.333", 3_333),
            ("1000000", 1_000_000_000),
            ("0.001", 1),
        ] {
            assert_eq!(rate(value), Ok(Rate::from_milli(milli)), "{value}");
        }
        for value in [
            "-1",
            "-0",
            "inf",
            "NaN",
            "1e3",
            "0.0001",
            "1.2345",
            "1000001",
            "1000000.001",
            "99999999999",
            "",
            ".",
            "1.",
            ".5",
            "1.2.3",
            "+1",
            "1.é",
        ] {
            assert!(rate(value).is_err(), "{value}");
        }
        for text in ["0", "10", "0.5", "3.333", "0.001", "1000000", "0.05"] {
            assert_eq!(rate(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn quotes_on_one_line_and_cuts_long_values() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert!(quoted(&"x".repeat(1000)).len() < 100);
    }
}
