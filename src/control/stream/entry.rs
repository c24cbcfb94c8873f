//! The grammar of the control stream: what the fields of one entry mean. It is the API for whoever writes there
//! (`docs/live-control.md`).

use crate::auth::{Holder, LoggedOut, Logout, Mark, Revocation, Subject};
use crate::gateway::core::bulletin::Instruction;
use crate::gateway::websocket::handles::Renewal;
use crate::gateway::websocket::tunnel::farewell::Farewell;

/// The number of an entry: the time of Redis in milliseconds since 1970, and a number within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// The number within the millisecond.
    pub number: u64,
}

/// Names and values of an entry.
pub type Fields = [(Vec<u8>, Vec<u8>)];

/// Names and values of an entry that is to be written.
pub type Written = Vec<(&'static str, String)>;

/// What an entry means.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// Every core is told this.
    Tell(Instruction),
    /// The core that has the WebSocket is told, if there is one.
    Renew(Renewal),
}

/// Why an entry is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Id {
    /// Reads `1700000000000-0`.
    pub fn parse(text: &str) -> Option<Id> {
        let (ms, number) = text.split_once('-')?;
        Some(Id { ms: ms.parse().ok()?, number: number.parse().ok()? })
    }

    /// As Redis writes it.
    pub fn text(self) -> String {
        format!("{}-{}", self.ms, self.number)
    }

    /// The second of the entry.
    fn unix_s(self) -> u64 {
        self.ms / 1_000
    }
}

/// What the fields mean. `lifetime_s`: the longest lifetime of a token, for an entry that does not say when its token
/// expires.
///
/// # Errors
/// They mean nothing.
pub fn parse(id: Id, fields: &Fields, lifetime_s: u64) -> Result<Meaning, Malformed> {
    let fields = Named { fields, id };
    match fields.text("op")?.ok_or(Malformed("there is no op"))? {
        "revoke" => revocation(&fields, lifetime_s).map(|one| Meaning::Tell(Instruction::Revoked(one))),
        "renew" => renewal(&fields).map(Meaning::Renew),
        "close" => {
            let user = fields.name("user")?.ok_or(Malformed("close needs a user"))?;
            let code = fields.number("code")?.unwrap_or(CLOSE_CODE);
            let reason = fields.text("reason")?.unwrap_or_default();
            let farewell = u16::try_from(code).ok().and_then(|code| Farewell::new(code, reason));
            let farewell = farewell.ok_or(Malformed("the code cannot be sent, or the reason is too long"))?;
            Ok(Meaning::Tell(Instruction::Dismiss(Mark::of(Subject::User, user), farewell)))
        }
        _ => Err(Malformed("the op is none of revoke, close and renew")),
    }
}

/// The entry of a renewal. Only gateways write it; marks are in hex digits.
pub fn of_renewal(renewal: &Renewal) -> Written {
    let Renewal { handle, holder, routes } = renewal;
    let routes: Vec<String> = routes.iter().map(|route| route.hex()).collect();
    let mut fields = vec![
        ("op", "renew".to_owned()),
        ("handle", handle.hex()),
        ("holder", holder.user.hex()),
        ("issued", holder.issued_unix_s.to_string()),
        ("expires", holder.expires_unix_s.to_string()),
        ("routes", routes.join(",")),
    ];
    fields.extend(holder.token.map(|token| ("token", token.hex())));
    fields.extend(holder.session.map(|session| ("session", session.hex())));
    fields
}

/// The entry of a logout: what was issued up to its second does not count any more.
pub fn of_logout(logout: &Logout) -> Written {
    let named = match &logout.subject {
        LoggedOut::Session(sid) => ("sid", sid.clone()),
        LoggedOut::User(user) => ("user", user.clone()),
    };
    let before = logout.issued_unix_s.saturating_add(1).to_string();
    vec![("op", "revoke".to_owned()), named, ("before", before)]
}

fn renewal(fields: &Named<'_>) -> Result<Renewal, Malformed> {
    let routes = fields.text("routes")?.unwrap_or_default();
    let marks = routes.split(',').filter(|route| !route.is_empty()).map(Mark::from_hex);
    let time = |name| fields.number(name).and_then(|time| time.ok_or(NO_RENEWAL)).map(u64::from);
    Ok(Renewal {
        handle: fields.mark("handle")?.ok_or(NO_RENEWAL)?,
        holder: Holder {
            user: fields.mark("holder")?.ok_or(NO_RENEWAL)?,
            token: fields.mark("token")?,
            session: fields.mark("session")?,
            issued_unix_s: time("issued")?,
            expires_unix_s: time("expires")?,
        },
        routes: marks.collect::<Option<_>>().ok_or(NO_RENEWAL)?,
    })
}

fn revocation(fields: &Named<'_>, lifetime_s: u64) -> Result<Revocation, Malformed> {
    let named = (fields.name("user")?, fields.name("jti")?, fields.name("sid")?, fields.name("all")?);
    match named {
        (Some(user), None, None, None) => {
            Ok(Revocation::User(Mark::of(Subject::User, user), fields.before()?))
        }
        (None, Some(jti), None, None) => {
            Ok(Revocation::Token(Mark::of(Subject::Token, jti), fields.until(lifetime_s)?))
        }
        (None, None, Some(sid), None) => {
            Ok(Revocation::Session(Mark::of(Subject::Session, sid), fields.before()?))
        }
        (None, None, None, Some("1")) => fields.before().map(Revocation::All),
        (None, None, None, Some(_)) => Err(Malformed("all is not 1")),
        _ => Err(Malformed("it names not exactly one of user, jti, sid and all")),
    }
}

struct Named<'f> {
    fields: &'f Fields,
    id: Id,
}

impl<'f> Named<'f> {
    fn text(&self, name: &str) -> Result<Option<&'f str>, Malformed> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name.as_bytes());
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => {
                str::from_utf8(value).map(Some).map_err(|_| Malformed("a value is not UTF-8"))
            }
            _ => Err(Malformed("a field is there twice")),
        }
    }

    fn name(&self, name: &str) -> Result<Option<&'f str>, Malformed> {
        match self.text(name)? {
            Some(text) if text.is_empty() || text.len() > NAME_BYTES_MAX => {
                Err(Malformed("a name is empty or too long"))
            }
            text => Ok(text),
        }
    }

    fn mark(&self, name: &str) -> Result<Option<Mark>, Malformed> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        Mark::from_hex(text).map(Some).ok_or(NO_RENEWAL)
    }

    /// A time is in seconds; one in milliseconds does not fit.
    fn number(&self, name: &str) -> Result<Option<u32>, Malformed> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_digits);
        number.map(Some).ok_or(Malformed("a number or a time is none; times are in seconds since 1970"))
    }

    /// Without it everything up to the second of the entry, that one included.
    fn before(&self) -> Result<u32, Malformed> {
        let now_s = self.id.unix_s();
        match self.number("before")? {
            Some(before_s) if u64::from(before_s) > now_s.saturating_add(AHEAD_S_MAX) => {
                Err(Malformed("before is more than a day ahead"))
            }
            Some(before_s) => Ok(before_s),
            None => Ok(u32::try_from(now_s.saturating_add(1)).unwrap_or(u32::MAX)),
        }
    }

    /// No token lives longer than it may, whatever is written.
    fn until(&self, lifetime_s: u64) -> Result<u32, Malformed> {
        let last_s = self.id.unix_s().saturating_add(AHEAD_S_MAX).saturating_add(lifetime_s);
        let last_s = u32::try_from(last_s).unwrap_or(u32::MAX);
        Ok(self.number("until")?.unwrap_or(last_s).min(last_s))
    }
}

const NO_RENEWAL: Malformed = Malformed("it is no renewal of a gateway");
/// Longest name of a user, token or session, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// How far ahead of its entry a `before` may be. Further is a mistake, with which a user could never come back.
const AHEAD_S_MAX: u64 = 86_400;
/// The code of a Close frame that asks for none.
const CLOSE_CODE: u32 = 1008;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Id = Id { ms: 1_700_000_000_123, number: 0 };

    fn read(text: &str) -> Result<Meaning, &'static str> {
        let fields: Vec<(Vec<u8>, Vec<u8>)> = text
            .split(' ')
            .filter_map(|field| field.split_once('='))
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        parse(AT, &fields, 3_600).map_err(|malformed| malformed.0)
    }

    fn revoked(text: &str) -> Revocation {
        match read(text) {
            Ok(Meaning::Tell(Instruction::Revoked(revocation))) => revocation,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_id_is_a_time_and_a_number() {
        assert_eq!(Id::parse("1700000000123-7"), Some(Id { ms: AT.ms, number: 7 }));
        assert_eq!(AT.text(), "1700000000123-0");
        for wrong in ["", "1", "-", "1-", "a-1", "1-a", "1-2-3", "-1-0"] {
            assert_eq!(Id::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_form_of_a_revocation() {
        let user = Mark::of(Subject::User, "u-1");
        assert_eq!(revoked("op=revoke user=u-1 before=1700000000"), Revocation::User(user, 1_700_000_000));
        assert_eq!(revoked("op=revoke user=u-1"), Revocation::User(user, 1_700_000_001), "up to now");
        assert_eq!(
            revoked("op=revoke user=u-1 before=5 by=admin"),
            Revocation::User(user, 5),
            "a field of theirs"
        );
        let sid = Mark::of(Subject::Session, "s");
        assert_eq!(revoked("op=revoke sid=s before=5"), Revocation::Session(sid, 5));
        assert_eq!(revoked("op=revoke all=1 before=5"), Revocation::All(5));
        let jti = Mark::of(Subject::Token, "j");
        assert_eq!(revoked("op=revoke jti=j until=1700000100"), Revocation::Token(jti, 1_700_000_100));
        let last = 1_700_000_000 + 86_400 + 3_600;
        assert_eq!(revoked("op=revoke jti=j"), Revocation::Token(jti, last));
        assert_eq!(revoked("op=revoke jti=j until=4000000000"), Revocation::Token(jti, last));
    }

    #[test]
    fn a_close_has_words_or_none() {
        let words = |text: &str| match read(text) {
            Ok(Meaning::Tell(Instruction::Dismiss(user, farewell)))
                if user == Mark::of(Subject::User, "u") =>
            {
                (farewell.code(), farewell.reason().to_owned())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(words("op=close user=u"), (1008, String::new()));
        assert_eq!(words("op=close user=u code=4403 reason=banned"), (4403, "banned".to_owned()));
    }

    #[test]
    fn a_renewal_is_read_as_it_was_written() {
        let mark = |subject| Mark::of(subject, "x");
        let holder = Holder { session: Some(mark(Subject::Session)), ..Holder::someone("ann", 5) };
        let routes = [Mark::of_route("chat"), Mark::of_route("mail")];
        for (token, routes) in [(None, &routes[..]), (Some(mark(Subject::Token)), &[])] {
            let holder = Holder { token, ..holder };
            let renewal = Renewal { handle: Mark::of_handle(b"h"), holder, routes: routes.into() };
            let written = of_renewal(&renewal);
            let text: Vec<_> = written.iter().map(|(name, value)| format!("{name}={value}")).collect();
            match read(&text.join(" ")) {
                Ok(Meaning::Renew(read)) => assert_eq!(read, renewal),
                other => panic!("{other:?}"),
            }
            for lacking in 1..5 {
                let text: Vec<_> = text.iter().enumerate().filter(|(at, _)| *at != lacking).collect();
                let text: Vec<_> = text.into_iter().map(|(_, field)| field.as_str()).collect();
                assert!(read(&text.join(" ")).is_err(), "{text:?}");
            }
        }
    }

    #[test]
    fn what_means_nothing_is_passed_over() {
        for text in [
            "",
            "user=u",
            "op=",
            "op=Revoke user=u",
            "op=ban user=u",
            "op=revoke",
            "op=revoke user=",
            "op=revoke user=u jti=j",
            "op=revoke user=u all=1",
            "op=revoke user=u user=v",
            "op=revoke user=u op=close",
            "op=revoke all=yes",
            "op=revoke user=u before=",
            "op=revoke user=u before=-1",
            "op=revoke user=u before=+1",
            "op=revoke user=u before=1.5",
            "op=revoke user=u before=1700000000123",
            "op=revoke user=u before=1700086401",
            "op=revoke jti=j until=soon",
            "op=close",
            "op=close user=u code=1006",
            "op=close user=u code=70000",
            "op=close user=u code=x",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert!(read(&format!("op=revoke user={long}")).is_err());
        assert!(read(&format!("op=close user=u reason={}", "x".repeat(124))).is_err());
        let not_text = vec![(b"op".to_vec(), b"revoke".to_vec()), (b"user".to_vec(), vec![0xff])];
        assert!(parse(AT, &not_text, 1).is_err());
        assert!(read("op=revoke user=u before=1700086400").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_a_panic(fields: Vec<(Vec<u8>, Vec<u8>)>, ms: u64, number: u64, lifetime_s: u64) {
            let _ = parse(Id { ms, number }, &fields, lifetime_s);
        }
    }
}
