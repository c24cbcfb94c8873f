//! What each client holds at once: connections, and requests in flight.

use std::collections::HashMap;

use super::Network;

/// The loads of all clients of one core that hold something.
#[derive(Default)]
pub(super) struct Loads {
    by_network: HashMap<Network, Place>,
    all: Vec<Load>,
    free: Vec<Place>,
}

/// Where a client's load stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) network: Network,
    pub(super) connections: usize,
    pub(super) requests: usize,
}

impl Loads {
    /// The load of a client, which is kept as long as it holds something: the caller makes it hold something.
    pub(super) fn place(&mut self, network: Network) -> Place {
        let Loads { by_network, all, free } = self;
        *by_network.entry(network).or_insert_with(|| {
            let load = Load { network, connections: 0, requests: 0 };
            match free.pop() {
                Some(place) => {
                    all[place.0 as usize] = load;
                    place
                }
                None => {
                    all.push(load);
                    Place(all.len() as u32 - 1)
                }
            }
        })
    }

    /// The load at a place.
    pub(super) fn at(&mut self, place: Place) -> &mut Load {
        &mut self.all[place.0 as usize]
    }

    /// The connections of a client.
    pub(super) fn connections(&self, network: Network) -> usize {
        self.by_network.get(&network).map_or(0, |place| self.all[place.0 as usize].connections)
    }

    /// Forgets the client at a place if it holds nothing any more.
    pub(super) fn tidy(&mut self, place: Place) {
        let Load { network, connections, requests } = self.all[place.0 as usize];
        if connections == 0 && requests == 0 {
            self.by_network.remove(&network);
            self.free.push(place);
            if self.by_network.is_empty() {
                *self = Loads::default();
            }
        }
    }

    /// Every client with connections, and their number.
    pub(super) fn connections_by_network(&self) -> Vec<(Network, usize)> {
        let held = self.by_network.values().map(|place| self.all[place.0 as usize]);
        held.filter(|load| load.connections > 0).map(|load| (load.network, load.connections)).collect()
    }

    /// The number of clients that hold something.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_network.len()
    }
}
