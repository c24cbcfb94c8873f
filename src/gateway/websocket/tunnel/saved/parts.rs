//! How each part of a tunnel's state is written down.

use super::super::access_context::AccessContext;
use super::super::allowance::Allowance;
use super::super::close::Closing;
use super::super::direction::Direction;
use super::super::farewell::Farewell;
use super::super::judge::Tally;
use super::super::keepalive::{Keepalive, Ping};
use super::super::ownership::Ownership;
use super::super::phase::{Conclusion, Phase};
use super::super::registration::Registration;
use super::super::relay::{Ahead, Stage};
use super::super::rules::TunnelRules;
use super::super::timers::{Expiry, TunnelTimers};
use super::codec::{ReadError, Reader, Saved, Writer};
use crate::auth::{Holder, Mark};
use crate::downstream::clients::Network;
use crate::gateway::websocket::online::{Attendance, SocketId};
use crate::telemetry::TunnelEnd;
use crate::ws::Position;

/// A structure is its fields: those that are times, then the others.
macro_rules! structures {
    ($($name:ident { times: [$($time:ident),*], values: [$($value:ident),*] $(, drops: [$($drop:ident),*])? })*) => {$(
        impl Saved for $name {
            fn write(&self, to: &mut Writer<'_>) {
                $(to.time(self.$time);)*
                $(self.$value.write(to);)*
            }

            fn read(from: &mut Reader<'_>) -> Result<$name, ReadError> {
                $(let $time = from.time()?;)*
                $(let $value = Saved::read(from)?;)*
                Ok($name { $($time,)* $($value,)* $($($drop: None,)*)? })
            }
        }
    )*};
}

structures! {
    TunnelRules { times: [], values: [
        ping_interval_ms, idle_ms, lifetime_ms, message_bytes_max, splice_bytes_min, message_rate_milli, message_burst,
        frame_rate_milli, control_frame_rate_milli
    ] }
    TunnelTimers { times: [begun_ms], values: [expiry, keepalive], drops: [drain] }
    Keepalive { times: [heard_ms], values: [ping, ping_payload, written, acknowledged] }
    Expiry { times: [look_ms], values: [unix_s] }
    Allowance { times: [filled_ms], values: [messages, frames, control_frames, pongs_owed] }
    Tally { times: [], values: [bytes_in, bytes_out, messages_in, messages_out] }
    Position { times: [], values: [payload_left, message_bytes, in_message] }
    Ownership { times: [], values: [holder, handle, route] }
    Attendance { times: [], values: [id, user, route, is_entered] }
    SocketId { times: [], values: [opened_ms, instance, core, number] }
    Holder { times: [], values: [user, token, session, issued_unix_s, expires_unix_s] }
}

/// A choice is a tag and what belongs to it.
macro_rules! choices {
    ($($name:ident { $($tag:literal: $variant:ident),* })*) => {$(
        impl Saved for $name {
            fn write(&self, to: &mut Writer<'_>) {
                let tag: u8 = match self { $($name::$variant => $tag,)* };
                tag.write(to);
            }

            fn read(from: &mut Reader<'_>) -> Result<$name, ReadError> {
                match u8::read(from)? {
                    $($tag => Ok($name::$variant),)*
                    _ => Err(ReadError::Malformed),
                }
            }
        }
    )*};
}

choices! {
    Direction { 0: Up, 1: Down }
    Conclusion { 0: Graceful, 1: Reset }
    Stage { 0: Relaying, 1: SendingClose, 2: AwaitingClose, 3: Discarding, 4: Over }
}

impl Saved for TunnelEnd {
    fn write(&self, to: &mut Writer<'_>) {
        (*self as u8).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<TunnelEnd, ReadError> {
        TunnelEnd::ALL.get(usize::from(u8::read(from)?)).copied().ok_or(ReadError::Malformed)
    }
}

impl Saved for Mark {
    fn write(&self, to: &mut Writer<'_>) {
        self.words().into_iter().for_each(|word| word.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<Mark, ReadError> {
        Ok(Mark::from_words([u64::read(from)?, u64::read(from)?]))
    }
}

impl Saved for Farewell {
    fn write(&self, to: &mut Writer<'_>) {
        self.code().write(to);
        Box::<str>::from(self.reason()).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Farewell, ReadError> {
        let (code, reason) = (u16::read(from)?, Box::<str>::read(from)?);
        Farewell::new(code, &reason).ok_or(ReadError::Malformed)
    }
}

impl Saved for Ping {
    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Ping::Quiet => to.bytes(&[0]),
            Ping::Due => to.bytes(&[1]),
            Ping::Sent(at_ms) => {
                to.bytes(&[2]);
                to.time(*at_ms);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Ping, ReadError> {
        match u8::read(from)? {
            0 => Ok(Ping::Quiet),
            1 => Ok(Ping::Due),
            2 => from.time().map(Ping::Sent),
            _ => Err(ReadError::Malformed),
        }
    }
}

impl Saved for Ahead {
    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Ahead::Nothing => to.bytes(&[0]),
            Ahead::Unjudged => to.bytes(&[1]),
            Ahead::Closed(code) => {
                to.bytes(&[2]);
                code.write(to);
            }
            Ahead::Refused(reason) => {
                to.bytes(&[3]);
                reason.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Ahead, ReadError> {
        match u8::read(from)? {
            0 => Ok(Ahead::Nothing),
            1 => Ok(Ahead::Unjudged),
            2 => Saved::read(from).map(Ahead::Closed),
            3 => Saved::read(from).map(Ahead::Refused),
            _ => Err(ReadError::Malformed),
        }
    }
}

impl Saved for Phase {
    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Phase::Open => to.bytes(&[0]),
            Phase::Broken(direction) => {
                to.bytes(&[1]);
                direction.write(to);
            }
            Phase::PeerClosing { since_ms } => {
                to.bytes(&[2]);
                to.time(*since_ms);
            }
            Phase::Closing(closing) => {
                to.bytes(&[3]);
                closing.write(to);
            }
            Phase::Over(conclusion) => {
                to.bytes(&[4]);
                conclusion.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Phase, ReadError> {
        match u8::read(from)? {
            0 => Ok(Phase::Open),
            1 => Saved::read(from).map(Phase::Broken),
            2 => from.time().map(|since_ms| Phase::PeerClosing { since_ms }),
            3 => Saved::read(from).map(Phase::Closing),
            4 => Saved::read(from).map(Phase::Over),
            _ => Err(ReadError::Malformed),
        }
    }
}

impl Saved for Closing {
    fn write(&self, to: &mut Writer<'_>) {
        self.reason.write(to);
        to.time(self.deadline_ms);
        self.has_told_client.write(to);
        self.client_done_ms.is_some().write(to);
        if let Some(done_ms) = self.client_done_ms {
            to.time(done_ms);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Closing, ReadError> {
        Ok(Closing {
            reason: Saved::read(from)?,
            deadline_ms: from.time()?,
            has_told_client: Saved::read(from)?,
            client_done_ms: bool::read(from)?.then(|| from.time()).transpose()?,
        })
    }
}

impl Saved for Registration {
    fn write(&self, to: &mut Writer<'_>) {
        self.network.address().write(to);
        self.route.write(to);
        self.user.write(to);
        self.attendance.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Registration, ReadError> {
        Ok(Registration {
            network: Network::of(Saved::read(from)?),
            route: Saved::read(from)?,
            user: Saved::read(from)?,
            attendance: Saved::read(from)?,
        })
    }
}

impl Saved for AccessContext {
    fn write(&self, to: &mut Writer<'_>) {
        to.time_us(self.begun_us);
        self.client.write(to);
        self.id.write(to);
        self.path.write(to);
        self.host.write(to);
        self.user_agent.write(to);
        self.route.write(to);
        self.user.write(to);
        self.head_bytes_in.write(to);
        self.head_bytes_out.write(to);
        self.connect_us.write(to);
        self.upstream_head_us.write(to);
        self.upstream_name.write(to);
        self.upstream.write(to);
        self.tls_version.write(to);
        self.tls_cipher.write(to);
        self.sni.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<AccessContext, ReadError> {
        Ok(AccessContext {
            begun_us: from.time_us()?,
            client: Saved::read(from)?,
            id: Saved::read(from)?,
            path: Saved::read(from)?,
            host: Saved::read(from)?,
            user_agent: Saved::read(from)?,
            route: Saved::read(from)?,
            user: Saved::read(from)?,
            head_bytes_in: Saved::read(from)?,
            head_bytes_out: Saved::read(from)?,
            connect_us: Saved::read(from)?,
            upstream_head_us: Saved::read(from)?,
            upstream_name: Saved::read(from)?,
            upstream: Saved::read(from)?,
            tls_version: Saved::read(from)?,
            tls_cipher: Saved::read(from)?,
            sni: Saved::read(from)?,
        })
    }
}
