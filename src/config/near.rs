//! Finds the name that a misspelt one is probably meant to be.

/// The one of these names that is probably meant, if there is one: it differs by case, by `-` for `_`, by a letter in
/// four, by the order of its letters, or by a beginning that only it has.
pub(super) fn meant<'n>(written: &str, names: impl Iterator<Item = &'n str> + Clone) -> Option<&'n str> {
    if written.len() > NAME_BYTES_MAX {
        return None;
    }
    let written = written.to_ascii_lowercase().replace('-', "_");
    let letters = (written.len() / 4).clamp(1, LETTERS_MAX);
    let nearest = names.clone().map(|name| (distance(&written, &name.to_ascii_lowercase()), name)).min();
    if let Some((_, name)) = nearest.filter(|(letters_between, name)| {
        // One letter is all of a name of one letter.
        *letters_between <= letters && *letters_between < name.len()
    }) {
        return Some(name);
    }
    let letters_of = |name: &str| {
        let mut letters = name.as_bytes().to_vec();
        letters.sort_unstable();
        letters
    };
    let same_letters = |name: &&str| name.len() > 2 && letters_of(name) == letters_of(&written);
    if let Some(name) = names.clone().find(same_letters) {
        return Some(name);
    }
    let mut longer = names.filter(|name| written.len() >= BEGINNING_BYTES_MIN && name.starts_with(&written));
    longer.next().filter(|_| longer.next().is_none())
}

/// The edit distance: letters that are inserted, deleted or replaced to turn `a` into `b` (Levenshtein 1966).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The largest edit distance of a misspelt name.
const LETTERS_MAX: usize = 3;
/// The shortest beginning that stands for a whole name, in bytes.
const BEGINNING_BYTES_MIN: usize = 4;
/// The longest name that is compared, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_that_is_meant() {
        let names = ["url", "urls", "paths", "path_case", "body_max_bytes", "connect_timeout", "methods"];
        for (written, expected) in [
            ("uri", Some("url")),
            ("ulr", Some("url")),
            ("path", Some("paths")),
            ("Paths", Some("paths")),
            ("body-max-bytes", Some("body_max_bytes")),
            ("body_max", Some("body_max_bytes")),
            ("conect_timout", Some("connect_timeout")),
            ("method", Some("methods")),
            ("colour", None),
            ("", None),
            ("x", None),
            (&"a".repeat(65), None),
        ] {
            assert_eq!(meant(written, names.iter().copied()), expected, "{written}");
        }
    }
}
