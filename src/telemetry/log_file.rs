//! The file of the access log, and the thread that writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, select};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

use super::batch::{Batch, WriterCommand};
use super::metrics::Counter;
use crate::config;
use crate::limits::ACCESS_LOG_BUFFER_BYTES;

/// An open file or standard output.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    /// `None`: standard output, which cannot be opened again.
    path: Option<PathBuf>,
    state: SinkState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SinkState {
    Writing,
    /// The last write failed.
    Failing,
    /// The last write failed in the middle of a line, which the next write must not continue.
    Torn,
}

/// Runs the writer until it receives [`WriterCommand::Finish`] or every sender has gone. It owns the receiving end of
/// the queue, so a core that sends later gets an error, and its lines do not wait forever.
pub(super) fn run(
    mut log: LogFile,
    batches: Receiver<Batch>,
    used: &Sender<Vec<u8>>,
    commands: &Receiver<WriterCommand>,
    dropped: &Counter,
) {
    loop {
        select! {
            recv(batches) -> batch => match batch {
                Ok(batch) => take(&mut log, batch, used, dropped),
                Err(_) => return,
            },
            recv(commands) -> command => match command {
                Ok(WriterCommand::Reopen) => log.reopen(),
                Ok(WriterCommand::Finish) => break,
                // The handle is gone, but the lines of the cores are still written.
                Err(_) => {
                    batches.iter().for_each(|batch| take(&mut log, batch, used, dropped));
                    return;
                }
            },
        }
    }
    batches.try_iter().for_each(|batch| take(&mut log, batch, used, dropped));
}

fn take(log: &mut LogFile, batch: Batch, used: &Sender<Vec<u8>>, dropped: &Counter) {
    dropped.add(log.write(&batch));
    let mut bytes = batch.bytes;
    bytes.clear();
    // A very long line may have made the buffer grow. Such a buffer is not used again.
    if bytes.capacity() <= 2 * ACCESS_LOG_BUFFER_BYTES {
        let _ = used.try_send(bytes);
    }
}

impl LogFile {
    /// `None` if the log is off.
    pub(super) fn open(log: &config::AccessLog) -> io::Result<Option<Self>> {
        let (file, path) = match log {
            config::AccessLog::Off => return Ok(None),
            // The descriptor itself, because the handle of std searches every write for its last line feed.
            config::AccessLog::Stdout => (File::from(stdout()?), None),
            config::AccessLog::File(path) => (open(path)?, Some(path.clone())),
        };
        Ok(Some(Self { file, path, state: SinkState::Writing }))
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                self.file = file;
                // A new file has no torn line.
                self.state = SinkState::Writing;
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "cannot open the access log again: writing goes on in the old file");
            }
        }
    }

    /// Writes the lines and returns how many were lost. Only the first failure is logged; all are counted.
    fn write(&mut self, batch: &Batch) -> u64 {
        let was = self.state;
        let mut written = 0;
        let outcome = if was == SinkState::Torn { write_all(&mut self.file, b"\n", &mut 0) } else { Ok(()) }
            .and_then(|()| write_all(&mut self.file, &batch.bytes, &mut written));
        let Err(error) = outcome else {
            if was != SinkState::Writing {
                tracing::info!("the access log is being written again");
            }
            self.state = SinkState::Writing;
            return 0;
        };
        if was == SinkState::Writing {
            tracing::error!(%error, "cannot write the access log: lines are dropped until a write succeeds");
        }
        let (whole, rest) = batch.bytes.split_at(written);
        self.state = match whole.last() {
            None => {
                if was == SinkState::Torn {
                    SinkState::Torn
                } else {
                    SinkState::Failing
                }
            }
            Some(b'\n') => SinkState::Failing,
            Some(_) => SinkState::Torn,
        };
        let lost = memchr::memchr_iter(b'\n', rest).count() as u64;
        debug_assert!(lost <= batch.lines);
        lost
    }
}

/// Like `Write::write_all`, but it counts the bytes written, and waits for a non-blocking file.
fn write_all(file: &mut File, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match file.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => *written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn stdout() -> io::Result<OwnedFd> {
    io::stdout().as_fd().try_clone_to_owned()
}

/// Non-blocking, so that a FIFO without a reader is an error and does not block the start. Regular files ignore it.
fn open(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(nonblocking).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn batch(text: &str) -> Batch {
        Batch { bytes: text.into(), lines: text.matches('\n').count() as u64 }
    }

    #[test]
    fn a_reader_that_went_away_costs_lines_and_comes_back_to_whole_ones() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut log = LogFile { file: File::from(writer), path: None, state: SinkState::Writing };
        assert_eq!(log.write(&batch("a\n")), 0);
        drop(reader);
        assert_eq!(log.write(&batch("b\nc\n")), 2);
        assert_eq!(log.state, SinkState::Failing);

        let (reader, writer) = rustix::pipe::pipe().unwrap();
        log.file = File::from(writer);
        log.state = SinkState::Torn;
        assert_eq!(log.write(&batch("d\n")), 0);
        assert_eq!(log.state, SinkState::Writing);
        let mut read = [0; 8];
        let n = File::from(reader).read(&mut read).unwrap();
        assert_eq!(&read[..n], b"\nd\n", "a torn line is ended first");
    }

    #[test]
    fn a_line_cut_in_its_middle_counts_as_lost() {
        // A pipe of one page that nobody reads, closed while a write waits for room in it.
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let capacity = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
        let mut log = LogFile { file: File::from(writer), path: None, state: SinkState::Writing };
        let long = format!("{}\n{}\n", "x".repeat(10), "y".repeat(capacity));
        let closer = std::thread::spawn(move || {
            // More than the pipe holds: the write that has begun cannot end.
            while rustix::io::ioctl_fionread(&reader).unwrap() == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            drop(reader);
        });
        assert_eq!(log.write(&batch(&long)), 1);
        assert_eq!(log.state, SinkState::Torn);
        closer.join().unwrap();
    }
}
