//! Reads a configuration file, entry by entry, so that one mistake does not hide the next.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::Error as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use super::file_value::{self, Text};
use super::key::InFile;
use super::keys::process::CONFIG_FILE;
use super::keys::sections;
use super::mistake::Mistakes;
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
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let place = place(error.span().map_or(0, |span| span.start));
                mistakes.add(&format!("{} ({place})", CONFIG_FILE.env), &one_line(error.message()));
                return written;
            }
        };
        for Entry { offset, subject, content } in entries(table) {
            let Err(error) = written.take(content, place(offset)) else { continue };
            // The span of a missing key is that of the whole table; its first line is what helps.
            let start = error.span().map_or(offset, |span| span.start).max(offset);
            let subject = format!("{} ({})", one_line(&subject), place(start));
            mistakes.add(&subject, &one_line(&in_our_words(error.message())));
        }
        written
    }

    /// Takes one entry of a file.
    fn take(&mut self, content: Content<'_>, place: String) -> Result<(), Error> {
        match content {
            Content::Setting(env, form, value) => {
                let text = file_value::text(ValueDeserializer::from(value), form)?;
                self.write(env, text, Some(place));
            }
            Content::Route(value) => {
                let route = WrittenRoute::deserialize(ValueDeserializer::from(value))?;
                self.routes.push(WrittenRoute { place, ..route });
            }
            Content::Certificate(value) => {
                let certificate = WrittenCertificate::deserialize(ValueDeserializer::from(value))?;
                self.certificates.push(WrittenCertificate { place, ..certificate });
            }
            Content::Issuer(value) => {
                let issuer = WrittenIssuer::deserialize(ValueDeserializer::from(value))?;
                self.issuers.push(WrittenIssuer { place, ..issuer });
            }
            Content::Upstream(name, value) => {
                let upstream = WrittenUpstream::deserialize(ValueDeserializer::from(value))?;
                self.upstreams.insert(name, WrittenUpstream { place, ..upstream });
            }
            Content::Routes(value) => {
                self.routes.extend(Vec::<WrittenRoute>::deserialize(ValueDeserializer::from(value))?);
            }
            Content::Certificates(value) => {
                self.certificates
                    .extend(Vec::<WrittenCertificate>::deserialize(ValueDeserializer::from(value))?);
            }
            Content::Issuers(value) => {
                self.issuers.extend(Vec::<WrittenIssuer>::deserialize(ValueDeserializer::from(value))?);
            }
            Content::Upstreams(value) => {
                self.upstreams.extend(WrittenUpstreams::deserialize(ValueDeserializer::from(value))?);
            }
            Content::Unknown(name) => {
                return Err(Error::custom(format!("`{name}` is not a key of a configuration file")));
            }
        }
        Ok(())
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
    /// Something else than an array of routes: serde words the mistake.
    Routes(Spanned<DeValue<'a>>),
    /// Something else than an array of certificates: serde words the mistake.
    Certificates(Spanned<DeValue<'a>>),
    /// Something else than an array of issuers: serde words the mistake.
    Issuers(Spanned<DeValue<'a>>),
    /// Something else than a table of upstreams: serde words the mistake.
    Upstreams(Spanned<DeValue<'a>>),
    /// A key that no file may have.
    Unknown(String),
}

/// The entries of a file, in its order. Every route and every upstream is an entry of its own.
fn entries(table: DeTable<'_>) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let (offset, span) = (key.span().start, value.span());
        let name = key.into_inner().into_owned();
        match (name.as_str(), value.into_inner()) {
            ("route", DeValue::Array(routes)) => entries.extend(routes.into_iter().map(|route| Entry {
                offset: route.span().start,
                subject: name.clone(),
                content: Content::Route(route),
            })),
            ("certificate", DeValue::Array(certificates)) => {
                entries.extend(certificates.into_iter().map(|certificate| Entry {
                    offset: certificate.span().start,
                    subject: name.clone(),
                    content: Content::Certificate(certificate),
                }));
            }
            ("issuer", DeValue::Array(issuers)) => entries.extend(issuers.into_iter().map(|issuer| Entry {
                offset: issuer.span().start,
                subject: name.clone(),
                content: Content::Issuer(issuer),
            })),
            ("upstreams", DeValue::Table(upstreams)) => {
                entries.extend(upstreams.into_iter().map(|(upstream, value)| Entry {
                    offset: upstream.span().start,
                    subject: format!("{name}.{}", upstream.get_ref()),
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
        (None, "route") => Content::Routes(value),
        (None, "certificate") => Content::Certificates(value),
        (None, "issuer") => Content::Issuers(value),
        (None, "upstreams") => Content::Upstreams(value),
        (None, _) => Content::Unknown(name),
    };
    Entry { offset, subject, content }
}

/// Shortens the message of serde about an unknown key: it lists every key there is.
fn in_our_words(message: &str) -> String {
    match message.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", expected")) {
        Some((field, _)) => format!("{field} is not a key of a configuration file"),
        None => {
            message.replace("missing field", "has no key").replace("expected a sequence", "expected an array")
        }
    }
}

/// Replaces every run of white space, line breaks included, with one space.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `[upstreams]` as a whole.
type WrittenUpstreams = BTreeMap<String, WrittenUpstream>;

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
            "prot (gateway.toml:1): `prot` is not a key of a configuration file",
            "PORT (gateway.toml:2): invalid type: sequence, expected a string, number or boolean",
            "config_file (gateway.toml:4): `config_file` is not a key of a configuration file",
            "upstreams.a (gateway.toml:6): `uri` is not a key of a configuration file",
            "route (gateway.toml:7): has no key `paths`",
            "route (gateway.toml:12): invalid type: string \"/b\", expected an array",
        ];
        assert_eq!(mistakes.lines().collect::<Vec<_>>(), expected);
        assert_eq!(written.get(&BIND), Some("::1"));
    }

    #[test]
    fn routes_are_an_array_and_upstreams_a_table() {
        let (written, mistakes) = read("route = 5\nupstreams = 'a'\n");
        let expected = [
            "route (gateway.toml:1): invalid type: integer `5`, expected an array",
            "upstreams (gateway.toml:2): invalid type: string \"a\", expected a map",
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
