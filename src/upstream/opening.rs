//! Opens connections to the members of an upstream, within one time limit.

use std::rc::Rc;

use super::choice::{Choice, Wanted};
use super::lease::{Lease, Use};
use super::member::Member;
use super::pool::Connection;
use super::service::{LeaseError, Upstream};
use super::slot::UpstreamSlot;
use crate::clock;
use crate::limits::{DESCRIPTORS_FREED_MAX, RACE_MEMBERS_MIN};
use crate::net::{self, Candidate, ConnectError, Io, Transport};

/// A connection to a member.
enum Found {
    New(Transport),
    Idle(Box<Connection>),
}

impl Upstream {
    /// A lease of a new connection: to this member, or to the next ones of the choice if it refuses or is slow to
    /// accept.
    pub(super) async fn connect<'u>(
        &'u self,
        slot: UpstreamSlot,
        first: Rc<Member>,
        (choice, wanted): (&mut Choice, Wanted),
        io: &Io,
    ) -> Result<Lease<'u>, LeaseError> {
        let Some(_pending) = self.terms().connect_slot() else { return Err(LeaseError::ConnectsPending) };
        let begun_us = clock::now_us();
        let deadline_ms = clock::now_ms() + self.terms().connect_timeout_ms();
        let found = match choice.members_count() {
            0..RACE_MEMBERS_MIN => self.open_only(first, io, deadline_ms).await,
            // Boxed, because it would be part of every exchange, and is rare.
            _ => Box::pin(self.open_any(first, (choice, wanted), io, deadline_ms)).await,
        };
        match found {
            Ok((Found::New(transport), member)) => {
                self.metrics().connects.add(1);
                let opened = self.terms().home().quota.open();
                let connection = self.terms().pool().connection(transport, member, opened);
                let connect_us = clock::now_us() - begun_us;
                Ok(Lease::new(self.terms(), slot, connection, Use::First { connect_us }))
            }
            Ok((Found::Idle(connection), _)) => {
                self.metrics().reuses.add(1);
                Ok(Lease::new(self.terms(), slot, connection, Use::Reused))
            }
            Err(error) => {
                self.metrics().connect_failures.add(error.cause());
                Err(LeaseError::Connect(error))
            }
        }
    }

    async fn open_only(
        &self,
        member: Rc<Member>,
        io: &Io,
        deadline_ms: u64,
    ) -> Result<(Found, Rc<Member>), ConnectError> {
        match self.open(&member, io, deadline_ms).await {
            Ok(transport) => Ok((Found::New(transport), member)),
            Err(error) => {
                member.failed(&error);
                Err(error)
            }
        }
    }

    async fn open_any(
        &self,
        first: Rc<Member>,
        (choice, wanted): (&mut Choice, Wanted),
        io: &Io,
        deadline_ms: u64,
    ) -> Result<(Found, Rc<Member>), ConnectError> {
        let mut first = Some(first);
        let candidates = || first.take().or_else(|| self.choose(choice));
        let attempt = |member: &Rc<Member>| {
            let member = member.clone();
            async move {
                let idle = match wanted {
                    // Of the first member none was idle.
                    Wanted::Any => self.terms().pool().take(&member, clock::now_ms()),
                    Wanted::New => None,
                };
                match idle {
                    Some(connection) => Ok(Found::Idle(connection)),
                    None => self.open(&member, io, deadline_ms).await.map(Found::New),
                }
            }
        };
        net::race(candidates, attempt, &io.timers, deadline_ms).await
    }

    /// A connection to one member. Where the process has no descriptors left, idle connections give way.
    async fn open(&self, member: &Member, io: &Io, deadline_ms: u64) -> Result<Transport, ConnectError> {
        self.terms().home().quota.make_room();
        let mut freed = 0;
        let transport = loop {
            match net::connect(member.endpoint(), &io.timers, deadline_ms).await {
                Err(error) if error.lacks_descriptors() && freed < DESCRIPTORS_FREED_MAX => {
                    freed += 1;
                    if !self.terms().home().quota.close_one() {
                        return Err(error);
                    }
                }
                connected => break connected?,
            }
        };
        match self.tls() {
            None => Ok(transport),
            // Boxed, because it would be part of every exchange, and is rare.
            Some(tls) => Box::pin(tls.secure(transport, io, deadline_ms)).await,
        }
    }
}
