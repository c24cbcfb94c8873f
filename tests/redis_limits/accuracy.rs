//! One user, two instances, many connections: not one request more than the limit, and hardly one less.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const RATE: f64 = 100.0;
const BURST: f64 = 50.0;
const CONNECTIONS: usize = 64;

fn instance(redis: &Redis, origin: &Origin) -> Builder {
    let builder = kept_in(redis).everywhere(origin).cores("2");
    builder.env("RATE_LIMIT_RPS", "100").env("RATE_LIMIT_BURST", "50")
}

/// As many requests as get through, half of them by each instance.
fn is_accurate(one: &Gateway, other: &Gateway) {
    let claims = format!(r#"{{"sub":"ann","exp":{}}}"#, now() + 3 * 3600);
    let request = me().bearer(&token_with(claims, r#"{"alg":"HS256"}"#, SECRET)).bytes();
    let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let (start, period) = (Barrier::new(CONNECTIONS + 1), Duration::from_millis(2_500));
    let began = thread::scope(|scope| {
        for nth in 0..CONNECTIONS {
            let gateway = if nth % 2 == 0 { one } else { other };
            let (request, start, admitted, refused) = (&request, &start, &admitted, &refused);
            scope.spawn(move || {
                let mut client = gateway.client();
                start.wait();
                let until = Instant::now() + period;
                while Instant::now() < until {
                    match client.send(request).read_response().status {
                        200 => admitted.fetch_add(1, Ordering::Relaxed),
                        429 => refused.fetch_add(1, Ordering::Relaxed),
                        status => panic!("{status}"),
                    };
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let began = Instant::now();
        start.wait();
        began
    });
    let most = BURST + RATE * began.elapsed().as_secs_f64();
    // A bucket that stays full for a moment, because no client gets to run, loses what it would have gained.
    let least = 0.9 * (BURST + RATE * period.as_secs_f64());
    let (admitted, refused) = (admitted.into_inner(), refused.into_inner());
    eprintln!("{admitted} admitted of {most:.1} at most, {refused} refused");
    assert!((least..=most).contains(&(admitted as f64)), "{admitted} in {least:.1} to {most:.1}");
    for gateway in [one, other] {
        let unlimited =
            ["timeout", "breaker"].map(|why| gateway.metric(&format!("limit_unlimited_{why}_total")));
        assert_eq!(unlimited, [0; 2], "somebody passed unlimited");
        assert!(gateway.metric("limit_admitted_total") > 0, "both instances had a share");
    }
}

#[test]
fn two_instances_admit_what_one_limit_allows() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateways = [(); 2].map(|()| instance(&redis, &origin).start());
    is_accurate(&gateways[0], &gateways[1]);
}

#[test]
fn an_instance_whose_libc_is_an_hour_off_changes_nothing() {
    let Some(library) = faketime() else {
        return eprintln!("libfaketime is not installed (package faketime): this test is left out");
    };
    let (redis, origin) = (Redis::start(), Origin::echo());
    let one = instance(&redis, &origin).start();
    let ahead = instance(&redis, &origin).env("LD_PRELOAD", &library).env("FAKETIME", "+3600s");
    let ahead = ahead.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").start();
    // The library reaches what goes through libc, as the log does. The gateway's own clocks ask the kernel
    // without it; of those, the limiter uses the one that only goes forward.
    let hour = |gateway: &Gateway| gateway.wait_log("Redis answers")[11..16].to_owned();
    assert_ne!(hour(&one), hour(&ahead), "the library is in effect");
    is_accurate(&one, &ahead);
}

/// Where the package puts the library for programs with threads.
fn faketime() -> Option<String> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let paths = folders.map(|folder| format!("{folder}/faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| Path::new(path).exists())
}
