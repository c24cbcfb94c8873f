//! The perimeter over TLS: the same tests as in the clear, whose connections go through a TLS client.

#[path = "cors.rs"]
mod cors;
#[path = "headers.rs"]
mod headers;
#[path = "long_waits.rs"]
mod long_waits;
#[path = "paths.rs"]
mod paths;
#[path = "rate.rs"]
mod rate;
#[path = "requests.rs"]
mod requests;
#[path = "responses.rs"]
mod responses;
#[path = "slow.rs"]
mod slow;
#[path = "streaming.rs"]
mod streaming;
#[path = "tokens.rs"]
mod tokens;
#[path = "websocket/ends.rs"]
mod websocket_ends;
#[path = "websocket/floods.rs"]
mod websocket_floods;
#[path = "websocket/frames.rs"]
mod websocket_frames;
#[path = "websocket/handshake.rs"]
mod websocket_handshake;
#[path = "websocket/peers.rs"]
mod websocket_peers;
