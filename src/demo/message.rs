//! The message backend: what was said in each conversation.
//!
//! It checks neither that a conversation exists nor who may read it: each backend keeps its own state, as services in
//! separate processes would.

use std::collections::VecDeque;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::Answer;
use super::bounds::{MESSAGE_BYTES_MAX, MESSAGES_LISTED_MAX, MESSAGES_MAX, USER_BYTES_MAX};
use super::identity::{identity, is_plain_name};
use super::request::Request;

/// The message backend, oldest message first.
#[derive(Default)]
pub(super) struct Messages {
    kept: VecDeque<Message>,
    sent: u64,
}

impl Messages {
    /// `None`: no such path.
    pub(super) fn answer(&mut self, request: &Request) -> Option<Answer> {
        if request.path() != "/api/v1/messages" {
            return None;
        }
        let user = match identity(request) {
            Ok(user) => user,
            Err(refusal) => return Some(refusal),
        };
        let Some(conversation) =
            request.query("conversation").filter(|name| is_plain_name(name) && name.len() <= USER_BYTES_MAX)
        else {
            return Some(Answer::problem(
                StatusCode::BAD_REQUEST,
                "?conversation=ID is missing or malformed",
            ));
        };
        Some(match *request.method() {
            Method::GET | Method::HEAD => self.list(conversation),
            Method::POST => self.send(user, conversation, &request.body),
            _ => Answer::not_allowed("GET, HEAD, POST"),
        })
    }

    fn list(&self, conversation: &str) -> Answer {
        let newest = self.kept.iter().rev().filter(|one| one.conversation == conversation);
        let mut messages: Vec<&Message> = newest.take(MESSAGES_LISTED_MAX).collect();
        messages.reverse();
        Answer::json(StatusCode::OK, &json!({ "conversation": conversation, "messages": messages }))
    }

    fn send(&mut self, user: &str, conversation: &str, body: &[u8]) -> Answer {
        let Ok(NewMessage { text }) = serde_json::from_slice(body) else {
            return Answer::problem(StatusCode::BAD_REQUEST, r#"the body must be {"text":"…"}"#);
        };
        if text.len() > MESSAGE_BYTES_MAX {
            return Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "a message is at most 4096 bytes");
        }
        if self.kept.len() >= MESSAGES_MAX {
            self.kept.pop_front();
        }
        self.sent += 1;
        let message =
            Message { id: self.sent, conversation: conversation.to_owned(), from: user.to_owned(), text };
        let answer = Answer::json(StatusCode::CREATED, &message);
        self.kept.push_back(message);
        answer
    }
}

#[derive(Serialize)]
struct Message {
    id: u64,
    conversation: String,
    from: String,
    text: String,
}

#[derive(Deserialize)]
struct NewMessage {
    text: String,
}
