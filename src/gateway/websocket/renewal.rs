//! A new token for a WebSocket that is open: `POST /_gateway/session/renew`, with the handle that the client chose when
//! it opened it.

use std::sync::Arc;

use super::handles::{Renewal, Renewals, Renewed};
use crate::auth::credentials::{bearer_token, handle_of};
use crate::auth::{self, CredentialError, Mark, Standing, Verified};
use crate::config::{Access, IssuerSet, RouteKind};
use crate::downstream::{AfterAnswer, Outcome};
use crate::gateway::answer::failure::Failure;
use crate::gateway::answer::reply::{self, Answer, AnswerBody};
use crate::gateway::exchange::Exchange;
use crate::http::push_decimal;
use crate::limit::{Client, Denied, LimitedRequest};

/// Where renewals are asked for.
pub const PATH: &[u8] = b"/_gateway/session/renew";

/// Answers a renewal: 200 with the new end, or 202 when it was sent to the other instances.
///
/// # Errors
/// The token does not count, the WebSocket is another user's, or there is no handle.
pub async fn serve<U>(exchange: &mut Exchange<'_>, renewals: &Renewals) -> Result<Outcome<U>, Failure> {
    exchange.record.route = Some("gateway");
    let verified = admit(exchange).await?;
    let handle = handle_of(exchange.request).ok_or(Failure::Handle)?;
    let renewal = Renewal { handle, holder: *verified.holder, routes: routes(exchange, &verified) };
    let until = match renewal.apply(&renewals.handles) {
        Renewed::Until(unix_s) => Some(unix_s),
        Renewed::NotTheirs => return Err(Failure::NotTheirs),
        Renewed::Elsewhere if (renewals.send)(renewal) => None,
        Renewed::Elsewhere => return Err(Failure::Overloaded),
    };
    let mut body = exchange.core.resources.io.buffers.buffer();
    let status = if until.is_some() { 200 } else { 202 };
    match until {
        Some(unix_s) => body.put_all([b"{\"expires\":", push_decimal(unix_s, &mut [0; 20]), b"}\n"]),
        None => body.put(b"{\"expires\":null}\n"),
    }
    let answer = Answer { status, content_type: b"application/json", body: AnswerBody::Made(body) };
    Ok(reply::send(exchange, answer, AfterAnswer::Continue, |_| {}).await)
}

/// Verifies the token in `Authorization`, whatever route has the path, and charges it as any request.
async fn admit(exchange: &mut Exchange<'_>) -> Result<Verified, Failure> {
    let (snapshot, address) = (&exchange.core.snapshot, exchange.record.client);
    let verified = bearer_token(exchange.request)
        .and_then(|credential| exchange.verify(&credential.token, IssuerSet::ALL))
        .map_err(|error| match error {
            // It is fetched, and the client asks again.
            CredentialError::UnknownKey(key) if snapshot.authenticator.look_for(key) != Standing::Nowhere => {
                CredentialError::KeysUnavailable
            }
            error => error,
        });
    let client = match &verified {
        Ok(verified) => Client::User(verified.user.as_str()),
        Err(_) => Client::Bad(address),
    };
    let request = LimitedRequest { client, address, route: None };
    let charged = snapshot.limiter.charge(&request, &snapshot.config.rate_limit).await;
    if let Err(Denied::Limited(limited)) = &charged {
        exchange.record.quota = Some(limited.quota);
    }
    let _nothing_is_forwarded = charged.map_err(Failure::Limit)?;
    let verified = verified.map_err(Failure::Credential)?;
    exchange.record.user = Some(verified.user.clone());
    Ok(verified)
}

/// The routes of WebSockets that take this token: a user who has lost what a route requires does not stay on it.
fn routes(exchange: &Exchange<'_>, verified: &Verified) -> Arc<[Mark]> {
    let Ok(credential) = bearer_token(exchange.request) else { return Arc::default() };
    let routes = exchange.core.snapshot.config.routes.iter();
    let of_sockets = routes.filter(|route| {
        matches!(route.kind, RouteKind::WebSocket | RouteKind::Both) && route.access != Access::Public
    });
    let taking = of_sockets.filter(|route| {
        exchange.verify(&credential.token, route.issuers).is_ok()
            && auth::authorize(Access::Protected, Some(route), Ok(verified.clone())).is_ok()
    });
    taking.map(|route| Mark::of_route(&route.name)).collect()
}
