//! Which member gets which request: turns, weights, hashes, canaries.

use super::*;

fn counts(origins: &[&Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.requests().len()).collect()
}

#[test]
fn one_request_after_another_reached_one_of_two_members_only() {
    let (one, two) = (Origin::echo(), Origin::echo());
    let members = [one.address, two.address];
    let in_turn = gateway(&members, "balance = 'round_robin'");
    assert_eq!(statuses(&in_turn, "GET", 100), BTreeMap::from([(200, 100)]));
    assert_eq!(counts(&[&one, &two]), [50, 50]);
    // Each has its own idle connection.
    assert_eq!((one.connections(), two.connections()), (1, 1));
    let by_latency = gateway(&members, "");
    assert_eq!(statuses(&by_latency, "GET", 200), BTreeMap::from([(200, 200)]));
    let counts = counts(&[&one, &two]);
    // How long an answer takes on this machine is chance, and so is who gets more; but nobody is left out.
    assert!(counts.iter().all(|count| *count >= 50 + 4), "{counts:?}");
}

#[test]
fn a_member_gets_its_weight() {
    let (light, heavy) = (Origin::echo(), Origin::echo());
    let toml = format!(
        "[upstreams.all]\nurls = [{{ url = 'http://{}', weight = 1 }}, {{ url = 'http://{}', weight = 3 }}]\n\
         host = 'members.test'\nbalance = 'round_robin'\n\
         [[route]]\nname = 'all'\npaths = ['/x/*']\nupstream = 'all'\naccess = 'public'\n",
        light.address, heavy.address
    );
    let gateway = Gateway::builder().config(&toml).start();
    assert_eq!(statuses(&gateway, "GET", 80), BTreeMap::from([(200, 80)]));
    assert_eq!(counts(&[&light, &heavy]), [20, 60]);
}

#[test]
fn a_user_stays_with_one_member_and_so_do_its_sockets() {
    let origins: Vec<Origin> = (0..3).map(|_| Origin::new(answer_or_switch)).collect();
    let members: Vec<SocketAddr> = origins.iter().map(|origin| origin.address).collect();
    let route =
        "access = 'protected'\n[[route]]\nname = 'ws'\npaths = ['/ws']\nupstream = 'all'\nkind = 'websocket'";
    let gateway = Gateway::builder().config(&file(&members, "balance = 'hash'", route)).start();
    let mut used = [0; 3];
    for user in (0..24).map(|user| format!("user-{user}")) {
        let before: Vec<usize> = origins.iter().map(|origin| origin.requests().len()).collect();
        for _ in 0..3 {
            assert_eq!(gateway.get("/x", &user).status, 200);
        }
        drop(Socket::open(&gateway, &user));
        let got = origins.iter().zip(&before).map(|(origin, before)| origin.requests().len() - before);
        let got: Vec<usize> = got.collect();
        let member = got.iter().position(|count| *count == 4);
        used[member.unwrap_or_else(|| panic!("{user} was at {got:?}"))] += 1;
    }
    assert!(used.iter().all(|users| *users > 0), "{used:?}");
}

fn answer_or_switch(exchange: &mut Exchange) {
    while let Some(request) = exchange.read_request() {
        if request.target() == "/ws" {
            exchange.write(switching(""));
            return ServerSide::switched(exchange).echo();
        }
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

#[test]
fn a_header_or_an_address_decides_as_well() {
    let (one, two) = (Origin::echo(), Origin::echo());
    let members = [one.address, two.address];
    let by_room = gateway(&members, "balance = 'hash'\nhash_on = 'header:X-Room'");
    for room in 0..12 {
        let before = counts(&[&one, &two]);
        for _ in 0..3 {
            by_room.ask(Request::new("GET", "/x").field("x-room", &format!("room-{room}")));
        }
        let after = counts(&[&one, &two]);
        assert!(after[0] == before[0] || after[1] == before[1], "room {room}: {before:?}, {after:?}");
    }
    let after = counts(&[&one, &two]);
    assert!(after[0] > 0 && after[1] > 0, "{after:?}");
    let by_address = gateway(&members, "balance = 'hash'\nhash_on = 'address'");
    statuses(&by_address, "GET", 10);
    let at_last = counts(&[&one, &two]);
    assert!(at_last[0] == after[0] || at_last[1] == after[1], "{after:?}, {at_last:?}");
}

#[test]
fn a_canary_gets_its_users_and_keeps_them() {
    let (old, new) = (Origin::echo(), Origin::echo());
    let toml = |weights: [u32; 2]| {
        format!(
            "[upstreams.old]\nurl = 'http://{}'\n[upstreams.new]\nurl = 'http://{}'\n\
             [[route]]\nname = 'r'\npaths = ['/x']\n\
             upstreams = [{{ name = 'old', weight = {} }}, {{ name = 'new', weight = {} }}]\n",
            old.address, new.address, weights[0], weights[1]
        )
    };
    let gateway = Gateway::builder().config(&toml([90, 10])).start();
    let users = || {
        (0..200).filter(|user| {
            let before = new.requests().len();
            assert_eq!(gateway.get("/x", &format!("user-{user}")).status, 200);
            new.requests().len() > before
        })
    };
    let first: Vec<u32> = users().collect();
    assert!((8..=34).contains(&first.len()), "a tenth of 200: {first:?}");
    assert_eq!(users().collect::<Vec<u32>>(), first, "who has the canary keeps it");
    gateway.rewrite_config(&toml([70, 30]));
    gateway.reload();
    let more: Vec<u32> = users().collect();
    assert!(more.len() > first.len() && first.iter().all(|user| more.contains(user)), "{first:?} {more:?}");
    let (_, told, _) = Gateway::builder().config(&toml([90, 10])).run(&["explain", "GET", "/x"]);
    assert!(told.contains("divided by user among upstreams old 90, new 10"), "{told}");
}
