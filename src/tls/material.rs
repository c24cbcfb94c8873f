//! What a termination is made from: the contents of every file that a configuration names.

use super::certificate::Certificate;
use super::tickets::TicketSecrets;
use crate::clock;
use crate::config::{self, ClientAuth, read_secret_file};

/// The contents of the files, and the settings about them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Material {
    pub(super) tls: config::Tls,
    pub(super) certificates: Vec<Certificate>,
    pub(super) secrets: TicketSecrets,
    /// PEM of the authorities of clients' certificates. Empty if nobody is asked for one.
    pub(super) client_ca: Vec<u8>,
}

impl Material {
    /// Reads the files. `own`: the ticket secrets of this process so far. Blocks.
    pub(super) fn read(tls: &config::Tls, own: Option<&TicketSecrets>) -> Result<Material, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut or_mistake = |mistake: String| mistakes.push(mistake);
        let loaded =
            tls.certificates.iter().filter_map(|one| Certificate::load(one).map_err(&mut or_mistake).ok());
        let certificates = loaded.collect();
        let client_ca = client_ca(tls).map_err(&mut or_mistake).ok();
        let secrets = secrets(tls, own).map_err(&mut or_mistake).ok();
        match (client_ca, secrets) {
            (Some(client_ca), Some(secrets)) if mistakes.is_empty() => {
                Ok(Material { tls: tls.clone(), certificates, secrets, client_ca })
            }
            _ => Err(mistakes),
        }
    }
}

fn client_ca(tls: &config::Tls) -> Result<Vec<u8>, String> {
    match (&tls.client_ca, tls.client_auth) {
        (None, _) | (_, ClientAuth::Off) => Ok(Vec::new()),
        (Some(path), _) => read_secret_file(path).map_err(|why| format!("TLS_CLIENT_CA_FILE: {why}")),
    }
}

fn secrets(tls: &config::Tls, own: Option<&TicketSecrets>) -> Result<TicketSecrets, String> {
    let Some(path) = &tls.ticket_keys else {
        let new = || TicketSecrets::own(clock::unix_s());
        let own = own.filter(|secrets| secrets.are_own()).cloned();
        return own.map_or_else(new, Ok).map_err(|_| "TLS_PORT: no random numbers".to_owned());
    };
    let text = read_secret_file(path).map_err(|why| format!("TLS_TICKET_KEYS_FILE: {why}"))?;
    TicketSecrets::parse(&text).map_err(|why| format!("TLS_TICKET_KEYS_FILE: {} {why}", path.display()))
}
