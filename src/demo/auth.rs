//! The auth backend: users in memory, and tokens for them.
//!
//! Passwords are kept as plain text in memory and compared byte by byte, because this is a demo. A real service keeps a
//! slow, salted hash.

use std::collections::HashMap;
use std::time::SystemTime;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::Answer;
use super::bounds::{PASSWORD_BYTES_MAX, USER_BYTES_MAX, USERS_MAX};
use super::identity::is_plain_name;
use super::mint::TokenMint;
use super::request::Request;

/// The auth backend.
pub(super) struct Auth {
    mint: TokenMint,
    passwords: HashMap<String, String>,
}

impl Auth {
    /// Starts with two users, so that a login works before any registration.
    pub(super) fn new(mint: TokenMint) -> Auth {
        let known = [("alice", "wonderland"), ("bob", "builder")];
        Auth { mint, passwords: known.map(|(user, password)| (user.into(), password.into())).into() }
    }

    /// `None`: no such path.
    pub(super) fn answer(&mut self, request: &Request) -> Option<Answer> {
        match (request.method(), request.path()) {
            (&Method::POST, "/api/v1/auth/register") => Some(self.register(request)),
            (&Method::POST, "/api/v1/auth/login") => Some(self.login(request)),
            (_, "/api/v1/auth/register" | "/api/v1/auth/login") => Some(Answer::not_allowed("POST")),
            _ => None,
        }
    }

    fn register(&mut self, request: &Request) -> Answer {
        let Ok(Credentials { user, password }) = serde_json::from_slice(&request.body) else {
            return Answer::problem(StatusCode::BAD_REQUEST, CREDENTIALS_EXPECTED);
        };
        if !is_plain_name(&user) || user.len() > USER_BYTES_MAX {
            return Answer::problem(
                StatusCode::BAD_REQUEST,
                "a user name is up to 64 letters, digits, dots, dashes and underscores",
            );
        }
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Answer::problem(StatusCode::BAD_REQUEST, "a password is 1 to 256 bytes long");
        }
        if self.passwords.contains_key(&user) {
            return Answer::problem(StatusCode::CONFLICT, "this user exists");
        }
        if self.passwords.len() >= USERS_MAX {
            return Answer::problem(StatusCode::INSUFFICIENT_STORAGE, "the demo keeps no more users");
        }
        let answer = Answer::json(StatusCode::CREATED, &json!({ "user": user }));
        self.passwords.insert(user, password);
        answer
    }

    fn login(&self, request: &Request) -> Answer {
        let Ok(Credentials { user, password }) = serde_json::from_slice(&request.body) else {
            return Answer::problem(StatusCode::BAD_REQUEST, CREDENTIALS_EXPECTED);
        };
        if self.passwords.get(&user) != Some(&password) {
            return Answer::problem(StatusCode::UNAUTHORIZED, "unknown user or wrong password");
        }
        match self.mint.token(&user, SystemTime::now()) {
            Ok(token) => {
                Answer::json(StatusCode::OK, &LoggedIn { token, expires_in: self.mint.ttl.as_secs() })
            }
            Err(_) => Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "the token could not be signed"),
        }
    }
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

/// A struct for its order: the token first, where a reader looks.
#[derive(Serialize)]
struct LoggedIn {
    token: String,
    expires_in: u64,
}

const CREDENTIALS_EXPECTED: &str = r#"the body must be {"user":"…","password":"…"}"#;
