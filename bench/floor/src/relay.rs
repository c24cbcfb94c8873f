//! One client: request up, answer down, again and again.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use crate::buffers::Buffers;
use crate::message::missing_bytes;
use crate::socket::Socket;
use crate::upstream::Upstream;

/// To the end of the connection. Whatever ends it: nobody is told.
pub async fn relay(client: Socket, upstream: Rc<Upstream>, buffers: Rc<Buffers>) {
    let mut is_open = true;
    while is_open && client.readable().await.is_ok() {
        let mut buffer = buffers.take();
        is_open = exchange(&client, &upstream, &mut buffer).await.is_ok();
        buffers.give_back(buffer);
    }
}

async fn exchange(client: &Socket, upstream: &Upstream, buffer: &mut [u8]) -> io::Result<()> {
    let arrived = client.recv(buffer).await?;
    let missing = missing_bytes(&buffer[..arrived]).ok_or(ErrorKind::InvalidData)?;
    let origin = upstream.lend().await?;
    pass_on(client, &origin, buffer, arrived, missing).await?;
    origin.readable().await?;
    let arrived = origin.recv(buffer).await?;
    let missing = missing_bytes(&buffer[..arrived]).ok_or(ErrorKind::InvalidData)?;
    pass_on(&origin, client, buffer, arrived, missing).await?;
    upstream.give_back(origin);
    Ok(())
}

/// One message, of which the buffer holds the first bytes.
async fn pass_on(
    from: &Socket,
    to: &Socket,
    buffer: &mut [u8],
    mut arrived: usize,
    mut missing: usize,
) -> io::Result<()> {
    to.send_all(&buffer[..arrived]).await?;
    while missing > 0 {
        // A read that was not filled took all there was.
        if arrived < buffer.len() {
            from.readable().await?;
        }
        arrived = from.recv(buffer).await?;
        missing = missing.checked_sub(arrived).filter(|_| arrived > 0).ok_or(ErrorKind::UnexpectedEof)?;
        to.send_all(&buffer[..arrived]).await?;
    }
    Ok(())
}
