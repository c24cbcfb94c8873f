//! The page of issuers: what keys each has, how old they are, and why they are not newer.

use std::fmt::Write;

/// An issuer whose keys come from elsewhere, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerRow {
    /// Its name.
    pub name: String,
    /// Where its key set comes from.
    pub source: String,
    /// The names of its keys, as a log shows them. Empty: it has none.
    pub keys: String,
    /// How many keys it has.
    pub key_count: u64,
    /// For how long the key set is known to be the issuer's, in seconds. `None`: it was never had.
    pub age_s: Option<u64>,
    /// How often the key set was had.
    pub successes: u64,
    /// How often it was not.
    pub failures: u64,
    /// Why it could not be had the last time; `None`: it could.
    pub error: Option<String>,
}

impl IssuerRow {
    /// `fresh`, `stale` (the issuer is away, and the keys of before are in force), or `unavailable`.
    pub(super) fn state(&self) -> &'static str {
        match (self.key_count, &self.error) {
            (0, _) => "unavailable",
            (_, Some(_)) => "stale",
            (_, None) => "fresh",
        }
    }
}

/// As a table for people.
pub(super) fn text(rows: &[IssuerRow]) -> String {
    let mut text = String::new();
    for row in rows {
        let IssuerRow { name, source, keys, age_s, successes, failures, error, .. } = row;
        let age = age_s.map_or("never had".to_owned(), |age_s| format!("{age_s}s old"));
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{name}: {}, {age}, from {source}, fetches {successes}, failed fetches {failures}",
            row.state()
        );
        if !keys.is_empty() {
            let _ = writeln!(text, "  keys: {keys}");
        }
        if let Some(error) = error {
            let _ = writeln!(text, "  last error: {error}");
        }
    }
    if rows.is_empty() {
        text.push_str("no issuer has a key set\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key_count: u64, error: Option<&str>) -> IssuerRow {
        IssuerRow {
            name: "corp".to_owned(),
            source: "https://id.example/keys".to_owned(),
            keys: if key_count > 0 { "\"one\"".to_owned() } else { String::new() },
            key_count,
            age_s: (key_count > 0).then_some(7),
            successes: key_count,
            failures: 2,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn each_state_has_its_word() {
        let states = [row(0, None), row(0, Some("x")), row(1, None), row(1, Some("x"))];
        assert_eq!(states.each_ref().map(IssuerRow::state), ["unavailable", "unavailable", "fresh", "stale"]);
    }

    #[test]
    fn a_page_has_the_keys_and_what_went_wrong() {
        assert_eq!(
            text(&[row(1, Some("status 500"))]),
            "corp: stale, 7s old, from https://id.example/keys, fetches 1, failed fetches 2\n  keys: \"one\"\n  \
             last error: status 500\n"
        );
        assert!(text(&[row(0, None)]).starts_with("corp: unavailable, never had, "));
        assert_eq!(text(&[]), "no issuer has a key set\n");
    }
}
