//! The five backends and the page: which answer a request gets.

use std::cell::RefCell;
use std::rc::Rc;

use http::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use super::auth::Auth;
use super::backend::Backend;
use super::conversation::Conversations;
use super::delivery::{self, Handshake};
use super::message::Messages;
use super::mint::TokenMint;
use super::page::Page;
use super::profile::Profile;
use super::request::Request;
use super::room::Room;

/// The state of all backends. One thread owns it.
pub(super) struct Services {
    auth: Auth,
    messages: Messages,
    profile: Profile,
    conversations: Conversations,
    /// Shared, because a participant leaves the room when dropped.
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

    /// The reply of a backend to a request.
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

/// What a connection does after a request.
pub(super) enum Reply {
    /// It sends an answer, and HTTP goes on.
    Answer(Answer),
    /// It becomes a WebSocket.
    Switch(Handshake),
}

/// The request as it arrived here. It shows what the gateway removed, kept and set.
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
