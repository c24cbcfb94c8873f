//! What a core needs to speak TLS with an upstream.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error};

use super::certificate::{chain, digest, private_key};
use super::suites;
use super::trust::Trust;
use crate::config::{self, OwnCertificate, read_file, read_secret_file};
use crate::limits::UPSTREAM_SESSIONS_KEPT;

/// The client side of TLS to one upstream, the same for every core. It is immutable: other files make another one, and
/// a connection keeps the one that it began with.
pub struct Origination {
    /// What the server has to prove that it is.
    pub name: ServerName<'static>,
    client: ClientConfig,
    /// SHA-256 of all that it is made of.
    digest: [u8; 32],
}

/// Those of one configuration, by the name of the upstream; that of Redis is [`REDIS`].
pub type Originations = BTreeMap<String, Arc<Origination>>;

impl PartialEq for Origination {
    fn eq(&self, other: &Origination) -> bool {
        (&self.name, self.digest) == (&other.name, other.digest)
    }
}

impl Origination {
    /// Reads the files of a configuration, and the authorities of the system if somebody needs them. Blocks.
    ///
    /// # Errors
    /// Lines of the form `upstream "NAME": KEY reason` or `KEY: reason`, one for each mistake.
    pub fn load_all(config: &config::Config) -> Result<Originations, Vec<String>> {
        let (mut system, mut all, mut mistakes) = (None, Originations::new(), Vec::new());
        for config::Upstream { name, tls, .. } in &config.upstreams {
            let Some(tls) = tls else { continue };
            let mut of_system = || system.get_or_insert_with(Trust::of_system).clone();
            match Origination::make(tls, &mut of_system) {
                Ok(origination) => drop(all.insert(name.clone(), Arc::new(origination))),
                Err(why) => mistakes.push(format!("upstream {name:?}: tls{why}")),
            }
        }
        if let Some(tls) = config.redis.tls_of(&config.rate_limit) {
            let mut of_system = || system.get_or_insert_with(Trust::of_system).clone();
            match Origination::make(&tls, &mut of_system) {
                Ok(mut origination) => {
                    origination.client.alpn_protocols.clear();
                    drop(all.insert(REDIS.to_owned(), Arc::new(origination)));
                }
                Err(why) => mistakes.push(of_redis(&why)),
            }
        }
        if mistakes.is_empty() { Ok(all) } else { Err(mistakes) }
    }

    /// Reads the files of one, and the authorities of the system if it needs them. Blocks.
    ///
    /// # Errors
    /// What is wrong, as `KEY: reason` behind the name of the table.
    pub fn load(tls: &config::UpstreamTls) -> Result<Origination, String> {
        Origination::make(tls, &mut Trust::of_system)
    }

    fn make(
        tls: &config::UpstreamTls,
        of_system: &mut dyn FnMut() -> Result<Trust, String>,
    ) -> Result<Origination, String> {
        let trust = match &tls.ca {
            Some(path) => Trust::of_file(path).map_err(|why| format!(".ca_file: {why}"))?,
            None => of_system().map_err(|why| format!(".ca_file is missing: {why}"))?,
        };
        let own = tls.certificate.as_ref().map(Own::load).transpose()?;
        let name = ServerName::try_from(tls.server_name.clone());
        let name = name.map_err(|_| ".server_name is neither a host name nor an address".to_owned())?;
        let own_digest = own.as_ref().map_or([0; 32], |own| own.digest);
        let digest = digest(&[&trust.digest, &own_digest]);
        let client = client(trust, own).map_err(|why| format!(": {why}"))?;
        Ok(Origination { name, client, digest })
    }

    /// What a core makes its sessions with. It has tickets of its own, for which no core waits for another.
    pub fn for_core(&self) -> Arc<ClientConfig> {
        let mut client = self.client.clone();
        client.resumption = Resumption::in_memory_sessions(UPSTREAM_SESSIONS_KEPT);
        Arc::new(client)
    }
}

fn client(trust: Trust, own: Option<Own>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(suites::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trust.roots);
    let mut client = match own {
        Some(own) => builder.with_client_auth_cert(own.chain, own.key)?,
        None => builder.with_no_client_auth(),
    };
    client.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // Early data can be replayed by anybody (RFC 8446 §8).
    client.enable_early_data = false;
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// The gateway's own certificate towards an upstream.
struct Own {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    digest: [u8; 32],
}

impl Own {
    fn load(files: &OwnCertificate) -> Result<Own, String> {
        let of_cert = |why: String| format!(".cert_file: {why}");
        let of_key = |why: String| format!(".key_file: {why}");
        let (cert_path, key_path) = (files.cert.display(), files.key.display());
        let cert = read_file(&files.cert).map_err(of_cert)?;
        let key = read_secret_file(&files.key).map_err(of_key)?;
        let digest = digest(&[&cert, &key]);
        let chain = chain(&cert).map_err(|why| of_cert(format!("{cert_path} {why}")))?;
        let key = private_key(&key).map_err(|why| of_key(format!("{key_path} {why}")))?;
        // Tried here, because here it is known which file is to blame.
        let tried = CertifiedKey::from_der(chain.clone(), key.clone_key(), &suites::provider());
        tried.map_err(|error| match error {
            Error::InconsistentKeys(_) => of_key(format!("{key_path} is not the key of {cert_path}")),
            Error::InvalidCertificate(_) => {
                of_cert(format!("{cert_path} holds a certificate that cannot be read"))
            }
            error => of_key(format!("{key_path} cannot be used: {error}")),
        })?;
        Ok(Own { chain, key, digest })
    }
}

/// A reason with the key that is behind it, for Redis: `.ca_file: why` becomes `REDIS_CA_FILE: why`.
fn of_redis(why: &str) -> String {
    match why.strip_prefix('.') {
        Some(why) => {
            let (key, rest) = why.split_at(why.find([':', ' ']).unwrap_or(why.len()));
            format!("REDIS_{}{rest}", key.to_ascii_uppercase())
        }
        None => format!("REDIS_ADDR{why}"),
    }
}

/// The name of Redis among the upstreams, which no upstream can have.
pub const REDIS: &str = "";

/// The name of HTTP/1.1 in the application-layer protocol negotiation (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";
