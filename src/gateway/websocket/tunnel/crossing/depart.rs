//! The old side of the crossing: calls the tunnels of a core, a record at a time, and sends them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::departures::{Filled, Leaver, Stay};
use super::record::{ANSWER_BYTES_MAX, Header, Kind, Verdict, verdicts};
use crate::clock;
use crate::gateway::core::Resources;
use crate::limits::{EMPTY_WINDOWS_MAX, LAST_LOOKS, RECORD_BYTES_MAX, TICK_MS, TUNNELS_PER_RECORD};
use crate::net::descriptors::{RecordSocket, Sending};

/// Sends the tunnels of this core over `line`, until the coarse clock shows `deadline_ms`. Those that are left say
/// goodbye then. `line`: `None`: all of them do, at once.
pub fn depart(resources: &Rc<Resources>, line: Option<OwnedFd>, deadline_ms: u64) {
    match line.and_then(|line| RecordSocket::new(line).ok()) {
        None => resources.metrics.departed.finish(resources.metrics.connections.tunnels.get()),
        Some(line) => {
            resources.departures.begin();
            let departure = Departure { resources: resources.clone(), line, deadline_ms, number: 0 };
            monoio::spawn(departure.run());
        }
    }
}

/// The crossing of one core's tunnels.
struct Departure {
    resources: Rc<Resources>,
    line: RecordSocket,
    deadline_ms: u64,
    /// The record that was sent last.
    number: u64,
}

/// The new process takes no more tunnels, or there is no time left.
struct Over;

impl Departure {
    async fn run(mut self) {
        // What ends it is told by what became of each tunnel.
        let (Ok(()) | Err(Over)) = self.call_all().await;
        let Departure { resources, line, .. } = self;
        drop(line);
        let left = resources.metrics.connections.tunnels.get();
        resources.departures.end();
        resources.drain_schedule.begin_again(clock::now_ms(), left);
        resources.io.timers.wake_all();
        resources.metrics.departed.finish(left);
    }

    /// Goes through the waits of the core again and again, until no more tunnel comes. Each tunnel has a wait among
    /// them.
    async fn call_all(&mut self) -> Result<(), Over> {
        let (mut place, mut came, mut empty) = (0, 0, 0);
        while clock::now_ms() < self.deadline_ms {
            let (next, filled) = self.call_some(place).await;
            came += filled.leavers.len();
            match filled.leavers.is_empty() {
                true => empty += 1,
                false => {
                    empty = 0;
                    self.send(filled).await?;
                }
            }
            if next.is_none() && came == 0 {
                // A handshake that is answered now becomes a tunnel that may move as well.
                if self.resources.metrics.tunnels.handshakes_pending.get() == 0 {
                    return Ok(());
                }
                self.resources.io.timers.sleep_until(clock::now_ms() + TICK_MS).await;
            }
            if empty >= EMPTY_WINDOWS_MAX {
                empty = 0;
                monoio::time::sleep(Duration::from_millis(1)).await;
            }
            place = next.unwrap_or_else(|| {
                came = 0;
                0
            });
        }
        Err(Over)
    }

    /// Wakes what waits at the next places of the table, and takes the tunnels among it.
    async fn call_some(&self, place: usize) -> (Option<usize>, Filled) {
        let Departure { resources, .. } = self;
        resources.departures.call(TUNNELS_PER_RECORD);
        let next = resources.io.timers.wake_some(place, TUNNELS_PER_RECORD);
        // Whoever was woken has a turn before this task has its next one.
        resources.io.turns.pass().await;
        (next, resources.departures.close())
    }

    /// Sends a record and waits for the verdict. Its tunnels leave or go on, whatever happens.
    async fn send(&mut self, filled: Filled) -> Result<(), Over> {
        self.number += 1;
        let Filled { leavers, bytes } = filled;
        let told = match self.convey(&leavers, &bytes).await {
            Ok(told) => told,
            Err(_) => self.take_back(leavers.len()),
        };
        let departed = &self.resources.metrics.departed;
        let Some(told) = told else {
            leavers.into_iter().for_each(|leaver| leaver.go_on(None));
            return Err(Over);
        };
        let mut has_room = true;
        for (leaver, verdict) in leavers.into_iter().zip(told) {
            match verdict {
                Verdict::Taken => {
                    departed.moves();
                    leaver.forget();
                }
                Verdict::NoRoute => leaver.go_on(Some(Stay::NoRoute)),
                Verdict::OtherVersion => leaver.go_on(Some(Stay::OtherVersion)),
                Verdict::Malformed => leaver.go_on(Some(Stay::Untaken)),
                Verdict::NoDescriptors => {
                    has_room = false;
                    leaver.go_on(None);
                }
            }
        }
        if has_room { Ok(()) } else { Err(Over) }
    }

    /// Sends a record, and waits for what the new process says of it. `None`: it says nothing, or nothing that makes
    /// sense.
    async fn convey(&self, leavers: &[Box<dyn Leaver>], bytes: &[u8]) -> io::Result<Option<Vec<Verdict>>> {
        let timers = &self.resources.io.timers;
        let file = if bytes.len() > RECORD_BYTES_MAX { Some(in_file(bytes)?) } else { None };
        let mut header = Header {
            kind: Kind::Tunnels,
            count: leavers.len() as u16,
            number: self.number,
            length: bytes.len() as u64,
        };
        let mut descriptors = Vec::with_capacity(2 * leavers.len() + 1);
        for leaver in leavers {
            descriptors.extend(leaver.sockets().ok_or(io::ErrorKind::Unsupported)?);
        }
        let mut inline = bytes;
        if let Some(file) = &file {
            header.kind = Kind::TunnelsInFile;
            descriptors.push(file.as_fd());
            inline = &[];
        }
        let header = header.bytes();
        loop {
            match self.line.try_send([&header, inline], &descriptors)? {
                Sending::Sent => break,
                Sending::NoRoom => {
                    self.line
                        .writable(timers, self.deadline_ms)
                        .await
                        .map_err(|_| io::ErrorKind::TimedOut)?;
                }
                Sending::NotNow if clock::now_ms() >= self.deadline_ms => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Sending::NotNow => timers.sleep_until(clock::now_ms() + TICK_MS).await,
            }
        }
        let mut space = [0; ANSWER_BYTES_MAX];
        loop {
            self.line.readable(timers, self.deadline_ms).await.map_err(|_| io::ErrorKind::TimedOut)?;
            if let Some(received) = self.line.try_receive(&mut space)? {
                let told = &space[..received.bytes];
                return Ok(verdicts(told, self.number, leavers.len()).ok());
            }
        }
    }

    /// Takes a record back: from here on the new process can send no verdict. One that it has sent before counts.
    fn take_back(&self, count: usize) -> Option<Vec<Verdict>> {
        self.line.shut();
        let mut space = [0; ANSWER_BYTES_MAX];
        (0..LAST_LOOKS).find_map(|_| {
            let received = self.line.try_receive(&mut space).ok().flatten()?;
            verdicts(&space[..received.bytes], self.number, count).ok()
        })
    }
}

/// A file in memory with these bytes, for a record that is too long for a socket.
fn in_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("tunnels", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}
