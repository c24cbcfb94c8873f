//! The program's own log on standard error. A thread of its own writes it, so that a terminal or pipe that accepts
//! nothing does not stop a core.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{panic, process, thread};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::error;
use tracing_subscriber::fmt::MakeWriter;

use super::log_filter;
use crate::config::LogFormat;
use crate::limits::{LOG_LINE_RECALLED_MAX, LOG_LINES_QUEUED_MAX, LOG_LINES_RECALLED_MAX};

/// A handle of the program's log.
#[derive(Clone)]
pub struct Log {
    lines: Sender<Message>,
    format: LogFormat,
    dropped: Arc<AtomicU64>,
}

/// Why there is no log.
#[derive(Debug)]
pub enum LogError {
    /// `RUST_LOG` is no filter: a line for the operator.
    Filter(String),
    /// There is no thread for it.
    Thread(io::Error),
}

enum Message {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

impl Log {
    /// Installs the program's log. `RUST_LOG` filters it; the default is `info`.
    ///
    /// # Errors
    /// `RUST_LOG` is no filter, or no thread can be started.
    pub fn install(format: LogFormat) -> Result<Log, LogError> {
        let filter = log_filter::from_environment().map_err(LogError::Filter)?;
        let (lines, queue) = bounded(LOG_LINES_QUEUED_MAX);
        let log = Log { lines, format, dropped: Arc::default() };
        let dropped = log.dropped.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&queue, &dropped))
            .map_err(LogError::Thread)?;
        let lines =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).with_target(false);
        match format {
            LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
            LogFormat::Json => lines.json().flatten_event(true).init(),
        }
        Ok(log)
    }

    /// Makes a panic on any thread end the process, after it is logged: a gateway that lacks a thread must not go on.
    pub fn abort_on_panic(&self) {
        let log = self.clone();
        panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            error!(thread = thread.name().unwrap_or("?"), "{panic}; the process aborts");
            log.flush();
            process::abort();
        }));
    }

    /// Waits until every line so far is written, at most a second.
    pub fn flush(&self) {
        let (done, is_done) = bounded(1);
        if self.lines.send_timeout(Message::Flush(done), FLUSH_MAX).is_ok() {
            let _ = is_done.recv_timeout(FLUSH_MAX);
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        let bytes = match self.format {
            LogFormat::Text => Vec::new(),
            // The line's own brace is left out.
            LogFormat::Json => format!("{{\"pid\":{},", process::id()).into_bytes(),
        };
        Line { log: self, is_begun: self.format == LogFormat::Text, bytes }
    }
}

/// One line while it is formatted.
pub struct Line<'a> {
    log: &'a Log,
    /// Its first brace is behind it.
    is_begun: bool,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_begun = std::mem::replace(&mut self.is_begun, true);
        let own = if is_begun { bytes } else { bytes.strip_prefix(b"{").unwrap_or(bytes) };
        self.bytes.extend_from_slice(own);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.log.lines.try_send(Message::Line(std::mem::take(&mut self.bytes))).is_err() {
            self.log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(queue: &Receiver<Message>, dropped: &AtomicU64) {
    for message in queue {
        let mut out = io::stderr().lock();
        // If standard error is gone, there is no other place to report that.
        let _ = match message {
            Message::Line(line) => {
                remember(&line);
                out.write_all(&line)
            }
            Message::Flush(done) => {
                let _ = done.send(());
                continue;
            }
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "{lost} log lines were dropped: standard error did not accept them");
        }
    }
}

/// The latest lines, oldest first, without colours. Lines for debugging are not among them: a change of state would not
/// be there for long.
pub fn recent() -> Vec<String> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Only the log's thread writes, so no core waits for who reads.
fn remember(line: &[u8]) {
    let line = without_colours(&String::from_utf8_lossy(line));
    let level = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    let is = |name: &str| level == name || line.contains(&format!(",\"level\":\"{name}\","));
    if is("DEBUG") || is("TRACE") {
        return;
    }
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    if recent.len() == LOG_LINES_RECALLED_MAX {
        recent.pop_front();
    }
    recent.push_back(line.chars().take(LOG_LINE_RECALLED_MAX).collect());
}

/// The text without the sequences that colour it (ECMA-48 §8.3.117), and without its last line feed.
fn without_colours(line: &str) -> String {
    let mut parts = line.trim_end().split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

const FLUSH_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_remembered_without_colours_and_details() {
        for nth in 0..LOG_LINES_RECALLED_MAX + 5 {
            remember(format!("2026-11-29T09:00:00Z  INFO line {nth}\n").as_bytes());
            remember(b"2026-11-29T09:00:00Z DEBUG a detail\n");
            remember(
                b"{\"pid\":1,\"timestamp\":\"2026-11-29T09:00:00Z\",\"level\":\"DEBUG\",\"message\":\"a\"}\n",
            );
        }
        remember("\u{1b}[2m2026-11-29T09:00:00Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m it is late\n".as_bytes());
        remember(
            format!("2026-11-29T09:00:00Z ERROR {}\n", "x".repeat(2 * LOG_LINE_RECALLED_MAX)).as_bytes(),
        );
        let lines = recent();
        assert_eq!(lines.len(), LOG_LINES_RECALLED_MAX);
        assert!(lines[0].ends_with(" line 7"), "{lines:?}");
        assert_eq!(lines[lines.len() - 2], "2026-11-29T09:00:00Z  WARN it is late");
        assert_eq!(lines[lines.len() - 1].len(), LOG_LINE_RECALLED_MAX);
    }
}
