//! Interim responses: our own `100 Continue`, and what upstreams say before their final word.

use crate::gateway::answer::failure::Failure;
use crate::gateway::core::Core;
use crate::gateway::core::heads::Request;
use crate::gateway::forward::headers;
use crate::gateway::forward::response_reader::Reading;
use crate::http1::{ResponseHead, Version};
use crate::net::{Buffer, Sink, Transport};

/// Asks a client that waits for it to send its body: the request is admitted and the upstream is there.
pub async fn send_continue(core: &Core, client: &Transport) -> Result<(), Failure> {
    let mut out = core.resources.io.buffers.buffer();
    out.put(b"HTTP/1.1 100 Continue\r\n\r\n");
    send(core, client, out).await
}

/// Passes an interim response on, or swallows it: clients understand 103 (RFC 8297); our upstreams' 100 is
/// nobody's business but ours, and the rest is obsolete.
pub async fn pass(
    core: &Core,
    request: &Request,
    response: &ResponseHead,
    reading: &mut Reading<'_>,
    length: usize,
) -> Result<(), Failure> {
    let mut out = core.resources.io.buffers.buffer();
    if response.status == 103 && request.head.version == Version::Http11 {
        headers::compose_interim(&mut out, response, &reading.buffer.filled()[..length]);
    }
    reading.buffer.consume(length);
    send(core, reading.client, out).await
}

async fn send(core: &Core, client: &Transport, out: Buffer) -> Result<(), Failure> {
    let mut sink = Sink::new(client, &core.resources.io.timers, out, core.snapshot.client_pace());
    sink.flush().await.map_err(|_| Failure::ClientGone)
}
