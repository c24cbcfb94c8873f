//! OpenID Connect Back-Channel Logout 1.0: an issuer posts a logout token, and the tokens of that session or user do
//! not count any more, on any instance.

use super::failure::Failure;
use super::reply::{self, Answer, AnswerBody};
use crate::auth::{CredentialError, Standing};
use crate::clock;
use crate::config::Config;
use crate::downstream::{AfterAnswer, Outcome};
use crate::gateway::core::Logouts;
use crate::gateway::exchange::Exchange;
use crate::http::Request;
use crate::limit::Denied;
use crate::limits::LOGOUT_BODY_BYTES_MAX;
use crate::message::Piece;

/// Whether a request is for this path.
pub(super) fn is_asked(config: &Config, request: &Request) -> bool {
    config.control.logout.as_ref().is_some_and(|logout| logout.path.as_bytes() == request.path())
}

/// Answers an issuer: 200 when the logout is on its way to all instances.
///
/// # Errors
/// The token is not valid, its body is none, or too much waits for Redis; the issuer may try again.
pub(super) async fn serve<U>(exchange: &mut Exchange<'_>, logouts: &Logouts) -> Result<Outcome<U>, Failure> {
    exchange.record.route = Some("gateway");
    let form = receive(exchange).await?;
    let logout =
        match token_of(&form).ok_or(None).and_then(|token| exchange.verify_logout(token).map_err(Some)) {
            Ok(logout) => logout,
            Err(why) => return Err(refuse(exchange, why).await),
        };
    if !logouts(logout) {
        return Err(Failure::Overloaded);
    }
    let answer = Answer { status: 200, content_type: b"", body: AnswerBody::Fixed(b"") };
    // "The RP's response SHOULD include the Cache-Control HTTP response header field with a no-store value" (§2.8).
    Ok(reply::send(exchange, answer, AfterAnswer::Continue, |head| head.field(b"Cache-Control", b"no-store"))
        .await)
}

/// The body.
async fn receive(exchange: &mut Exchange<'_>) -> Result<Vec<u8>, Failure> {
    let expects_continue = exchange.request.expects_continue;
    exchange.client.set_body_bytes_max(LOGOUT_BODY_BYTES_MAX);
    let (mut body, responder) = exchange.client.split();
    if expects_continue {
        responder.send_continue().await.map_err(Failure::of_client)?;
    }
    let mut form = Vec::new();
    loop {
        match body.next_piece().map_err(Failure::of_upload)? {
            Piece::Data(data) => form.extend_from_slice(data),
            Piece::Trailers(_) | Piece::End => {
                body.accept();
                return Ok(form);
            }
            Piece::Pending => {
                if body.receive().await.map_err(Failure::of_upload)? == Piece::End {
                    return Ok(form);
                }
                continue;
            }
        }
        body.accept();
    }
}

/// The value of `logout_token`, of which there is one. Its characters need no escape in a form.
fn token_of(form: &[u8]) -> Option<&[u8]> {
    let mut found = form.split(|byte| *byte == b'&').filter_map(|pair| pair.strip_prefix(b"logout_token="));
    let token = found.next()?;
    found.next().is_none().then_some(token)
}

/// A token that is refused is paid for as any bad credential.
async fn refuse(exchange: &mut Exchange<'_>, why: Option<CredentialError>) -> Failure {
    let (snapshot, stranger) = (&exchange.core.snapshot, exchange.stranger());
    if let Err(Denied::Limited(limited)) =
        snapshot.limiter.charge(&stranger, &snapshot.config.rate_limit).await
    {
        exchange.record.quota = Some(limited.quota);
        return Failure::Limit(Denied::Limited(limited));
    }
    match why {
        // It is fetched, and the issuer asks again.
        Some(CredentialError::UnknownKey(key))
            if snapshot.authenticator.look_for(key) != Standing::Nowhere =>
        {
            Failure::Credential(CredentialError::KeysUnavailable)
        }
        Some(error @ CredentialError::KeysUnavailable) => Failure::Credential(error),
        _ => Failure::LogoutToken,
    }
}

impl Exchange<'_> {
    fn verify_logout(&self, token: &[u8]) -> Result<crate::auth::Logout, CredentialError> {
        let snapshot = &self.core.snapshot;
        let stranger = self.stranger();
        let is_limited = || snapshot.limiter.is_known_empty(&stranger, &snapshot.config.rate_limit);
        let clients = snapshot.config.control.logout.as_ref().map_or(&[][..], |logout| &logout.clients);
        snapshot.authenticator.verify_logout(token, clients, clock::unix_s(), is_limited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_one_token() {
        for (form, token) in [
            (&b"logout_token=a.b.c"[..], Some(&b"a.b.c"[..])),
            (b"x=1&logout_token=a.b.c&y=2", Some(b"a.b.c")),
            (b"logout_token=a&logout_token=b", None),
            (b"xlogout_token=a", None),
            (b"", None),
        ] {
            assert_eq!(token_of(form), token, "{}", form.escape_ascii());
        }
    }
}
