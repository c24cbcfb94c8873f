//! What a WebSocket is called in Redis, in the same words for every instance.

use std::fmt;

/// The name of one socket, for its whole life: it stays the same when the tunnel goes to another core or process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    /// When its handshake was taken, in milliseconds since 1970. It comes first, so that the oldest is found by its
    /// name.
    pub opened_ms: u64,
    /// The process that took it: a random number, of as many bits as Lua holds exactly.
    pub instance: u64,
    /// The core that took it.
    pub core: u32,
    /// Its number on that core.
    pub number: u64,
}

impl SocketId {
    /// Of the numbers of a reply. `None`: they name no socket.
    pub fn from_numbers([opened_ms, instance, core, number]: [u64; 4]) -> Option<SocketId> {
        let core = u32::try_from(core).ok()?;
        (opened_ms > 0).then_some(SocketId { opened_ms, instance, core, number })
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SocketId { opened_ms, instance, core, number } = self;
        write!(f, "{opened_ms:013}:{instance:012x}:{core}:{number}")
    }
}

/// Bits of an instance's number.
pub const INSTANCE_BITS: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_its_time() {
        let id = SocketId { opened_ms: 1_764_412_345_678, instance: 0xab, core: 3, number: 17 };
        assert_eq!(id.to_string(), "1764412345678:0000000000ab:3:17");
        let older = SocketId { opened_ms: 999_999_999_999, ..id };
        assert!(older.to_string() < id.to_string() && older < id);
        assert_eq!(SocketId::from_numbers([1_764_412_345_678, 0xab, 3, 17]), Some(id));
        assert_eq!(SocketId::from_numbers([0; 4]), None);
        assert_eq!(SocketId::from_numbers([1, 1, u64::MAX, 1]), None);
    }
}
