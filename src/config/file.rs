//! Reads a configuration file, entry by entry, so that one mistake does not hide the next.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::file_value::{self, Text};
use super::key::InFile;
use super::keys::process::CONFIG_FILE;
use super::keys::sections;
use super::mend::{self, Told, in_our_words};
use super::mistake::{Mistakes, subject};
use super::near;
use super::regular_file;
use super::written::{Written, WrittenCertificate, WrittenIssuer, WrittenRoute, WrittenUpstream};

impl Written {
    /// Reads a file. Mistakes of form go to `mistakes`, the other entries are kept. The values are judged when they
    /// are lowered. A file that anybody may change is read, and goes to `warnings`.
    #[must_use]
    pub fn from_file(path: &Path, mistakes: &mut Mistakes, warnings: &mut Vec<String>) -> Self {
        let text = regular_file::read(path).and_then(|file| {
            let text =
                String::from_utf8(file.bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
            Ok((text, file.exposure))
        });
        match text {
            Ok((text, exposure)) => {
                warnings.extend(exposure.map(|why| format!("{}: {why}", CONFIG_FILE.env)));
                let name = path.file_name().unwrap_or(path.as_os_str());
                Self::from_toml(&text, &name.to_string_lossy(), mistakes)
            }
            Err(why) => {
                mistakes.add(CONFIG_FILE.env, &why);
                Self::default()
            }
        }
    }

    /// Reads the text of a file as [`Written::from_file`] does. Mistakes call the file `name`.
    #[must_use]
    pub fn from_toml(text: &str, name: &str, mistakes: &mut Mistakes) -> Self {
        let place = |offset: usize| {
            let line = 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
            format!("{name}:{line}")
        };
        let mut written = Self::default();
        // `message()` and never the whole error: the error shows the source line, which may hold a secret.
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut lines = BTreeSet::new();
        for error in &errors {
            let place = place(error.span().map_or(0, |span| span.start));
            // What follows on the same line is mostly the same mistake.
            if lines.len() < SYNTAX_MISTAKES_MAX && lines.insert(place.clone()) {
                mistakes.add(&format!("{} ({place})", CONFIG_FILE.env), &in_our_words(error.message()));
            }
        }
        if !errors.is_empty() {
            return written;
        }
        for Entry { offset, subject, content } in entries(table.into_inner()) {
            let mut told = Vec::new();
            written.take(content, (offset, place(offset)), mistakes, &mut told);
            for (start, what) in told {
                // The span of a missing key is that of the whole table; its first line is what helps.
                let place = place(start.max(offset));
                mistakes.add(&format!("{} ({place})", in_our_words(&subject)), &what);
            }
        }
        written
    }

    /// Takes one entry of a file. What is wrong with its form goes to `told`.
    fn take(
        &mut self,
        content: Content<'_>,
        (offset, place): (usize, String),
        mistakes: &mut Mistakes,
        told: &mut Vec<Told>,
    ) {
        match content {
            Content::Setting(env, form, value) => {
                match file_value::text(ValueDeserializer::from(value), form) {
                    Ok(text) => self.write(env, text, Some(place)),
                    Err(error) => told.push((
                        error.span().map_or(offset, |span| span.start),
                        in_our_words(error.message()),
                    )),
                }
            }
            Content::Route(value) => {
                let (route, wrong) = mend::read::<WrittenRoute>(value, told);
                match wrong.is_whole() {
                    true => mistakes.mark("route"),
                    false => self.routes.push(WrittenRoute { place, wrong, ..route }),
                }
            }
            Content::Certificate(value) => {
                let (certificate, wrong) = mend::read::<WrittenCertificate>(value, told);
                self.certificates.push(WrittenCertificate { place, wrong, ..certificate });
            }
            Content::Issuer(value) => {
                let (issuer, wrong) = mend::read::<WrittenIssuer>(value, told);
                // An issuer without a name may be the one that a route names.
                if wrong.has("name") {
                    mistakes.mark("issuer");
                }
                self.issuers.push(WrittenIssuer { place, wrong, ..issuer });
            }
            Content::Upstream(name, value) => {
                let (upstream, wrong) = mend::read::<WrittenUpstream>(value, told);
                self.upstreams.insert(name, WrittenUpstream { place, wrong, ..upstream });
            }
            Content::Unknown(name, value) => {
                let form = match name.as_str() {
                    "upstreams" => "a table",
                    _ => "an array",
                };
                mistakes.mark(&name);
                if TABLES.contains(&name.as_str()) {
                    let found = value.get_ref().type_str();
                    told.push((value.span().start, format!("is of type {found}, expected {form}")));
                    return;
                }
                let settings = sections::all().filter(|key| key.about().in_file != InFile::Nothing);
                let settings: Vec<String> =
                    settings.map(|key| key.about().env.to_ascii_lowercase()).collect();
                let names = settings.iter().map(String::as_str).chain(TABLES);
                let meant = near::meant(&name, names);
                meant.iter().for_each(|meant| mistakes.mark(meant));
                let meant = meant.map_or_else(String::new, |meant| format!("; is `{meant}` meant?"));
                told.push((offset, format!("`{name}` is not a key of a configuration file{meant}")));
            }
        }
    }
}

/// One entry of a file: a setting, a route, a certificate, an issuer or an upstream.
struct Entry<'a> {
    /// Where it begins, in bytes.
    offset: usize,
    /// The name that a mistake gives it.
    subject: String,
    content: Content<'a>,
}

/// What an entry holds.
enum Content<'a> {
    /// The variable of a setting, the form of its value, and the value.
    Setting(&'static str, Text, Spanned<DeValue<'a>>),
    Route(Spanned<DeValue<'a>>),
    Certificate(Spanned<DeValue<'a>>),
    Issuer(Spanned<DeValue<'a>>),
    Upstream(String, Spanned<DeValue<'a>>),
    /// A key that no file may have, or one of [`TABLES`] that holds something else.
    Unknown(String, Spanned<DeValue<'a>>),
}

/// The entries of a file, in its order. Every route and every upstream is an entry of its own.
fn entries(table: DeTable<'_>) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let (offset, span) = (key.span().start, value.span());
        let name = key.into_inner().into_owned();
        match (name.as_str(), value.into_inner()) {
            ("route", DeValue::Array(items)) => entries.extend(list(items, "route", Content::Route)),
            ("issuer", DeValue::Array(items)) => entries.extend(list(items, "issuer", Content::Issuer)),
            ("certificate", DeValue::Array(items)) => {
                entries.extend(list(items, "certificate", Content::Certificate));
            }
            ("upstreams", DeValue::Table(upstreams)) => {
                entries.extend(upstreams.into_iter().map(|(upstream, value)| Entry {
                    offset: upstream.span().start,
                    subject: subject("upstream", Some(upstream.get_ref()), ""),
                    content: Content::Upstream(upstream.into_inner().into_owned(), value),
                }));
            }
            (_, value) => entries.push(single(offset, name, Spanned::new(span, value))),
        }
    }
    entries.sort_by_key(|entry| entry.offset);
    entries
}

/// The entry of a key that holds one value.
fn single(offset: usize, name: String, value: Spanned<DeValue<'_>>) -> Entry<'_> {
    let setting = sections::all().map(|key| key.about()).find(|about| about.is_file_key(&name));
    let subject = setting.map_or(name.as_str(), |about| about.env).to_owned();
    let content = match (setting, name.as_str()) {
        (Some(about), _) if about.in_file == InFile::List => Content::Setting(about.env, Text::List, value),
        (Some(about), _) => Content::Setting(about.env, Text::Scalar, value),
        (None, _) => Content::Unknown(name, value),
    };
    Entry { offset, subject, content }
}

/// The entries of an array of tables; the subject of a mistake has the name of its table.
fn list<'a>(
    items: DeArray<'a>,
    noun: &'static str,
    content: fn(Spanned<DeValue<'a>>) -> Content<'a>,
) -> impl Iterator<Item = Entry<'a>> {
    items.into_iter().map(move |item| {
        let name = match item.get_ref().get("name") {
            Some(name) if noun != "certificate" => name.get_ref().as_str(),
            _ => None,
        };
        Entry { offset: item.span().start, subject: subject(noun, name, ""), content: content(item) }
    })
}

/// What a file has besides settings.
const TABLES: [&str; 4] = ["route", "upstreams", "issuer", "certificate"];
/// The mistakes of syntax that are told. What comes after them is often one of theirs.
const SYNTAX_MISTAKES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::limits::RATE_LIMIT_RPS;
    use crate::config::keys::listen::{BIND, TRUSTED_PROXIES};
    use crate::config::keys::process::CORES;
    use crate::config::keys::tokens::JWT_LEEWAY;

    fn read(text: &str) -> (Written, String) {
        let mut mistakes = Mistakes::default();
        let written = Written::from_toml(text, "gateway.toml", &mut mistakes);
        (written, mistakes.to_string())
    }

    #[test]
    fn takes_numbers_and_lists_as_text() {
        let (written, mistakes) = read(
            "rate_limit_rps = 2.5\ncores = [0, 1]\ntrusted_proxies = ['10.0.0.0/8', '::1']\n\
             jwt_leeway = '5s'\n",
        );
        assert_eq!(mistakes, "");
        assert_eq!(written.get(&RATE_LIMIT_RPS), Some("2.5"));
        assert_eq!(written.get(&CORES), Some("0,1"));
        assert_eq!(written.get(&TRUSTED_PROXIES), Some("10.0.0.0/8,::1"));
        assert_eq!(written.subject(&JWT_LEEWAY), "JWT_LEEWAY (gateway.toml:4)");
    }

    #[test]
    fn reads_upstreams_and_routes_with_their_place() {
        let (written, mistakes) = read(
            "[upstreams.orders]\nurl = 'http://orders'\n\n[[route]]\nname = 'orders'\npaths = ['/orders']\n\
             upstream = 'orders'\nbody_max_bytes = 1024\nforward_trailers = true\n",
        );
        assert_eq!(mistakes, "");
        assert_eq!(written.upstreams["orders"].place, "gateway.toml:1");
        let route = &written.routes[0];
        assert_eq!((route.place.as_str(), route.body_max_bytes.as_deref()), ("gateway.toml:4", Some("1024")));
        assert_eq!(route.forward_trailers.as_deref(), Some("true"));
    }

    #[test]
    fn tells_every_mistake_of_form_with_its_line_and_keeps_the_rest() {
        let (written, mistakes) = read(
            "prot = 1\nport = [1]\nbind = '::1'\nconfig_file = 'x'\n[upstreams.a]\nuri = 'http://a'\n\
             [[route]]\nname = 'a'\nupstream = 'a'\n[[route]]\nname = 'b'\npaths = '/b'\nupstream = 'a'\n",
        );
        let expected = [
            "prot (gateway.toml:1): `prot` is not a key of a configuration file; is `port` meant?",
            "PORT (gateway.toml:2): invalid type: array, expected a string, number or boolean",
            "config_file (gateway.toml:4): `config_file` is not a key of a configuration file",
            "upstream \"a\" (gateway.toml:6): `uri` is not a key here; is `url` meant?",
            "route \"a\" (gateway.toml:7): has no key `paths`",
            "route \"b\" (gateway.toml:12): invalid type: string \"/b\", expected an array",
        ];
        assert_eq!(mistakes.lines().collect::<Vec<_>>(), expected);
        assert_eq!(written.get(&BIND), Some("::1"));
    }

    #[test]
    fn routes_are_an_array_and_upstreams_a_table() {
        let (written, mistakes) = read("route = 5\nupstreams = 'a'\n");
        let expected = [
            "route (gateway.toml:1): is of type integer, expected an array",
            "upstreams (gateway.toml:2): is of type string, expected a table",
        ];
        assert_eq!(mistakes.lines().collect::<Vec<_>>(), expected);
        assert_eq!(written, Written::default());
    }

    #[test]
    fn tells_broken_syntax_without_showing_the_line() {
        let (written, mistakes) = read("port = 1\njwt_secret = \"hunter2\n");
        assert!(mistakes.starts_with("CONFIG_FILE (gateway.toml:2): "), "{mistakes}");
        assert!(!mistakes.contains("hunter2") && !mistakes.contains('\n'), "{mistakes}");
        assert_eq!(written, Written::default());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_mistake_of_its_key() {
        let mut mistakes = Mistakes::default();
        let written = Written::from_file(Path::new("/does/not/exist"), &mut mistakes, &mut Vec::new());
        assert!(mistakes.concern(CONFIG_FILE.env) && written == Written::default(), "{mistakes}");
    }
}
