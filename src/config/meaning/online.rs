//! What Redis is told of WebSockets: one user's sockets over all instances, and who is online.

use std::num::NonZeroU32;
use std::time::Duration;

use super::choice::Choice;

/// What Redis is told of WebSockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// Tunnels of one user over all instances. `None`: no bound. `WS_MAX_PER_USER_GLOBAL`, none.
    pub per_user_max: Option<NonZeroU32>,
    /// What happens over it. `WS_MAX_PER_USER_GLOBAL_ACTION`, refuse.
    pub over_max: OverMax,
    /// Where events go. `None`: nowhere. `WS_EVENTS`, none.
    pub events: Option<EventStream>,
    /// Events that the stream keeps, about. `WS_EVENTS_MAX`, 100,000.
    pub events_max: u64,
    /// How long a socket counts that is not renewed. `WS_LEASE`, 90 s.
    pub lease: Duration,
    /// What the keys of users begin with. `WS_PREFIX`, `rc`.
    pub prefix: String,
}

/// A stream in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStream(pub String);

impl Online {
    /// Redis is told nothing.
    pub fn off() -> Online {
        let (per_user_max, over_max, events) = (None, OverMax::Refuse, None);
        let (lease, prefix) = (Duration::from_secs(90), String::new());
        Online { per_user_max, over_max, events, events_max: 0, lease, prefix }
    }

    /// Whether Redis is told anything.
    pub fn is_on(&self) -> bool {
        self.per_user_max.is_some() || self.events.is_some()
    }
}

impl EventStream {
    /// The key of the sorted set of users who are online. It has the hash tag of the stream, and so its slot.
    pub fn online_key(&self) -> String {
        let tagged = self.0.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        let tag = tagged.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
        format!("{{{}}}:online", tag.unwrap_or(&self.0))
    }
}

/// What happens when a user opens one more socket than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverMax {
    /// The new one is refused.
    Refuse,
    /// The oldest one is closed.
    CloseOldest,
}

impl Choice for OverMax {
    const ALL: &'static [Self] = &[Self::Refuse, Self::CloseOldest];

    fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::CloseOldest => "close_oldest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_of_those_online_is_in_the_slot_of_the_stream() {
        for (stream, online) in [
            ("{rc}:events", "{rc}:online"),
            ("chat-events", "{chat-events}:online"),
            ("a{b}c{d}", "{b}:online"),
        ] {
            assert_eq!(EventStream(stream.to_owned()).online_key(), online);
        }
    }
}
