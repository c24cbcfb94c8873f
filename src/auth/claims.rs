//! The claims of a token whose signature is right: who it is for, and from when to when it is valid.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use super::error::{CredentialError, TokenFault};
use super::holder::Holder;
use super::json::{self, Json, Object};
use super::kept::KeptClaims;
use super::user::{User, Verified};
use crate::config::{ClaimPath, Issuer, WantedClaims};

/// What one issuer's tokens must say.
pub(super) struct ClaimRules {
    issuer: Option<String>,
    audiences: Vec<String>,
    leeway: Duration,
    user_claim: ClaimPath,
    lifetime_max: Option<Duration>,
    token_types: Vec<String>,
    wanted: WantedClaims,
}

impl ClaimRules {
    /// The rules of one issuer. `wanted`: what routes want to know of any token.
    pub(super) fn new(issuer: &Issuer, wanted: &WantedClaims) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            leeway: issuer.leeway,
            user_claim: issuer.user_claim.clone(),
            lifetime_max: issuer.lifetime_max,
            token_types: issuer.token_types.clone(),
            wanted: wanted.clone(),
        }
    }

    /// Checks the `typ` of a header. "Use of explicit typing" keeps tokens of another kind, which the same key may
    /// sign, from being taken for these (RFC 8725 §3.11).
    pub(super) fn check_type(&self, typ: Option<&str>) -> Result<(), CredentialError> {
        let is_right = match (typ, self.token_types.is_empty()) {
            (Some(typ), true) => !OTHER_TYPES.contains(&typ),
            (None, true) => true,
            (Some(typ), false) => self.token_types.iter().any(|accepted| accepted == typ),
            (None, false) => false,
        };
        if is_right { Ok(()) } else { Err(TokenFault::Type.into()) }
    }

    /// Checks decoded claims. [`CredentialError::Expired`] comes last: it promises that a new token would pass.
    pub(super) fn check(&self, claims: &[u8], now_unix_s: u64) -> Result<Verified, CredentialError> {
        let claims = json::object(claims).ok_or(TokenFault::Claims)?;
        let user = claims.at(&self.user_claim.names).and_then(subject).ok_or(TokenFault::Subject)?;
        let expires_unix_s = self.expiry(claims.get("exp")).ok_or(TokenFault::NoExpiry)?;
        let valid_from_unix_s = self.start(claims.get("nbf")).ok_or(TokenFault::NotBefore)?;
        if !self.is_issuer(claims.get("iss")) {
            return Err(TokenFault::Issuer.into());
        }
        if !self.is_audience(claims.get("aud")) {
            return Err(TokenFault::Audience.into());
        }
        // Whoever has stolen a bound token does not have its key; taken as a bearer token, it would be worth as much.
        if claims.get("cnf").is_some() {
            return Err(TokenFault::Bound.into());
        }
        // An issuer that does not type its logout tokens signs them with the same key.
        if is_logout(&claims) {
            return Err(TokenFault::Type.into());
        }
        self.check_lifetime(&claims, now_unix_s)?;
        if now_unix_s < valid_from_unix_s {
            return Err(TokenFault::NotYetValid.into());
        }
        if now_unix_s >= expires_unix_s {
            return Err(CredentialError::Expired);
        }
        let issued_unix_s =
            claims.get("iat").and_then(date_ns).map_or(0, |issued_ns| (issued_ns / NS_PER_S) as u64);
        let holder = Rc::new(Holder::of(user.as_str(), &claims, issued_unix_s, expires_unix_s));
        let claims = KeptClaims::of(&self.wanted, &claims);
        Ok(Verified { user, valid_from_unix_s, expires_unix_s, holder, claims })
    }

    /// How far clocks may differ, in whole seconds.
    pub(super) fn leeway_s(&self) -> u64 {
        self.leeway.as_secs()
    }

    /// The names on the way to the claim that names the user.
    pub(super) fn user_claim(&self) -> &[String] {
        &self.user_claim.names
    }

    /// A token that claims to be issued in the future lives no longer for it.
    fn check_lifetime(&self, claims: &Object<'_>, now_unix_s: u64) -> Result<(), CredentialError> {
        let Some(lifetime_max) = self.lifetime_max else { return Ok(()) };
        let issued_ns = claims.get("iat").and_then(date_ns).ok_or(TokenFault::NoIssuedAt)?;
        let end_ns = claims.get("exp").and_then(date_ns).ok_or(TokenFault::NoExpiry)?;
        let begin_ns = issued_ns.min(u128::from(now_unix_s) * NS_PER_S);
        match end_ns.saturating_sub(begin_ns) > lifetime_max.as_nanos() {
            true => Err(TokenFault::Lifetime.into()),
            false => Ok(()),
        }
    }

    /// The first whole second at or after `exp` plus leeway: "the expiration time on or after which the JWT
    /// MUST NOT be accepted" (RFC 7519 §4.1.4).
    fn expiry(&self, exp: Option<&Json<'_>>) -> Option<u64> {
        let end_ns = date_ns(exp?)? + self.leeway.as_nanos();
        Some(whole_seconds(end_ns))
    }

    /// The first whole second at or after `nbf` minus leeway; 0 without `nbf`.
    fn start(&self, nbf: Option<&Json<'_>>) -> Option<u64> {
        let Some(nbf) = nbf else { return Some(0) };
        Some(whole_seconds(date_ns(nbf)?.saturating_sub(self.leeway.as_nanos())))
    }

    pub(super) fn is_issuer(&self, iss: Option<&Json<'_>>) -> bool {
        self.issuer.as_deref().is_none_or(|issuer| iss.and_then(Json::as_str) == Some(issuer))
    }

    /// `aud` is "an array of case-sensitive strings" or, "in the special case when the JWT has one audience",
    /// "a single case-sensitive string" (RFC 7519 §4.1.3).
    fn is_audience(&self, aud: Option<&Json<'_>>) -> bool {
        let is_ours = |name: &str| self.audiences.iter().any(|audience| audience == name);
        match aud {
            _ if self.audiences.is_empty() => true,
            Some(Json::String(one)) => is_ours(one),
            Some(Json::Array(many)) => {
                many.iter().all(|item| item.as_str().is_some())
                    && many.iter().filter_map(Json::as_str).any(is_ours)
            }
            _ => false,
        }
    }
}

/// Whether these are the claims of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
pub(super) fn is_logout(claims: &Object<'_>) -> bool {
    matches!(claims.get("events"), Some(Json::Object(events)) if
        matches!(events.get(LOGOUT_EVENT), Some(Json::Object(_))))
}

/// The member of `events` that makes a token a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The user whom a value names: a text, or a whole number as its decimal digits, which is how many databases name
/// theirs.
fn subject(value: &Json<'_>) -> Option<User> {
    let name = match value {
        Json::String(text) => Cow::Borrowed(&**text),
        Json::Whole(number) => Cow::Owned(number.to_string()),
        _ => return None,
    };
    User::parse(&name)
}

/// A NumericDate in nanoseconds: "the number of seconds from 1970-01-01T00:00:00Z UTC …, non-integer values
/// can be represented" (RFC 7519 §2). A fraction is rounded up, so that none is lost. At today's
/// dates, a double has a resolution of a quarter of a microsecond.
fn date_ns(date: &Json<'_>) -> Option<u128> {
    let (seconds, fraction) = match *date {
        Json::Whole(seconds) if seconds <= DATE_MAX => (seconds, 0.0),
        // Whole numbers up to 2^53 are exact in a double. The sign test refuses `-0`, too.
        Json::Real(real) if real.is_sign_positive() && real <= DATE_MAX as f64 => {
            (real.trunc() as u64, real.fract())
        }
        _ => return None,
    };
    Some(u128::from(seconds) * NS_PER_S + (fraction * NS_PER_S as f64).ceil() as u128)
}

fn whole_seconds(ns: u128) -> u64 {
    u64::try_from(ns.div_ceil(NS_PER_S)).unwrap_or(u64::MAX)
}

/// The latest date that is accepted, in seconds: a double holds every whole number up to this one. It is some 285
/// million years ahead, so a later date is a mistake.
const DATE_MAX: u64 = 1 << 53;
const NS_PER_S: u128 = 1_000_000_000;

/// Signed tokens that are no access tokens, whoever issues them: OpenID Connect Back-Channel Logout 1.0 §2.4, RFC 9449
/// §4.2, RFC 8417 §2.3.
const OTHER_TYPES: [&str; 3] = ["logout+jwt", "dpop+jwt", "secevent+jwt"];

#[cfg(test)]
mod tests {
    use super::super::testing::{EXPIRED, HEADER, INVALID, NOW, jwt, keys, token, verdict, with};
    use super::*;
    use crate::config::{IssuerSet, Jwt};
    use crate::limits::SUBJECT_BYTES_MAX;

    /// The verdict on correctly signed claims. `@` is replaced by a member that makes the rest valid.
    fn claims(jwt: &Jwt, claims: &str, now_unix_s: u64) -> Result<String, &'static str> {
        let claims = claims.replace('@', r#""sub":"alice""#);
        verdict(jwt, token(HEADER, claims), now_unix_s)
    }

    #[track_caller]
    fn refused(text: &str) {
        assert_eq!(claims(&jwt(), text, NOW), Err(INVALID), "{text}");
    }

    #[test]
    fn a_token_expires_at_its_second_and_not_after_it() {
        let text = r#"{@,"exp":1800000060}"#;
        assert!(claims(&jwt(), text, 1_800_000_059).is_ok());
        assert_eq!(claims(&jwt(), text, 1_800_000_060), Err(EXPIRED));
        assert_eq!(claims(&jwt(), text, u64::MAX), Err(EXPIRED));
        assert_eq!(claims(&jwt(), r#"{@,"exp":0}"#, NOW), Err(EXPIRED));
    }

    #[test]
    fn a_fraction_of_exp_counts_exactly() {
        for exp in ["1800000060.5", "1800000059.000001", "18000000595e-1", "1.8000000595E9"] {
            let text = format!(r#"{{@,"exp":{exp}}}"#);
            assert!(claims(&jwt(), &text, 1_800_000_059).is_ok(), "{exp}");
            assert_eq!(claims(&jwt(), &text, 1_800_000_061), Err(EXPIRED), "{exp}");
        }
        assert!(claims(&jwt(), r#"{@,"exp":1800000059.5}"#, 1_800_000_059).is_ok());
        assert_eq!(claims(&jwt(), r#"{@,"exp":1800000059.5}"#, 1_800_000_060), Err(EXPIRED));
        assert_eq!(claims(&jwt(), r#"{@,"exp":18e8}"#, NOW), Err(EXPIRED));
    }

    #[test]
    fn exp_is_required_and_a_number() {
        refused("{@}");
        for exp in [
            r#""1800000060""#,
            r#""never""#,
            "null",
            "true",
            "[1800000060]",
            "{}",
            r#"{"$serde_json::private::Number":"1800000060"}"#,
        ] {
            refused(&format!(r#"{{@,"exp":{exp}}}"#));
        }
        refused(r#"{@,"EXP":1800000060}"#);
    }

    #[test]
    fn a_date_is_finite_not_negative_and_at_most_2_to_the_53() {
        for wrong in [
            "-1",
            "-0",
            "-0.0",
            "-1e300",
            "1e400",
            "-1e400",
            "1e308",
            "NaN",
            "Infinity",
            "-Infinity",
            "9007199254740993",
            "9007199254740994",
            "18446744073709551615",
            "18446744073709551616",
            "1e16",
            "0x6b49d200",
            "01800000060",
            "+1800000060",
            "1800000060.",
            "1_800_000_060",
        ] {
            refused(&format!(r#"{{@,"exp":{wrong}}}"#));
            refused(&format!(r#"{{@,"exp":1800000060,"nbf":{wrong}}}"#));
        }
        for right in ["9007199254740992", "1e15", "1800000060", "1800000060.0"] {
            assert!(claims(&jwt(), &format!(r#"{{@,"exp":{right}}}"#), NOW).is_ok(), "{right}");
        }
    }

    #[test]
    fn nbf_is_respected() {
        let text = r#"{@,"exp":1800000060,"nbf":1800000010}"#;
        assert_eq!(claims(&jwt(), text, 1_800_000_009), Err(INVALID));
        assert!(claims(&jwt(), text, 1_800_000_010).is_ok());
        let fraction = r#"{@,"exp":1800000060,"nbf":1800000009.5}"#;
        assert_eq!(claims(&jwt(), fraction, 1_800_000_009), Err(INVALID));
        assert!(claims(&jwt(), fraction, 1_800_000_010).is_ok());
        for wrong in [r#""0""#, "null", "[]", "false"] {
            refused(&format!(r#"{{@,"exp":1800000060,"nbf":{wrong}}}"#));
        }
    }

    #[test]
    fn leeway_widens_both_ends_and_nothing_more() {
        let lenient = with(|issuer| issuer.leeway = Duration::from_secs(5));
        let text = r#"{@,"exp":1800000060,"nbf":1800000010}"#;
        for (now, verdict) in [
            (1_800_000_004, Err(INVALID)),
            (1_800_000_005, Ok("alice".to_owned())),
            (1_800_000_064, Ok("alice".to_owned())),
            (1_800_000_065, Err(EXPIRED)),
        ] {
            assert_eq!(claims(&lenient, text, now), verdict, "{now}");
        }
        let endless = with(|issuer| issuer.leeway = Duration::MAX);
        assert!(claims(&endless, text, NOW).is_ok());
        let half = with(|issuer| issuer.leeway = Duration::from_millis(500));
        assert_eq!(claims(&half, r#"{@,"exp":1800000059.5}"#, 1_800_000_060), Err(EXPIRED));
        assert!(claims(&half, r#"{@,"exp":1800000059.6}"#, 1_800_000_060).is_ok());
    }

    #[test]
    fn only_an_otherwise_valid_token_is_called_expired() {
        for text in
            [r#"{"exp":1}"#, r#"{"sub":"","exp":1}"#, r#"{@,"exp":1,"nbf":"x"}"#, r#"{@,"exp":1,"exp":1}"#]
        {
            refused(text);
        }
        let strict = with(|issuer| issuer.issuer = Some("us".to_owned()));
        assert_eq!(claims(&strict, r#"{@,"exp":1,"iss":"them"}"#, NOW), Err(INVALID));
        let mut forged = token(HEADER, r#"{"sub":"alice","exp":1}"#);
        forged.replace_range(forged.rfind('.').unwrap() + 1.., &"A".repeat(43));
        assert_eq!(verdict(&jwt(), forged, NOW), Err(INVALID));
    }

    #[test]
    fn claims_are_one_object_without_repeated_names_or_trailing_bytes() {
        for text in [
            r#"{@,"sub":"bob","exp":1800000060}"#,
            r#"{@,"exp":1800000060,"exp":1800000060}"#,
            r#"{@,"exp":1,"\u0065xp":1800000060}"#,
            r#"{@,"exp":1800000060,"e\u0078p":1}"#,
            r#"{@,"exp":1800000060,"a":{"b":1,"b":1}}"#,
            r#"{@,"exp":1800000060,"a":[{"b":1,"\u0062":1}]}"#,
            r#"{@,"exp":1800000060}}"#,
            r#"{@,"exp":1800000060},{}"#,
            "{@,\"exp\":1800000060}\u{a0}",
            "{@,\"exp\":1800000060}\0",
            r#"[{@,"exp":1800000060}]"#,
            r#"{@,"exp":1800000060,}"#,
            r#"{'sub':'alice','exp':1800000060}"#,
            r#"{@,"exp":1800000060 /* */}"#,
            r#"{@,"exp":1800000060,"x":"\ud800"}"#,
            "{@,\"exp\":1800000060,\"x\":\"\n\"}",
            "",
        ] {
            refused(text);
        }
        // White space is part of JSON, and an escape alone is allowed.
        assert!(claims(&jwt(), "\t\r {@,\"exp\":1800000060}\n", NOW).is_ok());
        assert!(claims(&jwt(), r#"{@,"\u0065xp":1800000060}"#, NOW).is_ok());
    }

    #[test]
    fn a_subject_is_visible_ascii_of_bounded_length() {
        for sub in [
            r#""""#,
            r#"" ""#,
            r#""al ice""#,
            r#""alice ""#,
            r#""alice\r\nX-Internal-Role: admin""#,
            r#""alice\n""#,
            r#""alice\u0000""#,
            r#""alice\u007f""#,
            r#""al\tice""#,
            r#""älice""#,
            r#""\u00e4lice""#,
            r#""\u202ealice""#,
            "-7",
            "7.0",
            "7e0",
            "18446744073709551616",
            "null",
            r#"["alice"]"#,
            r#"{"alice":1}"#,
            "true",
        ] {
            refused(&format!(r#"{{"sub":{sub},"exp":1800000060}}"#));
        }
        refused(r#"{"exp":1800000060}"#);
        refused(&format!(r#"{{"sub":"{}","exp":1800000060}}"#, "a".repeat(SUBJECT_BYTES_MAX + 1)));
        // Many databases name their users so, and real issuers send it as it is.
        for number in ["0", "7", "18446744073709551615"] {
            let text = format!(r#"{{"sub":{number},"exp":1800000060}}"#);
            assert_eq!(claims(&jwt(), &text, NOW).as_deref(), Ok(number));
        }
        for sub in ["!".to_owned(), "~".to_owned(), "a".repeat(SUBJECT_BYTES_MAX)] {
            assert_eq!(claims(&jwt(), &format!(r#"{{"sub":"{sub}","exp":1800000060}}"#), NOW), Ok(sub));
        }
    }

    #[test]
    fn the_user_comes_from_the_configured_claim_alone() {
        let of = |claim: &str| with(|issuer| issuer.user_claim = ClaimPath::parse(claim).unwrap());
        let other = of("uid");
        assert_eq!(claims(&other, r#"{@,"uid":"bob","exp":1800000060}"#, NOW).as_deref(), Ok("bob"));
        assert_eq!(claims(&other, r#"{@,"exp":1800000060}"#, NOW), Err(INVALID));
        let nested =
            r#"{@,"exp":1800000060,"user":{"id":7,"a.b":"bob","c/d":"eve"},"https://x.example/id":"mia"}"#;
        for (claim, user) in [
            ("user.id", Ok("7")),
            ("/user/id", Ok("7")),
            ("/user/a.b", Ok("bob")),
            ("/user/c~1d", Ok("eve")),
            ("https://x.example/id", Ok("mia")),
            ("user", Err(INVALID)),
            ("user.a.b", Err(INVALID)),
            ("sub.id", Err(INVALID)),
            ("user.id.0", Err(INVALID)),
        ] {
            assert_eq!(claims(&of(claim), nested, NOW), user.map(str::to_owned), "{claim}");
        }
    }

    #[test]
    fn the_issuer_must_be_equal_when_configured() {
        let strict = with(|issuer| issuer.issuer = Some("https://id.example".to_owned()));
        assert!(claims(&strict, r#"{@,"exp":1800000060,"iss":"https://id.example"}"#, NOW).is_ok());
        for iss in ["", r#","iss":"https://id.example/""#, r#","iss":"HTTPS://id.example""#, r#","iss":null"#]
        {
            assert!(claims(&strict, &format!(r#"{{@,"exp":1800000060{iss}}}"#), NOW).is_err(), "{iss}");
        }
        let listed = r#"{@,"exp":1800000060,"iss":["https://id.example"]}"#;
        assert_eq!(claims(&strict, listed, NOW), Err(INVALID));
        assert!(claims(&jwt(), listed, NOW).is_ok());
    }

    #[test]
    fn the_audience_must_be_or_contain_ours_when_configured() {
        let strict = with(|issuer| issuer.audiences = vec!["talk".to_owned(), "chat".to_owned()]);
        for (aud, right) in [
            (r#""chat""#, true),
            (r#"["chat"]"#, true),
            (r#"["mail","chat"]"#, true),
            (r#""chatter""#, false),
            (r#""mail chat""#, false),
            (r#"["mail"]"#, false),
            (r#"["chat",1]"#, false),
            (r#"[["chat"]]"#, false),
            (r#"{"chat":true}"#, false),
            ("[]", false),
            ("null", false),
        ] {
            let text = format!(r#"{{@,"exp":1800000060,"aud":{aud}}}"#);
            assert_eq!(claims(&strict, &text, NOW).is_ok(), right, "{aud}");
            assert!(claims(&jwt(), &text, NOW).is_ok(), "{aud}");
        }
        assert_eq!(claims(&strict, r#"{@,"exp":1800000060}"#, NOW), Err(INVALID));
    }

    #[test]
    fn a_bound_token_is_no_bearer_token() {
        for cnf in
            [r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#, r#"{"x5t#S256":"x"}"#, "{}", "null"]
        {
            let text = format!(r#"{{@,"exp":1800000060,"cnf":{cnf}}}"#);
            let verified = keys(&jwt()).verify(
                token(HEADER, text.replace('@', r#""sub":"alice""#)).as_bytes(),
                IssuerSet::ALL,
                NOW,
            );
            assert_eq!(verified.unwrap_err(), TokenFault::Bound.into(), "{cnf}");
        }
    }

    #[test]
    fn a_lifetime_is_bounded_where_it_is_and_needs_iat() {
        let hour = with(|issuer| issuer.lifetime_max = Some(Duration::from_secs(3600)));
        for (rest, right) in [
            (r#""exp":1800003600,"iat":1800000000"#, true),
            (r#""exp":1800003601,"iat":1800000000"#, false),
            (r#""exp":1800003600.5,"iat":1800000000"#, false),
            (r#""exp":1800000060,"iat":1799996460"#, true),
            (r#""exp":1800000060,"iat":1799996459"#, false),
            // The future gives it no more time.
            (r#""exp":1800003600,"iat":1800003599"#, true),
            (r#""exp":1800003601,"iat":1800003600"#, false),
            (r#""exp":1800000060"#, false),
            (r#""exp":1800000060,"iat":"1800000000""#, false),
            (r#""exp":1800000060,"iat":-1"#, false),
        ] {
            let text = format!("{{@,{rest}}}");
            assert_eq!(claims(&hour, &text, NOW).is_ok(), right, "{rest}");
            assert!(claims(&jwt(), &text, NOW).is_ok(), "{rest}");
        }
    }

    #[test]
    fn a_token_of_another_kind_is_refused_and_types_may_be_required() {
        let typed = |typ: &str| format!(r#"{{"alg":"HS256"{typ}}}"#);
        let verdict_on =
            |jwt: &Jwt, typ: &str| verdict(jwt, token(typed(typ), super::super::testing::CLAIMS), NOW);
        for typ in ["", r#","typ":"JWT""#, r#","typ":"at+jwt""#, r#","typ":"anything""#, r#","typ":"""#] {
            assert!(verdict_on(&jwt(), typ).is_ok(), "{typ}");
        }
        for typ in ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "dpop+jwt", "secevent+jwt"] {
            assert_eq!(verdict_on(&jwt(), &format!(r#","typ":"{typ}""#)), Err(INVALID), "{typ}");
        }
        let strict = with(|issuer| issuer.token_types = vec!["at+jwt".to_owned()]);
        for (typ, right) in [("at+jwt", true), ("Application/AT+JWT", true), ("JWT", false), ("", false)] {
            assert_eq!(verdict_on(&strict, &format!(r#","typ":"{typ}""#)).is_ok(), right, "{typ}");
        }
        assert_eq!(verdict_on(&strict, ""), Err(INVALID));
    }
}
