//! The new side of the crossing: takes the tunnels that an old core sends, and goes on with them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::record::{self, Entry, HEADER_BYTES, Header, Kind, Verdict};
use crate::clock;
use crate::config::RouteKind;
use crate::gateway::core::{ActiveCore, Core};
use crate::gateway::websocket::tunnel::handover::Handover;
use crate::gateway::websocket::tunnel::registration::Registration;
use crate::gateway::websocket::tunnel::saved::ReadError;
use crate::gateway::websocket::tunnel::state::TunnelState;
use crate::gateway::websocket::tunnel::task::resume;
use crate::limits::{RECORD_BYTES_MAX, RECORD_FILE_BYTES_MAX, TUNNELS_PER_RECORD, VERDICT_MS};
use crate::net::NEVER;
use crate::net::descriptors::{Received, RecordSocket, Sending};

/// Takes tunnels until the old process sends no more.
pub async fn arrive(active: Rc<ActiveCore>, line: OwnedFd) {
    let Ok(line) = RecordSocket::new(line) else { return };
    let mut space = vec![0; HEADER_BYTES + RECORD_BYTES_MAX];
    loop {
        let core = active.core();
        if line.readable(&core.resources.io.timers, NEVER).await.is_err() {
            return;
        }
        let received = match line.try_receive(&mut space) {
            Ok(Some(received)) if received.bytes > 0 => received,
            Ok(None) => continue,
            Ok(Some(_)) | Err(_) => return,
        };
        let bytes = &space[..received.bytes];
        // What is no record cannot be answered: the old process keeps its tunnels when this end is closed.
        let Some((number, judged)) = judge(&active.core(), bytes, received) else { return };
        let verdicts: Vec<Verdict> =
            judged.iter().map(|judged| judged.as_ref().err().copied().unwrap_or(Verdict::Taken)).collect();
        // Dropped here, the tunnels are still the old process's.
        if !answer(&core, &line, &record::answer(number, &verdicts)).await {
            return;
        }
        for arrived in judged.into_iter().flatten() {
            resume(&active.core().resources, take_in(&active.core(), arrived));
        }
    }
}

/// A tunnel that this process may take.
struct Arrived {
    state: TunnelState,
    registration: Registration,
    client: OwnedFd,
    upstream: OwnedFd,
}

type Judged = Result<Arrived, Verdict>;

/// The number of a record, and what is to be said of each of its tunnels. `None`: it is no record.
fn judge(core: &Core, bytes: &[u8], received: Received) -> Option<(u64, Vec<Judged>)> {
    let (header, inline) = Header::read(bytes).ok()?;
    let count = usize::from(header.count);
    let Received { mut descriptors, is_whole, .. } = received;
    if header.kind == Kind::Verdicts || count > TUNNELS_PER_RECORD {
        return None;
    }
    let in_file = match header.kind {
        Kind::TunnelsInFile if is_whole => Some(read_file(descriptors.pop()?, header.length)?),
        _ => None,
    };
    if !is_whole || descriptors.len() != 2 * count {
        return Some((header.number, (0..count).map(|_| Err(Verdict::NoDescriptors)).collect()));
    }
    let entries = record::entries(in_file.as_deref().unwrap_or(inline), count).ok()?;
    let mut descriptors = descriptors.into_iter();
    let pairs = std::iter::from_fn(|| descriptors.next().zip(descriptors.next()));
    let now_ms = clock::now_ms();
    let judged = entries.iter().zip(pairs).map(|(entry, sockets)| judge_one(core, entry, sockets, now_ms));
    Some((header.number, judged.collect()))
}

fn read_file(file: OwnedFd, length: u64) -> Option<Vec<u8>> {
    let length = usize::try_from(length).ok().filter(|length| *length <= RECORD_FILE_BYTES_MAX)?;
    let mut bytes = vec![0; length];
    File::from(file).read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

fn judge_one(core: &Core, entry: &Entry<'_>, sockets: (OwnedFd, OwnedFd), now_ms: u64) -> Judged {
    let verdict = |error| match error {
        ReadError::Version(_) => Verdict::OtherVersion,
        ReadError::Short | ReadError::Malformed | ReadError::Inconsistent | ReadError::Surplus => {
            Verdict::Malformed
        }
    };
    let state = TunnelState::read(entry.state, now_ms).map_err(verdict)?;
    let registration = Registration::read(entry.registration).map_err(verdict)?;
    let is_its =
        |route: &crate::config::Route| route.kind != RouteKind::Http && *route.name == *registration.route;
    if !core.snapshot.config.routes.iter().any(is_its) {
        return Err(Verdict::NoRoute);
    }
    let (client, upstream) = sockets;
    Ok(Arrived { state, registration, client, upstream })
}

/// Sends the verdicts. False: they did not go.
async fn answer(core: &Core, line: &RecordSocket, bytes: &[u8]) -> bool {
    let timers = &core.resources.io.timers;
    let deadline_ms = clock::now_ms() + VERDICT_MS;
    loop {
        match line.try_send([bytes, &[]], &[]) {
            Ok(Sending::Sent) => return true,
            Ok(Sending::NoRoom) if line.writable(timers, deadline_ms).await.is_ok() => {}
            Ok(Sending::NoRoom | Sending::NotNow) | Err(_) => return false,
        }
    }
}

/// Gives a tunnel its places here. It is open already, so no bound keeps it out.
fn take_in(core: &Core, arrived: Arrived) -> Box<Handover> {
    let Arrived { state, registration, client, upstream } = arrived;
    let (tunnels, rules) = (&core.resources.tunnels, &core.snapshot.config.websocket);
    let user = registration.user.as_deref().filter(|_| rules.per_user_max > 0);
    Box::new(Handover {
        slot: tunnels.slot_of_inherited(rules, core.connections_max()),
        user_slot: user.and_then(|user| tunnels.user_slots.take(user, u32::MAX)),
        client: client.into(),
        upstream: upstream.into(),
        state,
        registration,
        revoked_code: rules.revoked_code,
    })
}
