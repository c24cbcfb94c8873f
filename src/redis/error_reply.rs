//! Error replies of Redis: what each says about the call and about the server.

use redis::Value;

use super::breaker::OutageCause;
use super::reply::UNEXPECTED_FORM;

/// What an error reply says.
pub(super) enum ErrorReply {
    /// The script is not loaded.
    NoScript(String),
    /// This call alone fails: a key of another type, or a mistake in the script.
    Call(String),
    /// Another node of the cluster serves the keys of this call: MOVED, ASK, TRYAGAIN.
    Elsewhere(String),
    /// The whole server cannot serve calls: READONLY, OOM, LOADING, NOAUTH, NOPERM, MISCONF, CLUSTERDOWN and so on.
    Server(String),
    /// The reply is neither an error nor an expected answer.
    Unexpected,
}

impl ErrorReply {
    /// Reads one whole reply.
    pub(super) fn parse(bytes: &[u8]) -> ErrorReply {
        let Ok(Value::ServerError(error)) = redis::parse_redis_value(bytes) else {
            return ErrorReply::Unexpected;
        };
        let text: String = format!("{} {}", error.code(), error.details().unwrap_or_default());
        let text: String = text.trim_end().escape_debug().take(ERROR_CHARS_MAX).collect();
        match error.code() {
            "NOSCRIPT" => ErrorReply::NoScript(text),
            "MOVED" | "ASK" | "TRYAGAIN" => ErrorReply::Elsewhere(text),
            "ERR" | "WRONGTYPE" => ErrorReply::Call(text),
            _ => ErrorReply::Server(text),
        }
    }

    /// What it says of a call of a script that not every request needs, if it is about that call alone: its keys may be
    /// missing in the access list.
    pub(super) fn about_the_call(&self) -> Option<&str> {
        match self {
            ErrorReply::NoScript(text) | ErrorReply::Call(text) => Some(text),
            ErrorReply::Server(text) => text.starts_with("NOPERM").then_some(text),
            ErrorReply::Elsewhere(_) | ErrorReply::Unexpected => None,
        }
    }

    /// The reply as the reason to give up the connection.
    pub(super) fn into_cause(self) -> OutageCause {
        match self {
            ErrorReply::NoScript(text)
            | ErrorReply::Call(text)
            | ErrorReply::Elsewhere(text)
            | ErrorReply::Server(text) => OutageCause::Refused(text),
            ErrorReply::Unexpected => OutageCause::Garbage(UNEXPECTED_FORM),
        }
    }
}

/// Characters of an error of Redis that go into the log.
const ERROR_CHARS_MAX: usize = 200;
