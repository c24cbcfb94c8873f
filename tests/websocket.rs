//! WebSockets through the gateway: handshakes, frames, times, ends.

mod drain;
mod ends;
mod floods;
mod frames;
mod handshake;
mod pace;
mod peers;
mod times;
