//! A new connection: who we are, which database, the script, and a first call as the proof that it works.

use std::pin::pin;

use redis::{Cmd, Value};

use crate::clock;
use crate::limits::{REDIS_ADDRESSES_TRIED_MAX, REDIS_CONNECT_MS};
use crate::net::RecvError;
use crate::net::{self, Buffer, Transport};
use crate::redis::Redis;
use crate::redis::breaker::Cause;
use crate::redis::connection::{Refusal, STRANGE, refusal};
use crate::redis::reply::{self, Malformed};

/// Connects and sets up. Afterwards the connection has answered a call of the script within its budget.
pub(super) async fn connect(redis: &Redis) -> Result<Transport, Cause> {
    let stream = reach(redis).await?;
    let mut setup = Setup { redis, stream: &stream, replies: redis.io.buffers.buffer() };
    setup.introduce().await?;
    setup.probe().await?;
    drop(setup);
    Ok(stream)
}

/// Round robin over the addresses, and the next one if one refuses.
async fn reach(redis: &Redis) -> Result<Transport, Cause> {
    let endpoints = redis.endpoints.borrow().clone();
    let order = redis.turns.order(&endpoints, REDIS_ADDRESSES_TRIED_MAX);
    let deadline_ms = || clock::now_ms() + REDIS_CONNECT_MS;
    let reached = net::connect_any(order, &redis.io.timers, deadline_ms).await;
    reached.map(|(transport, _)| transport).map_err(Cause::Connect)
}

struct Setup<'r> {
    redis: &'r Redis,
    stream: &'r Transport,
    replies: Buffer,
}

impl Setup<'_> {
    /// AUTH, HELLO, SELECT and SCRIPT LOAD in one write.
    async fn introduce(&mut self) -> Result<(), Cause> {
        let settings = &self.redis.settings;
        let deadline_ms = clock::now_ms() + REDIS_CONNECT_MS;
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
        self.redis.script.pack_load(&mut commands);
        self.send(&commands, deadline_ms).await?;

        if settings.password.is_some() {
            self.agreed(deadline_ms).await?;
        }
        match self.reply(deadline_ms).await? {
            // A server before Redis 6 speaks RESP2 anyway.
            (_, Refusal::Call(text)) if text.contains("unknown command") => {}
            (Value::Array(_), _) => {}
            (_, refused) => return Err(refused.into_cause()),
        }
        if settings.database != 0 {
            self.agreed(deadline_ms).await?;
        }
        match self.reply(deadline_ms).await? {
            (Value::BulkString(_), _) => Ok(()),
            (_, refused) => Err(refused.into_cause()),
        }
    }

    /// One call, as any other: a replica, a full or loading server, missing rights show here, and so does a
    /// server that is too slow.
    async fn probe(&mut self) -> Result<(), Cause> {
        let settings = &self.redis.settings;
        let mut command = Vec::new();
        let keys: Vec<&[u8]> = settings.probe_keys.iter().map(Vec::as_slice).collect();
        self.redis.script.pack_call(&keys, &settings.probe_args, &mut command);
        let (asked_us, deadline_ms) = (clock::now_us(), clock::now_ms() + REDIS_CONNECT_MS);
        self.send(&command, deadline_ms).await?;
        let (value, refused) = self.reply(deadline_ms).await?;
        let Value::Array(items) = value else { return Err(refused.into_cause()) };
        if !items.iter().all(|item| matches!(item, Value::Int(_))) {
            return Err(Cause::Garbage(STRANGE));
        }
        if !self.replies.is_empty() {
            return Err(Cause::Garbage(Malformed("a reply that nobody asked for")));
        }
        let took_ms = (clock::now_us() - asked_us) / 1_000;
        if took_ms > settings.timeout_ms { Err(Cause::Slow(took_ms)) } else { Ok(()) }
    }

    async fn agreed(&mut self, deadline_ms: u64) -> Result<(), Cause> {
        match self.reply(deadline_ms).await? {
            (Value::Okay, _) => Ok(()),
            (_, refused) => Err(refused.into_cause()),
        }
    }

    async fn send(&self, mut bytes: &[u8], deadline_ms: u64) -> Result<(), Cause> {
        while !bytes.is_empty() {
            match self.stream.try_send(bytes).map_err(Cause::Broken)? {
                Some(sent) => bytes = &bytes[sent..],
                None => match self.redis.io.timers.until(deadline_ms, pin!(self.stream.writable())).await {
                    Ok(polled) => polled.map_err(Cause::Broken)?,
                    Err(_) => return Err(Cause::Silent),
                },
            }
        }
        Ok(())
    }

    /// The next reply, and what it means as a refusal.
    async fn reply(&mut self, deadline_ms: u64) -> Result<(Value, Refusal), Cause> {
        loop {
            if let Some(length) = reply::length(self.replies.filled()).map_err(Cause::Garbage)? {
                let bytes = &self.replies.filled()[..length];
                let value = redis::parse_redis_value(bytes).map_err(|_| Cause::Garbage(STRANGE))?;
                let refused = refusal(bytes);
                self.replies.consume(length);
                return Ok((value, refused));
            }
            match self.stream.recv(&mut self.replies, &self.redis.io.timers, deadline_ms).await {
                Ok(0) => return Err(Cause::Closed),
                Ok(_) => {}
                Err(RecvError::Closed(error)) => return Err(Cause::Broken(error)),
                Err(RecvError::TimedOut) => return Err(Cause::Silent),
            }
        }
    }
}

/// The protocol, and a name for `CLIENT LIST`.
fn hello() -> Cmd {
    let mut hello = redis::cmd("HELLO");
    hello.arg(2).arg("SETNAME").arg("realchat-gateway");
    hello
}
