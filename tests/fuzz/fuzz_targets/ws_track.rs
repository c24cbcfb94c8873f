//! One direction of a WebSocket tunnel, from any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| realchat_gateway::ws::fuzz::track(data));
