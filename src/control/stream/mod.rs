//! The control stream: a stream in Redis that is the list of revocations and the feed of what is new, at once. A thread
//! of its own sits in `XREAD BLOCK` and tells the cores what follows.
//!
//! Redis away changes nothing that is known. After a reconnect the last minute is read again: an entry that is known
//! is not carried out twice.

pub mod entry;
mod log;
mod metrics;
mod reader;
mod state;
pub mod wire;
pub mod writer;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

pub use state::{Freshness, StreamState};

use self::reader::Reader;
use crate::control::Cores;
use crate::control::running::RunningConfig;
use crate::gateway::websocket::handles::Handles;
use crate::limits::STREAM_FIRST_MS;

/// The thread. Dropping this value stops it after its current read.
pub struct ControlStream {
    _stop_sender: Sender<()>,
    first_round: Receiver<()>,
    /// How it stands.
    pub state: Arc<StreamState>,
}

impl ControlStream {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(
        running: Arc<RunningConfig>,
        cores: Arc<Cores>,
        state: Arc<StreamState>,
        handles: Option<Arc<Handles>>,
    ) -> io::Result<ControlStream> {
        let (stop_sender, stop) = bounded::<()>(0);
        let (round_sender, first_round) = bounded::<()>(0);
        let reader = Reader::new(running, cores, state.clone(), handles, stop, round_sender);
        thread::Builder::new().name("control-stream".to_owned()).spawn(move || reader.run())?;
        Ok(ControlStream { _stop_sender: stop_sender, first_round, state })
    }

    /// Waits until the stream was read to its end, up to [`STREAM_FIRST_MS`].
    pub fn wait_for_first(&self) {
        // The channel closes when the first round ends.
        let _ = self.first_round.recv_timeout(Duration::from_millis(STREAM_FIRST_MS));
    }
}
