//! A hot upgrade: sockets that move to the new process keep their names and their places.

use rustix::process::{Signal, kill_process};

use super::*;

#[test]
fn a_socket_that_moves_to_the_new_process_keeps_its_place_and_nobody_goes_off_line() {
    let (origin, redis) = (echoing(), Redis::start());
    let builder = telling_redis(&origin, &redis).env("WS_MAX_PER_USER_GLOBAL", "2").cores("2");
    let mut gateway = builder.env("WS_MAX_PER_USER_GLOBAL_ACTION", "close_oldest").upgradable().start();
    let mut old = Socket::open(&gateway, "ann");
    let open = wait_events(&redis, "open", 1).remove(0);
    wait_events(&redis, "online", 1);
    let successor = gateway.upgrade().expect("an upgrade");
    assert_eq!(gateway.wait().code(), Some(0));
    old.expect_echo("it goes on");
    // Leases are 3 s long: the new process has renewed this one more than once when it is as late as that.
    let till = || redis.cli(&["ZSCORE", &sockets_of("ann"), &open.conn]).parse::<u64>().unwrap_or(0);
    let then = till();
    assert!(then > 0, "it has its place");
    eventually("the lease is renewed", || till() > then + 3_000_000);
    assert_eq!((of_kind(&redis, "close"), of_kind(&redis, "offline")), (vec![], vec![]));
    assert_eq!((of_kind(&redis, "open").len(), of_kind(&redis, "online").len()), (1, 1));

    // The new process finds it by its name: here it is the oldest.
    let _newer = [(); 2].map(|()| {
        std::thread::sleep(std::time::Duration::from_millis(3));
        Socket::open(&gateway, "ann")
    });
    old.expect_goodbye(4409);
    let close = wait_events(&redis, "close", 1).remove(0);
    assert_eq!((&close.conn, close.reason.as_str()), (&open.conn, "replaced"));
    assert!(close.instance != open.instance, "the new process tells of it");
    kill_process(successor, Signal::KILL).expect("it takes signals");
}
