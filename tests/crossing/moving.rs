//! What moves, and how.

use rustix::process::{Signal, kill_process};

use super::talk::{Talk, go_on, unnoticed};
use crate::harness::*;

fn ends(gateway: &Gateway) -> Vec<String> {
    gateway.stdout().into_iter().filter(|line| line.contains("\"status\":101")).collect()
}

#[test]
fn ten_upgrades_in_a_row_move_every_byte_of_every_conversation() {
    let origin = echoing();
    for (driver, rounds) in [("auto", 10), ("epoll", 3)] {
        let builder = Gateway::builder().cores("2").everywhere(&origin).env("ACCESS_LOG", "stdout");
        let mut gateway = builder.env("IO_DRIVER", driver).upgradable().start();
        let talks: Vec<Talk> = (0..12)
            .map(|seed| {
                Talk::start(
                    gateway.public,
                    &format!("user-{seed}"),
                    seed,
                    if seed < 4 { 400_000 } else { 2_000 },
                )
            })
            .collect();
        for _ in 0..rounds {
            go_on(&talks);
            gateway.upgrade().expect("an upgrade");
        }
        go_on(&talks);
        assert_eq!(gateway.metric("tunnels_inherited_total"), 12);
        assert_eq!((gateway.metric("tunnels_open"), gateway.metric("tunnels_opened_total")), (12, 0));
        assert_eq!(gateway.wait().code(), Some(0));
        unnoticed(talks);
        eventually("every tunnel has its line", || ends(&gateway).len() >= 12);
        let lines = ends(&gateway);
        assert_eq!(lines.len(), 12, "{lines:#?}");
        for user in 0..12 {
            let of_user = format!("\"user\":\"user-{user}\"");
            assert_eq!(lines.iter().filter(|line| line.contains(&of_user)).count(), 1, "{lines:#?}");
        }
        kill_process(gateway.in_charge(), Signal::TERM).expect("it takes signals");
    }
}
