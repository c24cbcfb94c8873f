//! Connections to the admin listener. Their number is limited. Each is served until the client closes it, an error
//! occurs, a timeout expires or a newer connection takes its place.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::guests::{Guest, Guests};
use super::hosts;
use super::pages::Page;
use super::state::Admin;
use super::token;
use crate::clock;
use crate::downstream::clients::{Clients, GivesWay, Network};
use crate::downstream::h1::{Connection, HeadFailure, Received};
use crate::downstream::{AfterAnswer, ClientStream, Next, Outcome, ResponseBody, Settings};
use crate::http::{BodyLength, HeadPool, Method, Request};
use crate::http1::{HeadLimits, RequestHead};
use crate::limits::{ADMIN_ANSWER_MS, ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_MS, ADMIN_IDLE_MS};
use crate::message::Trailers;
use crate::net::listener::{Listener, Socket};
use crate::net::{NEVER, SendError, Transport};

/// Serves the admin listener until the runtime ends or the listener is handed over to a successor process.
///
/// # Errors
/// The listener cannot be registered with the runtime, or cannot be polled.
pub async fn serve(admin: Rc<Admin>, socket: Socket) -> std::io::Result<()> {
    let listener = Listener::new(socket)?;
    let guests = Rc::new(Guests::new(ADMIN_CONNECTIONS_MAX));
    let heads = Rc::<HeadPool>::default();
    while await_connection(&admin, &listener).await? {
        match listener.try_accept() {
            Ok(Some((transport, peer))) => {
                let guest = guests.enter(peer.ip());
                let (admin, guests, heads) = (admin.clone(), guests.clone(), heads.clone());
                monoio::spawn(async move {
                    let visit = Visit { guests: &guests, guest: &guest };
                    guest.until_dismissed(serve_connection(&admin, &heads, visit, transport, peer)).await;
                    guests.leave(&guest);
                });
            }
            Ok(None) => {}
            // Usually the process has run out of file descriptors, and an immediate retry would fail again.
            Err(_) => admin.io.timers.sleep_until(clock::now_ms() + BACKOFF_MS).await,
        }
    }
    Ok(())
}

/// Waits for a connection. Returns false if the listener has been handed over.
async fn await_connection(admin: &Admin, listener: &Listener) -> std::io::Result<bool> {
    let mut readable = pin!(listener.readable());
    let or_handed_over = poll_fn(|context| match readable.as_mut().poll(context) {
        _ if admin.is_handed_over.get() => Poll::Ready(Ok(false)),
        Poll::Ready(readable) => Poll::Ready(readable.map(|()| true)),
        Poll::Pending => Poll::Pending,
    });
    admin.io.timers.until(NEVER, or_handed_over).await.unwrap_or(Ok(false))
}

/// A connection among all of them.
#[derive(Clone, Copy)]
struct Visit<'g> {
    guests: &'g Guests,
    guest: &'g Guest,
}

/// Serves the requests of one connection.
async fn serve_connection(
    admin: &Admin,
    heads: &Rc<HeadPool>,
    visit: Visit<'_>,
    transport: Transport,
    peer: SocketAddr,
) {
    // The guests decide here which connection gives way.
    let presence = Rc::<Clients>::default().enter(Network::of(peer.ip()), GivesWay::Never);
    let mut connection = Connection::new(&admin.io, transport, peer, presence);
    while connection.first_bytes(&admin.io, &SETTINGS).await {
        let received = connection.head(&admin.io, &SETTINGS, heads).await;
        visit.guests.answers(visit.guest, true);
        let next = match received {
            Received::Request(heads, head) => {
                let page = match hosts::check(&heads.request, &(admin.config)().admin_hosts) {
                    Ok(()) if !token::admits(&heads.request, (admin.config)().admin_token.as_ref()) => {
                        Page::unauthorized()
                    }
                    Ok(()) => admin.page(&heads.request),
                    Err(stranger) => Page::stranger(stranger),
                };
                answer(admin, &mut connection, head, &heads.request, page).await
            }
            Received::Refused(heads, HeadFailure::Protocol(error)) => {
                let head = RequestHead::default();
                answer(admin, &mut connection, head, &heads.request, Page::refused(error)).await
            }
            Received::Refused(_, HeadFailure::TimedOut) | Received::Nothing => return,
        };
        match next {
            Next::KeepAlive => {}
            Next::Linger => return connection.linger(&admin.io).await,
            Next::Close => return,
        }
        visit.guests.answers(visit.guest, false);
    }
}

async fn answer(
    admin: &Admin,
    connection: &mut Connection,
    head: RequestHead,
    request: &Request,
    page: Page,
) -> Next {
    let mut client = ClientStream::h1(&admin.io, &SETTINGS, connection, head, 0);
    // The admin listener does not read request bodies, so the connection cannot be reused after one.
    let after = match request.body {
        BodyLength::None => AfterAnswer::Continue,
        BodyLength::Exact(_) | BodyLength::Unknown => AfterAnswer::Close,
    };
    let outcome: Outcome<()> = match send(&mut client, after, request, &page).await {
        Ok(()) => Outcome::Complete,
        Err(_) => Outcome::Aborted,
    };
    client.conclude(&outcome).await
}

async fn send(
    client: &mut ClientStream<'_>,
    after: AfterAnswer,
    request: &Request,
    page: &Page,
) -> Result<(), SendError> {
    let mut responder = client.answer(after, request.expects_continue);
    let mut head = responder.head(page.status, page.reason.as_bytes());
    head.field(b"Content-Type", page.content_type.as_bytes());
    head.field(b"Cache-Control", b"no-store");
    head.field(b"X-Content-Type-Options", b"nosniff");
    if let Some(policy) = page.policy {
        head.field(b"Content-Security-Policy", policy.as_bytes());
    }
    if page.status == 401 {
        head.field(b"WWW-Authenticate", b"Bearer");
    }
    if page.status == 405 {
        head.field(b"Allow", b"GET, HEAD");
    }
    let bytes = page.body.len() as u64;
    let length = if request.method == Method::Head { BodyLength::None } else { BodyLength::Exact(bytes) };
    let body = ResponseBody { length, announced: Some(bytes), trailers: Trailers::Drop };
    let mut sink = responder.respond(head, body);
    if length != BodyLength::None {
        sink.write(page.body.as_bytes()).await?;
    }
    sink.flush().await
}

const SETTINGS: Settings = Settings {
    head_limits: HeadLimits::DEFAULT,
    request_head_ms: ADMIN_HEAD_MS,
    keep_alive_ms: ADMIN_IDLE_MS,
    body_ms: ADMIN_ANSWER_MS,
    body_rate_min: 0,
    is_h2c: false,
};

/// Pause after a failed accept, in milliseconds.
const BACKOFF_MS: u64 = 100;
