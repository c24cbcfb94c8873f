//! Reads a table of a file although some of it is wrong: what is wrong is told and left out, the rest is kept.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeValue, Error, ValueDeserializer};

use super::keys::sections;
use super::near;
use super::wrong::Wrong;

/// A mistake of form: where it is, in bytes, and what it is.
pub(super) type Told = (usize, String);

/// Reads a table. Each mistake goes to `told`. Nothing here knows a key: which ones there are and what they hold is
/// what serde says of `T`, one mistake after the other.
pub(super) fn read<T: DeserializeOwned + Default>(
    value: Spanned<DeValue<'_>>,
    told: &mut Vec<Told>,
) -> (T, Wrong) {
    let (start, mut value, mut wrong) = (value.span().start, value, Wrong::default());
    let first = told.len();
    // Each round takes something out of the table, or fills in what is missing.
    for _ in 0..ROUNDS_MAX {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => {
                told[first..].sort();
                return (read, wrong);
            }
            Err(error) => error,
        };
        match (mend(&mut value, &error, &mut wrong), offset(&error)) {
            (Mended::Silently, _) => {}
            (Mended::Told(what), at) => told.push((at.unwrap_or(start), what)),
            (Mended::Not, at) => {
                told.push((at.unwrap_or(start), in_our_words(error.message())));
                break;
            }
        }
    }
    told[first..].sort();
    (T::default(), Wrong::whole())
}

/// What became of a mistake.
enum Mended {
    /// It is out of the table, and this is what it was.
    Told(String),
    /// It follows from one that was told.
    Silently,
    /// The table cannot be read.
    Not,
}

/// Takes the entry of a mistake out of the table, or puts something harmless where a key is missing.
fn mend(value: &mut Spanned<DeValue<'_>>, error: &Error, wrong: &mut Wrong) -> Mended {
    let Some(span) = error.span() else { return Mended::Not };
    if let Some(key) = between(error.message(), "missing field ") {
        if !fill(value, &span, key) {
            return Mended::Not;
        }
        let is_told = wrong.has(key);
        wrong.add(key);
        return if is_told { Mended::Silently } else { Mended::Told(format!("has no key `{key}`")) };
    }
    if span == FILLER {
        return if refill(value) { Mended::Silently } else { Mended::Not };
    }
    let Some(path) = take_out(value, &span) else { return Mended::Not };
    path.iter().for_each(|key| wrong.add(key));
    let Some(key) = between(error.message(), "unknown field ") else {
        return Mended::Told(in_our_words(error.message()));
    };
    let meant = near::meant(key, keys_of(error.message()));
    meant.iter().for_each(|key| wrong.add(key));
    Mended::Told(match meant {
        Some(meant) => format!("`{key}` is not a key here; is `{meant}` meant?"),
        None if is_setting(key) => {
            format!("`{key}` is not a key here; as a setting it stands above the first [table]")
        }
        None => format!("`{key}` is not a key here"),
    })
}

/// Fills in a key that the table at these bytes lacks. Whether there is such a table.
fn fill(value: &mut Spanned<DeValue<'_>>, span: &Span, key: &str) -> bool {
    let is_here = value.span() == *span;
    match value.get_mut() {
        DeValue::Table(table) if is_here => {
            let filler = Spanned::new(FILLER, DeValue::String("".into()));
            table.insert(Spanned::new(FILLER, key.to_owned().into()), filler);
            true
        }
        DeValue::Table(table) => table.iter_mut().any(|(_, value)| fill(value, span, key)),
        DeValue::Array(items) => items.iter_mut().any(|item| fill(item, span, key)),
        _ => false,
    }
}

/// Takes out the entry or the item at these bytes. The keys that lead to it, if it is there.
fn take_out(value: &mut Spanned<DeValue<'_>>, span: &Span) -> Option<Vec<String>> {
    match value.get_mut() {
        DeValue::Table(table) => {
            let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
            if let Some(key) = found.map(|(key, _)| key.clone()) {
                table.remove(&key);
                return Some(vec![key.into_inner().into_owned()]);
            }
            table.iter_mut().find_map(|(key, value)| {
                let mut path = take_out(value, span)?;
                path.push(key.get_ref().clone().into_owned());
                Some(path)
            })
        }
        DeValue::Array(items) => match items.iter().position(|item| item.span() == *span) {
            Some(index) => {
                let all = std::mem::replace(items, DeArray::new());
                let rest = all.into_iter().enumerate().filter(|(nth, _)| *nth != index);
                rest.for_each(|(_, item)| items.push(item));
                Some(Vec::new())
            }
            None => items.iter_mut().find_map(|item| take_out(item, span)),
        },
        _ => None,
    }
}

/// Puts an array where a text was filled in and an array is wanted. Whether there was such a text.
fn refill(value: &mut Spanned<DeValue<'_>>) -> bool {
    if value.span() == FILLER && matches!(value.get_ref(), DeValue::String(_)) {
        *value.get_mut() = DeValue::Array(DeArray::new());
        return true;
    }
    match value.get_mut() {
        DeValue::Table(table) => table.iter_mut().any(|(_, value)| refill(value)),
        DeValue::Array(items) => items.iter_mut().any(refill),
        _ => false,
    }
}

fn offset(error: &Error) -> Option<usize> {
    error.span().map(|span| span.start)
}

/// The name in back quotes after this beginning of a message of serde.
fn between<'m>(message: &'m str, beginning: &str) -> Option<&'m str> {
    message.strip_prefix(beginning)?.strip_prefix('`')?.split('`').next()
}

/// The keys that serde lists: "unknown field `a`, expected one of `b`, `c`".
fn keys_of(message: &str) -> impl Iterator<Item = &str> + Clone {
    let listed = message.split_once(", expected ").map_or("", |(_, listed)| listed);
    listed.split('`').skip(1).step_by(2)
}

/// Whether this is a setting of a file.
fn is_setting(name: &str) -> bool {
    sections::all().any(|key| key.about().is_file_key(name))
}

/// A message of serde in the words of TOML, on one line.
pub(super) fn in_our_words(message: &str) -> String {
    let message = message
        .replace("expected a sequence", "expected an array")
        .replace("invalid type: sequence", "invalid type: array");
    let message = message
        .replace("expected a map", "expected a table")
        .replace("invalid type: map", "invalid type: table");
    let message = match message.split_once("expected struct Written") {
        Some((before, _)) => format!("{before}expected a table"),
        None => message,
    };
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

type Span = std::ops::Range<usize>;

/// Where nothing of the file is: the span of what is filled in.
const FILLER: Span = usize::MAX..usize::MAX;
/// The mistakes of one table, and what is filled in for them. Over it nothing of the table is judged.
const ROUNDS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use crate::config::keys::tokens::JWT_SECRET;
    use crate::config::lower::lower;
    use crate::config::mistake::Mistakes;
    use crate::config::testing::settings;
    use crate::config::written::Written;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    /// Every mistake of a file, those of form and those of meaning.
    fn told(text: &str) -> Vec<String> {
        let mut mistakes = Mistakes::default();
        let file = Written::from_toml(text, "f", &mut mistakes);
        let settings = settings(&[(&JWT_SECRET, SECRET)]);
        let all = match crate::config::lower::lower_beside(mistakes, settings, file) {
            Ok(_) => String::new(),
            Err(mistakes) => mistakes.to_string(),
        };
        all.lines().map(str::to_owned).collect()
    }

    fn file(route: &str, upstream: &str) -> String {
        format!("[[route]]\nname = 'r'\n{route}\n[upstreams.u]\n{upstream}\n")
    }

    #[test]
    fn two_mistakes_of_one_table_are_both_told_and_the_rest_of_it_is_judged() {
        let text = file(
            "pats = ['/']\nupstream = 'u'\nkind = [1]\naccess = 'all'\ncolour = 1",
            "url = 'http://u'\nbalanse = 1\nstreams = 'x'",
        );
        assert_eq!(
            told(&text),
            [
                "route \"r\" (f:3): `pats` is not a key here; is `paths` meant?",
                "route \"r\" (f:5): invalid type: array, expected a string, number or boolean",
                "route \"r\" (f:7): `colour` is not a key here",
                "upstream \"u\" (f:10): `balanse` is not a key here; is `balance` meant?",
                "upstream \"u\" (f:8): streams \"x\" is not a whole number from 1 to 1048576",
                "route \"r\" (f:1): access \"all\" is none of public, protected, optional",
            ]
        );
    }

    #[test]
    fn no_mistake_follows_from_another() {
        let route = "paths = ['/']\nupstream = 'u'";
        let url = "url = 'http://u'";
        for text in [
            file(route, "uri = 'http://u'"),
            file(route, "url = 5"),
            file(route, "urls = [5]"),
            file(route, "urls = [{ weight = 1 }]"),
            file(route, &format!("{url}\nhealth = {{ pth = '/' }}")),
            file(route, &format!("{url}\nhealth = 5")),
            file(route, &format!("{url}\nport = 1")),
            file("paths = '/'\nupstream = 'u'", url),
            file("upstream = 'u'", url),
            file("paths = ['/', 5]\nupstream = 'u'", url),
            file("paths = ['/']\nupstrem = 'u'", url),
            file("paths = ['/']\nupstream = 5", url),
            file("paths = ['/']\nupstreams = [{ weight = 1 }]", url),
            file("paths = ['/']\nupstreams = [{ nam = 'u', weight = 1 }]", url),
            file(&format!("{route}\nkind = {{}}\ntokens_from = ['subprotocol:a.']"), url),
            file(&format!("{route}\nmethods = 5"), url),
            file(&format!("{route}\nlimit = [{{ rate = 1, brst = 2 }}]"), url),
            file(&format!("{route}\nrequire = {{ role = {{ a = 1 }} }}"), url),
            format!("[[route]]\nname = 'r'\n{route}\n[upstreams]\nu = 5\n"),
            format!("[[route]]\nname = 'r'\n{route}\n[upstream.u]\n{url}\n"),
            format!("[[routes]]\nname = 'r'\n{route}\n[upstreams.u]\n{url}\n"),
            format!("route = 5\n[upstreams.u]\n{url}\n"),
            format!(
                "[[route]]\n{route}\n[[route]]\nname = 's'\npaths = ['/s']\nupstream = 'u'\n[upstreams.u]\n{url}\n"
            ),
            file(&format!("{route}\nissuers = ['i']"), &format!("{url}\n[[issuer]]\njwks_file = '/k'")),
            file(
                &format!("{route}\nissuers = ['i']"),
                &format!("{url}\n[[issuer]]\nname = 'i'\njwks_fil = '/k'"),
            ),
            file(
                &format!("{route}\nissuers = ['i']"),
                &format!("{url}\n[[isuer]]\nname = 'i'\njwks_file = '/k'"),
            ),
            "[[issuer]]\nname = 'i'\nalgorithms = 'RS256'\njwks_file = '/k'\n".to_owned(),
            "[[certificate]]\ncret = 'c'\nkey = 'k'\n".to_owned(),
            "[[certificate]]\ncert = 'c'\n".to_owned(),
        ] {
            let told = told(&text);
            assert_eq!(told.len(), 1, "{text}: {told:#?}");
            assert!(told[0].contains("(f:"), "{told:?}");
        }
    }

    #[test]
    fn a_misspelt_secret_is_not_missing_as_well() {
        let mut mistakes = Mistakes::default();
        let file = Written::from_toml("jwt_secert = 'hunter2'\n", "f", &mut mistakes);
        let told =
            crate::config::lower::lower_beside(mistakes, Written::default(), file).unwrap_err().to_string();
        assert_eq!(
            told,
            "jwt_secert (f:1): `jwt_secert` is not a key of a configuration file; is `jwt_secret` meant?"
        );
        assert!(
            lower(Written::default(), Written::default())
                .unwrap_err()
                .to_string()
                .starts_with("JWT_SECRET: is missing")
        );
    }

    #[test]
    fn a_table_of_nothing_but_mistakes_ends() {
        let keys: String = (0..600).map(|nth| format!("zz{nth} = 1\n")).collect();
        assert!((200..=300).contains(&told(&file(&keys, "url = 'http://u'")).len()));
        for broken in
            ["[[route]]\n= 1\n", "[[route]]\nname = 'a'\nname = 'b'\n[x\n", "a = [[[[[", "a = 1\u{0}\n"]
        {
            assert!((1..=8).contains(&told(broken).len()), "{broken}: {:?}", told(broken));
        }
    }
}
