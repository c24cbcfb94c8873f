//! WebSockets: the handshake, the upgrade of both connections, and the tunnel that follows.

pub mod handshake;
pub mod slots;
pub mod tunnel;
pub mod upgrade;
