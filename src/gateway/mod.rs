//! The life of a connection: heads one after the other, an exchange for each, and a decent end.

pub mod body;
pub mod client;
pub mod core;
pub mod cors;
pub mod deliver;
pub mod downstream;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod handshake;
pub mod headers;
pub mod health;
pub mod in_force;
pub mod local;
pub mod heads;
pub mod interim;
pub mod record;
pub mod reply;
pub mod response;
pub mod seats;
pub mod tunnel;
pub mod upgrade;

use std::net::SocketAddr;
use std::rc::Rc;

pub use self::core::Core;
use crate::net::Stream;
use downstream::{Downstream, Received};
pub use in_force::{InForce, Replacement};

/// Serves one client connection from its first byte to its close. Whoever accepted it has counted it.
pub async fn serve(in_force: Rc<InForce>, stream: Stream, peer: SocketAddr) {
    let mut core = in_force.core();
    let mut downstream = Downstream::new(&core, stream, peer);
    loop {
        let received = downstream.next_head(&core).await;
        // A reload may have come while the head was awaited.
        core = in_force.core();
        let after = match received {
            Received::Head(mut heads) => exchange::exchange(&core, &mut downstream, &mut heads).await,
            Received::Refused(mut heads, failure) => {
                exchange::refuse_head(&core, &mut downstream, &mut heads, failure).await
            }
            Received::Nothing => break,
        };
        match after {
            After::KeepAlive => {}
            After::Linger => {
                downstream.linger(&core).await;
                break;
            }
            After::Close => break,
            After::Tunnel(handover) => {
                tunnel::begin(&core, handover);
                break;
            }
        }
    }
    core.counters.connections_open.subtract(1);
}

/// What becomes of the client's connection after an exchange.
pub enum After {
    /// The next request may come.
    KeepAlive,
    /// Our answer is on its way while the client may still be sending: say that we are done, and read on for
    /// a bounded time, because a reset would eat the answer (RFC 9112 §9.6).
    Linger,
    /// Nothing is left to say.
    Close,
    /// A tunnel goes on with duplicates of both connections.
    Tunnel(Box<tunnel::Handover>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: fn(Rc<InForce>, Stream, SocketAddr) -> F) -> usize {
        size_of::<F>()
    }

    /// What a connection costs while nothing happens on it: its task is as large as its largest moment. (A box for
    /// the exchange would make it 1.7 KiB and cost a tenth of the CPU of a small request: measured, glibc 2.36.)
    #[test]
    fn an_idle_connection_is_a_small_task() {
        assert!(size_of_future(serve) <= 4 * 1024, "{} bytes", size_of_future(serve));
    }
}
