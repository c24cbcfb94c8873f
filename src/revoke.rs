//! The subcommand `revoke`: writes what a person wants revoked into the control stream.

use crate::config::Config;
use crate::control::stream::entry::Written;
use crate::control::stream::wire::{Wire, WireError};
use crate::control::stream::writer;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked<'a> {
    /// The tokens of a user.
    User(&'a str),
    /// One token, by its `jti`.
    Token(&'a str),
    /// The tokens of a session, by their `sid`.
    Session(&'a str),
    /// Every token.
    All,
}

/// One revocation as a person asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// What.
    pub revoked: Revoked<'a>,
    /// Tokens that were issued before this second; `None`: up to now.
    pub before_unix_s: Option<u32>,
    /// The user's WebSockets are closed, whatever token they have.
    pub closes: bool,
}

/// Why nothing was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRevoked {
    /// The configuration has no control stream.
    NoStream(String),
    /// Redis did not take it.
    Redis(String),
}

/// Writes it. Returns a line for each entry that was written.
///
/// # Errors
/// [`NotRevoked`].
pub fn revoke(config: &Config, wanted: &Wanted<'_>, now_unix_s: u64) -> Result<String, NotRevoked> {
    let Some(stream) = &config.control.stream else {
        return Err(NotRevoked::NoStream(
            "REVOCATION_STREAM: is not set, so nobody would read it".to_owned(),
        ));
    };
    let failed =
        |error: WireError| NotRevoked::Redis(format!("the revocation was not written: {}", error.text()));
    let mut wire = Wire::connect(&config.redis).map_err(failed)?;
    let mut told = String::new();
    for fields in entries(wanted, now_unix_s) {
        let id = wire.append(stream, writer::oldest_ms(config, now_unix_s), &fields).map_err(failed)?;
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        told += &format!("{stream} {id} {}\n", fields.join(" "));
    }
    Ok(told)
}

/// The fields of each entry.
fn entries(wanted: &Wanted<'_>, now_unix_s: u64) -> Vec<Written> {
    let before = wanted.before_unix_s.map_or(now_unix_s + 1, u64::from).to_string();
    let mut fields = vec![("op", "revoke".to_owned())];
    match wanted.revoked {
        Revoked::User(user) => fields.extend([("user", user.to_owned()), ("before", before)]),
        Revoked::Session(sid) => fields.extend([("sid", sid.to_owned()), ("before", before)]),
        Revoked::All => fields.extend([("all", "1".to_owned()), ("before", before)]),
        // Without an end it is remembered for as long as any token may live.
        Revoked::Token(jti) => fields.push(("jti", jti.to_owned())),
    }
    let closing = match wanted.revoked {
        Revoked::User(user) if wanted.closes => {
            Some(vec![("op", "close".to_owned()), ("user", user.to_owned())])
        }
        _ => None,
    };
    std::iter::once(fields).chain(closing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(revoked: Revoked<'_>, before_unix_s: Option<u32>, closes: bool) -> Vec<String> {
        let line = |fields: Vec<(&str, String)>| {
            fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        entries(&Wanted { revoked, before_unix_s, closes }, 100).into_iter().map(line).collect()
    }

    #[test]
    fn each_form_is_an_entry_of_the_grammar() {
        assert_eq!(written(Revoked::User("ann"), None, false), ["op=revoke user=ann before=101"]);
        assert_eq!(
            written(Revoked::User("ann"), Some(7), true),
            ["op=revoke user=ann before=7", "op=close user=ann"]
        );
        assert_eq!(written(Revoked::Session("s"), Some(7), false), ["op=revoke sid=s before=7"]);
        assert_eq!(written(Revoked::All, None, false), ["op=revoke all=1 before=101"]);
        assert_eq!(written(Revoked::Token("j"), None, true), ["op=revoke jti=j"]);
    }
}
