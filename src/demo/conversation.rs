//! The conversation backend: who talks with whom.

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::Answer;
use super::bounds::{CONVERSATIONS_MAX, MEMBERS_MAX, TITLE_BYTES_MAX, USER_BYTES_MAX};
use super::identity::identity;
use super::request::Request;

/// All conversations. Ids count from 1 and are never reused: an id is an index.
pub(super) struct Conversations {
    list: Vec<Conversation>,
}

impl Conversations {
    /// Starts with one conversation, so that there is something to see.
    pub(super) fn new() -> Conversations {
        let first = Conversation {
            id: "1".into(),
            title: "general".into(),
            members: vec!["alice".into(), "bob".into()],
        };
        Conversations { list: vec![first] }
    }

    /// `None`: no such path.
    pub(super) fn answer(&mut self, request: &Request) -> Option<Answer> {
        let below = request.path().strip_prefix("/api/v1/conversations")?;
        let id = match below {
            "" => None,
            _ => Some(below.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'))?),
        };
        let user = match identity(request) {
            Ok(user) => user,
            Err(refusal) => return Some(refusal),
        };
        Some(match (request.method(), id) {
            (&Method::GET | &Method::HEAD, None) => self.list(user),
            (&Method::GET | &Method::HEAD, Some(id)) => self.show(user, id),
            (&Method::POST, None) => self.create(user, &request.body),
            (_, None) => Answer::not_allowed("GET, HEAD, POST"),
            (_, Some(_)) => Answer::not_allowed("GET, HEAD"),
        })
    }

    fn list(&self, user: &str) -> Answer {
        let mine: Vec<&Conversation> = self.list.iter().filter(|one| one.has(user)).collect();
        Answer::json(StatusCode::OK, &json!({ "conversations": mine }))
    }

    fn show(&self, user: &str, id: &str) -> Answer {
        match self.list.iter().find(|one| one.id == id) {
            None => Answer::problem(StatusCode::NOT_FOUND, "no such conversation"),
            Some(one) if !one.has(user) => Answer::problem(StatusCode::FORBIDDEN, "not your conversation"),
            Some(one) => Answer::json(StatusCode::OK, one),
        }
    }

    fn create(&mut self, user: &str, body: &[u8]) -> Answer {
        let Ok(NewConversation { title, mut members }) = serde_json::from_slice(body) else {
            return Answer::problem(
                StatusCode::BAD_REQUEST,
                r#"the body must be {"title":"…","members":["…"]}"#,
            );
        };
        if !members.iter().any(|member| member == user) {
            members.insert(0, user.to_owned());
        }
        if title.len() > TITLE_BYTES_MAX || members.len() > MEMBERS_MAX {
            return Answer::problem(StatusCode::BAD_REQUEST, "at most 256 bytes of title and 64 members");
        }
        if members.iter().any(|member| member != user && member.len() > USER_BYTES_MAX) {
            return Answer::problem(StatusCode::BAD_REQUEST, "a member's name is at most 64 bytes");
        }
        if self.list.len() >= CONVERSATIONS_MAX {
            return Answer::problem(StatusCode::INSUFFICIENT_STORAGE, "the demo keeps no more conversations");
        }
        let created = Conversation { id: (self.list.len() + 1).to_string(), title, members };
        let answer = Answer::json(StatusCode::CREATED, &created);
        self.list.push(created);
        answer
    }
}

#[derive(Serialize)]
struct Conversation {
    id: String,
    title: String,
    members: Vec<String>,
}

impl Conversation {
    fn has(&self, user: &str) -> bool {
        self.members.iter().any(|member| member == user)
    }
}

#[derive(Deserialize)]
struct NewConversation {
    #[serde(default)]
    title: String,
    #[serde(default)]
    members: Vec<String>,
}
