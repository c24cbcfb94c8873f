//! Sends bytes to one peer: small pieces are gathered in a buffer, large ones are sent from where they are.

use std::pin::pin;

use crate::clock;
use crate::net::{Buffer, Flush, Pace, SendError, Timers, Transport};

/// The sending side of one connection during one message.
pub struct Sink<'s> {
    transport: &'s Transport,
    timers: &'s Timers,
    /// Gathered bytes that are not sent yet.
    out: Buffer,
    pace: Pace,
    sent: u64,
    /// Bytes that the pace has counted: those that the peer has acknowledged.
    paced: u64,
    /// The last wait ended at its deadline, not with a writable socket.
    is_overdue: bool,
}

impl<'s> Sink<'s> {
    /// A sink that sends the bytes in `out` first, usually a head.
    pub fn new(transport: &'s Transport, timers: &'s Timers, out: Buffer, pace: Pace) -> Sink<'s> {
        Sink { transport, timers, out, pace, sent: 0, paced: 0, is_overdue: false }
    }

    /// The number of bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Gathers a small piece (a chunk size, a final chunk). It is sent with the next large piece or flush.
    pub async fn gather(&mut self, piece: &[u8]) -> Result<(), SendError> {
        while !self.has_room(piece.len())? {
            self.wait().await?;
        }
        self.out.put(piece);
        Ok(())
    }

    /// Whether so many bytes can be gathered. What was gathered before is sent if it has to, as far as the peer takes
    /// it.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn has_room(&mut self, bytes: usize) -> Result<bool, SendError> {
        while self.out.free() < bytes {
            if !self.try_send_gathered()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gathers bytes that there is room for.
    pub fn put(&mut self, bytes: &[u8]) {
        self.out.put(bytes);
    }

    /// Gathers a small piece, or sends a large one at once without copying it, and never waits. Returns how many bytes
    /// of the piece were taken; if these are not all, the kernel takes no more now, and [`Sink::wait`] is next.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_write(&mut self, piece: &[u8]) -> Result<usize, SendError> {
        if piece.len() <= GATHERED_BYTES_MAX {
            if !self.has_room(piece.len())? {
                return Ok(0);
            }
            self.out.put(piece);
            return Ok(piece.len());
        }
        let mut taken = 0;
        while taken < piece.len() {
            let sent = match self.out.is_empty() {
                true => self.transport.try_send(&piece[taken..]),
                false => self.transport.try_send_both(self.out.filled(), &piece[taken..]),
            };
            let Some(sent) = sent.map_err(SendError::Closed)? else { break };
            self.moved(sent);
            let gathered = sent.min(self.out.len());
            self.out.consume(gathered);
            taken += sent - gathered;
        }
        Ok(taken)
    }

    /// Sends the gathered bytes.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        while !self.try_flush()? {
            self.wait().await?;
        }
        self.out.release_if_empty();
        Ok(())
    }

    /// Sends gathered bytes as far as the peer takes them, and never waits. True: all of them.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_flush(&mut self) -> Result<bool, SendError> {
        let is_empty = self.try_send_gathered()?;
        Ok(is_empty && self.transport.try_flush().map_err(SendError::Closed)? == Flush::Done)
    }

    fn try_send_gathered(&mut self) -> Result<bool, SendError> {
        while !self.out.is_empty() {
            let Some(sent) = self.transport.try_send(self.out.filled()).map_err(SendError::Closed)? else {
                return Ok(false);
            };
            self.moved(sent);
            self.out.consume(sent);
        }
        Ok(true)
    }

    fn moved(&mut self, sent: usize) {
        self.sent += sent as u64;
        self.is_overdue = false;
    }

    /// Waits until a send may move bytes. A socket counts as writable when a part of the kernel's buffer is free, and
    /// a peer that reads slowly but steadily may need longer than the deadline for that. So a send is tried once more
    /// after the deadline, and only if it finds no room at all has the peer timed out.
    ///
    /// # Errors
    /// The peer is gone, or does not take the bytes in time.
    pub async fn wait(&mut self) -> Result<(), SendError> {
        if self.is_overdue && !self.transport.take_moved() {
            return Err(SendError::TimedOut);
        }
        self.is_overdue = false;
        self.transport.take_moved();
        self.out.park();
        self.count_acknowledged();
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

    /// What lies in the kernel's buffer was not read by the peer, and does not count for its pace.
    fn count_acknowledged(&mut self) {
        let acknowledged = self.sent.saturating_sub(self.transport.unacknowledged());
        self.pace.moved(acknowledged.saturating_sub(self.paced) as usize);
        self.paced = self.paced.max(acknowledged);
    }
}

/// The largest piece that is gathered, in bytes: copying it costs less than a second entry in a `sendmsg`.
const GATHERED_BYTES_MAX: usize = 4 * 1024;
