//! Rules for every definition of a setting.

use super::sections;
use crate::config::key::{About, AnyKey};

fn all() -> impl Iterator<Item = (&'static dyn AnyKey, About)> {
    sections::all().map(|key| (key, key.about()))
}

#[test]
fn every_definition_is_listed() {
    let sources: [&[&str]; 12] = [
        &[include_str!("listen.rs")],
        &[include_str!("tls.rs")],
        &[include_str!("https.rs")],
        &[include_str!("process.rs")],
        &[include_str!("traces.rs")],
        &[include_str!("tokens.rs")],
        &[include_str!("limits.rs"), include_str!("redis_sentinel.rs"), include_str!("redis_tls.rs")],
        &[include_str!("upstreams.rs")],
        &[include_str!("websockets.rs")],
        &[include_str!("online.rs")],
        &[include_str!("control.rs")],
        &[include_str!("clients.rs")],
    ];
    for (source, section) in sources.iter().zip(sections::ALL) {
        let defined: Vec<&str> = source
            .iter()
            .flat_map(|file| file.split("#[cfg(test)]").next().unwrap_or_default().lines())
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": Key<"))
            .map(|(name, _)| name)
            .collect();
        let listed: Vec<&str> = section.keys.iter().map(|key| key.about().env).collect();
        assert_eq!(defined, listed, "{}", section.heading);
    }
}

#[test]
fn names_are_alike_everywhere() {
    for (_, about) in all().filter(|(_, about)| about.env != "CONFIG_FILE") {
        assert_eq!(about.env.to_lowercase(), about.flag.replace('-', "_"));
        assert!(about.is_file_key(&about.env.to_lowercase()) && !about.is_file_key(about.env));
    }
}

#[test]
fn every_default_is_valid() {
    for (key, about) in all() {
        assert_eq!(about.default.map(|text| key.judge(text)), about.default.map(|_| Ok(())), "{}", about.env);
        assert!(key.judge("").unwrap_err().starts_with("is empty (leave it out for"), "{}", about.env);
    }
}

#[test]
fn every_range_of_the_manual_is_the_one_of_the_parser() {
    let mut ranges = 0;
    for (key, about) in all().filter(|(_, about)| !["RATE_LIMIT_PREFIX", "WS_PREFIX"].contains(&about.env)) {
        let Some((least, most)) = range(about.bounds) else { continue };
        ranges += 1;
        let is_valid = |text: &str| key.judge(text).is_ok();
        assert!(is_valid(least) && is_valid(most), "{}: {}", about.env, about.bounds);
        assert!(!is_valid(&moved(most, 1)), "{}: over {most}", about.env);
        // `0s, or 1s to 168h` and `0, or 0.001 to …` allow zero in addition to the range.
        if !least.starts_with('0') && !about.bounds.contains(" or ") {
            assert!(!is_valid(&moved(least, -1)), "{}: under {least}", about.env);
        }
    }
    assert!(ranges > 30, "{ranges}");
}

/// The ends of `A to B`, if both are values.
fn range(bounds: &'static str) -> Option<(&'static str, &'static str)> {
    let (before, behind) = bounds.split_once(" to ")?;
    let least = before.rsplit(' ').next()?;
    let most = behind.split([' ', ',']).next()?;
    let is_value = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('^');
    (is_value(least) && is_value(most)).then_some((least, most))
}

/// A value with its number moved: `24h` by 1 is `25h`.
fn moved(value: &str, by: i64) -> String {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let number: i64 = value[..digits].parse().expect("a number");
    format!("{}{}", number + by, &value[digits..])
}

#[test]
fn help_is_one_line_and_no_sentence() {
    for (_, about) in all() {
        assert!(!about.help.contains('\n') && !about.help.ends_with('.'), "{}", about.env);
        assert!(about.more.is_empty() || about.more.ends_with('.'), "{}", about.env);
        assert!(!about.help.contains('|') && !about.more.contains('|'), "{}: breaks the table", about.env);
    }
}
