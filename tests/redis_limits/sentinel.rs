//! A master behind three sentinels: found, followed when it fails, and never asked again afterwards.

use std::process::{Child, Command, Stdio};

use super::*;

/// A master, its replica and three sentinels with a password; dropped, they are killed.
struct Watched {
    master: Redis,
    replica: Redis,
    sentinels: Vec<(u16, Child)>,
    _files: Vec<TempFile>,
}

impl Watched {
    fn start() -> Watched {
        let (master, replica) = (Redis::start(), Redis::start());
        let (host, port) = at(&master);
        assert_eq!(replica.cli(&["REPLICAOF", &host, &port]), "OK");
        eventually("the replica has its copy", || {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
        });
        let (mut sentinels, mut files) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let own = port_for_later();
            let file = TempFile::new(
                &format!("sentinel-{own}.conf"),
                format!(
                    "bind 127.0.0.1\nport {own}\nrequirepass sesame\nsentinel sentinel-pass sesame\n\
                 sentinel monitor chat {host} {port} 2\nsentinel down-after-milliseconds chat 500\n\
                 sentinel failover-timeout chat 2000\n"
                ),
            );
            let mut command = Command::new("redis-server");
            command.arg(file.path()).args(["--sentinel", "--daemonize", "no"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            sentinels.push((own, command.spawn().expect("a sentinel")));
            files.push(file);
        }
        let watched = Watched { master, replica, sentinels, _files: files };
        eventually("every sentinel knows the replica and the others", || {
            (0..3).all(|nth| {
                let Some(known) = watched.ask(nth, &["SENTINEL", "MASTER", "chat"]) else { return false };
                let words: Vec<&str> = known.lines().collect();
                let number = |name| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
                number("num-slaves") == Some("1") && number("num-other-sentinels") == Some("2")
            })
        });
        watched
    }

    /// What a sentinel says, if it says something.
    fn ask(&self, nth: usize, command: &[&str]) -> Option<String> {
        RedisClient::to(("127.0.0.1", self.sentinels[nth].0))?.try_ask_after("sesame", command)
    }

    fn addr(&self) -> String {
        let all: Vec<String> = self.sentinels.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/chat", all.join(","))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for (_, sentinel) in &mut self.sentinels {
            let _ = sentinel.kill();
            let _ = sentinel.wait();
        }
    }
}

fn at(redis: &Redis) -> (String, String) {
    let address = redis.addr();
    let (host, port) = address.rsplit_once(':').expect("a port");
    (host.to_owned(), port.to_owned())
}

#[test]
fn the_master_that_sentinels_name_is_followed_and_the_old_one_is_never_written() {
    let (watched, origin) = (Watched::start(), Origin::echo());
    let gateway = few(kept_at(&watched.addr()), &origin, "2").config(SHOP);
    let gateway = gateway.env("REDIS_SENTINEL_PASSWORD", "sesame").env("REDIS_TIMEOUT", "250ms").start();
    assert!(gateway.wait_log("the sentinels name another master").contains(&watched.master.addr()));
    let buy = |user: &str| Request::new("GET", "/buy").token(user);
    assert_eq!(statuses(&gateway, [buy("ann"), buy("ann"), buy("ann")]), [200, 200, 429]);
    // All buckets are at one server, so one call decides about them.
    assert_eq!(gateway.metric("redis_calls_total"), 3);
    watched.master.pause();
    assert_eq!(gateway.ask(buy("bob")).status, 200, "nobody waits for long");
    eventually("another master is named", || {
        gateway
            .log()
            .iter()
            .any(|line| line.contains("name another master") && line.contains(&watched.replica.addr()))
    });
    eventually("limits hold", || {
        gateway.ask(me().token("eve"));
        gateway.metric("redis_breaker_open") == 0 && watched.replica.cli(&["EXISTS", "rl:u:eve"]) == "1"
    });
    // The old master comes back, and believes for a moment that it is one. Nobody writes to it.
    watched.master.resume();
    let before = unlimited(&gateway);
    for nth in 0..40 {
        gateway.ask(me().token(&format!("late{nth}")));
        assert_eq!(watched.master.cli(&["EXISTS", &format!("rl:u:late{nth}")]).trim_start_matches('-'), {
            // A replica has what the new master has told it; a master of its own would have nothing.
            let is_replica = watched.master.cli(&["ROLE"]).starts_with("slave");
            if is_replica { "1" } else { "0" }
        });
    }
    assert_eq!(unlimited(&gateway), before);
}
