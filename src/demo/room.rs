//! The chat room: who is in it, what was said last, and who gets which message. No sockets, no clock.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tungstenite::Utf8Bytes;

use super::bounds::{HISTORY_MAX, SOCKETS_MAX, TEXT_BYTES_MAX};
use super::outbox::Outbox;

/// The users who are present, by the number of their WebSocket, and the last messages, oldest first.
#[derive(Default)]
pub(super) struct Room {
    participants: BTreeMap<u64, PresentUser>,
    joined: u64,
    history: VecDeque<Said>,
}

/// A user in the room with one WebSocket. Dropping it leaves the room.
pub(super) struct Participant {
    room: Rc<RefCell<Room>>,
    number: u64,
    /// Messages of the room to this socket.
    pub(super) outbox: Rc<Outbox>,
}

impl Participant {
    /// Joins the room. The new participant gets the last messages and the list of users. `None`: the room is full.
    pub(super) fn take(room: &Rc<RefCell<Room>>, user: &str) -> Option<Participant> {
        let (number, outbox) = room.borrow_mut().join(user)?;
        Some(Participant { room: room.clone(), number, outbox })
    }

    /// Handles a text from this socket's client, JSON or not.
    pub(super) fn hear(&self, spoken: &str, at_ms: u64) {
        self.room.borrow_mut().hear(self.number, spoken, at_ms);
    }

    /// Sends an error to this socket alone: the room does not understand its message.
    pub(super) fn complain(&self, detail: &'static str) {
        self.outbox.push(Event::Error { detail }.text());
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.room.borrow_mut().leave(self.number);
    }
}

impl Room {
    fn join(&mut self, user: &str) -> Option<(u64, Rc<Outbox>)> {
        if self.participants.len() >= SOCKETS_MAX {
            return None;
        }
        let outbox = Rc::new(Outbox::default());
        outbox.push(Event::History { messages: &self.history }.text());
        let is_new = !self.is_present(user);
        self.joined += 1;
        self.participants.insert(self.joined, PresentUser { user: user.to_owned(), outbox: outbox.clone() });
        match is_new {
            true => self.tell(&self.presence()),
            // The others know already that this user is present.
            false => outbox.push(self.presence()),
        }
        Some((self.joined, outbox))
    }

    fn leave(&mut self, participant: u64) {
        let gone = self.participants.remove(&participant);
        if gone.is_some_and(|present| !self.is_present(&present.user)) {
            self.tell(&self.presence());
        }
    }

    fn hear(&mut self, participant: u64, spoken: &str, at_ms: u64) {
        let Some(PresentUser { user, outbox }) = self.participants.get(&participant) else { return };
        let text = match text_of(spoken) {
            Ok(text) => text,
            Err(detail) => return outbox.push(Event::Error { detail }.text()),
        };
        let said = Said { from: user.clone(), text, at: at_ms };
        self.tell(&Event::Message(&said).text());
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(said);
    }

    fn is_present(&self, user: &str) -> bool {
        self.participants.values().any(|present| present.user == user)
    }

    /// The list of users, in order. A user with several sockets is in it once.
    fn presence(&self) -> Utf8Bytes {
        let users: BTreeSet<&str> = self.participants.values().map(|present| present.user.as_str()).collect();
        Event::Presence { users }.text()
    }

    fn tell(&self, text: &Utf8Bytes) {
        self.participants.values().for_each(|present| present.outbox.push(text.clone()));
    }
}

struct PresentUser {
    user: String,
    outbox: Rc<Outbox>,
}

#[derive(Serialize)]
struct Said {
    from: String,
    text: String,
    /// Milliseconds since 1970.
    at: u64,
}

/// A message of the room.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Event<'a> {
    History { messages: &'a VecDeque<Said> },
    Presence { users: BTreeSet<&'a str> },
    Message(&'a Said),
    Error { detail: &'static str },
}

impl Event<'_> {
    fn text(&self) -> Utf8Bytes {
        // Strings and numbers cannot fail.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// A message of a client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Spoken {
    Message { text: String },
}

/// The text, or what is wrong with the message.
fn text_of(spoken: &str) -> Result<String, &'static str> {
    let Ok(Spoken::Message { text }) = serde_json::from_str(spoken) else {
        return Err(MESSAGE_EXPECTED);
    };
    match text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        true => Err("a text is 1 to 2048 bytes long, and not blank"),
        false => Ok(text),
    }
}

/// Also the answer to a binary message.
pub(super) const MESSAGE_EXPECTED: &str = r#"a message must be {"type":"message","text":"…"}, sent as text"#;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn room() -> Rc<RefCell<Room>> {
        Rc::default()
    }

    fn heard(participant: &Participant) -> Vec<Value> {
        let texts = std::iter::from_fn(|| participant.outbox.take());
        texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
    }

    fn pass_over(participants: [&Participant; 2]) {
        participants.into_iter().for_each(|participant| drop(heard(participant)));
    }

    fn say(participant: &Participant, text: &str) {
        participant.hear(&json!({ "type": "message", "text": text }).to_string(), 7);
    }

    fn presence(users: &[&str]) -> Value {
        json!({ "type": "presence", "users": users })
    }

    #[test]
    fn who_joins_hears_the_past_and_then_who_is_here() {
        let room = room();
        let alice = Participant::take(&room, "alice").unwrap();
        assert_eq!(heard(&alice), [json!({ "type": "history", "messages": [] }), presence(&["alice"])]);
        say(&alice, "hello");
        let bob = Participant::take(&room, "bob").unwrap();
        let past = json!([{ "from": "alice", "text": "hello", "at": 7 }]);
        let expected = [json!({ "type": "history", "messages": past }), presence(&["alice", "bob"])];
        assert_eq!(heard(&bob), expected);
    }

    #[test]
    fn everybody_hears_a_message_its_sender_too() {
        let room = room();
        let (alice, bob) =
            (Participant::take(&room, "alice").unwrap(), Participant::take(&room, "bob").unwrap());
        pass_over([&alice, &bob]);
        say(&bob, "how do you do");
        let message = json!({ "type": "message", "from": "bob", "text": "how do you do", "at": 7 });
        assert_eq!((heard(&alice), heard(&bob)), (vec![message.clone()], vec![message]));
    }

    #[test]
    fn a_user_with_two_sockets_is_present_once_and_until_the_last_is_gone() {
        let room = room();
        let bob = Participant::take(&room, "bob").unwrap();
        let first = Participant::take(&room, "alice").unwrap();
        heard(&bob);
        let second = Participant::take(&room, "alice").unwrap();
        assert_eq!(heard(&second)[1], presence(&["alice", "bob"]));
        drop(first);
        assert_eq!(heard(&bob), [Value::Null; 0]);
        drop(second);
        assert_eq!(heard(&bob), [presence(&["bob"])]);
    }

    #[test]
    fn what_is_no_message_is_an_error_to_its_sender_alone() {
        let room = room();
        let (alice, bob) =
            (Participant::take(&room, "alice").unwrap(), Participant::take(&room, "bob").unwrap());
        pass_over([&alice, &bob]);
        let long = json!({ "type": "message", "text": "x".repeat(TEXT_BYTES_MAX + 1) }).to_string();
        let wrong = ["", "hello", "[]", "{}", r#"{"type":"shout","text":"x"}"#, r#"{"type":"message"}"#];
        for spoken in wrong.into_iter().chain([r#"{"type":"message","text":" \n"}"#, &long]) {
            alice.hear(spoken, 7);
            let heard = heard(&alice);
            assert_eq!((heard.len(), &heard[0]["type"]), (1, &json!("error")), "{spoken}");
        }
        assert_eq!(heard(&bob), [Value::Null; 0]);
        say(&alice, &"x".repeat(TEXT_BYTES_MAX));
        assert_eq!(heard(&bob).len(), 1);
    }

    #[test]
    fn the_past_is_as_long_as_named_at_most() {
        let room = room();
        let alice = Participant::take(&room, "alice").unwrap();
        for n in 0..=HISTORY_MAX {
            say(&alice, &n.to_string());
        }
        let bob = Participant::take(&room, "bob").unwrap();
        let past = heard(&bob)[0]["messages"].as_array().unwrap().clone();
        assert_eq!((past.len(), &past[0]["text"]), (HISTORY_MAX, &json!("1")));
    }

    #[test]
    fn a_full_room_has_a_seat_again_when_one_leaves() {
        let room = room();
        let mut participants: Vec<Participant> =
            (0..SOCKETS_MAX).map(|_| Participant::take(&room, "alice").unwrap()).collect();
        assert!(Participant::take(&room, "bob").is_none());
        participants.pop();
        assert!(Participant::take(&room, "bob").is_some());
    }

    #[test]
    fn the_longest_past_and_the_longest_list_fit_an_outbox() {
        let room = room();
        let name = |n: usize| format!("{n:\u{1}>64}");
        let participants: Vec<Participant> =
            (1..SOCKETS_MAX).map(|n| Participant::take(&room, &name(n)).unwrap()).collect();
        (0..HISTORY_MAX).for_each(|_| say(&participants[0], &"\u{1}".repeat(TEXT_BYTES_MAX)));
        let last = Participant::take(&room, &name(SOCKETS_MAX)).unwrap();
        assert_eq!(heard(&last).len(), 2);
    }
}
