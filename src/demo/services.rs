//! The five backends behind one question: which answer does this request get?

use http::{Method, StatusCode};
use serde::Serialize;

use super::answer::Answer;
use super::auth::Auth;
use super::backends::TokenMint;
use super::conversation::Conversations;
use super::message::Messages;
use super::profile::Profile;
use super::request::Request;

/// Everything the backends remember. One thread owns it.
pub(super) struct Services {
    auth: Auth,
    messages: Messages,
    profile: Profile,
    conversations: Conversations,
}

impl Services {
    pub(super) fn new(mint: TokenMint) -> Services {
        Services {
            auth: Auth::new(mint),
            messages: Messages::default(),
            profile: Profile::default(),
            conversations: Conversations::new(),
        }
    }

    /// What `backend` says to `request`.
    pub(super) fn answer(&mut self, backend: Backend, request: &Request) -> Answer {
        if backend.echoes(request.path()) {
            return echo(backend, request);
        }
        let answer = match backend {
            Backend::Auth => self.auth.answer(request),
            Backend::Message => self.messages.answer(request),
            Backend::Delivery => delivery(request),
            Backend::Profile => self.profile.answer(request),
            Backend::Conversation => self.conversations.answer(request),
        };
        answer.unwrap_or_else(|| Answer::problem(StatusCode::NOT_FOUND, "no such path in this backend"))
    }
}

/// Which of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Auth,
    Message,
    Delivery,
    Profile,
    Conversation,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Backend::Auth => "auth",
            Backend::Message => "message",
            Backend::Delivery => "delivery",
            Backend::Profile => "profile",
            Backend::Conversation => "conversation",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Backend::Auth => "/api/v1/auth",
            Backend::Message => "/api/v1/messages",
            Backend::Delivery => "/ws",
            Backend::Profile => "/api/v1/users",
            Backend::Conversation => "/api/v1/conversations",
        }
    }

    fn echoes(self, path: &str) -> bool {
        path.strip_prefix(self.prefix())
            .is_some_and(|below| below.starts_with('/') && below.ends_with("/echo"))
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

fn delivery(request: &Request) -> Option<Answer> {
    if request.path() != "/ws" {
        return None;
    }
    if *request.method() != Method::GET {
        return Some(Answer::not_allowed("GET"));
    }
    let upgrade = request
        .fields
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("upgrade") && value.eq_ignore_ascii_case("websocket"));
    if upgrade {
        return Some(Answer::problem(StatusCode::NOT_IMPLEMENTED, "the demo does not speak WebSocket yet"));
    }
    Some(
        Answer::problem(StatusCode::UPGRADE_REQUIRED, "this path is for WebSocket")
            .with_field("upgrade", "websocket"),
    )
}
