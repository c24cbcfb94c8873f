//! The way from the control thread to the cores. Each core has a slot with the state that it should be in: the control
//! thread replaces it, and the core takes the steps from the state that it has seen last ([`Desired`]). Nothing waits
//! in a queue, so nothing is lost on a core that stands still. A socket pair wakes the core up, because a core waits
//! on its io_uring or epoll instance and cannot wait on a slot; the core also looks at its slot at every tick.
//!
//! Tunnels that cores give each other wait in a bounded channel beside the slot, and what is told to live sessions on a
//! bulletin, which the core takes whole.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::desired::{Desired, Enlisted, Phase, Step, Target};
use crate::auth::Revocations;
use crate::clock;
use crate::config::RedisAddress;
use crate::gateway::core::bulletin::{Bulletin, Instruction};
use crate::gateway::core::{Metrics, Replacement};
use crate::gateway::websocket::tunnel::{Handover, Sibling};
use crate::limits::{TICK_MS, TUNNELS_GIVEN_MAX};
use crate::net::{Elapsed, NEVER, StreamSocket, Timers};
use crate::redis::slots::Topology;
use crate::telemetry::metrics::Gauge;
use crate::upstream::Roster;

/// The state that all cores should be in, and the way to each of them.
pub struct Cores {
    /// Held while a state is handed out, so that a slot never goes back to an older one.
    wanted: Mutex<Desired>,
    /// The version of the wanted configuration.
    version: Arc<Gauge>,
    lines: Vec<Line>,
}

/// The way to one core.
struct Line {
    slot: Arc<Slot>,
    bulletin: Arc<Mutex<Bulletin>>,
    tunnels: Sender<Box<Handover>>,
    wake_up: OwnedFd,
}

/// The state that one core should be in. Either side holds the lock only to copy a pointer.
struct Slot(Mutex<Arc<Desired>>);

/// A core's end, before the core's thread runs.
pub struct Mailbox {
    slot: Arc<Slot>,
    bulletin: Arc<Mutex<Bulletin>>,
    seen: Arc<Desired>,
    tunnels: Receiver<Box<Handover>>,
    wake_up: OwnedFd,
}

/// A core's end, registered with the runtime of the core's thread.
pub struct OpenMailbox {
    slot: Arc<Slot>,
    bulletin: Arc<Mutex<Bulletin>>,
    /// The state that the core has taken steps to.
    seen: Arc<Desired>,
    tunnels: Receiver<Box<Handover>>,
    wake_up: StreamSocket,
}

/// What there is for a core to do.
pub enum News {
    /// Take these steps.
    Steps(Vec<Step>),
    /// Take what is revoked, and tell it to WebSockets.
    Bulletin(Bulletin),
    /// Take over a WebSocket tunnel from another core.
    Tunnel(Box<Handover>),
}

impl Cores {
    /// Creates the way to each core. All of them must exist before the first core starts, because a core can give
    /// tunnels to every other core.
    ///
    /// # Errors
    /// Returns the error of `socketpair(2)`.
    pub fn new(count: usize, first: Desired) -> io::Result<(Arc<Cores>, Vec<Mailbox>)> {
        let seen = Arc::new(first.clone());
        let (mut lines, mut mailboxes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (line, mailbox) = line(&seen)?;
            lines.push(line);
            mailboxes.push(mailbox);
        }
        let version = Arc::<Gauge>::default();
        version.set(first.version);
        Ok((Arc::new(Cores { wanted: Mutex::new(first), version, lines }), mailboxes))
    }

    /// The version of the wanted configuration, for other threads.
    pub fn version(&self) -> Arc<Gauge> {
        self.version.clone()
    }

    /// The wanted configuration.
    pub fn configuration(&self) -> Arc<Replacement> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).configuration.clone()
    }

    /// Replaces the configuration. [`Desired::configure`] explains the arguments. Returns its version.
    pub fn configure(&self, configuration: Replacement, services: Vec<Enlisted>) -> u64 {
        self.publish(|wanted| {
            wanted.configure(configuration, services);
            self.version.set(wanted.version);
            true
        });
        self.version.get()
    }

    /// How many cores there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Replaces the roster of a service, if it is another one.
    pub fn set_roster(&self, target: &Target, roster: &Roster) {
        self.publish(|wanted| wanted.set_roster(target, roster));
    }

    /// The Redis cluster at this address has these masters.
    pub fn set_topology(&self, address: &RedisAddress, topology: &Arc<Topology>) {
        self.publish(|wanted| {
            wanted.set_topology(address, topology);
            true
        });
    }

    /// Goes on to a phase.
    pub fn advance(&self, phase: Phase) {
        self.publish(|wanted| wanted.advance(phase));
    }

    /// Tells every core what is revoked, and what to tell its WebSockets. Returns how many cores have so much to do
    /// that instructions were dropped.
    pub fn announce(
        &self,
        revocations: Option<&Arc<Revocations>>,
        instructions: &[Instruction],
        is_incomplete: bool,
    ) -> usize {
        let tell = |line: &Line| {
            let mut bulletin = line.bulletin.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = bulletin.add(revocations, instructions, is_incomplete);
            usize::from(!fits)
        };
        let overfull = self.lines.iter().map(tell).sum();
        self.wake();
        overfull
    }

    /// The way to each core for what is told to it alone.
    pub fn tellers(self: &Arc<Cores>) -> Vec<Box<dyn Fn(Instruction) + Send + Sync>> {
        let teller = |index: usize| {
            let cores = self.clone();
            let tell = move |instruction: Instruction| {
                let line = &cores.lines[index];
                let mut bulletin = line.bulletin.lock().unwrap_or_else(PoisonError::into_inner);
                bulletin.add(None, std::slice::from_ref(&instruction), false);
                drop(bulletin);
                line.wake();
            };
            Box::new(tell) as Box<dyn Fn(Instruction) + Send + Sync>
        };
        (0..self.lines.len()).map(teller).collect()
    }

    /// Wakes all cores up, so that they look at their slots.
    pub fn wake(&self) {
        self.lines.iter().for_each(Line::wake);
    }

    /// Returns a handle to each core, which the other cores use to give it tunnels.
    pub fn siblings(self: &Arc<Cores>, metrics: &[Metrics]) -> Arc<[Sibling]> {
        let sibling = |(index, metrics): (usize, &Metrics)| {
            let cores = self.clone();
            let give = move |handover| cores.lines[index].give(handover);
            Sibling { connections: metrics.connections.clone(), give: Box::new(give) }
        };
        metrics.iter().enumerate().map(sibling).collect()
    }

    /// Changes the state and hands it out, if `change` returns true.
    fn publish(&self, change: impl FnOnce(&mut Desired) -> bool) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut wanted) {
            return;
        }
        let state = Arc::new(wanted.clone());
        for line in &self.lines {
            *line.slot.lock() = state.clone();
        }
        // After the slots are free again: a core that finds its slot taken waits for this.
        self.wake();
    }
}

fn line(seen: &Arc<Desired>) -> io::Result<(Line, Mailbox)> {
    let (sender, receiver) = bounded(TUNNELS_GIVEN_MAX);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (near, far) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let slot = Arc::new(Slot(Mutex::new(seen.clone())));
    let bulletin = Arc::<Mutex<Bulletin>>::default();
    let mailbox = Mailbox {
        slot: slot.clone(),
        bulletin: bulletin.clone(),
        seen: seen.clone(),
        tunnels: receiver,
        wake_up: far,
    };
    Ok((Line { slot, bulletin, tunnels: sender, wake_up: near }, mailbox))
}

impl Line {
    /// Gives the core a tunnel of another core. Never blocks.
    ///
    /// # Errors
    /// Returns the tunnel if the channel is full or the core has stopped.
    fn give(&self, handover: Box<Handover>) -> Result<(), Box<Handover>> {
        self.tunnels.try_send(handover).map_err(crossbeam_channel::TrySendError::into_inner)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // If the socket buffer is full, a wake-up is already pending.
        let _ = rustix::net::send(&self.wake_up, b"!", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Arc<Desired>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state. `None`: the control thread is replacing it, and wakes the core up afterwards.
    fn look(&self) -> Option<Arc<Desired>> {
        match self.0.try_lock() {
            Ok(state) => Some(state.clone()),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner().clone()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Mailbox {
    /// Registers the wake-up socket with the runtime of this thread.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn open(self) -> io::Result<OpenMailbox> {
        let Mailbox { slot, bulletin, seen, tunnels, wake_up } = self;
        Ok(OpenMailbox { slot, bulletin, seen, tunnels, wake_up: StreamSocket::new(wake_up)? })
    }
}

impl OpenMailbox {
    /// The state that the core has taken steps to; at first, that of the start.
    pub fn seen(&self) -> &Desired {
        &self.seen
    }

    /// Waits for something to do. A new state comes before the tunnels that wait. Returns `None` if the control thread
    /// has ended.
    pub async fn next(&mut self, timers: &Timers) -> Option<News> {
        let OpenMailbox { slot, bulletin, seen, tunnels, wake_up } = self;
        loop {
            // One poll over all looks: each that is given up costs the ring a cancellation and an allocation.
            let mut arrival = pin!(wake_up.arrival(timers, NEVER));
            loop {
                if let Some(news) = look(slot, bulletin, seen, tunnels) {
                    return Some(news);
                }
                // A core whose wake-up was lost still comes to its state, at the next tick.
                match timers.until(clock::now_ms() + TICK_MS, arrival.as_mut()).await {
                    Err(Elapsed) => {}
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => return None,
                }
            }
            match wake_up.try_recv(&mut [0; WAKE_UPS_READ]) {
                Ok(Some(1..) | None) => {}
                Ok(Some(0)) | Err(_) => return None,
            }
        }
    }
}

fn look(
    slot: &Slot,
    bulletin: &Mutex<Bulletin>,
    seen: &mut Arc<Desired>,
    tunnels: &Receiver<Box<Handover>>,
) -> Option<News> {
    if let Some(wanted) = slot.look().filter(|wanted| !Arc::ptr_eq(wanted, seen)) {
        let steps = wanted.steps_from(seen);
        *seen = wanted;
        return Some(News::Steps(steps));
    }
    // Who writes there now wakes the core up afterwards.
    if let Ok(mut bulletin) = bulletin.try_lock()
        && bulletin.has_news()
    {
        return Some(News::Bulletin(std::mem::take(&mut bulletin)));
    }
    tunnels.try_recv().ok().map(News::Tunnel)
}

/// Wake-ups that one call reads. More of them are read by the next one.
const WAKE_UPS_READ: usize = 64;

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::auth::{KeySets, Keys};
    use crate::config::testing::config;
    use crate::net::runtime::{Preference, ThreadRuntime};
    use crate::route::RouteTable;

    fn replacement() -> Replacement {
        let config = Arc::new(config(""));
        let routes = Arc::new(RouteTable::new(&config.routes).expect("routes"));
        Replacement {
            routes,
            keys: Arc::new(Keys::new(&config.jwt, &KeySets::unavailable(&config.jwt))),
            tls: None,
            challenges: Arc::default(),
            originations: Arc::default(),
            config,
        }
    }

    fn one_core() -> (Arc<Cores>, Mailbox) {
        let (cores, mut mailboxes) = Cores::new(1, Desired::first(replacement(), [])).expect("a socket pair");
        (cores, mailboxes.remove(0))
    }

    /// What a core is told next, on a thread whose clock ticks.
    fn next(mailbox: Mailbox) -> Option<News> {
        let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
        runtime.block_on(async {
            let timers = Rc::<Timers>::default();
            let ticking = timers.clone();
            monoio::spawn(async move {
                loop {
                    monoio::time::sleep(Duration::from_millis(1)).await;
                    ticking.tick(clock::now_ms());
                }
            });
            mailbox.open().expect("a mailbox").next(&timers).await
        })
    }

    #[test]
    fn a_state_whose_wake_up_was_lost_is_found_at_the_next_tick() {
        let (cores, mailbox) = one_core();
        let mut wanted = cores.wanted.lock().expect("no panic").clone();
        wanted.configure(replacement(), Vec::new());
        *cores.lines[0].slot.lock() = Arc::new(wanted);
        let Some(News::Steps(steps)) = next(mailbox) else { panic!("nothing to do") };
        assert!(matches!(steps[..], [Step::Configure(2, ..)]), "{steps:?}");
    }

    #[test]
    fn a_core_never_waits_for_its_slot() {
        let (cores, mailbox) = one_core();
        cores.advance(Phase::Open);
        let held = cores.lines[0].slot.lock();
        assert!(mailbox.slot.look().is_none());
        drop(held);
        assert!(mailbox.slot.look().is_some());
    }

    #[test]
    fn only_a_change_is_handed_out() {
        let (cores, mailbox) = one_core();
        cores.advance(Phase::Starting);
        assert!(Arc::ptr_eq(&mailbox.slot.lock(), &mailbox.seen));
        assert_eq!((cores.configure(replacement(), Vec::new()), cores.version().get()), (2, 2));
        assert!(!Arc::ptr_eq(&mailbox.slot.lock(), &mailbox.seen));
    }

    #[test]
    fn a_core_learns_that_the_control_thread_has_ended() {
        let (cores, mailbox) = one_core();
        drop(cores);
        assert!(next(mailbox).is_none());
    }
}
