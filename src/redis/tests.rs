//! The client against real servers, and against scripted ones for failures that a real one cannot be made to show.

mod faults;
mod server;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::clock;
use crate::limits::TICK_MS;
use crate::net::runtime::{Preference, ThreadRuntime};
use crate::net::{Endpoint, Io};
use crate::telemetry::metrics::Named;
use server::Server;

use super::*;

/// Writes, so that a server that cannot write shows it; answers with its arguments.
const SCRIPT: &str =
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return {tonumber(ARGV[1]), tonumber(ARGV[2])}";

/// A script of another kind, with an argument that is no number.
const LIST_SCRIPT: &str = "return {redis.call('RPUSH', KEYS[1], ARGV[1])}";

/// The budget of a call where it matters, in milliseconds.
const BUDGET_MS: u64 = 25;

/// A connection on a core of its own, and what it counts.
struct Bench {
    redis: Rc<Node>,
    metrics: Arc<RedisMetrics>,
}

fn settings(timeout_ms: u64) -> Settings {
    Settings {
        timeout_ms,
        probe_keys: vec![b"probe".to_vec()],
        probe_args: vec![0, 0],
        ..Settings::default()
    }
}

fn home(io: &Rc<Io>, metrics: &Arc<RedisMetrics>) -> Home {
    Home {
        io: io.clone(),
        metrics: metrics.clone(),
        nodes: Arc::new(Named::new("node")),
        outage: Arc::default(),
        bell: Bell::default(),
        tls: None,
    }
}

/// Runs a test on a core that has tried to connect.
fn bench<F: Future<Output = ()>>(endpoint: &Endpoint, settings: Settings, test: impl FnOnce(Rc<Bench>) -> F) {
    bench_on(Preference::Ring, endpoint, settings, test);
}

fn bench_on<F: Future<Output = ()>>(
    preference: Preference,
    endpoint: &Endpoint,
    settings: Settings,
    test: impl FnOnce(Rc<Bench>) -> F,
) {
    let (mut runtime, _) = ThreadRuntime::build(preference).unwrap();
    runtime.block_on(async {
        let (io, metrics) = (Rc::<Io>::default(), Arc::new(RedisMetrics::default()));
        let redis = Node::new(settings, &[SCRIPT, LIST_SCRIPT], &home(&io, &metrics), None);
        redis.replace_endpoints(Arc::new([endpoint.clone()]));
        monoio::spawn(async move {
            loop {
                monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
                io.timers.tick(clock::now_ms());
            }
        });
        monoio::spawn(redis.clone().run());
        redis.first_attempt(clock::now_ms() + 3_000).await;
        test(Rc::new(Bench { redis, metrics })).await;
    });
}

type Answer = Result<[i64; 2], Unavailable>;

impl Bench {
    async fn call(&self, n: u64) -> Answer {
        let key = format!("key:{n}");
        self.redis.call(clock::now_us(), |call| call.write(&[key.as_bytes()], &[n, n + 1])).await
    }

    async fn push(&self, key: &str, text: &str) -> Result<[i64; 1], Unavailable> {
        let write = |call: CallWriter<'_>| {
            call.write_args(&[key.as_bytes()], [Arg::Bytes(text.as_bytes())].into_iter());
        };
        self.redis.call_script(1, clock::now_us(), write).await
    }

    /// Concurrent calls, each a task of its own; their answers and the longest wait.
    async fn calls(self: &Rc<Self>, count: u64) -> (Vec<Answer>, Duration) {
        let tasks: Vec<_> = (0..count).map(|n| self.start(n)).collect();
        let (mut answers, mut longest) = (Vec::new(), Duration::ZERO);
        for task in tasks {
            let (answer, waited) = task.await;
            answers.push(answer);
            longest = longest.max(waited);
        }
        (answers, longest)
    }

    fn start(self: &Rc<Self>, n: u64) -> monoio::task::JoinHandle<(Answer, Duration)> {
        let bench = self.clone();
        monoio::spawn(async move {
            let since = Instant::now();
            (bench.call(n).await, since.elapsed())
        })
    }

    /// Waits until the breaker is closed; how long that took.
    async fn recovery(&self) -> Duration {
        let since = Instant::now();
        while self.redis.state() != BreakerState::Closed {
            assert!(since.elapsed() < Duration::from_secs(10), "no recovery");
            sleep(1).await;
        }
        since.elapsed()
    }

    /// No call waits now: it ends the first time that it is looked at.
    async fn assert_open(&self) {
        let mut call = pin!(self.call(1));
        let looked = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        assert_eq!(looked, Poll::Ready(Err(Unavailable::Open)));
    }

    async fn assert_right(self: &Rc<Self>, count: u64) {
        let (answers, _) = self.calls(count).await;
        assert_eq!(answers, right(count));
    }
}

fn right(count: u64) -> Vec<Answer> {
    (0..count as i64).map(|n| Ok([n, n + 1])).collect()
}

async fn sleep(ms: u64) {
    monoio::time::sleep(Duration::from_millis(ms)).await;
}

#[test]
fn concurrent_calls_leave_in_one_write_and_each_gets_its_own_answer() {
    let server = Server::start(&[]);
    for preference in [Preference::Ring, Preference::Epoll] {
        bench_on(preference, &server.endpoint(), settings(1_000), async |bench| {
            for _ in 0..20 {
                let before = bench.metrics.round_trips.get();
                bench.assert_right(64).await;
                assert_eq!(bench.metrics.round_trips.get() - before, 1);
            }
            assert_eq!(bench.metrics.calls.get(), 64 * 20);
            assert_eq!(bench.metrics.breaker_open.get(), 0);
        });
    }
}

#[test]
fn speaks_through_a_unix_socket() {
    let server = Server::start(&[]);
    bench(&Endpoint::unix(&server.socket()), settings(1_000), async |bench| bench.assert_right(8).await);
}

#[test]
fn says_who_it_is_and_selects_its_database() {
    let user = "--user gw on >word +evalsha +script|load +set +select ~*".split(' ');
    let server = Server::start(&["--requirepass", "secret"].into_iter().chain(user).collect::<Vec<_>>());
    let by_password = Settings { password: Some(b"secret".to_vec()), ..settings(1_000) };
    let by_name = Settings {
        username: Some("gw".into()),
        password: Some(b"word".to_vec()),
        database: 3,
        ..settings(1_000)
    };
    for settings in [by_password, by_name] {
        bench(&server.endpoint(), settings, async |bench| bench.assert_right(8).await);
    }
    for password in [None, Some(b"wrong".to_vec())] {
        bench(&server.endpoint(), Settings { password, ..settings(1_000) }, async |bench| {
            bench.assert_open().await;
        });
    }
}

#[test]
fn a_call_over_the_bound_of_the_queue_fails_at_once() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(60_000), async |bench| {
        server.signal(rustix::process::Signal::STOP);
        let tasks: Vec<_> = (0..crate::limits::REDIS_WINDOW_FIRST as u64).map(|n| bench.start(n)).collect();
        sleep(1).await;
        assert_eq!(bench.call(1).await, Err(Unavailable::QueueFull));
        assert_eq!(bench.metrics.queue_full.get(), 1);
        server.signal(rustix::process::Signal::CONT);
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.0, Ok([n as i64, n as i64 + 1]));
        }
        bench.assert_right(3).await;
    });
}

/// What a core does that has other work for so long: nothing for its connections.
fn is_busy(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_call_that_leaves_late_has_its_whole_time_and_says_nothing_against_redis() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(BUDGET_MS), async |bench| {
        for _ in 0..3 {
            let tasks: Vec<_> = (0..16).map(|n| bench.start(n)).collect();
            // The calls are queued, and the connection's task runs behind this.
            monoio::spawn(async { is_busy(4 * BUDGET_MS) });
            for (n, task) in (0..).zip(tasks) {
                assert_eq!(task.await.0, Ok([n, n + 1]));
            }
        }
        assert_eq!((bench.metrics.timeouts.get(), bench.metrics.unsent.get()), (0, 0));
        assert_eq!((bench.redis.state(), bench.metrics.reconnects.get()), (BreakerState::Closed, 1));
    });
}

#[test]
fn an_answer_that_is_there_counts_however_late_this_core_looks() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(BUDGET_MS), async |bench| {
        for _ in 0..3 {
            let (before, tasks) = (bench.metrics.round_trips.get(), (0..16).map(|n| bench.start(n)));
            let tasks: Vec<_> = tasks.collect();
            while bench.metrics.round_trips.get() == before {
                monoio::time::sleep(Duration::ZERO).await;
            }
            is_busy(4 * BUDGET_MS);
            for (n, task) in (0..).zip(tasks) {
                assert_eq!(task.await.0, Ok([n, n + 1]));
            }
        }
        assert_eq!((bench.metrics.timeouts.get(), bench.metrics.unsent.get()), (0, 0));
        assert_eq!(bench.redis.state(), BreakerState::Closed);
    });
}

#[test]
fn a_probe_that_is_answered_in_time_counts_however_late_this_core_looks() {
    let mut server = Server::start(&[]);
    bench(&server.endpoint(), settings(BUDGET_MS), async |bench| {
        bench.assert_right(8).await;
        server.restart(&[]);
        let since = Instant::now();
        // The breaker may open and close again between two looks.
        while bench.metrics.reconnects.get() == 1 {
            assert!(since.elapsed() < Duration::from_secs(10), "the restart is noticed");
            sleep(1).await;
        }
        // A core that is busy all the time, and does little in between.
        while bench.redis.state() != BreakerState::Closed {
            assert!(since.elapsed() < Duration::from_secs(10), "no recovery");
            is_busy(4 * BUDGET_MS);
            sleep(0).await;
        }
        bench.assert_right(8).await;
    });
}

#[test]
fn a_redis_that_takes_no_bytes_is_judged_by_that() {
    let fake = server::Deaf::start(b"*2\r\n:1\r\n:2\r\n");
    bench(&fake.endpoint(), settings(BUDGET_MS), async |bench| {
        let long = vec![b'k'; 64 * 1024];
        let call = |bench: Rc<Bench>, long: Vec<u8>| async move {
            let answer: Answer =
                bench.redis.call(clock::now_us(), |call| call.write(&[&long], &[1, 2])).await;
            answer
        };
        // More than the buffers of both sockets take.
        let tasks: Vec<_> = (0..400).map(|_| monoio::spawn(call(bench.clone(), long.clone()))).collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await);
        }
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        let since = Instant::now();
        while bench.redis.state() == BreakerState::Closed {
            assert!(since.elapsed() < Duration::from_secs(10), "the breaker stays closed");
            let _ = call(bench.clone(), long.clone()).await;
        }
        bench.assert_open().await;
    });
}

#[test]
fn a_caller_that_leaves_takes_nobodys_answer_along() {
    let server = Server::start(&[]);
    bench(&server.endpoint(), settings(1_000), async |bench| {
        for _ in 0..10 {
            {
                let mut left = pin!(bench.call(77));
                assert!(poll_fn(|context| Poll::Ready(left.as_mut().poll(context).is_pending())).await);
            }
            bench.assert_right(5).await;
        }
        assert_eq!(bench.redis.pipeline.queue.borrow().len(), 0);
    });
}
