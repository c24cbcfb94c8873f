//! The answers of routes without an upstream: redirects, and what is always the same.

use super::reply::{self, Answer, AnswerBody};
use crate::auth::credentials::is_token_parameter;
use crate::config::{Piece, Redirect, Reply, Respond};
use crate::downstream::{AfterAnswer, Outcome};
use crate::gateway::admission::Admission;
use crate::gateway::exchange::Exchange;
use crate::gateway::forward::{credentials, edits};
use crate::http::FieldKind;
use crate::net::Buffer;

/// Answers an admitted request as its route says.
pub async fn answer<'c, U>(
    exchange: &mut Exchange<'c>,
    admission: &Admission<'c>,
    reply: &'c Reply,
) -> Outcome<U> {
    match reply {
        Reply::Redirect(redirect) => redirected(exchange, admission, redirect).await,
        Reply::Respond(respond) => responded(exchange, admission, respond).await,
    }
}

async fn redirected<'c, U>(
    exchange: &mut Exchange<'c>,
    admission: &Admission<'c>,
    redirect: &Redirect,
) -> Outcome<U> {
    let mut location = exchange.core.resources.io.buffers.buffer();
    put_location(&mut location, exchange, admission, redirect);
    let answer = Answer { status: redirect.status, content_type: b"", body: AnswerBody::Fixed(b"") };
    reply::send(exchange, answer, AfterAnswer::Continue, |head| {
        head.field(b"Location", location.filled());
        edits::compose(head, &admission.route().response_edits);
    })
    .await
}

/// Writes the target. The path is as canonical as the one that would go upstream, and tokens in the query stay here.
fn put_location(out: &mut Buffer, exchange: &Exchange<'_>, admission: &Admission<'_>, redirect: &Redirect) {
    let (request, route) = (exchange.request, admission.route());
    let names = &route.token_sources.queries;
    for piece in &redirect.to {
        match piece {
            Piece::Text(text) => out.put(text.as_bytes()),
            Piece::Path => out.put_all(route.prefixes.apply(request.path())),
            Piece::Query if credentials::is_in_query(request, names) => {
                credentials::put_query(out, request.query(), |piece| is_token_parameter(piece, names));
            }
            Piece::Query => out.put(request.query()),
        }
    }
}

async fn responded<'c, U>(
    exchange: &mut Exchange<'c>,
    admission: &Admission<'c>,
    respond: &'c Respond,
) -> Outcome<U> {
    let Respond { status, content_type, body, .. } = respond;
    let answer =
        Answer { status: *status, content_type: content_type.as_bytes(), body: AnswerBody::Fixed(body) };
    let origin = exchange.request.only(FieldKind::Origin);
    let cors = &exchange.core.snapshot.cors;
    reply::send(exchange, answer, AfterAnswer::Continue, |head| {
        // The common part leaves them out, for preflights, which have their own.
        if *status == 204 {
            cors.response_fields(origin, &mut |name, value| head.field(name.as_bytes(), value));
        }
        edits::compose(head, &admission.route().response_edits);
    })
    .await
}
