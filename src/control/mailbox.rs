//! Orders from the control thread to one core. A channel carries the orders. A socket pair wakes the core up, because
//! a core waits on its io_uring or epoll instance and cannot wait on a channel.

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

/// The service whose addresses an order updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All upstreams with this configured address. An index into the configuration would be ambiguous: after a
    /// reload, the same index can belong to another upstream.
    Upstream(UpstreamAddress),
    /// Redis, if its configured address is this one.
    Redis(UpstreamAddress),
}

/// What a draining core does with its listening sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerDrain {
    /// Accept the connections in the accept queues, then close the sockets. Closing a socket resets the connections
    /// in its queue.
    Close,
    /// Stop accepting immediately and leave the sockets open. The successor process accepts the connections in the
    /// queues.
    HandOver,
}

/// An order from the control thread to a core.
pub enum Order {
    /// Replace the addresses of a service.
    Endpoints(Target, Arc<[Endpoint]>),
    /// Take over a WebSocket tunnel from another core.
    Tunnel(Box<Handover>),
    /// Apply this configuration.
    Reload(Arc<Replacement>),
    /// Start accepting connections.
    Open,
    /// Stop accepting connections, finish the requests in flight, and close idle connections.
    Drain(ListenerDrain),
    /// Stop immediately, even with requests in flight.
    Stop,
}

/// The sending end of a core's order channel.
pub struct OrderSender {
    orders: Sender<Order>,
    wake_up: OwnedFd,
}

/// The receiving end, before the core's thread runs.
pub struct OrderReceiver {
    orders: Receiver<Order>,
    wake_up: OwnedFd,
}

/// The receiving end, registered with the runtime of the core's thread.
pub struct OpenOrderReceiver {
    orders: Receiver<Order>,
    wake_up: StreamSocket,
}

/// Creates the order channels of all cores. All channels must exist before the first core starts, because a core can
/// hand over tunnels to every other core.
///
/// # Errors
/// Returns the error of `socketpair(2)`.
pub fn order_channels(count: usize) -> io::Result<(Arc<[OrderSender]>, Vec<OrderReceiver>)> {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (sender, receiver) = order_channel()?;
        senders.push(sender);
        receivers.push(receiver);
    }
    Ok((senders.into(), receivers))
}

/// Returns a handle to each core, which the other cores use to hand over tunnels.
pub fn siblings(order_senders: &Arc<[OrderSender]>, metrics: &[Metrics]) -> Arc<[Sibling]> {
    let sibling = |index: usize| {
        let order_senders = order_senders.clone();
        let give = move |handover| order_senders[index].hand_over(handover);
        Sibling { connections: metrics[index].connections.clone(), give: Box::new(give) }
    };
    (0..order_senders.len()).map(sibling).collect()
}

/// Creates both ends of one core's order channel.
fn order_channel() -> io::Result<(OrderSender, OrderReceiver)> {
    let (sender, receiver) = bounded(ORDERS_QUEUED_MAX);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (near, far) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok((OrderSender { orders: sender, wake_up: near }, OrderReceiver { orders: receiver, wake_up: far }))
}

impl OrderSender {
    /// Sends an order and wakes the core up. Waits for up to one second while the queue is full. Returns false if the
    /// queue stayed full or the core has stopped. Callers that repeat their orders, such as name resolution, can
    /// ignore the result.
    pub fn send(&self, order: Order) -> bool {
        let is_sent = self.orders.send_timeout(order, Duration::from_secs(1)).is_ok();
        self.wake();
        is_sent
    }

    /// Sends a tunnel from another core. Never blocks.
    ///
    /// # Errors
    /// Returns the tunnel if the queue is full or the core has stopped.
    pub fn hand_over(&self, handover: Box<Handover>) -> Result<(), Box<Handover>> {
        match self.orders.try_send(Order::Tunnel(handover)) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(
                TrySendError::Full(Order::Tunnel(handover))
                | TrySendError::Disconnected(Order::Tunnel(handover)),
            ) => Err(handover),
            Err(_) => unreachable!("try_send returns the order that was passed in"),
        }
    }

    fn wake(&self) {
        // If the socket buffer is full, a wake-up is already pending.
        let _ = rustix::net::send(&self.wake_up, b"!", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

impl OrderReceiver {
    /// Registers the wake-up socket with the runtime of this thread.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn open(self) -> io::Result<OpenOrderReceiver> {
        Ok(OpenOrderReceiver { orders: self.orders, wake_up: StreamSocket::new(self.wake_up)? })
    }
}

impl OpenOrderReceiver {
    /// Waits for the next order. Returns `None` if the control thread has ended.
    pub async fn next(&self, timers: &Timers) -> Option<Order> {
        loop {
            if let Ok(order) = self.orders.try_recv() {
                return Some(order);
            }
            self.wake_up.arrival(timers, NEVER).await.ok()?;
            match self.wake_up.try_recv(&mut [0; ORDERS_QUEUED_MAX]) {
                Ok(Some(1..) | None) => {}
                Ok(Some(0)) | Err(_) => return None,
            }
        }
    }
}
