//! Sets up a new connection: authentication, database, script, and a first call that shows that it works.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use redis::{Cmd, Value};

use super::breaker::OutageCause;
use super::error_reply::ErrorReply;
use super::reply::{self, UNASKED, UNEXPECTED_FORM};
use super::script::{Arg, Script};
use super::server::Server;
use super::settings::{Arrangement, Settings};
use crate::clock;
use crate::limits::REDIS_CONNECT_MS;
use crate::net::{Buffer, Io, Liveness, RecvError, SendError, Timers, Transport};

/// Connects and sets the connection up. On success it has answered a call of the script within the budget of a call.
pub(super) async fn connect(
    server: &Server,
    settings: &Settings,
    script: &Script,
    io: &Io,
) -> Result<Transport, OutageCause> {
    let transport = server.connect(io).await.map_err(OutageCause::Connect)?;
    let replies = io.buffers.buffer();
    let mut setup = Setup { settings, script, timers: &io.timers, transport: &transport, replies };
    setup.introduce().await?;
    setup.probe().await?;
    drop(setup);
    Ok(transport)
}

/// A connection that is being set up.
struct Setup<'s> {
    settings: &'s Settings,
    script: &'s Script,
    timers: &'s Timers,
    transport: &'s Transport,
    replies: Buffer,
}

impl Setup<'_> {
    /// Sends AUTH, HELLO, SELECT and SCRIPT LOAD in one write, and checks the replies.
    async fn introduce(&mut self) -> Result<(), OutageCause> {
        let deadline_ms = clock::now_ms() + REDIS_CONNECT_MS;
        self.send(&self.introduction(), deadline_ms).await?;
        if self.settings.password.is_some() {
            self.expect_ok(deadline_ms).await?;
        }
        match self.reply(deadline_ms).await? {
            // A server older than Redis 6 does not know HELLO; it speaks RESP2 anyway.
            (_, ErrorReply::Call(text)) if text.contains("unknown command") => {}
            (Value::Array(_), _) => {}
            (_, error) => return Err(error.into_cause()),
        }
        if self.settings.database != 0 {
            self.expect_ok(deadline_ms).await?;
        }
        match self.reply(deadline_ms).await? {
            (Value::BulkString(_), _) => Ok(()),
            (_, error) => Err(error.into_cause()),
        }
    }

    fn introduction(&self) -> Vec<u8> {
        let settings = self.settings;
        let mut commands = Vec::new();
        if let Some(password) = &settings.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = &settings.username {
                auth.arg(username);
            }
            auth.arg(password.as_slice());
            auth.write_packed_command(&mut commands);
        }
        hello().write_packed_command(&mut commands);
        if settings.database != 0 {
            redis::cmd("SELECT").arg(settings.database).write_packed_command(&mut commands);
        }
        self.script.pack_load(&mut commands);
        commands
    }

    /// Makes one call of the script. It fails on a replica, on a full, loading or slow server, and without the rights
    /// that calls need.
    async fn probe(&mut self) -> Result<(), OutageCause> {
        let settings = self.settings;
        if settings.probe_keys.is_empty() {
            return Ok(());
        }
        let mut command = Vec::new();
        let keys: Vec<&[u8]> = settings.probe_keys.iter().map(Vec::as_slice).collect();
        let args = settings.probe_args.iter().map(|number| Arg::Number(*number));
        self.script.pack_call(&keys, args, &mut command);
        let deadline_ms = clock::now_ms() + REDIS_CONNECT_MS;
        self.send(&command, deadline_ms).await?;
        let sent_us = clock::now_us();
        let is_in_time = self.answers_within(settings.timeout_ms.min(REDIS_CONNECT_MS)).await;
        let (value, error) = self.reply(deadline_ms).await?;
        let items = match (value, error) {
            (Value::Array(items), _) => items,
            // The slot of the probe has moved since: so the node answers, and calls find the other one likewise.
            (_, ErrorReply::Elsewhere(_)) if settings.arrangement == Arrangement::Cluster => Vec::new(),
            (_, error) => return Err(error.into_cause()),
        };
        if !items.iter().all(|item| matches!(item, Value::Int(_))) {
            return Err(OutageCause::Garbage(UNEXPECTED_FORM));
        }
        if !self.replies.is_empty() {
            return Err(OutageCause::Garbage(UNASKED));
        }
        let took_ms = (clock::now_us() - sent_us) / 1_000;
        if is_in_time { Ok(()) } else { Err(OutageCause::Slow(took_ms)) }
    }

    /// Whether an answer is there after this time at the latest. A core that looks late, because it has other work,
    /// finds the answer of a Redis that was in time.
    async fn answers_within(&self, budget_ms: u64) -> bool {
        let mut readable = pin!(self.transport.readable());
        let mut sleep = pin!(monoio::time::sleep(Duration::from_millis(budget_ms)));
        poll_fn(|context| {
            if readable.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            ready!(sleep.as_mut().poll(context));
            Poll::Ready(self.transport.liveness() != Liveness::Quiet)
        })
        .await
    }

    /// Expects `+OK`.
    async fn expect_ok(&mut self, deadline_ms: u64) -> Result<(), OutageCause> {
        match self.reply(deadline_ms).await? {
            (Value::Okay, _) => Ok(()),
            (_, error) => Err(error.into_cause()),
        }
    }

    async fn send(&self, bytes: &[u8], deadline_ms: u64) -> Result<(), OutageCause> {
        self.transport.send_all(bytes, self.timers, deadline_ms).await.map_err(|error| match error {
            SendError::Closed(error) => OutageCause::Broken(error),
            SendError::TimedOut => OutageCause::Silent,
        })
    }

    /// The next reply, and what it says as an error.
    async fn reply(&mut self, deadline_ms: u64) -> Result<(Value, ErrorReply), OutageCause> {
        loop {
            if let Some(length) = reply::length(self.replies.filled()).map_err(OutageCause::Garbage)? {
                let bytes = &self.replies.filled()[..length];
                let value =
                    redis::parse_redis_value(bytes).map_err(|_| OutageCause::Garbage(UNEXPECTED_FORM))?;
                let error = ErrorReply::parse(bytes);
                self.replies.consume(length);
                return Ok((value, error));
            }
            match self.transport.recv(&mut self.replies, self.timers, deadline_ms).await {
                Ok(0) => return Err(OutageCause::Closed),
                Ok(_) => {}
                Err(RecvError::Closed(error)) => return Err(OutageCause::Broken(error)),
                Err(RecvError::TimedOut) => return Err(OutageCause::Silent),
            }
        }
    }
}

/// Chooses RESP2 and sets a name for `CLIENT LIST`.
fn hello() -> Cmd {
    let mut hello = redis::cmd("HELLO");
    hello.arg(2).arg("SETNAME").arg("realchat-gateway");
    hello
}
