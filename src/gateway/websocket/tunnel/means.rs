//! What the tunnels of one core stand on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::DrainSchedule;
use crate::gateway::core::request_id::RequestIds;
use crate::net::{BufferPool, PipePool, Timers};
use crate::telemetry::{AccessLog, Counters};

/// What every tunnel of one core stands on. It outlives each reload, and keeps nothing of a configuration alive: a
/// tunnel may last for days.
pub struct Means {
    /// The waits with a deadline.
    pub timers: Rc<Timers>,
    /// Free I/O buffers.
    pub buffers: Rc<BufferPool>,
    /// Pipes for what is spliced.
    pub pipes: Rc<PipePool>,
    /// Where masks and marks come from.
    pub ids: Rc<RequestIds>,
    /// This core's numbers.
    pub counters: Arc<Counters>,
    /// This core's access-log buffer; `None`: no log.
    pub access_log: Option<Rc<RefCell<AccessLog>>>,
    /// The core goes away.
    pub draining: Rc<Cell<bool>>,
    /// When which tunnel leaves then.
    pub drain_schedule: DrainSchedule,
}
