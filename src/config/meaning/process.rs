//! The process: its CPUs, its I/O driver and its access log.

use std::path::PathBuf;

use super::choice::Choice;

/// The CPUs that get a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreChoice {
    /// All CPUs that the process may run on.
    All,
    /// The first CPUs that the process may run on, as many as this.
    Count(usize),
    /// The CPUs with these numbers, ascending, without repeats.
    List(Vec<usize>),
}

/// How the threads wait for their sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring. The process does not start without it. `REQUIRE_IO_URING=true` has the same meaning.
    IoUring,
    /// epoll. No ring is tried.
    Epoll,
}

impl Choice for IoDriver {
    const ALL: &'static [Self] = &[Self::Auto, Self::IoUring, Self::Epoll];

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Where access-log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To the end of a file.
    File(PathBuf),
}

/// How the program's own log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object of JSON per line.
    Json,
}

impl Choice for LogFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
