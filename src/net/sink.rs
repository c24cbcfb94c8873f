//! Bytes on their way out to one peer: small pieces gather, large ones go straight from where they lie.

use std::io;
use std::pin::pin;

use crate::clock;
use crate::net::{Buffer, Pace, Timers, Transport};

/// The sending side of one connection during one message.
pub struct Sink<'s> {
    transport: &'s Transport,
    timers: &'s Timers,
    /// What was gathered and has not left yet.
    out: Buffer,
    pace: Pace,
    /// The last wait ended with its deadline and not with the socket.
    is_overdue: bool,
}

/// Why bytes did not leave.
#[derive(Debug)]
pub enum SendError {
    /// The peer is gone.
    Closed(io::Error),
    /// The peer does not take them.
    TimedOut,
}

impl<'s> Sink<'s> {
    /// `out` may hold a head already.
    pub fn new(transport: &'s Transport, timers: &'s Timers, out: Buffer, pace: Pace) -> Sink<'s> {
        Sink { transport, timers, out, pace, is_overdue: false }
    }

    /// Bytes that have left so far.
    pub fn sent(&self) -> u64 {
        self.pace.total()
    }

    /// Adds a small piece (a chunk size, a final chunk). It leaves with the next large piece or flush.
    pub async fn gather(&mut self, piece: &[u8]) -> Result<(), SendError> {
        if self.out.free() < piece.len() {
            self.flush().await?;
        }
        self.out.put(piece);
        Ok(())
    }

    /// Sends a piece: gathered if it is small, else at once and from where it lies.
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

    /// Sends what was gathered.
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

    /// Waits until a send may move bytes. A socket counts as writable when a third of the kernel's buffer is
    /// free; a peer that reads slowly and steadily may take longer for that than we wait. So the deadline is
    /// not the end: one more send must find no room at all.
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

/// A piece up to this size is copied, in bytes: copying it costs less than a second entry in a `sendmsg`.
const GATHERED_BYTES_MAX: usize = 4 * 1024;
