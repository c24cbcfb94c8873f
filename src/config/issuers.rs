//! The issuers of a configuration file: each `[[issuer]]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys_url::{self, PlainHttp};
use super::layers::Layers;
use super::meaning::{Algorithm, AlgorithmSet, ClaimPath, Issuer, KeySetSource, PemFile, Secret};
use super::mistake::{Mistakes, subject};
use super::regular_file;
use super::routes::judge_name;
use super::secret::{judge_signing_secret, without_line_break};
use super::value::{self, HOUR, Parsed, choice, duration, quoted};
use super::written::WrittenIssuer;
use super::wrong::Wrong;
use crate::limits::ISSUERS_MAX;

/// The name of the issuer that the single settings describe.
pub(super) const SINGLE: &str = "default";

/// The issuers of the file, in their order.
pub(super) fn of_file(layers: &mut Layers) -> Vec<Issuer> {
    let written = layers.written.iter().find(|written| !written.issuers.is_empty());
    let written = written.map(|written| written.issuers.clone()).unwrap_or_default();
    if written.len() >= ISSUERS_MAX {
        layers.mistakes.add("issuer", &format!("there are over {}", ISSUERS_MAX - 1));
        return Vec::new();
    }
    let mut all: Vec<Issuer> = Vec::new();
    for one in &written {
        let mut judged = Judged {
            subject: subject("issuer", Some(&one.name), &one.place),
            wrong: &one.wrong,
            mistakes: &mut layers.mistakes,
            warnings: &mut layers.warnings,
        };
        if one.name == SINGLE || all.iter().any(|other| other.name == one.name) {
            judged.wrong("another issuer has this name");
        }
        all.push(judged.issuer(one));
    }
    all
}

/// An issuer while it is lowered. A harmless value takes the place of a wrong one.
struct Judged<'a> {
    subject: String,
    wrong: &'a Wrong,
    mistakes: &'a mut Mistakes,
    warnings: &'a mut Vec<String>,
}

impl Judged<'_> {
    fn issuer(&mut self, written: &WrittenIssuer) -> Issuer {
        if let Err(why) = judge_name(&written.name) {
            self.wrong(&format!("its name {why}"));
        }
        let name = written.issuer.as_deref();
        let algorithms = written.algorithms.as_deref().map(algorithms);
        let issuer = Issuer {
            name: written.name.clone(),
            issuer: name.and_then(|text| self.taken("issuer", plain(text))),
            audiences: self.texts("audiences", written.audiences.as_deref()),
            secrets: self.secrets(written),
            pem: written.pem_file.as_deref().and_then(|path| self.taken("pem_file", pem(path))),
            key_set: self.key_set(written),
            ca: self.ca(written),
            algorithms: algorithms.and_then(|judged| self.taken("algorithms", judged)),
            leeway: self.duration("leeway", written.leeway.as_deref(), HOUR).unwrap_or_default(),
            user_claim: self.user_claim(written),
            lifetime_max: lifetime(self.duration(
                "max_lifetime",
                written.max_lifetime.as_deref(),
                LIFETIME_MAX,
            )),
            token_types: token_types(&self.texts("token_types", written.token_types.as_deref())),
        };
        self.judge_together(written, &issuer);
        issuer
    }

    fn judge_together(&mut self, written: &WrittenIssuer, issuer: &Issuer) {
        let has_secret = written.secret_file.is_some();
        let has_public = issuer.pem.is_some() || issuer.key_set.is_some() || written.pem_file.is_some();
        let has_set =
            written.jwks_file.is_some() || written.jwks_url.is_some() || written.discovery.is_some();
        if !has_secret && !has_public && !has_set {
            self.wrong("has no keys (add discovery = true, jwks_url, jwks_file, pem_file or secret_file)");
        }
        if has_secret && issuer.secret_algorithms().is_empty() {
            self.wrong("algorithms has none of HS256, HS384 and HS512, which a secret needs");
        }
        if has_public && issuer.public_algorithms().is_empty() {
            self.wrong("algorithms has none for public keys");
        }
        if let Some(why) = too_open(issuer) {
            self.warnings.push(format!("{}: {why}", self.subject));
        }
    }

    fn secrets(&mut self, written: &WrittenIssuer) -> Vec<Secret> {
        let files = [
            ("secret_file", written.secret_file.as_deref()),
            ("secret_previous_file", written.secret_previous_file.as_deref()),
        ];
        if let [(_, None), (_, Some(_))] = files {
            self.wrong("secret_file is missing beside secret_previous_file");
        }
        let mut secrets = Vec::new();
        for (key, path) in files {
            let found = path.and_then(|path| self.taken(key, secret(path)));
            secrets.extend(found.and_then(|secret| self.signing(key, secret)));
        }
        secrets
    }

    fn signing(&mut self, key: &str, secret: Secret) -> Option<Secret> {
        match judge_signing_secret(&secret) {
            Ok(None) => Some(secret),
            Ok(Some(warning)) => {
                self.warnings.push(format!("{}: {key} {warning}", self.subject));
                Some(secret)
            }
            Err(why) => {
                self.wrong(&format!("{key} {why}"));
                None
            }
        }
    }

    fn key_set(&mut self, written: &WrittenIssuer) -> Option<KeySetSource> {
        let WrittenIssuer { jwks_file, jwks_url, .. } = written;
        let plain = match self.flag("allow_http", written.allow_http.as_deref()) {
            true => PlainHttp::Anywhere,
            false => PlainHttp::Loopback,
        };
        let is_discovered = self.flag("discovery", written.discovery.as_deref());
        match (jwks_file.as_deref(), jwks_url.as_deref(), is_discovered) {
            (None, None, false) => None,
            (Some(path), None, false) => {
                self.taken("jwks_file", not_empty(path)).map(|path| KeySetSource::File(path.into()))
            }
            (None, Some(url), false) => {
                self.taken("jwks_url", keys_url::parse(url, plain)).map(KeySetSource::Url)
            }
            (None, None, true) => {
                let Some(issuer) = written.issuer.as_deref() else {
                    self.wrong("issuer is missing beside discovery: it is the URL that is asked");
                    return None;
                };
                self.taken("issuer", keys_url::discovery(issuer, plain)).map(KeySetSource::Discovery)
            }
            _ => {
                self.wrong("has more than one of discovery, jwks_url and jwks_file");
                None
            }
        }
    }

    fn ca(&mut self, written: &WrittenIssuer) -> Option<PathBuf> {
        let path = self.taken("ca_file", not_empty(written.ca_file.as_deref()?))?;
        if written.jwks_url.is_none() && written.discovery.is_none() {
            self.wrong("ca_file is of no use without discovery or jwks_url");
        }
        self.taken("ca_file", regular_file::read_secret_file(Path::new(path)))?;
        Some(path.into())
    }

    fn user_claim(&mut self, written: &WrittenIssuer) -> ClaimPath {
        let text = written.user_claim.as_deref().unwrap_or("sub");
        let path = self.taken("user_claim", claim(text));
        path.unwrap_or_else(|| ClaimPath { text: "sub".to_owned(), names: vec!["sub".to_owned()] })
    }

    fn texts(&mut self, key: &str, items: Option<&[String]>) -> Vec<String> {
        let items = items.unwrap_or_default();
        if items.len() > LIST_ITEMS_MAX {
            self.wrong(&format!("{key} has over {LIST_ITEMS_MAX} items"));
        }
        items.iter().filter_map(|item| self.taken(key, plain(item))).collect()
    }

    fn duration(&mut self, key: &str, text: Option<&str>, max: Duration) -> Option<Duration> {
        self.taken(key, duration(text?, Duration::ZERO, max))
    }

    fn flag(&mut self, key: &str, text: Option<&str>) -> bool {
        text.and_then(|text| self.taken(key, choice(text))).unwrap_or(false)
    }

    fn taken<T>(&mut self, key: &str, judged: Parsed<T>) -> Option<T> {
        judged.map_err(|why| self.wrong(&format!("{key} {why}"))).ok()
    }

    fn wrong(&mut self, why: &str) {
        self.mistakes.add_beside(self.wrong, &self.subject, why);
    }
}

/// Why tokens that were made for somebody else may pass. Public keys sign for every application of their issuer, and
/// some for every customer of a provider.
pub(super) fn too_open(issuer: &Issuer) -> Option<&'static str> {
    let is_public = issuer.pem.is_some() || issuer.key_set.is_some();
    match (&issuer.issuer, issuer.audiences.is_empty()) {
        (Some(_), false) => None,
        _ if !is_public => None,
        (None, true) => Some("has no issuer and no audience: every token that its keys signed passes"),
        (None, false) => Some("has no issuer: who else signs with its keys is not told apart"),
        (Some(_), true) => Some("has no audience: tokens that it issues for other applications pass"),
    }
}

/// The algorithms of a list.
pub(super) fn algorithms(names: &[String]) -> Parsed<AlgorithmSet> {
    let mut set = AlgorithmSet::NONE;
    for name in names {
        let algorithm = match Algorithm::named(name) {
            Some(algorithm) => algorithm,
            None => choice(name)?,
        };
        set = set.or(AlgorithmSet::of(&[algorithm]));
    }
    if set.is_empty() { Err("is empty (leave it out for those of the keys)".to_owned()) } else { Ok(set) }
}

/// Where a claim stands.
pub(super) fn claim(text: &str) -> Parsed<ClaimPath> {
    let text = value::text(text)?;
    ClaimPath::parse(&text)
        .ok_or_else(|| format!("{} is not a claim (use sub, user.id or /user/id)", quoted(&text)))
}

/// The bound of a lifetime: a day unless something else is written, and none for 0.
fn lifetime(written: Option<Duration>) -> Option<Duration> {
    Some(written.unwrap_or(LIFETIME_DEFAULT)).filter(|lifetime| !lifetime.is_zero())
}

fn token_types(written: &[String]) -> Vec<String> {
    let lower = written.iter().map(|typ| typ.to_ascii_lowercase());
    lower.map(|typ| typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)).collect()
}

fn plain(text: &str) -> Parsed<String> {
    value::text(not_empty(text)?)
}

fn not_empty(text: &str) -> Parsed<&str> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

fn pem(path: &str) -> Parsed<PemFile> {
    let path = Path::new(not_empty(path)?);
    Ok(PemFile { path: path.to_owned(), pem: regular_file::read_secret_file(path)? })
}

fn secret(path: &str) -> Parsed<Secret> {
    let bytes = without_line_break(regular_file::read_secret_file(Path::new(not_empty(path)?))?);
    if bytes.is_empty() { Err("names an empty file".to_owned()) } else { Ok(Secret(bytes)) }
}

/// The longest bound of a lifetime.
pub(super) const LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The bound of a lifetime where none is written.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// Audiences or types of tokens of one issuer.
const LIST_ITEMS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{TempFile, lowered_toml};

    const OPEN: &str = "issuer = 'https://id.example/'\naudiences = ['chat']\n";

    fn told(text: &str) -> String {
        lowered_toml(text).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_issuer_has_its_meaning() {
        let text = "[[issuer]]\nname = 'corp'\nissuer = 'https://id.example/'\naudiences = ['chat', 'mail']\n\
                    discovery = true\nalgorithms = ['RS256', 'Ed25519']\nleeway = '5s'\nuser_claim = 'user.id'\n\
                    max_lifetime = '0s'\ntoken_types = ['application/AT+JWT']\n";
        let lowered = lowered_toml(text).expect("valid");
        let [single, corp] = &lowered.config.jwt.issuers[..] else { panic!("two issuers") };
        assert_eq!((single.name.as_str(), single.secrets.len()), ("default", 1));
        assert_eq!((corp.name.as_str(), corp.issuer.as_deref()), ("corp", Some("https://id.example/")));
        assert_eq!(corp.audiences, ["chat", "mail"]);
        let Some(KeySetSource::Discovery(url)) = &corp.key_set else { panic!("discovery") };
        assert_eq!(url.as_str(), "https://id.example/.well-known/openid-configuration");
        assert_eq!(corp.public_algorithms().to_string(), "RS256, EdDSA");
        assert_eq!((corp.leeway, corp.lifetime_max), (Duration::from_secs(5), None));
        assert_eq!(
            (&corp.user_claim.names[..], &corp.token_types[..]),
            (&["user".into(), "id".into()][..], &["at+jwt".into()][..])
        );
        assert_eq!(lowered.warnings, [""; 0]);
    }

    #[test]
    fn a_lifetime_is_a_day_unless_something_else_is_written() {
        let text = format!("[[issuer]]\nname = 'a'\njwks_url = 'https://id.example/keys'\n{OPEN}");
        let issuer = lowered_toml(&text).expect("valid").config.jwt.issuers.remove(1);
        assert_eq!(issuer.lifetime_max, Some(LIFETIME_DEFAULT));
        assert_eq!((issuer.algorithms, issuer.user_claim.text.as_str()), (None, "sub"));
    }

    #[test]
    fn each_mistake_has_the_line_and_the_name_of_its_issuer() {
        for (text, why) in [
            ("", "has no keys (add discovery = true, jwks_url, jwks_file, pem_file or secret_file)"),
            ("discovery = true", "issuer is missing beside discovery: it is the URL that is asked"),
            (
                "issuer = 'corp'\ndiscovery = true",
                "issuer \"corp\" is not a URL (use https://id.example/keys)",
            ),
            ("jwks_url = 'http://id.example/k'", "jwks_url \"http://id.example/k\" is not https"),
            ("jwks_file = ''", "jwks_file is empty"),
            (
                "jwks_file = '/k'\njwks_url = 'https://a/'",
                "has more than one of discovery, jwks_url and jwks_file",
            ),
            ("jwks_file = '/k'\nalgorithms = []", "algorithms is empty (leave it out for those of the keys)"),
            ("jwks_file = '/k'\nalgorithms = ['HS256']", "algorithms has none for public keys"),
            ("jwks_file = '/k'\nleeway = '2h'", "leeway \"2h\" is not from 0s to 1h"),
            (
                "jwks_file = '/k'\nuser_claim = 'a..b'",
                "user_claim \"a..b\" is not a claim (use sub, user.id or /user/id)",
            ),
            ("jwks_file = '/k'\ndiscovery = 'yes'", "discovery \"yes\" is neither true nor false"),
            ("jwks_file = '/k'\nca_file = '/dev/null'", "ca_file is of no use without discovery or jwks_url"),
            (
                "jwks_url = 'https://id.example/'\nca_file = '/does/not/exist'",
                "ca_file /does/not/exist cannot be read",
            ),
            ("secret_previous_file = '/does/not/exist'\njwks_file = '/k'", "secret_file is missing beside"),
        ] {
            let told = told(&format!("port = 1\n[[issuer]]\nname = 'a'\n{text}\n"));
            assert!(told.starts_with(&format!("issuer \"a\" (gateway.toml:2): {why}")), "{text}: {told}");
        }
        let two =
            "[[issuer]]\nname = 'default'\njwks_file = '/k'\n[[issuer]]\nname = 'a b'\njwks_file = '/k'\n";
        assert_eq!(told(two).lines().count(), 2, "{}", told(two));
        assert!(told("[[issuer]]\nname = 'a'\nkeys = 1\n").contains("`keys` is not a key here"));
        let many: String =
            (0..16).map(|n| format!("[[issuer]]\nname = 'n{n}'\njwks_file = '/k'\n")).collect();
        assert_eq!(told(&many), "issuer: there are over 15");
    }

    #[test]
    fn open_issuers_and_short_secrets_are_warned_of() {
        let file = TempFile::new("issuer-secret", b"short\n");
        let text = format!(
            "[[issuer]]\nname = 'a'\nsecret_file = '{}'\n[[issuer]]\nname = 'b'\njwks_file = '/k'\n",
            file.path()
        );
        let lowered = lowered_toml(&text).expect("valid");
        assert_eq!(lowered.config.jwt.issuers[1].secrets, [Secret(b"short".to_vec())]);
        let [short, open] = &lowered.warnings[..] else { panic!("{:?}", lowered.warnings) };
        assert!(
            short.starts_with("issuer \"a\" (gateway.toml:1): secret_file is shorter than 32 bytes"),
            "{short}"
        );
        assert!(open.starts_with("issuer \"b\" (gateway.toml:4): has no issuer and no audience"), "{open}");
    }
}
