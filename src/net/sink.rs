//! Sends bytes to one peer: small pieces are gathered in a buffer, large ones are sent from where they are.

use std::io;
use std::pin::pin;

use crate::clock;
use crate::net::{Buffer, Pace, Timers, Transport};

/// The sending side of one connection during one message.
pub struct Sink<'s> {
    transport: &'s Transport,
    timers: &'s Timers,
    /// Gathered bytes that are not sent yet.
    out: Buffer,
    pace: Pace,
    /// The last wait ended at its deadline, not with a writable socket.
    is_overdue: bool,
}

/// Why bytes could not be sent.
#[derive(Debug)]
pub enum SendError {
    /// The peer is gone.
    Closed(io::Error),
    /// The peer does not read them.
    TimedOut,
}

impl<'s> Sink<'s> {
    /// A sink that sends the bytes in `out` first, usually a head.
    pub fn new(transport: &'s Transport, timers: &'s Timers, out: Buffer, pace: Pace) -> Sink<'s> {
        Sink { transport, timers, out, pace, is_overdue: false }
    }

    /// The number of bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.pace.total()
    }

    /// Gathers a small piece (a chunk size, a final chunk). It is sent with the next large piece or flush.
    pub async fn gather(&mut self, piece: &[u8]) -> Result<(), SendError> {
        if self.out.free() < piece.len() {
            self.flush().await?;
        }
        self.out.put(piece);
        Ok(())
    }

    /// Gathers a small piece, or sends a large one at once without copying it.
    pub async fn write(&mut self, mut piece: &[u8]) -> Result<(), SendError> {
        if piece.len() <= GATHERED_BYTES_MAX {
            return self.gather(piece).await;
        }
        while !piece.is_empty() {
            let sent = match self.out.is_empty() {
                true => self.transport.try_send(piece),
                false => self.transport.try_send_both(self.out.filled(), piece),
            };
            let Some(sent) = sent.map_err(SendError::Closed)? else {
                self.wait().await?;
                continue;
            };
            self.moved(sent);
            let gathered = sent.min(self.out.len());
            self.out.consume(gathered);
            piece = &piece[sent - gathered..];
        }
        Ok(())
    }

    /// Sends the gathered bytes.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        while !self.out.is_empty() {
            match self.transport.try_send(self.out.filled()).map_err(SendError::Closed)? {
                Some(sent) => {
                    self.moved(sent);
                    self.out.consume(sent);
                }
                None => self.wait().await?,
            }
        }
        self.out.release_if_empty();
        Ok(())
    }

    fn moved(&mut self, sent: usize) {
        self.pace.moved(sent);
        self.is_overdue = false;
    }

    /// Waits until a send may move bytes. A socket counts as writable when a third of the kernel's buffer is free, and a
    /// peer that reads slowly but steadily may need longer than the deadline for that. So a send is tried once more
    /// after the deadline, and only if it finds no room at all has the peer timed out.
    async fn wait(&mut self) -> Result<(), SendError> {
        if self.is_overdue {
            return Err(SendError::TimedOut);
        }
        let since = clock::now_ms();
        let waited = self.timers.until(self.pace.deadline(since), pin!(self.transport.writable())).await;
        self.pace.waited_since(since);
        match waited {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SendError::Closed(error)),
            Err(_) => {
                self.is_overdue = true;
                Ok(())
            }
        }
    }
}

/// The largest piece that is gathered, in bytes: copying it costs less than a second entry in a `sendmsg`.
const GATHERED_BYTES_MAX: usize = 4 * 1024;
