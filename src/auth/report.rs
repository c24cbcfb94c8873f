//! What `check` and `explain` print about keys and tokens.

use std::fmt::Write;

use super::error::{CAUSES, CredentialError};
use super::key_sets::{KeySetState, KeySets};
use super::keys::Keys;
use super::token;
use super::user::Verified;
use crate::config::{Choice, IssuerSet, Jwt};

/// The keys that are known without asking anybody, a line for each. Blocks: files are read.
pub fn describe_keys(jwt: &Jwt) -> String {
    let sets = KeySets::of_files(jwt).map_or_else(|_| KeySets::unavailable(jwt), |(sets, _)| sets);
    let keys = Keys::new(jwt, &sets);
    let mut text = String::from("\nKeys\n");
    for (index, issuer) in jwt.issuers.iter().enumerate() {
        for (_, kid, algorithms) in keys.each().filter(|(of, ..)| *of == index) {
            let kid = kid.map_or_else(|| "of any name".to_owned(), |kid| format!("{kid:?}"));
            let _ = writeln!(text, "  {}  {kid}  {algorithms}", issuer.name);
        }
        if *sets.get(index) == KeySetState::Unavailable {
            let _ = writeln!(text, "  {}  its key set is fetched by the running gateway", issuer.name);
        }
    }
    text
}

/// Explains what becomes of a token where these issuers count. Blocks: files are read. Nothing of the token is printed
/// but what its header says and, if its signature is right, its user.
pub fn explain_token(
    jwt: &Jwt,
    token: &[u8],
    issuers: IssuerSet,
    now_unix_s: u64,
) -> (String, Result<Verified, CredentialError>) {
    let sets = KeySets::of_files(jwt).map_or_else(|_| KeySets::unavailable(jwt), |(sets, _)| sets);
    let keys = Keys::new(jwt, &sets);
    let mut text = String::new();
    let header = token::split(token).and_then(|parts| token::header(&token::decode(parts.header)?));
    if let Ok(header) = &header {
        let algorithm = header.algorithm.map_or("one that is not supported", Choice::word);
        let kid = header.kid.as_ref().map_or_else(|| "none".to_owned(), |kid| format!("{kid:?}"));
        let typ = header.typ.as_ref().map_or_else(|| "none".to_owned(), |typ| format!("{typ:?}"));
        let _ = writeln!(text, "token           algorithm {algorithm}, key {kid}, type {typ}");
    }
    let verdict = keys.signed(token, issuers).and_then(|signed| {
        let issuer = &jwt.issuers[signed.key.issuer];
        let kid =
            signed.key.kid.as_ref().map_or_else(|| "one without a name".to_owned(), |kid| format!("{kid:?}"));
        let _ = writeln!(text, "                signed by the issuer {}, key {kid}", issuer.name);
        let required = issuer.issuer.as_deref().unwrap_or("anything");
        let audiences = match issuer.audiences.is_empty() {
            true => "anything".to_owned(),
            false => issuer.audiences.join(" or "),
        };
        let _ = writeln!(
            text,
            "                which has to say: iss {required}, aud {audiences}, user in {}",
            issuer.user_claim.text
        );
        keys.judge(&signed, now_unix_s)
    });
    let verdict = verdict.map(|accepted| accepted.verified);
    match &verdict {
        Ok(verified) => {
            let left = verified.expires_unix_s.saturating_sub(now_unix_s);
            let _ = writeln!(text, "                valid for {left} s: user {}", verified.user.as_str());
        }
        Err(error) => text.push_str(&explain_error(*error)),
    }
    (text, verdict)
}

/// Tells why a credential is not accepted.
pub fn explain_error(error: CredentialError) -> String {
    let status = if error == CredentialError::KeysUnavailable { 503 } else { 401 };
    let (code, cause, why) = (error.code(), error.cause(), REASONS[error.nth()]);
    format!("                {status} {code} ({cause}): {why}\n")
}

/// What each of [`CAUSES`] means, in its order.
const REASONS: [&str; CAUSES.len()] = [
    "there is no token",
    "its exp has passed",
    "no key has the name that it gives; the running gateway may have a newer key set",
    "the key set of an issuer to whom it may belong is not there; the running gateway may have it",
    "it, its session or its user was revoked",
    "what is known of revocations is too old",
    "there are two tokens",
    "it is longer than a token may be",
    "it is not three parts with dots between them, or its header is too long",
    "it is encrypted (five parts), and only signed tokens are taken",
    "a part is not base64url without padding",
    "its header is not one JSON object with a text alg, and kid and typ as texts",
    "its header has crit, b64, enc or zip, which change what the other parts mean",
    "no key is for its algorithm",
    "it names no key, and too many keys are for its algorithm",
    "no key made its signature",
    "it is another kind of token, as its typ says",
    "its claims are not one JSON object without repeated names",
    "the claim that names the user is not there, or is no text of visible ASCII and no whole number",
    "its exp is not there or no date",
    "its nbf is no date",
    "its iss is not the issuer whose key made the signature",
    "its aud has none of the audiences",
    "it is bound to a key or certificate of its client (cnf), which is not checked here",
    "its iat is not there or no date, and the lifetime of tokens is bounded",
    "from iat to exp it is longer than max_lifetime",
    "its nbf is in the future",
    "it was not looked at: its address has sent too many bad ones",
];

#[cfg(test)]
mod tests {
    use super::super::testing::{CLAIMS, HEADER, NOW, issuer, jwt, token, with};
    use super::super::tests::signers::Signer;
    use super::*;
    use crate::config::{Algorithm, Issuer, KeySetSource, WantedClaims};

    fn explained(jwt: &Jwt, token: &str) -> String {
        let (text, _) = explain_token(jwt, token.as_bytes(), IssuerSet::ALL, NOW);
        assert!(!text.contains(token), "{text}");
        text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_step_of_a_token_is_told() {
        let audience = with(|issuer| issuer.audiences = vec!["chat".to_owned(), "mail".to_owned()]);
        let told = explained(&audience, &token(HEADER, CLAIMS));
        let expected = "token           algorithm HS256, key none, type \"jwt\"\n\
                        signed by the issuer default, key one without a name\n\
                        which has to say: iss anything, aud chat or mail, user in sub\n\
                        401 token_invalid (audience): its aud has none of the audiences";
        assert_eq!(told, expected);
        assert!(explained(&jwt(), &token(HEADER, CLAIMS)).ends_with("valid for 60 s: user alice"));
        assert!(explained(&jwt(), "a.b.c.d.e").starts_with("401 token_invalid (encrypted): it is encrypted"));
        let none = token(r#"{"alg":"none","kid":"\u001b[31m"}"#, CLAIMS);
        let told = explained(&jwt(), &none);
        assert!(told.contains("one that is not supported, key \"\\u{1b}[31m\""), "{told}");
    }

    #[test]
    fn keys_are_listed_and_sets_that_are_not_there() {
        let set = Some(KeySetSource::File("/does/not/exist".into()));
        let far = Issuer { name: "far".to_owned(), secrets: Vec::new(), key_set: set, ..issuer() };
        let both = Jwt { issuers: vec![issuer(), far], claims: WantedClaims::default() };
        let listed =
            "\nKeys\n  default  of any name  HS256\n  far  its key set is fetched by the running gateway\n";
        assert_eq!(describe_keys(&both), listed);
        let foreign =
            Signer::of(Algorithm::Es256, "k").token(r#"{"alg":"ES256","kid":"k"}"#, CLAIMS, Algorithm::Es256);
        assert!(explained(&both, &foreign).contains("503 keys_unavailable"));
    }
}
