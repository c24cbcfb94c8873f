//! What an operator wrote, as text: flags and environment, or a configuration file.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::file_value::{Texts, list, scalar};
use super::key::{DefaultText, Key};
use super::written_condition::WrittenCondition;
use super::written_edits::WrittenEdits;
use super::written_url::WrittenUrl;
use super::wrong::Wrong;

/// What was written in one place: settings as text, and the upstreams and routes of a file.
///
/// The texts are not judged here; [`super::lower::lower`] gives them their meaning.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// By environment variable.
    settings: BTreeMap<&'static str, Setting>,
    /// Upstreams by name. Only a file has them.
    pub upstreams: BTreeMap<String, WrittenUpstream>,
    /// Routes in the order in which they are written. Only a file has them.
    pub routes: Vec<WrittenRoute>,
    /// Certificates in the order in which they are written. Only a file has them.
    pub certificates: Vec<WrittenCertificate>,
    /// Issuers in the order in which they are written. Only a file has them.
    pub issuers: Vec<WrittenIssuer>,
}

/// The text of one setting.
#[derive(Clone, PartialEq, Eq)]
struct Setting {
    text: String,
    /// File and line (`gateway.toml:12`). `None`: a flag, or the environment.
    place: Option<String>,
}

/// `[upstreams.NAME]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenUpstream {
    /// Where it listens: `http://host:port`, `https://host:port` or `http+unix://%2Fpath`.
    pub url: Option<String>,
    /// Where its members listen.
    pub urls: Option<Vec<WrittenUrl>>,
    /// The name of SRV records that list its members.
    pub srv: Option<String>,
    /// The file that lists its members.
    pub members_file: Option<String>,
    /// `client`, `upstream`, or the `Host` of requests to it and the name that its certificate has to prove.
    pub host: Option<String>,
    /// Whether its own authority in `Location` becomes the client's.
    #[serde(default, deserialize_with = "scalar")]
    pub rewrite_location: Option<String>,
    /// How its members are probed.
    pub health: Option<WrittenHealth>,
    /// Whether its connections carry more than one request.
    #[serde(default, deserialize_with = "scalar")]
    pub connection_reuse: Option<String>,
    /// TLS to it, where the defaults do not fit.
    pub tls: Option<WrittenUpstreamTls>,
    /// How a member is chosen: `p2c`, `round_robin` or `hash`.
    #[serde(default, deserialize_with = "scalar")]
    pub balance: Option<String>,
    /// What decides with `hash`: `user`, `address` or `header:NAME`.
    #[serde(default, deserialize_with = "scalar")]
    pub hash_on: Option<String>,
    /// How long a new member takes to its whole weight.
    #[serde(default, deserialize_with = "scalar")]
    pub slow_start: Option<String>,
    /// Requests in flight per core.
    #[serde(default, deserialize_with = "scalar")]
    pub in_flight: Option<String>,
    /// Requests per core that wait for a connection to open.
    #[serde(default, deserialize_with = "scalar")]
    pub pending_connects: Option<String>,
    /// Long responses per core.
    #[serde(default, deserialize_with = "scalar")]
    pub streams: Option<String>,
    /// How long connecting may take.
    #[serde(default, deserialize_with = "scalar")]
    pub connect_timeout: Option<String>,
    /// From the end of a request to the head of its response.
    #[serde(default, deserialize_with = "scalar")]
    pub head_timeout: Option<String>,
    /// Between bytes of a response, and of a request that is not read.
    #[serde(default, deserialize_with = "scalar")]
    pub idle_timeout: Option<String>,
    /// File and line (`gateway.toml:12`).
    #[serde(skip)]
    pub place: String,
    /// What of it has a mistake of form.
    #[serde(skip)]
    pub wrong: Wrong,
}

/// `health` of an upstream. [`super::routes`] gives the keys their meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenHealth {
    /// Path and query of a probe.
    pub path: Option<String>,
    /// From probe to probe.
    #[serde(deserialize_with = "scalar")]
    pub interval: Option<String>,
    /// How long a probe may take.
    #[serde(deserialize_with = "scalar")]
    pub timeout: Option<String>,
    /// The statuses of a healthy member.
    #[serde(deserialize_with = "list")]
    pub expect: Option<String>,
    /// Successes until a member is back.
    #[serde(deserialize_with = "scalar")]
    pub rise: Option<String>,
    /// Failures until a member is out.
    #[serde(deserialize_with = "scalar")]
    pub fall: Option<String>,
}

/// One `[[certificate]]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenCertificate {
    /// PEM file of the certificate and its chain.
    pub cert: String,
    /// PEM file of its private key.
    pub key: String,
    /// The names that it serves. `None`: those in the certificate.
    pub names: Option<Vec<String>>,
    /// File and line (`gateway.toml:12`).
    #[serde(skip)]
    pub place: String,
    /// What of it has a mistake of form.
    #[serde(skip)]
    pub wrong: Wrong,
}

/// One `[[issuer]]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenIssuer {
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// The required value of `iss`.
    pub issuer: Option<String>,
    /// The values of which `aud` must be or contain one.
    pub audiences: Option<Vec<String>>,
    /// Whether its configuration document says where its key set is.
    #[serde(default, deserialize_with = "scalar")]
    pub discovery: Option<String>,
    /// URL of its key set.
    pub jwks_url: Option<String>,
    /// Whether that may be `http` to another machine.
    #[serde(default, deserialize_with = "scalar")]
    pub allow_http: Option<String>,
    /// File with its key set.
    pub jwks_file: Option<String>,
    /// PEM file of the authorities that vouch for the server of its key set.
    pub ca_file: Option<String>,
    /// PEM file of its public keys.
    pub pem_file: Option<String>,
    /// File with the secret that signs and verifies.
    pub secret_file: Option<String>,
    /// File with the secret that still verifies.
    pub secret_previous_file: Option<String>,
    /// The algorithms to which its keys are cut.
    pub algorithms: Option<Vec<String>>,
    /// Allowed clock difference.
    #[serde(default, deserialize_with = "scalar")]
    pub leeway: Option<String>,
    /// The claim that names the user.
    pub user_claim: Option<String>,
    /// The longest time from `iat` to `exp`.
    #[serde(default, deserialize_with = "scalar")]
    pub max_lifetime: Option<String>,
    /// The values of `typ` that are accepted.
    pub token_types: Option<Vec<String>>,
    /// File and line (`gateway.toml:12`).
    #[serde(skip)]
    pub place: String,
    /// What of it has a mistake of form.
    #[serde(skip)]
    pub wrong: Wrong,
}

/// `tls` of an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenUpstreamTls {
    /// PEM of the authorities that may issue its certificate.
    pub ca_file: Option<String>,
    /// The name or address that its certificate has to prove.
    pub server_name: Option<String>,
    /// PEM of the certificate that the gateway shows, and its chain.
    pub cert_file: Option<String>,
    /// PEM of its private key.
    pub key_file: Option<String>,
}

/// One `[[route]]` of a file. [`super::routes`] defines the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenRoute {
    /// Its name in logs and metrics.
    pub name: String,
    /// The methods that it accepts.
    pub methods: Option<Vec<String>>,
    /// The hosts whose requests it takes.
    pub hosts: Option<Vec<String>>,
    /// The fields that a request must have.
    pub headers: Option<BTreeMap<String, WrittenCondition>>,
    /// Path patterns.
    pub paths: Vec<String>,
    /// `exact` or `either`.
    #[serde(default, deserialize_with = "scalar")]
    pub trailing_slash: Option<String>,
    /// `exact` or `any`.
    #[serde(default, deserialize_with = "scalar")]
    pub path_case: Option<String>,
    /// `refuse` or `merge`.
    #[serde(default, deserialize_with = "scalar")]
    pub empty_segments: Option<String>,
    /// `refuse` or `keep`.
    #[serde(default, deserialize_with = "scalar")]
    pub encoded_slash: Option<String>,
    /// `refuse` or `keep`.
    #[serde(default, deserialize_with = "scalar")]
    pub path_parameters: Option<String>,
    /// Name of an upstream.
    pub upstream: Option<String>,
    /// Several upstreams, and the parts of the requests that they get.
    pub upstreams: Option<Vec<WrittenShare>>,
    /// A redirect in place of an upstream.
    pub redirect: Option<WrittenRedirect>,
    /// An answer in place of an upstream.
    pub respond: Option<WrittenRespond>,
    /// What the path loses on its way upstream.
    #[serde(default, deserialize_with = "scalar")]
    pub strip_prefix: Option<String>,
    /// What it gets.
    #[serde(default, deserialize_with = "scalar")]
    pub add_prefix: Option<String>,
    /// `public`, `protected` or `optional`.
    #[serde(default, deserialize_with = "scalar")]
    pub access: Option<String>,
    /// `http`, `websocket` or `both`.
    #[serde(default, deserialize_with = "scalar")]
    pub kind: Option<String>,
    /// The networks whose clients may use it.
    pub allow: Option<Vec<String>>,
    /// The networks whose clients may not.
    pub deny: Option<Vec<String>>,
    /// Names of the issuers whose tokens it takes.
    pub issuers: Option<Vec<String>>,
    /// Where a request may carry its token: `header`, `cookie:NAME`, `query:NAME`, `subprotocol:PREFIX`.
    pub tokens_from: Option<Vec<String>>,
    /// The claims that a token must have, with their values.
    pub require: Option<BTreeMap<String, Texts>>,
    /// The fields that are set from claims.
    pub claims_to_headers: Option<BTreeMap<String, String>>,
    /// Whether the client's `Authorization` goes to the upstream.
    #[serde(default, deserialize_with = "scalar")]
    pub forward_authorization: Option<String>,
    /// Whether the fields that name another method go to the upstream.
    #[serde(default, deserialize_with = "scalar")]
    pub forward_method_override: Option<String>,
    /// Whether trailer fields pass.
    #[serde(default, deserialize_with = "scalar")]
    pub forward_trailers: Option<String>,
    /// What changes in the fields that the upstream gets.
    pub request_headers: Option<WrittenEdits>,
    /// What changes in the fields that the client gets.
    pub response_headers: Option<WrittenEdits>,
    /// `client`, `upstream` or a name: the `Host` that the upstream gets.
    pub host: Option<String>,
    /// From the end of a request to the head of its response.
    #[serde(default, deserialize_with = "scalar")]
    pub head_timeout: Option<String>,
    /// Between bytes of a response.
    #[serde(default, deserialize_with = "scalar")]
    pub idle_timeout: Option<String>,
    /// How long the client's side may make no progress.
    #[serde(default, deserialize_with = "scalar")]
    pub body_timeout: Option<String>,
    /// The largest request body.
    #[serde(default, deserialize_with = "scalar")]
    pub body_max_bytes: Option<String>,
    /// Whether its requests also draw from the client's global bucket.
    #[serde(default, deserialize_with = "scalar")]
    pub limit_global: Option<String>,
    /// `[[route.limit]]`: the limits of this route.
    #[serde(default)]
    pub limit: Vec<WrittenLimit>,
    /// File and line (`gateway.toml:12`).
    #[serde(skip)]
    pub place: String,
    /// What of it has a mistake of form.
    #[serde(skip)]
    pub wrong: Wrong,
}

/// An item of `upstreams` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenShare {
    /// Name of an upstream.
    pub name: String,
    /// Its part, relative to the others.
    #[serde(default, deserialize_with = "scalar")]
    pub weight: Option<String>,
}

/// `redirect` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenRedirect {
    /// Its status.
    #[serde(deserialize_with = "scalar")]
    pub status: Option<String>,
    /// Its target.
    pub to: Option<String>,
}

/// `respond` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenRespond {
    /// Its status.
    #[serde(deserialize_with = "scalar")]
    pub status: Option<String>,
    /// Its body.
    pub body: Option<String>,
    /// The file with its body.
    pub body_file: Option<String>,
    /// The media type of the body.
    pub content_type: Option<String>,
}

/// One `[[route.limit]]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenLimit {
    /// Tokens per second.
    #[serde(deserialize_with = "scalar")]
    pub rate: Option<String>,
    /// Capacity, in tokens.
    #[serde(deserialize_with = "scalar")]
    pub burst: Option<String>,
    /// `user`, `ip` or `none`.
    #[serde(deserialize_with = "scalar")]
    pub per: Option<String>,
    /// Tokens that one request takes.
    #[serde(deserialize_with = "scalar")]
    pub cost: Option<String>,
}

impl Written {
    /// The text of a setting, if it is written here.
    #[must_use]
    pub fn get<T, D>(&self, key: &Key<T, D>) -> Option<&str> {
        self.settings.get(key.env).map(|setting| setting.text.as_str())
    }

    /// The same with a setting written, in place of what is written for it.
    #[must_use]
    pub fn with<T, D>(mut self, key: &Key<T, D>, text: impl Into<String>) -> Self {
        self.write(key.env, text.into(), None);
        self
    }

    /// These settings, and those of `other` that are not written here.
    ///
    /// Upstreams and routes all come from one of the two: from `other` only if there are none here.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (env, setting) in other.settings {
            self.settings.entry(env).or_insert(setting);
        }
        if self.routes.is_empty() && self.upstreams.is_empty() {
            (self.upstreams, self.routes) = (other.upstreams, other.routes);
        }
        if self.certificates.is_empty() {
            self.certificates = other.certificates;
        }
        if self.issuers.is_empty() {
            self.issuers = other.issuers;
        }
        self
    }

    /// Writes the setting of an environment variable; `place` is file and line.
    pub(super) fn write(&mut self, env: &'static str, text: String, place: Option<String>) {
        self.settings.insert(env, Setting { text, place });
    }

    /// The subject of a mistake about a setting: its variable and, if a file holds it, the line:
    /// `PORT (gateway.toml:12)`.
    pub(super) fn subject<T, D: DefaultText>(&self, key: &Key<T, D>) -> String {
        match self.settings.get(key.env).and_then(|setting| setting.place.as_deref()) {
            Some(place) => format!("{} ({place})", key.env),
            None => key.env.to_owned(),
        }
    }
}

impl fmt::Debug for Written {
    /// The variables without their values: some values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.settings.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::listen::{BIND, PORT};
    use crate::config::keys::tokens::JWT_SECRET;

    #[test]
    fn the_nearer_layer_wins() {
        let mut file = Written::default();
        file.write(PORT.env, "2".to_owned(), Some("gateway.toml:1".to_owned()));
        file.write(BIND.env, "::1".to_owned(), Some("gateway.toml:2".to_owned()));
        let merged = Written::default().with(&PORT, "1").or(file);
        assert_eq!((merged.get(&PORT), merged.get(&BIND)), (Some("1"), Some("::1")));
        assert_eq!(merged.subject(&BIND), "BIND (gateway.toml:2)");
        assert_eq!(merged.subject(&PORT), "PORT", "the file's line would be wrong for the flag's value");
    }

    #[test]
    fn never_prints_a_value_for_debugging() {
        let written = Written::default().with(&JWT_SECRET, "hunter2");
        assert_eq!(format!("{written:?}"), "{\"JWT_SECRET\"}");
    }
}
