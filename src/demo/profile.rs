//! The profile backend: one JSON document per user.

use std::collections::HashMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::bounds::{PROFILE_BYTES_MAX, PROFILES_MAX};
use super::identity::identity;
use super::request::Request;

/// The profile backend. Documents are kept as text: a parsed one takes many times its size.
#[derive(Default)]
pub(super) struct Profile {
    documents: HashMap<String, String>,
}

impl Profile {
    /// `None`: no such path.
    pub(super) fn answer(&mut self, request: &Request) -> Option<Answer> {
        if request.path() != "/api/v1/users/me" {
            return None;
        }
        let user = match identity(request) {
            Ok(user) => user,
            Err(refusal) => return Some(refusal),
        };
        Some(match *request.method() {
            Method::GET | Method::HEAD => self.show(user),
            Method::PUT => self.store(user, &request.body),
            _ => Answer::not_allowed("GET, HEAD, PUT"),
        })
    }

    fn show(&self, user: &str) -> Answer {
        let state: Option<Value> = self.documents.get(user).and_then(|text| serde_json::from_str(text).ok());
        Answer::json(StatusCode::OK, &json!({ "user": user, "state": state }))
    }

    fn store(&mut self, user: &str, body: &[u8]) -> Answer {
        if body.len() > PROFILE_BYTES_MAX {
            return Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "a profile is at most 16 KiB");
        }
        let Ok(document) = serde_json::from_slice::<Value>(body) else {
            return Answer::problem(StatusCode::BAD_REQUEST, "the body must be JSON");
        };
        if self.documents.len() >= PROFILES_MAX && !self.documents.contains_key(user) {
            return Answer::problem(StatusCode::INSUFFICIENT_STORAGE, "the demo keeps no more profiles");
        }
        self.documents.insert(user.to_owned(), document.to_string());
        self.show(user)
    }
}
