//! Session tickets: a client that comes back shows one and saves the expensive half of a handshake (RFC 8446 §2.2,
//! RFC 5077). A ticket is sealed with a key that all cores share, and so can all instances with one file of keys.
//!
//! ```text
//! name of the key (16) │ nonce (12) │ AES-256-GCM( issued, s since 1970 (8) │ the session's state ) │ tag (16)
//! ```

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::server::ProducesTickets;

use crate::clock;
use crate::config::Secret;
use crate::limits::{
    TICKET_BYTES_MAX, TICKET_KEY_USED_S, TICKET_KEYS_KEPT, TICKET_KEYS_MAX, TICKET_LIFETIME_S,
};

/// What ticket keys are made from. The first one seals, all of them open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketSecrets {
    secrets: Vec<Secret>,
    /// When the first one was made, in seconds since 1970, if the process has made it. `None`: they are from a file.
    made_unix_s: Option<u64>,
}

impl TicketSecrets {
    /// One of this process.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn own(now_unix_s: u64) -> Result<TicketSecrets, Unspecified> {
        Ok(TicketSecrets { secrets: vec![random()?], made_unix_s: Some(now_unix_s) })
    }

    /// The secrets of a file, one a line.
    ///
    /// # Errors
    /// What is wrong with them: the second half of a sentence. It shows nothing of a line.
    pub(super) fn parse(text: &[u8]) -> Result<TicketSecrets, String> {
        let text = std::str::from_utf8(text).map_err(|_| "is not text".to_owned())?;
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        let mut secrets = Vec::new();
        for (index, line) in lines {
            let secret = bytes(line).filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
            let why = || format!("has in line {} no 48 or 80 bytes in hex or base64", index + 1);
            secrets.push(Secret(secret.ok_or_else(why)?));
        }
        match secrets.len() {
            0 => Err("has no key in it".to_owned()),
            1..=TICKET_KEYS_MAX => Ok(TicketSecrets { secrets, made_unix_s: None }),
            _ => Err(format!("has over {TICKET_KEYS_MAX} keys in it")),
        }
    }

    /// Those that a predecessor of this process wrote by [`TicketSecrets::to_bytes`]. `None`: they are not.
    pub fn from_bytes(bytes: &[u8]) -> Option<TicketSecrets> {
        let (made, secrets) = bytes.split_first_chunk()?;
        let (secrets, rest) = secrets.as_chunks::<{ SECRET_BYTES[0] }>();
        let is_whole = rest.is_empty() && (1..=TICKET_KEYS_KEPT).contains(&secrets.len());
        let secrets = secrets.iter().map(|secret| Secret(secret.to_vec())).collect();
        is_whole.then_some(TicketSecrets { secrets, made_unix_s: Some(u64::from_be_bytes(*made)) })
    }

    /// The process's own secrets for a successor. `None`: they are from a file, and the successor has it too.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let made = self.made_unix_s?.to_be_bytes();
        Some(self.secrets.iter().fold(made.to_vec(), |bytes, secret| [&bytes[..], &secret.0].concat()))
    }

    /// Whether they are this process's own.
    pub(super) fn are_own(&self) -> bool {
        self.made_unix_s.is_some()
    }

    /// The same with a new one before them. `None`: the first one is not old enough, or not this process's.
    pub(super) fn rotated(&self, now_unix_s: u64) -> Option<TicketSecrets> {
        let is_due = now_unix_s.abs_diff(self.made_unix_s?) >= TICKET_KEY_USED_S;
        let mut rotated = TicketSecrets::own(now_unix_s).ok().filter(|_| is_due)?;
        rotated.secrets.extend(self.secrets.iter().take(TICKET_KEYS_KEPT - 1).cloned());
        Some(rotated)
    }
}

/// Hex or base64. The lengths of 48 and 80 bytes in either are different ones.
fn bytes(line: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    if !SECRET_BYTES.contains(&(line.len() / 2)) {
        return STANDARD.decode(line).ok();
    }
    line.as_bytes().chunks(2).map(|pair| Some(digit(&pair[0])? << 4 | digit(pair.get(1)?)?)).collect()
}

fn random() -> Result<Secret, Unspecified> {
    let mut secret = vec![0; SECRET_BYTES[0]];
    aws_lc_rs::rand::fill(&mut secret)?;
    Ok(Secret(secret))
}

/// Seals and opens tickets.
pub(super) struct Tickets(Vec<TicketKey>);

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl Tickets {
    /// `policy` says what a session had to satisfy. It goes into the keys, so that a ticket of another policy is one
    /// of a foreign key: a resumed session is not asked for a certificate again.
    ///
    /// # Errors
    /// The library's.
    pub(super) fn new(secrets: &TicketSecrets, policy: &[u8; 32]) -> Result<Tickets, Unspecified> {
        let keys = secrets.secrets.iter().map(|secret| TicketKey::new(secret, policy));
        keys.collect::<Result<_, _>>().map(Tickets)
    }

    fn seal(&self, state: &[u8], now_unix_s: u64) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.0.first()?;
        let mut sealed = Vec::with_capacity(ISSUED_BYTES + state.len() + TAG_BYTES);
        sealed.extend(now_unix_s.to_be_bytes());
        sealed.extend(state);
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        let ticket = [&name[..], nonce.as_ref(), &sealed].concat();
        (ticket.len() <= TICKET_BYTES_MAX).then_some(ticket)
    }

    fn open(&self, ticket: &[u8], now_unix_s: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let TicketKey { key, .. } = self.0.iter().find(|key| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let opened = key.open_in_place(Nonce::from(nonce), Aad::from(name), &mut opened).ok()?;
        let (issued, state) = opened.split_first_chunk::<ISSUED_BYTES>()?;
        let age_s = now_unix_s.saturating_sub(u64::from_be_bytes(*issued));
        (age_s <= u64::from(TICKET_LIFETIME_S)).then(|| state.to_vec())
    }
}

impl TicketKey {
    fn new(secret: &Secret, policy: &[u8; 32]) -> Result<TicketKey, Unspecified> {
        let secret = Salt::new(HKDF_SHA256, SALT).extract(&secret.0);
        let derive = |what: &[u8]| {
            let mut derived = [0; 32];
            secret.expand(&[what, policy], HKDF_SHA256)?.fill(&mut derived)?;
            Ok::<_, Unspecified>(derived)
        };
        let (key, long_name) = (derive(b"key")?, derive(b"name")?);
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&long_name[..NAME_BYTES]);
        Ok(TicketKey { name, key: RandomizedNonceKey::new(&AES_256_GCM, &key)? })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, clock::unix_s())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, clock::unix_s())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(…)")
    }
}

/// What `openssl rand` writes for other servers: nginx takes 48 or 80 bytes.
const SECRET_BYTES: [usize; 2] = [48, 80];
const NAME_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const ISSUED_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const SALT: &[u8] = b"realchat-gateway session tickets";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn tickets(secrets: &TicketSecrets, policy: u8) -> Tickets {
        Tickets::new(secrets, &[policy; 32]).expect("keys")
    }

    fn file(lines: &[&str]) -> Result<TicketSecrets, String> {
        TicketSecrets::parse(lines.join("\n").as_bytes())
    }

    #[test]
    fn every_key_opens_and_the_first_one_seals() {
        let [old, new] = ["0a".repeat(48), "0b".repeat(80)];
        let before = tickets(&file(&[&old]).expect("a key"), 0);
        let during = tickets(&file(&[&new, &old]).expect("two keys"), 0);
        let after = tickets(&file(&[&new]).expect("a key"), 0);
        let ticket = before.seal(b"state", NOW).expect("a ticket");
        assert_eq!(during.open(&ticket, NOW).as_deref(), Some(&b"state"[..]));
        assert_eq!(after.open(&ticket, NOW), None, "a foreign key");
        let ticket = during.seal(b"state", NOW).expect("a ticket");
        assert_eq!(after.open(&ticket, NOW).as_deref(), Some(&b"state"[..]));
    }

    #[test]
    fn a_ticket_of_another_policy_is_foreign() {
        let secrets = TicketSecrets::own(NOW).expect("random numbers");
        let ticket = tickets(&secrets, 0).seal(b"state", NOW).expect("a ticket");
        assert_eq!(tickets(&secrets, 1).open(&ticket, NOW), None);
    }

    #[test]
    fn a_ticket_ends_with_its_lifetime_and_a_clock_that_goes_back_ends_none() {
        let tickets = tickets(&TicketSecrets::own(NOW).expect("random numbers"), 0);
        let ticket = tickets.seal(b"", NOW).expect("a ticket");
        let last = NOW + u64::from(TICKET_LIFETIME_S);
        assert!(tickets.open(&ticket, last).is_some() && tickets.open(&ticket, NOW - 9).is_some());
        assert_eq!(tickets.open(&ticket, last + 1), None);
    }

    #[test]
    fn whatever_a_client_shows_is_no_panic() {
        let tickets = tickets(&TicketSecrets::own(NOW).expect("random numbers"), 0);
        let ticket = tickets.seal(b"state", NOW).expect("a ticket");
        for length in 0..ticket.len() {
            assert_eq!(tickets.open(&ticket[..length], NOW), None, "{length}");
        }
        for byte in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[byte] ^= 1;
            assert_eq!(tickets.open(&forged, NOW), None, "{byte}");
        }
        assert_eq!(tickets.open(&vec![0; TICKET_BYTES_MAX + 1], NOW), None);
        assert_eq!(tickets.seal(&[0; TICKET_BYTES_MAX], NOW), None, "too large to be worth it");
    }

    #[test]
    fn keys_are_lines_of_hex_or_base64() {
        let base64 = STANDARD.encode([7; 48]);
        assert_eq!(file(&[&base64, ""]), file(&["", &"07".repeat(48), ""]));
        assert_eq!(STANDARD.encode([7; 80]).len(), 108);
        let long = "07".repeat(81);
        for wrong in ["", "secret", &base64[1..], &long, &"0g".repeat(48)] {
            let told = file(&[wrong]).unwrap_err();
            assert!(!told.contains("secret") && !told.contains("07"), "{told}");
        }
        assert!(file(&[base64.as_str(); TICKET_KEYS_MAX + 1]).is_err());
    }

    #[test]
    fn keys_of_the_process_are_renewed_and_the_last_ones_kept() {
        let first = TicketSecrets::own(NOW).expect("random numbers");
        assert_eq!(first.rotated(NOW + TICKET_KEY_USED_S - 1), None);
        let mut now = NOW;
        let mut secrets = first.clone();
        for _ in 0..TICKET_KEYS_KEPT + 2 {
            now += TICKET_KEY_USED_S;
            secrets = secrets.rotated(now).expect("it is time");
            assert!(secrets.secrets.len() <= TICKET_KEYS_KEPT && secrets.are_own());
        }
        assert!(!secrets.secrets.contains(&first.secrets[0]));
        let bytes = secrets.to_bytes().expect("its own");
        assert_eq!(TicketSecrets::from_bytes(&bytes), Some(secrets));
        for length in [0, 7, 8, 9, bytes.len() - 1] {
            assert_eq!(TicketSecrets::from_bytes(&bytes[..length]), None, "{length}");
        }
        assert_eq!(TicketSecrets::from_bytes(&[&bytes[..], &bytes[8..]].concat()), None, "too many");
        assert_eq!(file(&[&"07".repeat(48)]).expect("a key").rotated(now + 1_000_000), None);
    }
}
