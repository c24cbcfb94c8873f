//! What epoll tells of.

use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;

#[derive(Default)]
pub struct Events(Vec<Event>);

impl Events {
    /// Waits for so many nanoseconds at most.
    pub fn wait(&mut self, watch: &OwnedFd, wait_ns: u64) -> io::Result<&[Event]> {
        self.0.clear();
        self.0.reserve(EVENTS_MAX);
        let (seconds, nanoseconds) = (wait_ns / SECOND_NS, wait_ns % SECOND_NS);
        let timeout = Timespec { tv_sec: seconds as i64, tv_nsec: nanoseconds as i64 };
        match epoll::wait(watch, spare_capacity(&mut self.0), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(&self.0),
            Err(error) => Err(error.into()),
        }
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// Events of one wait.
const EVENTS_MAX: usize = 1024;
