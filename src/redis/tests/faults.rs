//! Everything that may happen to Redis: no call waits longer than it should, none gets another's answer, and
//! calls are back soon after Redis is.

use std::io::Write;
use std::sync::Mutex;

use rustix::process::Signal;
use tracing_subscriber::fmt::MakeWriter;

use super::server::{Fake, Proxy};
use super::*;

/// The budget of a call in these tests.
const BUDGET_MS: u64 = 250;
/// What a call takes at most, where a machine has much else to do: to be told from "for ever". How close to its budget
/// a call ends is printed and not asserted.
const LONGEST: Duration = Duration::from_secs(5);
/// How soon calls are back, likewise.
const BACK: Duration = Duration::from_secs(8);
const ANSWER: &[u8] = b"*2\r\n:1\r\n:2\r\n";

#[test]
fn a_stopped_server_costs_one_budget_and_then_nothing() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(BUDGET_MS), async |bench| {
        bench.assert_right(8).await;
        server.signal(Signal::STOP);
        let (answers, longest) = bench.calls(16).await;
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        assert!(longest >= Duration::from_millis(BUDGET_MS) && longest <= LONGEST, "{longest:?}");
        assert!(bench.metrics.timeouts.get() >= 3);
        for _ in 0..50 {
            bench.assert_open().await;
            sleep(20).await;
        }
        server.signal(Signal::CONT);
        let back = bench.recovery().await;
        assert!(back <= BACK, "{back:?}");
        eprintln!("stopped: longest wait {longest:?}, back after {back:?}");
        bench.assert_right(64).await;
    });
}

#[test]
fn a_late_answer_is_nobody_elses() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(BUDGET_MS), async |bench| {
        let mut waits = Vec::new();
        for _ in 0..11 {
            server.signal(Signal::STOP);
            let (answers, longest) = bench.calls(2).await;
            assert_eq!(answers, [Err(Unavailable::TimedOut); 2]);
            waits.push(longest);
            server.signal(Signal::CONT);
            bench.assert_right(32).await;
            assert_eq!(bench.redis.state(), BreakerState::Closed);
        }
        assert_eq!(bench.redis.pipeline.queue.borrow().len(), 0);
        assert_eq!(bench.metrics.reconnects.get(), 1);
        waits.sort_unstable();
        assert!(waits[10] <= LONGEST, "{waits:?}");
        eprintln!("late: waits {waits:?}");
    });
}

#[test]
fn a_killed_server_releases_its_callers_at_once_and_the_log_says_so_once() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    // For every thread: with a subscriber for one of them, another that logs first would silence the line. Each
    // line names its core, which is its thread.
    tracing::subscriber::set_global_default(log).expect("no other test sets one");
    let core = std::thread::Builder::new().name("the logging core".into());
    core.spawn(killed_and_started_again).unwrap().join().unwrap();
    let text = lines.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("the logging core")).collect();
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        (lines.len(), count("ERROR"), count("INFO"), count("answers again")),
        (3, 1, 2, 1),
        "{lines:#?}"
    );
    assert_eq!(count("connection broke") + count("closed the connection"), 1, "{lines:#?}");
}

fn killed_and_started_again() {
    let mut server = Server::start(&[]);
    bench(&server.endpoint(), settings(5_000), async |bench| {
        bench.assert_right(8).await;
        server.signal(Signal::STOP);
        let waiting: Vec<_> = (0..16).map(|n| bench.start(n)).collect();
        sleep(5).await;
        let killed = Instant::now();
        server.signal(Signal::KILL);
        for task in waiting {
            assert_eq!(task.await.0, Err(Unavailable::Open));
        }
        let released = killed.elapsed();
        // Their budget is 5 s from the start.
        assert!(released <= Duration::from_secs(4), "{released:?}");
        for _ in 0..20 {
            bench.assert_open().await;
            sleep(50).await;
        }
        server.restart(&[]);
        let back = bench.recovery().await;
        assert!(back <= BACK, "{back:?}");
        eprintln!("killed: released after {released:?} of the kill, back after {back:?}");
        bench.assert_right(64).await;
    });
}

#[test]
fn a_server_that_forgets_the_script_is_told_it_again() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(1_000), async |bench| {
        for _ in 0..10 {
            bench.assert_right(32).await;
            assert!(server.say(&["SCRIPT", "FLUSH"]).starts_with("+OK"));
            bench.assert_right(32).await;
        }
        assert_eq!(bench.metrics.reconnects.get(), 1);
    });
}

#[test]
fn each_script_is_loaded_when_it_is_needed_and_again_when_it_is_forgotten() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(1_000), async |bench| {
        for nth in 0..5 {
            assert_eq!(bench.push("list", "a b\r\n").await, Ok([2 * nth + 1]));
            bench.assert_right(8).await;
            assert_eq!(bench.push("list", "").await, Ok([2 * nth + 2]));
            assert!(server.say(&["SCRIPT", "FLUSH"]).starts_with("+OK"));
        }
        assert_eq!(bench.metrics.reconnects.get(), 1);
    });
}

#[test]
fn a_refused_call_of_a_further_script_harms_no_other_call() {
    let rights = "--user gw on >word +evalsha +script|load +set +rpush ~key:* ~probe".split(' ');
    let server = Server::start(&rights.collect::<Vec<_>>());
    let settings =
        Settings { username: Some("gw".into()), password: Some(b"word".to_vec()), ..settings(1_000) };
    bench(&server.endpoint(), settings, async |bench| {
        bench.assert_right(8).await;
        // A key that the access list does not have, and one of another type: each more often than the breaker bears.
        for (key, said) in [("list", "NOPERM"), ("key:1", "WRONGTYPE")] {
            for _ in 0..5 {
                assert_eq!(bench.push(key, "x").await, Err(Unavailable::Refused));
                let refusal = bench.redis.take_refusal().expect("what Redis has said");
                assert!(refusal.contains(said), "{refusal}");
                assert_eq!(bench.redis.take_refusal(), None);
            }
            bench.assert_right(8).await;
        }
        assert_eq!((bench.metrics.reconnects.get(), bench.redis.state()), (1, BreakerState::Closed));
    });
}

#[test]
fn a_password_that_we_do_not_have_keeps_the_breaker_open() {
    let mut server = Server::start(&[]);
    bench(&server.endpoint(), settings(BUDGET_MS), async |bench| {
        server.restart(&["--requirepass", "secret"]);
        sleep(10).await;
        for _ in 0..20 {
            bench.assert_open().await;
            sleep(30).await;
        }
        server.restart(&[]);
        let back = bench.recovery().await;
        assert!(back <= BACK, "{back:?}");
        bench.assert_right(8).await;
    });
}

#[test]
fn a_real_server_that_cannot_write_opens_the_breaker_until_it_can() {
    let server = Server::start(&[]);
    let faults = [
        (["REPLICAOF", "127.0.0.1", "1"].as_slice(), ["REPLICAOF", "NO", "ONE"].as_slice()),
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
    ];
    for (fault, remedy) in faults {
        bench(&server.endpoint(), settings(BUDGET_MS), async |bench| {
            bench.assert_right(8).await;
            assert!(server.say(fault).starts_with("+OK"));
            let (answers, longest) = bench.calls(8).await;
            assert_eq!(answers, [Err(Unavailable::Open); 8], "{fault:?}");
            assert!(longest <= LONGEST, "{longest:?}");
            for _ in 0..10 {
                bench.assert_open().await;
                sleep(30).await;
            }
            server.say(remedy);
            let back = bench.recovery().await;
            assert!(back <= BACK, "{back:?}");
            bench.assert_right(8).await;
        });
    }
}

#[test]
fn an_answer_cut_in_the_middle_releases_its_callers() {
    let server = Server::start(&[]);
    let proxy = Proxy::before(&server);
    bench(&proxy.endpoint(), settings(BUDGET_MS), async |bench| {
        bench.assert_right(8).await;
        proxy.cut(true);
        let (answers, longest) = bench.calls(9).await;
        assert!(answers.iter().any(Result::is_err) && longest <= LONGEST, "{answers:?} {longest:?}");
        let wrong =
            |(n, answer): (usize, &Answer)| *answer != Err(Unavailable::Open) && *answer != right(9)[n];
        assert!(!answers.iter().enumerate().any(wrong), "{answers:?}");
        bench.assert_open().await;
        proxy.cut(false);
        let back = bench.recovery().await;
        assert!(back <= BACK, "{back:?}");
        bench.assert_right(64).await;
    });
}

#[test]
fn a_server_that_is_always_late_is_not_asked_any_more() {
    let server = Server::start(&[]);
    let proxy = Proxy::before(&server);
    bench(&proxy.endpoint(), settings(BUDGET_MS), async |bench| {
        bench.assert_right(8).await;
        proxy.delay(4 * BUDGET_MS);
        for _ in 0..3 {
            let (answers, longest) = bench.calls(1).await;
            assert_eq!(answers, [Err(Unavailable::TimedOut)]);
            assert!(longest <= LONGEST, "{longest:?}");
        }
        for _ in 0..60 {
            bench.assert_open().await;
            sleep(20).await;
        }
        proxy.delay(0);
        let back = bench.recovery().await;
        assert!(back <= BACK, "{back:?}");
        bench.assert_right(64).await;
    });
}

#[test]
fn wrong_answers_and_errors_open_the_breaker_at_once() {
    let huge = [&b"$1000000000\r\n"[..], &[b'x'; 100_000]].concat();
    let endless = [&b"*2\r\n:1\r\n+"[..], &[b'x'; 200_000]].concat();
    let answers: [&[u8]; 14] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0",
        b"*2\r\n:1\r\n$1\r\n2\r\n",
        b"*3\r\n:1\r\n:2\r\n:3\r\n",
        b"*1000000\r\n",
        b"*2\r\n:1\r\n:2\r\n:7\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        &huge,
        &endless,
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
    ];
    for answer in answers {
        let fake = Fake::start(ANSWER, answer);
        bench(&fake.endpoint(), settings(1_000), async |bench| {
            assert_eq!(bench.redis.state(), BreakerState::Closed);
            fake.probe_answer(b"-LOADING Redis is loading the dataset in memory\r\n");
            let since = Instant::now();
            let first = bench.call(1).await;
            assert!(first == Err(Unavailable::Open) || first == Ok([1, 2]), "{first:?}");
            // Not the budget of a second.
            assert!(since.elapsed() < Duration::from_millis(950));
            sleep(5).await;
            for _ in 0..5 {
                bench.assert_open().await;
                sleep(40).await;
            }
            assert!(bench.metrics.reconnects.get() > 1, "{}", answer.escape_ascii());
            assert_eq!(bench.redis.pipeline.queue.borrow().len(), 0);
        });
    }
}

#[test]
fn one_bad_bucket_is_not_a_bad_server() {
    let wrong_type = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let fake = Fake::start(ANSWER, wrong_type);
    bench(&fake.endpoint(), settings(1_000), async |bench| {
        for _ in 0..2 {
            assert_eq!(bench.call(1).await, Err(Unavailable::Open));
            assert_eq!(bench.redis.state(), BreakerState::Closed);
        }
        assert_eq!(bench.call(1).await, Err(Unavailable::Open));
        sleep(5).await;
        assert_ne!(bench.redis.state(), BreakerState::Closed);
    });
}

/// Log lines in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}
