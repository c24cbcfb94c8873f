//! What is told of a core's WebSockets.

use std::io::Write;
use std::rc::Rc;

use super::socket_id::SocketId;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What has happened.
    pub kind: EventKind,
    /// The verified user; `None`: the route needs none.
    pub user: Option<Rc<str>>,
    /// The socket that it is about.
    pub socket: Option<SocketId>,
    /// The route of the socket.
    pub route: Option<Rc<str>>,
    /// Why.
    pub reason: Reason,
    /// When, in µs since 1970: of this machine's clock, or of Redis' for who is online.
    pub at_us: u64,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A WebSocket has opened.
    Open,
    /// It has closed.
    Close,
    /// The user has a first socket.
    Online,
    /// The user still has one. It is not written into the stream.
    Seen,
    /// The user has no socket any more.
    Offline,
    /// Events are missing here.
    Gap,
}

/// Why something has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is said.
    None,
    /// In a word.
    Word(&'static str),
    /// So many events are missing.
    Missing(u64),
}

/// Values of several events, as arguments of the script.
#[derive(Debug, Default)]
pub struct Values {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Values {
    /// The values of an event of this instance's and this core's.
    pub fn push(&mut self, event: &Event, (instance, core): (u64, u32)) {
        let bytes = |text: &Option<Rc<str>>| text.clone().unwrap_or_else(|| "".into());
        self.value(|to| to.write_all(event.kind.word().as_bytes()));
        self.value(|to| to.write_all(bytes(&event.user).as_bytes()));
        self.value(|to| event.socket.map_or(Ok(()), |socket| write!(to, "{socket}")));
        self.value(|to| write!(to, "{instance:012x}"));
        self.value(|to| write!(to, "{core}"));
        self.value(|to| to.write_all(bytes(&event.route).as_bytes()));
        self.value(|to| match event.reason {
            Reason::None => Ok(()),
            Reason::Word(word) => to.write_all(word.as_bytes()),
            Reason::Missing(count) => write!(to, "{count}"),
        });
        self.value(|to| write!(to, "{}", event.at_us));
    }

    /// All values, in their order.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn value(&mut self, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        // A vector takes everything.
        let _ = write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }
}

impl EventKind {
    fn word(self) -> &'static str {
        match self {
            EventKind::Open => "open",
            EventKind::Close => "close",
            EventKind::Online => "online",
            EventKind::Seen => "seen",
            EventKind::Offline => "offline",
            EventKind::Gap => "gap",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_eight_values_in_the_order_of_the_script() {
        let socket = SocketId { opened_ms: 1_764_412_345_678, instance: 1, core: 2, number: 3 };
        let closed = Event {
            kind: EventKind::Close,
            user: Some("ann".into()),
            socket: Some(socket),
            route: Some("delivery-ws".into()),
            reason: Reason::Word("client_closed"),
            at_us: 9,
        };
        let gap = Event { kind: EventKind::Gap, user: None, socket: None, route: None, ..closed.clone() };
        let gap = Event { reason: Reason::Missing(7), ..gap };
        let mut values = Values::default();
        values.push(&closed, (0xab, 2));
        values.push(&gap, (0xab, 2));
        let values: Vec<_> = values.each().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        let id = "1764412345678:000000000001:2:3";
        assert_eq!(
            values[..8],
            ["close", "ann", id, "0000000000ab", "2", "delivery-ws", "client_closed", "9"]
        );
        assert_eq!(values[8..], ["gap", "", "", "0000000000ab", "2", "", "7", "9"]);
        assert!(
            include_str!("events.lua")
                .contains("{'event', 'user', 'conn', 'instance', 'core', 'route', 'reason', 'at'}")
        );
    }
}
