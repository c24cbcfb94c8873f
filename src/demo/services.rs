//! The five backends and the page behind one question: which answer does this request get?

use std::cell::RefCell;
use std::rc::Rc;

use http::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use super::auth::Auth;
use super::backends::TokenMint;
use super::conversation::Conversations;
use super::delivery::{self, Handshake};
use super::message::Messages;
use super::page::Page;
use super::profile::Profile;
use super::request::Request;
use super::room::Room;

/// Everything the backends remember. One thread owns it.
pub(super) struct Services {
    auth: Auth,
    messages: Messages,
    profile: Profile,
    conversations: Conversations,
    /// Its seats leave it from wherever they are dropped.
    room: Rc<RefCell<Room>>,
    page: Page,
}

impl Services {
    pub(super) fn new(mint: TokenMint, page: Page) -> Services {
        Services {
            auth: Auth::new(mint),
            messages: Messages::default(),
            profile: Profile::default(),
            conversations: Conversations::new(),
            room: Rc::default(),
            page,
        }
    }

    /// What `backend` says to `request`.
    pub(super) fn reply(&mut self, backend: Backend, request: &Request) -> Reply {
        if backend.echoes(request.path()) {
            return Reply::Answer(echo(backend, request));
        }
        let answer = match backend {
            Backend::Auth => self.auth.answer(request),
            Backend::Message => self.messages.answer(request),
            Backend::Delivery => match delivery::reply(request, &self.room) {
                Some(Ok(handshake)) => return Reply::Switch(handshake),
                Some(Err(refusal)) => Some(refusal),
                None => None,
            },
            Backend::Profile => self.profile.answer(request),
            Backend::Conversation => self.conversations.answer(request),
            Backend::Page => self.page.answer(request),
        };
        let not_found = || Answer::problem(StatusCode::NOT_FOUND, "no such path in this backend");
        Reply::Answer(answer.unwrap_or_else(not_found))
    }
}

/// What becomes of a connection after a request.
pub(super) enum Reply {
    /// HTTP goes on.
    Answer(Answer),
    /// It is a WebSocket now.
    Switch(Handshake),
}

/// Which of the five, or the page beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Auth,
    Message,
    Delivery,
    Profile,
    Conversation,
    Page,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Backend::Auth => "auth",
            Backend::Message => "message",
            Backend::Delivery => "delivery",
            Backend::Profile => "profile",
            Backend::Conversation => "conversation",
            Backend::Page => "page",
        }
    }

    /// Below it a backend echoes; the page is none.
    fn prefix(self) -> Option<&'static str> {
        Some(match self {
            Backend::Auth => "/api/v1/auth",
            Backend::Message => "/api/v1/messages",
            Backend::Delivery => "/ws",
            Backend::Profile => "/api/v1/users",
            Backend::Conversation => "/api/v1/conversations",
            Backend::Page => return None,
        })
    }

    fn echoes(self, path: &str) -> bool {
        let below = self.prefix().and_then(|prefix| path.strip_prefix(prefix));
        below.is_some_and(|below| below.starts_with('/') && below.ends_with("/echo"))
    }
}

/// Who asks: the gateway's word in `X-Internal-User-Id`, and nothing else. A backend trusts it because only the
/// gateway reaches the backend.
pub(super) fn identity(request: &Request) -> Result<&str, Answer> {
    let mut named = request.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-internal-user-id"));
    match (named.next(), named.next()) {
        (Some((_, user)), None) if !user.is_empty() => Ok(user),
        (None, _) => Err(Answer::problem(StatusCode::FORBIDDEN, "no identity: come through the gateway")),
        _ => {
            Err(Answer::problem(StatusCode::BAD_REQUEST, "X-Internal-User-Id must be there once, not empty"))
        }
    }
}

/// Names that need no escaping anywhere: in a path, a header or a log.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The request as it arrived here: what the gateway removed, kept and set can be seen in it.
fn echo(backend: Backend, request: &Request) -> Answer {
    #[derive(Serialize)]
    struct Echo<'a> {
        backend: &'static str,
        method: &'a str,
        path: &'a str,
        headers: &'a [(String, String)],
        body_bytes: usize,
    }
    let seen = Echo {
        backend: backend.name(),
        method: request.method().as_str(),
        path: &request.target,
        headers: &request.fields,
        body_bytes: request.body.len(),
    };
    Answer::json(StatusCode::OK, &seen)
}
