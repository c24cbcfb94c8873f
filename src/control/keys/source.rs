//! Where a key set comes from: its URL, or the one that the issuer's configuration document names.

use std::sync::Arc;

use serde_json::Value;

use super::location::Location;
use super::names::Names;
use crate::auth::jwks::{self, KeySet, Skipped};
use crate::clock;
use crate::config::{self, Issuer, KeySetSource, KeysUrl, UpstreamAddress, UpstreamTls};
use crate::control::fetch::{self, Get};
use crate::limits::{KEY_SET_BYTES_MAX, KEYS_FETCH_MS};
use crate::net::Io;
use crate::tls::Origination;
use crate::upstream::{TlsClient, UpstreamMetrics};

/// A key set that has come.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) set: KeySet,
    /// Its keys that are not used.
    pub(super) skipped: Vec<Skipped>,
    /// How long it is fresh, as its server says, in seconds.
    pub(super) max_age_s: Option<u64>,
}

/// Reads or fetches the key set of an issuer, within [`KEYS_FETCH_MS`]. May block: this thread has nothing else to do
/// than to keep keys, but never for a name.
///
/// # Errors
/// Why there is none, as a sentence.
pub(super) async fn find(issuer: &Issuer, names: &Names, io: &Io) -> Result<Found, String> {
    let deadline_ms = clock::now_ms() + KEYS_FETCH_MS;
    match &issuer.key_set {
        None => Err("it has no key set".to_owned()),
        Some(KeySetSource::File(path)) => {
            let (set, skipped) = crate::auth::key_sets::read(path)?;
            Ok(Found { set, skipped, max_age_s: None })
        }
        Some(KeySetSource::Url(url)) => key_set(url, issuer, names, io, deadline_ms).await,
        Some(KeySetSource::Discovery(url)) => {
            let document = document(url, issuer, names, io, deadline_ms).await?;
            key_set(&document, issuer, names, io, deadline_ms).await
        }
    }
}

async fn key_set(
    url: &KeysUrl,
    issuer: &Issuer,
    names: &Names,
    io: &Io,
    deadline_ms: u64,
) -> Result<Found, String> {
    let fetched = get(url, issuer, names, io, deadline_ms).await?;
    let (set, skipped) = jwks::parse(&fetched.body).map_err(|error| format!("{} {error}", url.as_str()))?;
    Ok(Found { set, skipped, max_age_s: fetched.max_age_s })
}

/// The URL of the key set, from the configuration document. "The issuer value returned MUST be identical to the Issuer
/// URL that was used as the prefix" (OpenID Connect Discovery 1.0 §4.3): else anybody's document would do.
async fn document(
    url: &KeysUrl,
    issuer: &Issuer,
    names: &Names,
    io: &Io,
    deadline_ms: u64,
) -> Result<KeysUrl, String> {
    let fetched = get(url, issuer, names, io, deadline_ms).await?;
    let shown = url.as_str();
    let document: Value =
        serde_json::from_slice(&fetched.body).map_err(|_| format!("{shown} is not JSON"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != issuer.issuer.as_deref() {
        return Err(format!("{shown} is the document of another issuer"));
    }
    let keys = text("jwks_uri").ok_or_else(|| format!("{shown} has no jwks_uri"))?;
    config::named_by(url, keys).map_err(|why| format!("{shown}: jwks_uri {why}"))
}

async fn get(
    url: &KeysUrl,
    issuer: &Issuer,
    names: &Names,
    io: &Io,
    deadline_ms: u64,
) -> Result<fetch::Fetched, String> {
    let shown = url.as_str();
    let location = Location::of(url).ok_or_else(|| format!("{shown} is not a URL"))?;
    let tls = location.is_tls.then(|| client(&location, issuer)).transpose()?;
    let endpoints = names.resolve(&location, &io.timers, deadline_ms).await;
    let endpoints = endpoints.map_err(|why| format!("{shown}: {why}"))?;
    let get = Get {
        endpoints: &endpoints,
        tls: tls.as_ref(),
        authority: &location.authority,
        target: &location.target,
        accept: "application/json",
        deadline_ms,
        body_bytes_max: KEY_SET_BYTES_MAX,
    };
    let fetched = fetch::get(io, &get).await.map_err(|error| format!("{shown}: {error}"))?;
    match fetched.status {
        200 => Ok(fetched),
        status @ 300..400 => Err(format!("{shown}: status {status}: redirects are not followed")),
        status => Err(format!("{shown}: status {status}")),
    }
}

/// TLS to the server of a document: its name must be proved by the authorities of the issuer's file, or of the system.
fn client(location: &Location, issuer: &Issuer) -> Result<TlsClient, String> {
    let address = UpstreamAddress::Tcp { host: location.host.clone(), port: location.port };
    let tls = UpstreamTls { ca: issuer.ca.clone(), ..UpstreamTls::to(&address) };
    let origination = Origination::load(&tls)?;
    Ok(TlsClient::new(&origination, Arc::<UpstreamMetrics>::default()))
}
