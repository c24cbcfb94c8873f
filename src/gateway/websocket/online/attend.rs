//! The place of a socket in the set of its user: taken by a handshake, renewed, given back.

use std::rc::Rc;

use super::event::{EventKind, Reason};
use super::{ATTENDANCE, Attendance, Leave, Online, SocketId};
use crate::clock;
use crate::config::{self, OverMax};
use crate::limit::{Client, KeyBuf};
use crate::redis::{Arg, Redis, Unavailable};

/// A handshake under way. Dropped, it gives its place back.
pub struct Arrival {
    online: Rc<Online>,
    attendance: Option<Attendance>,
}

/// There are as many sockets of the user as there may be, over all instances.
#[derive(Debug)]
pub struct Full;

/// What is done with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A new one is taken.
    Enter,
    /// It is renewed.
    Renew,
    /// It is given back.
    Leave,
}

/// What Redis says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The socket has its place.
    pub(super) is_in: bool,
    /// How many the user had before.
    pub(super) before: u64,
    /// How many the user has.
    pub(super) after: u64,
    /// The time of Redis' clock, in µs.
    pub(super) at_us: u64,
    /// The socket that had to go.
    pub(super) replaced: Option<SocketId>,
}

/// A handshake arrives. Where there is a bound over all instances, Redis is asked for a place; where Redis does not
/// answer, the socket has none yet, and the bound of this process alone holds.
///
/// # Errors
/// There are too many.
pub async fn arrive(
    online: &Rc<Online>,
    redis: Option<&Redis>,
    user: Option<&str>,
    route: &str,
) -> Result<Arrival, Full> {
    let (settings, id) = (online.settings(), online.next_id());
    let attendance = Attendance { id, user: user.map(Box::from), route: route.into(), is_entered: false };
    let mut arrival = Arrival { online: online.clone(), attendance: Some(attendance) };
    let (Some(_), Some(user), Some(redis)) = (settings.per_user_max, user, redis) else { return Ok(arrival) };
    match ask(redis, &settings, Wanted::Enter, id, user).await {
        Ok(place) if place.is_in => {
            arrival.attendance.iter_mut().for_each(|attendance| attendance.is_entered = true);
            online.is_in(&user.into(), place);
            Ok(arrival)
        }
        Ok(_) => {
            online.metrics.refused.add(1);
            arrival.attendance = None;
            Err(Full)
        }
        Err(_) => {
            online.metrics.unasked.add(1);
            Ok(arrival)
        }
    }
}

impl Arrival {
    /// The handshake has become a tunnel.
    pub fn into_attendance(mut self) -> Option<Attendance> {
        self.attendance.take()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(Attendance { id, user: Some(user), is_entered: true, .. }) = self.attendance.take() {
            self.online.give_back(Leave { id, user: user.into(), reason: Reason::Word("handshake_failed") });
        }
    }
}

impl Online {
    /// A socket has its place: what follows for its user, and for the one that had to go.
    pub(super) fn is_in(&self, user: &Rc<str>, place: Place) {
        let kind = if place.before == 0 { EventKind::Online } else { EventKind::Seen };
        self.tell_presence(kind, user, Reason::None, place.at_us);
        if let Some(id) = place.replaced {
            self.instance.replace(id);
        }
    }

    /// A socket has given its place back.
    pub(super) fn is_out(&self, leave: &Leave, place: Place) {
        if place.after == 0 {
            self.tell_presence(EventKind::Offline, &leave.user, leave.reason, place.at_us);
        }
    }
}

/// Asks for a place. `attendance.lua` defines the arguments and the answer.
pub(super) async fn ask(
    redis: &Redis,
    settings: &config::Online,
    wanted: Wanted,
    id: SocketId,
    user: &str,
) -> Result<Place, Unavailable> {
    let (mut key, name) = (KeyBuf::default(), id.to_string());
    let key = Client::User(user).tagged_key(&settings.prefix, &mut key);
    let gives_way = settings.over_max == OverMax::CloseOldest;
    let args = [
        Arg::Bytes(wanted.word()),
        Arg::Bytes(name.as_bytes()),
        Arg::Number(settings.lease.as_micros() as u64),
        Arg::Number(settings.per_user_max.map_or(0, |max| u64::from(max.get()))),
        Arg::Number(u64::from(gives_way)),
    ];
    let reply =
        redis.call_script(ATTENDANCE, clock::now_us(), |call| call.write_args(&[key], args.into_iter()));
    // No number of the script is negative.
    let [is_in, before, after, at_us, opened_ms, instance, core, number] =
        reply.await?.map(|number: i64| u64::try_from(number).unwrap_or(0));
    let replaced = SocketId::from_numbers([opened_ms, instance, core, number]);
    Ok(Place { is_in: is_in == 1, before, after, at_us, replaced })
}

impl Wanted {
    fn word(self) -> &'static [u8] {
        match self {
            Wanted::Enter => b"enter",
            Wanted::Renew => b"renew",
            Wanted::Leave => b"leave",
        }
    }
}
