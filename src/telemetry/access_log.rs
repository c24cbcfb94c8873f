//! The access log: each core fills a buffer of its own, and one thread writes full buffers to a file or to standard
//! output.
//!
//! ```text
//! core 0: record ─► buffer ─┐ bounded queue            ┌─► stdout or file
//! core 1: record ─► buffer ─┴──────────────► writer ───┤
//!            ▲                                         │
//!            └───────────── empty buffers ◄────────────┘
//! ```
//!
//! Only the writer waits for the file. While it waits, the cores fill the queue, then their buffers; then they drop
//! lines and count them.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::AccessRecord;
use super::batch::{Batch, WriterCommand};
use super::log_file::{LogFile, run};
use super::metrics::Counter;
use crate::config;
use crate::limits::{ACCESS_LOG_BUFFER_BYTES, ACCESS_LOG_FINISH_MS, ACCESS_LOG_LINE_BYTES, ACCESS_LOG_QUEUE};

/// One core's end of the access log.
#[derive(Debug)]
pub struct AccessLog {
    buffer: Batch,
    full: Sender<Batch>,
    empty: Receiver<Vec<u8>>,
    metrics: Arc<AccessLogMetrics>,
    /// Successes that were passed over since the last one that was not.
    passed_over: u32,
}

crate::metric_group! {
    /// Metrics of one core's access log.
    pub struct AccessLogMetrics {
        /// Access-log lines dropped because the sink was stuck.
        counter lines_dropped = "access_log_lines_dropped";
    }
}

/// The handle of the writer's thread, which owns the file. If the handle is dropped, the thread goes on as long as the
/// process and a core's end exist; [`finish`](Self::finish) ends it in order.
#[derive(Debug)]
pub struct AccessLogWriter {
    full: Sender<Batch>,
    empty: Receiver<Vec<u8>>,
    commands: Sender<WriterCommand>,
    done: Receiver<()>,
    refused: Arc<Counter>,
}

impl AccessLog {
    /// Appends one line to this core's buffer. It never waits: without room, the line is dropped and counted.
    pub fn record(&mut self, record: &AccessRecord<'_>) {
        if !self.has_room() {
            self.flush();
        }
        if !self.has_room() {
            self.metrics.lines_dropped.add(1);
            return;
        }
        record.write_json(&mut self.buffer.bytes);
        self.buffer.lines += 1;
        if !self.has_room() {
            self.flush();
        }
    }

    /// Whether the next success is left out, if one of this many is written.
    pub fn passes_over(&mut self, one_of: u32) -> bool {
        let passes = self.passed_over + 1 < one_of;
        self.passed_over = if passes { self.passed_over + 1 } else { 0 };
        passes
    }

    /// Hands the buffer to the writer. The core's ticker calls it. While the queue is full, the lines stay here.
    pub fn flush(&mut self) {
        if self.buffer.lines == 0 || self.full.is_full() {
            return;
        }
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(ACCESS_LOG_BUFFER_BYTES));
        let batch = std::mem::replace(&mut self.buffer, Batch { bytes: next, lines: 0 });
        let Err(refused) = self.full.try_send(batch) else { return };
        if refused.is_full() {
            // Another core took the last place in the queue: the lines stay here.
            self.buffer = refused.into_inner();
        } else {
            // The writer has ended.
            self.metrics.lines_dropped.add(refused.into_inner().lines);
        }
    }

    fn has_room(&self) -> bool {
        self.buffer.bytes.len() + ACCESS_LOG_LINE_BYTES <= ACCESS_LOG_BUFFER_BYTES
    }
}

impl AccessLogWriter {
    /// Opens the file and starts the thread. `None`: the log is off.
    ///
    /// # Errors
    /// If the file cannot be opened (a FIFO: if it has no reader), or no thread can be started.
    pub fn start(log: &config::AccessLog) -> io::Result<Option<Self>> {
        let Some(file) = LogFile::open(log)? else { return Ok(None) };
        let (full, batches) = bounded(ACCESS_LOG_QUEUE);
        let (used, empty) = bounded(ACCESS_LOG_QUEUE);
        let (commands, received) = bounded(4);
        let (running, done) = bounded(0);
        let refused = Arc::new(Counter::default());
        let count = Arc::clone(&refused);
        thread::Builder::new().name("access-log".into()).spawn(move || {
            run(file, batches, &used, &received, &count);
            drop(running);
        })?;
        Ok(Some(Self { full, empty, commands, done, refused }))
    }

    /// One core's end of the log.
    pub fn core_log(&self, metrics: Arc<AccessLogMetrics>) -> AccessLog {
        let buffer = Batch { bytes: Vec::with_capacity(ACCESS_LOG_BUFFER_BYTES), lines: 0 };
        AccessLog { buffer, full: self.full.clone(), empty: self.empty.clone(), metrics, passed_over: 0 }
    }

    /// A function that makes the writer open the file again, after a rotation has moved it. Nothing happens if the log
    /// goes to standard output, or if earlier commands still wait for a stuck write.
    pub fn reopener(&self) -> impl Fn() + Clone + Send + Sync + use<> {
        let commands = self.commands.clone();
        move || {
            let _ = commands.try_send(WriterCommand::Reopen);
        }
    }

    /// The number of lines that could not be written. Lines that the cores dropped are not in it.
    pub fn refused(&self) -> Arc<Counter> {
        Arc::clone(&self.refused)
    }

    /// Writes what is queued, then ends the thread. To be called after the last flush of every core.
    ///
    /// Waits at most [`ACCESS_LOG_FINISH_MS`]. `false`: a write was still stuck, and the last lines are lost when the
    /// process ends.
    pub fn finish(self) -> bool {
        let Self { full, commands, done, .. } = self;
        drop(full);
        // There is no room only if earlier commands wait for a stuck write. The thread also ends when every core has
        // gone.
        let _ = commands.try_send(WriterCommand::Finish);
        drop(commands);
        let waited = done.recv_timeout(Duration::from_millis(ACCESS_LOG_FINISH_MS));
        // Nothing is ever sent. The error is a timeout, or the thread has ended and dropped its side.
        matches!(waited, Err(RecvTimeoutError::Disconnected))
    }
}

#[cfg(test)]
mod tests {
    use super::super::access_record::tests::record;
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use std::time::Instant;

    /// A path for one test, removed at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("realchat-log-{}-{name}", std::process::id()));
            let _ = fs::remove_file(&path);
            Self(path)
        }

        fn writer(&self) -> AccessLogWriter {
            AccessLogWriter::start(&config::AccessLog::File(self.0.clone())).unwrap().unwrap()
        }

        fn lines(&self) -> Vec<String> {
            fs::read_to_string(&self.0).unwrap().lines().map(String::from).collect()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn eventually(what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(10), "{what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn core_log(writer: &AccessLogWriter) -> AccessLog {
        writer.core_log(Arc::default())
    }

    #[test]
    fn off_starts_nothing() {
        assert!(AccessLogWriter::start(&config::AccessLog::Off).unwrap().is_none());
    }

    #[test]
    fn every_line_of_every_core_arrives_whole() {
        let scratch = Scratch::new("whole");
        let writer = scratch.writer();
        let mut logs = [core_log(&writer), core_log(&writer)];
        for _ in 0..2_000 {
            for log in &mut logs {
                log.record(&record());
            }
            // No core outruns the disk in this test.
            eventually("the queue empties", || writer.full.len() < ACCESS_LOG_QUEUE / 2);
        }
        logs.iter_mut().for_each(|log| log.flush());
        let dropped: u64 = logs.iter().map(|log| log.metrics.lines_dropped.get()).sum();
        drop(logs);
        assert!(writer.finish());
        let lines = scratch.lines();
        assert_eq!(lines.len(), 4_000);
        assert!(lines.iter().all(|line| line == &lines[0] && line.starts_with('{') && line.ends_with('}')));
        assert_eq!(dropped, 0);
    }

    #[test]
    fn buffers_come_back() {
        let scratch = Scratch::new("reuse");
        let writer = scratch.writer();
        let mut log = core_log(&writer);
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..50 {
            addresses.insert(log.buffer.bytes.as_ptr());
            log.record(&record());
            log.flush();
            eventually("the writer gives the buffer back", || !writer.empty.is_empty());
        }
        assert!(addresses.len() <= 2, "{} buffers", addresses.len());
        assert!(writer.finish());
    }

    #[test]
    fn a_file_is_appended_to_and_readable_by_its_group_only() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new("append");
        for _ in 0..2 {
            let writer = scratch.writer();
            let mut log = core_log(&writer);
            log.record(&record());
            log.flush();
            assert!(writer.finish());
        }
        assert_eq!(scratch.lines().len(), 2);
        assert_eq!(fs::metadata(&scratch.0).unwrap().permissions().mode() & 0o027, 0);
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let (scratch, moved) = (Scratch::new("rotate"), Scratch::new("rotated"));
        let writer = scratch.writer();
        let mut log = core_log(&writer);
        log.record(&record());
        log.flush();
        eventually("the first line is written", || scratch.lines().len() == 1);
        fs::rename(&scratch.0, &moved.0).unwrap();
        writer.reopener()();
        eventually("the file is there again", || scratch.0.exists());
        log.record(&record());
        log.flush();
        assert!(writer.finish());
        assert_eq!((scratch.lines().len(), moved.lines().len()), (1, 1));
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let full_disk = config::AccessLog::File("/dev/full".into());
        let writer = AccessLogWriter::start(&full_disk).unwrap().unwrap();
        let mut log = core_log(&writer);
        for _ in 0..3 {
            log.record(&record());
            log.record(&record());
            log.flush();
        }
        eventually("the lines are counted", || writer.refused().get() == 6);
        assert!(writer.finish());
    }

    #[test]
    fn a_stuck_sink_drops_lines_and_never_the_end() {
        let scratch = Scratch::new("fifo");
        let (path, fifo) = (&scratch.0, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, path, fifo, 0o600.into(), 0).unwrap();
        let error = AccessLogWriter::start(&config::AccessLog::File(path.clone())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()), "nobody reads");

        let _unread = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let writer = scratch.writer();
        let mut log = core_log(&writer);
        let room = (ACCESS_LOG_QUEUE + 4) * ACCESS_LOG_BUFFER_BYTES;
        let lines = room / 200;
        let start = Instant::now();
        for _ in 0..lines {
            log.record(&record());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "a core waited");
        let dropped = log.metrics.lines_dropped.get();
        assert!(dropped > 0 && dropped < lines as u64, "{dropped} of {lines}");
        assert!(log.buffer.bytes.len() <= ACCESS_LOG_BUFFER_BYTES);

        let start = Instant::now();
        assert!(!writer.finish());
        assert!(start.elapsed() < Duration::from_millis(5 * ACCESS_LOG_FINISH_MS));
    }

    #[test]
    fn a_core_outlives_the_writer() {
        let scratch = Scratch::new("outlive");
        let writer = scratch.writer();
        let mut log = core_log(&writer);
        assert!(writer.finish());
        log.record(&record());
        log.flush();
        assert_eq!(log.metrics.lines_dropped.get(), 1);
    }
}
