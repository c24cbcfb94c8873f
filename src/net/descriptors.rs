//! Open files on their way to another process (unix(7), `SCM_RIGHTS`), with bytes that say what they are.
//!
//! The kernel gives the receiver descriptors of the same open files: what has arrived on a socket and was not read, its
//! options and its mode go along, and its connection does not end when the sender closes its own descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, socketpair,
};

use crate::limits::DESCRIPTORS_AT_ONCE_MAX;
use crate::net::{RecvError, SendError, StreamSocket, Timers};

/// One end of a pair that carries whole records, each with descriptors (unix(7), `SOCK_SEQPACKET`).
pub struct RecordSocket(StreamSocket);

/// What has come.
#[derive(Debug)]
pub struct Received {
    /// Bytes that were filled in. 0: the other end is closed, or sends nothing more.
    pub bytes: usize,
    /// The descriptors. They are closed when this process executes another program.
    pub descriptors: Vec<OwnedFd>,
    /// Nothing is missing: neither bytes for which there was no room, nor descriptors that this process may not have.
    pub is_whole: bool,
}

/// What became of a record that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// It is on its way.
    Sent,
    /// It has to wait for room.
    NoRoom,
    /// The kernel has no memory for it now, or too many descriptors are on their way.
    NotNow,
}

impl RecordSocket {
    /// Both ends of a new pair. Neither waits.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
    }

    /// Takes one end.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn new(end: OwnedFd) -> io::Result<RecordSocket> {
        StreamSocket::new(end).map(RecordSocket)
    }

    /// Waits for a record or the end, until the coarse clock shows `deadline_ms`.
    ///
    /// # Errors
    /// The poll fails, or nothing comes in time.
    pub async fn readable(&self, timers: &Timers, deadline_ms: u64) -> Result<(), RecvError> {
        match timers.until(deadline_ms, pin!(self.0.readable())).await {
            Ok(polled) => polled.map_err(RecvError::Closed),
            Err(_) => Err(RecvError::TimedOut),
        }
    }

    /// Waits until a record may find room, until the coarse clock shows `deadline_ms`.
    ///
    /// # Errors
    /// The poll fails, or there is no room in time.
    pub async fn writable(&self, timers: &Timers, deadline_ms: u64) -> Result<(), SendError> {
        match timers.until(deadline_ms, pin!(self.0.writable())).await {
            Ok(polled) => polled.map_err(SendError::Closed),
            Err(_) => Err(SendError::TimedOut),
        }
    }

    /// Sends a record of two pieces, as a whole or not at all.
    ///
    /// # Errors
    /// The other end is closed or takes nothing more.
    pub fn try_send(&self, pieces: [&[u8]; 2], descriptors: &[BorrowedFd<'_>]) -> io::Result<Sending> {
        send(&self.0, pieces, descriptors)
    }

    /// Takes the next record. `None`: there is none yet.
    ///
    /// # Errors
    /// The other end was closed with something unread. What is queued here can still be taken afterwards.
    pub fn try_receive(&self, into: &mut [u8]) -> io::Result<Option<Received>> {
        receive(&self.0, into)
    }

    /// From now on the other end can send nothing. What it has sent before can still be taken.
    pub fn shut(&self) {
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

/// Sends bytes with descriptors, and never waits. On a stream, the first of the bytes has all of the descriptors.
///
/// # Errors
/// The other end takes nothing more.
pub fn send(socket: impl AsFd, pieces: [&[u8]; 2], descriptors: &[BorrowedFd<'_>]) -> io::Result<Sending> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let pieces = pieces.map(IoSlice::new);
    loop {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        return match rustix::net::sendmsg(socket.as_fd(), &pieces, &mut control, flags) {
            Ok(_) => Ok(Sending::Sent),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(Sending::NoRoom),
            Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => Ok(Sending::NotNow),
            Err(error) => Err(error.into()),
        };
    }
}

/// Receives bytes with their descriptors, and never waits. `None`: nothing has come.
///
/// # Errors
/// The other end is gone.
pub fn receive(socket: impl AsFd, into: &mut [u8]) -> io::Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = loop {
        let mut pieces = [IoSliceMut::new(into)];
        match rustix::net::recvmsg(socket.as_fd(), &mut pieces, &mut control, flags) {
            Ok(message) => break message,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            descriptors.extend(some);
        }
    }
    let is_whole = !message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC);
    Ok(Some(Received { bytes: message.bytes, descriptors, is_whole }))
}

/// Room for the descriptors of one message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE_MAX));

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    fn ends() -> (OwnedFd, OwnedFd) {
        RecordSocket::pair().expect("a pair")
    }

    #[test]
    fn a_record_comes_as_a_whole_with_its_files() {
        let (near, far) = ends();
        let (reader, mut writer) = io::pipe().expect("a pipe");
        assert_eq!(send(&near, [b"one ", b"record"], &[reader.as_fd()]).expect("a send"), Sending::Sent);
        assert_eq!(send(&near, [b"another", b""], &[]).expect("a send"), Sending::Sent);
        drop(reader);
        let mut space = [0; 64];
        let first = receive(&far, &mut space).expect("a record").expect("a record");
        assert_eq!((first.bytes, first.is_whole, &space[..10]), (10, true, &b"one record"[..]));
        let [file] = first.descriptors.try_into().expect("one file");
        let flags = rustix::io::fcntl_getfd(&file).expect("its flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        io::Write::write_all(&mut writer, b"through").expect("a reader is left");
        drop(writer);
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).expect("a pipe");
        assert_eq!(text, "through");
        let second = receive(&far, &mut space).expect("a record").expect("a record");
        assert_eq!((second.bytes, second.descriptors.len()), (7, 0));
        assert!(receive(&far, &mut space).expect("an open pair").is_none());
        drop(near);
        assert_eq!(receive(&far, &mut space).expect("the end").expect("the end").bytes, 0);
    }

    #[test]
    fn a_record_that_is_longer_than_the_room_is_not_whole() {
        let (near, far) = ends();
        send(&near, [b"much", b""], &[]).expect("a send");
        let record = receive(&far, &mut [0; 2]).expect("a record").expect("a record");
        assert_eq!((record.bytes, record.is_whole), (2, false));
    }

    #[test]
    fn what_was_sent_before_the_end_was_shut_is_taken_and_nothing_follows_it() {
        let (near, far) = ends();
        send(&far, [b"taken", b""], &[]).expect("a send");
        rustix::net::shutdown(&near, Shutdown::Both).expect("a pair");
        assert!(send(&far, [b"late", b""], &[]).is_err(), "nobody could take it");
        let mut space = [0; 8];
        let record = receive(&near, &mut space).expect("a record").expect("a record");
        assert_eq!(&space[..record.bytes], b"taken");
        assert_eq!(receive(&near, &mut space).expect("the end").expect("the end").bytes, 0);
    }

    #[test]
    fn what_a_process_has_said_before_its_end_is_found_behind_the_error() {
        let (near, far) = ends();
        send(&near, [b"unread", b""], &[]).expect("a send");
        send(&far, [b"taken", b""], &[]).expect("a send");
        drop(far);
        let mut space = [0; 8];
        let found = (0..3).find_map(|_| receive(&near, &mut space).ok().flatten()).expect("the record");
        assert_eq!(&space[..found.bytes], b"taken");
    }
}
