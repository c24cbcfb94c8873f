//! Resolves the name of an issuer's server. The system's resolver blocks for as long as it likes, so it has a thread of
//! its own; a second look waits for the first one, so there is one such thread for each issuer at most.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::location::Location;
use crate::clock;
use crate::limits::{ADDRESSES_MAX, TICK_MS};
use crate::net::{Endpoint, Timers};

/// The name resolution of one issuer.
#[derive(Debug, Default)]
pub(super) struct Names {
    pending: RefCell<Option<(Address, Receiver<Found>)>>,
}

/// A host and its port.
type Address = (String, u16);

/// What the resolver says.
type Found = io::Result<Arc<[Endpoint]>>;

impl Names {
    /// The addresses of a host, until the coarse clock shows `deadline_ms`.
    ///
    /// # Errors
    /// Why there are none, as a sentence.
    pub(super) async fn resolve(
        &self,
        location: &Location,
        timers: &Timers,
        deadline_ms: u64,
    ) -> Result<Arc<[Endpoint]>, String> {
        let address = (location.host.clone(), location.port);
        if let Ok(known) = address.0.parse::<IpAddr>() {
            return Ok(Arc::new([Endpoint::tcp(SocketAddr::new(known, address.1))]));
        }
        loop {
            if let Some((asked, found)) = self.look(&address)? {
                if asked == address {
                    return found.map_err(|error| error.to_string());
                }
                continue;
            }
            if clock::now_ms() >= deadline_ms {
                return Err("the name does not resolve in time".to_owned());
            }
            timers.sleep_until(clock::now_ms() + TICK_MS).await;
        }
    }

    /// What was found, and for which address. `None`: the resolver is at work.
    fn look(&self, address: &Address) -> Result<Option<(Address, Found)>, String> {
        let mut pending = self.pending.borrow_mut();
        let Some((_, receiver)) = &*pending else {
            let (sender, receiver) = bounded(1);
            let asked = address.clone();
            let look = move || drop(sender.send(of_system(&asked)));
            let thread = thread::Builder::new().name("key-names".to_owned());
            thread.spawn(look).map_err(|error| error.to_string())?;
            *pending = Some((address.clone(), receiver));
            return Ok(None);
        };
        let found = match receiver.try_recv() {
            Ok(found) => found,
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the resolver has ended")),
        };
        Ok(pending.take().map(|(asked, _)| (asked, found)))
    }
}

/// The addresses of a host as the system finds them. Blocks.
fn of_system((host, port): &Address) -> Found {
    let found = (host.as_str(), *port).to_socket_addrs()?;
    Ok(found.take(ADDRESSES_MAX).map(Endpoint::tcp).collect())
}
