//! Orders from the control thread to one core: a channel for the values, a socket pair as the doorbell that
//! the core hears on its ring.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use crate::config::UpstreamAddress;
use crate::gateway::core::{Metrics, Replacement};
use crate::gateway::websocket::tunnel::{Handover, Sibling};
use crate::limits::ORDERS_QUEUED_MAX;
use crate::net::{Endpoint, NEVER, StreamSocket, Timers};

/// Whose addresses an order brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Those of the upstreams that are written so: by their place in the configuration, an order that a reload
    /// overtakes would be another upstream's.
    Upstream(UpstreamAddress),
    /// That of Redis, if it is written so.
    Redis(UpstreamAddress),
}

/// What becomes of the listening sockets when a core drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// What waits in their queues is taken, then they are closed: closing alone would reset those connections.
    Closed,
    /// Another process has them too and takes what waits: they are left alone this instant.
    HandedOver,
}

/// What a core is told.
pub enum Order {
    /// A service has these addresses now.
    Endpoints(Target, Arc<[Endpoint]>),
    /// Another core's tunnel goes on here.
    Tunnel(Box<Handover>),
    /// This configuration is in force.
    Reload(Arc<Replacement>),
    /// Take clients.
    Open,
    /// Stop taking clients, let what is in flight end, keep nothing alive.
    Drain(Fate),
    /// End, whatever is in flight.
    Stop,
}

/// The sending side.
pub struct Postbox {
    orders: Sender<Order>,
    bell: OwnedFd,
}

/// The core's side.
pub struct Mailbox {
    orders: Receiver<Order>,
    bell: OwnedFd,
}

/// The core's side on its own thread.
pub struct OpenMailbox {
    orders: Receiver<Order>,
    bell: StreamSocket,
}

/// A mailbox for each core, before the first of them runs: a core can give tunnels to every other. Errors: no file
/// descriptors.
pub fn mailboxes(count: usize) -> io::Result<(Arc<[Postbox]>, Vec<Mailbox>)> {
    let (mut postboxes, mut mailboxes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (postbox, mailbox) = mailbox()?;
        postboxes.push(postbox);
        mailboxes.push(mailbox);
    }
    Ok((postboxes.into(), mailboxes))
}

/// Every core as the others see it.
pub fn siblings(postboxes: &Arc<[Postbox]>, metrics: &[Metrics]) -> Arc<[Sibling]> {
    let sibling = |index: usize| {
        let postboxes = postboxes.clone();
        let give = move |handover| postboxes[index].hand_over(handover);
        Sibling { connections: metrics[index].connections.clone(), give: Box::new(give) }
    };
    (0..postboxes.len()).map(sibling).collect()
}

/// Both sides of one core's mailbox. Errors: no file descriptors.
fn mailbox() -> io::Result<(Postbox, Mailbox)> {
    let (sender, receiver) = bounded(ORDERS_QUEUED_MAX);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (near, far) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok((Postbox { orders: sender, bell: near }, Mailbox { orders: receiver, bell: far }))
}

impl Postbox {
    /// Leaves an order and rings. False: the core has not taken its orders for a second, or is gone; whoever
    /// repeats orders (names) need not mind.
    pub fn send(&self, order: Order) -> bool {
        let left = self.orders.send_timeout(order, Duration::from_secs(1)).is_ok();
        self.ring();
        left
    }
}

impl Postbox {
    /// Leaves a tunnel for the core, from another core: this never waits. It comes back if there is no room now.
    pub fn hand_over(&self, handover: Box<Handover>) -> Result<(), Box<Handover>> {
        match self.orders.try_send(Order::Tunnel(handover)) {
            Ok(()) => {
                self.ring();
                Ok(())
            }
            Err(
                TrySendError::Full(Order::Tunnel(handover))
                | TrySendError::Disconnected(Order::Tunnel(handover)),
            ) => Err(handover),
            Err(_) => unreachable!("what comes back is what was sent"),
        }
    }

    fn ring(&self) {
        // A bell that cannot take another byte is ringing already.
        let _ = rustix::net::send(&self.bell, b"!", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

impl Mailbox {
    /// Registers the bell with the runtime of this thread.
    pub fn open(self) -> io::Result<OpenMailbox> {
        Ok(OpenMailbox { orders: self.orders, bell: StreamSocket::new(self.bell)? })
    }
}

impl OpenMailbox {
    /// Waits for the next order. `None`: the control thread is gone.
    pub async fn next(&self, timers: &Timers) -> Option<Order> {
        loop {
            if let Ok(order) = self.orders.try_recv() {
                return Some(order);
            }
            self.bell.arrival(timers, NEVER).await.ok()?;
            match self.bell.try_recv(&mut [0; ORDERS_QUEUED_MAX]) {
                Ok(Some(1..) | None) => {}
                Ok(Some(0)) | Err(_) => return None,
            }
        }
    }
}
