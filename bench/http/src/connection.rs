//! One keep-alive connection: opened without blocking, then a request and its answer at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::answer::{Answer, Answered, Broken};

pub struct Connection {
    stream: TcpStream,
    key: u64,
    stage: Stage,
    answer: Answer,
}

#[derive(PartialEq)]
enum Stage {
    Opening,
    Free,
    Asked,
}

/// What one turn brought.
pub enum Progress {
    None,
    /// It may be asked.
    Opened,
    Answered(Answered),
}

/// What ended a connection. A request that was under way on it has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// It could not be opened.
    Refused(ErrorKind),
    /// Reset, or another error of the socket.
    Broke(ErrorKind),
    /// Closed without a word before it.
    Closed,
    /// Closed or reset in the middle of an answer, or before its first byte.
    ClosedUnanswered,
    /// A request does not fit into the socket's buffer.
    Full,
    Answer(Broken),
}

impl Connection {
    /// Begins to open one, under the watch of this epoll; `key` comes back with its events.
    pub fn open(to: SocketAddr, watch: &OwnedFd, key: u64) -> io::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        epoll::add(watch, stream.as_fd(), EventData::new_u64(key), EventFlags::OUT)?;
        Ok(Self { stream, key, stage: Stage::Opening, answer: Answer::default() })
    }

    /// Sends the request, on a free connection.
    pub fn ask(&mut self, request: &[u8]) -> Result<(), Lost> {
        debug_assert!(self.stage == Stage::Free);
        self.stage = Stage::Asked;
        match self.stream.write(request) {
            Ok(written) if written == request.len() => Ok(()),
            // Nothing else is in that buffer, so it is the request that is too long.
            Ok(_) => Err(Lost::Full),
            Err(error) => Err(Lost::Broke(error.kind())),
        }
    }

    /// Something has happened to the socket.
    pub fn turn(&mut self, scratch: &mut [u8], watch: &OwnedFd) -> Result<Progress, Lost> {
        if self.stage == Stage::Opening {
            return self.opened(watch).map_err(|error| Lost::Refused(error.kind()));
        }
        let bytes = match self.stream.read(scratch) {
            Ok(0) if self.stage == Stage::Asked => return Err(Lost::ClosedUnanswered),
            Ok(0) => return Err(Lost::Closed),
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(Progress::None);
            }
            Err(error) => return Err(Lost::Broke(error.kind())),
        };
        if self.stage == Stage::Free {
            return Err(Lost::Answer(Broken::Surplus));
        }
        let Some(answered) = self.answer.take(&scratch[..bytes]).map_err(Lost::Answer)? else {
            return Ok(Progress::None);
        };
        self.stage = Stage::Free;
        Ok(Progress::Answered(answered))
    }

    pub fn is_asked(&self) -> bool {
        self.stage == Stage::Asked
    }

    fn opened(&mut self, watch: &OwnedFd) -> io::Result<Progress> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        epoll::modify(watch, self.stream.as_fd(), EventData::new_u64(self.key), EventFlags::IN)?;
        self.stage = Stage::Free;
        Ok(Progress::Opened)
    }
}
