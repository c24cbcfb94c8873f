//! Where access-log lines end: the writer's thread and the file it writes to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, select};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

use super::access_log::Batch;
use super::metrics::Counter;
use crate::config;
use crate::limits::ACCESS_LOG_BUFFER_BYTES;

/// What the writer is told besides lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Open the file anew.
    Reopen,
    /// Write what is queued and end.
    Finish,
}

/// An open file or standard output.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// `None`: standard output, which cannot be opened anew.
    path: Option<PathBuf>,
    health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Writing,
    /// The last write failed.
    Failing,
    /// The last write failed in the middle of a line: the next one must not continue it.
    Torn,
}

/// The writer's thread: until it is told to finish, or nobody is left. It owns the queue's end, so a core that
/// comes later is refused rather than queued for nobody.
pub(super) fn run(
    mut sink: Sink,
    batches: Receiver<Batch>,
    used: &Sender<Vec<u8>>,
    orders: &Receiver<Order>,
    dropped: &Counter,
) {
    loop {
        select! {
            recv(batches) -> batch => match batch {
                Ok(batch) => take(&mut sink, batch, used, dropped),
                Err(_) => return,
            },
            recv(orders) -> order => match order {
                Ok(Order::Reopen) => sink.reopen(),
                Ok(Order::Finish) => break,
                // The writer's handle is gone: the cores' lines are still wanted.
                Err(_) => {
                    batches.iter().for_each(|batch| take(&mut sink, batch, used, dropped));
                    return;
                }
            },
        }
    }
    batches.try_iter().for_each(|batch| take(&mut sink, batch, used, dropped));
}

fn take(sink: &mut Sink, batch: Batch, used: &Sender<Vec<u8>>, dropped: &Counter) {
    dropped.add(sink.write(&batch));
    let mut bytes = batch.bytes;
    bytes.clear();
    // A monstrous line may have made it grow: that one is not kept.
    if bytes.capacity() <= 2 * ACCESS_LOG_BUFFER_BYTES {
        let _ = used.try_send(bytes);
    }
}

impl Sink {
    /// `None` if the log is off.
    pub(super) fn open(log: &config::AccessLog) -> io::Result<Option<Self>> {
        let (file, path) = match log {
            config::AccessLog::Off => return Ok(None),
            // The descriptor itself: std's handle would look for the last line feed of every write.
            config::AccessLog::Stdout => (File::from(stdout()?), None),
            config::AccessLog::File(path) => (open(path)?, Some(path.clone())),
        };
        Ok(Some(Self { file, path, health: Health::Writing }))
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                self.file = file;
                // A new file has no torn line.
                self.health = Health::Writing;
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "cannot open the access log anew: the old file goes on");
            }
        }
    }

    /// Writes the lines; returns how many were lost. The first failure is told, further ones only counted.
    fn write(&mut self, batch: &Batch) -> u64 {
        let was = self.health;
        let mut written = 0;
        let outcome = if was == Health::Torn { write_all(&mut self.file, b"\n", &mut 0) } else { Ok(()) }
            .and_then(|()| write_all(&mut self.file, &batch.bytes, &mut written));
        let Err(error) = outcome else {
            if was != Health::Writing {
                tracing::info!("the access log is being written again");
            }
            self.health = Health::Writing;
            return 0;
        };
        if was == Health::Writing {
            tracing::error!(%error, "cannot write the access log: lines are dropped until the sink takes them");
        }
        let (whole, rest) = batch.bytes.split_at(written);
        self.health = match whole.last() {
            None => {
                if was == Health::Torn {
                    Health::Torn
                } else {
                    Health::Failing
                }
            }
            Some(b'\n') => Health::Failing,
            Some(_) => Health::Torn,
        };
        let lost = memchr::memchr_iter(b'\n', rest).count() as u64;
        debug_assert!(lost <= batch.lines);
        lost
    }
}

/// `Write::write_all` that says how far it came, and that waits for a non-blocking file.
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

/// Non-blocking, so that a FIFO which nobody reads is an error now and not a start that never ends; files do
/// not care.
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
        let mut sink = Sink { file: File::from(writer), path: None, health: Health::Writing };
        assert_eq!(sink.write(&batch("a\n")), 0);
        drop(reader);
        assert_eq!(sink.write(&batch("b\nc\n")), 2);
        assert_eq!(sink.health, Health::Failing);

        let (reader, writer) = rustix::pipe::pipe().unwrap();
        sink.file = File::from(writer);
        sink.health = Health::Torn;
        assert_eq!(sink.write(&batch("d\n")), 0);
        assert_eq!(sink.health, Health::Writing);
        let mut read = [0; 8];
        let n = File::from(reader).read(&mut read).unwrap();
        assert_eq!(&read[..n], b"\nd\n", "a torn line is ended first");
    }

    #[test]
    fn a_line_cut_in_its_middle_counts_as_lost() {
        // A pipe of one page that nobody reads, closed while a write waits for room in it.
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let capacity = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
        let mut sink = Sink { file: File::from(writer), path: None, health: Health::Writing };
        let long = format!("{}\n{}\n", "x".repeat(10), "y".repeat(capacity));
        let closer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            drop(reader);
        });
        assert_eq!(sink.write(&batch(&long)), 1);
        assert_eq!(sink.health, Health::Torn);
        closer.join().unwrap();
    }
}
