//! Slots that move from one master to another while their buckets are charged.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn slots_may_move_while_their_buckets_are_charged() {
    let (cluster, origin) = (RedisCluster::start(0), Origin::echo());
    a_slot_that_moves_is_asked_about_on_both_sides(&cluster, &origin);
    a_reshard_under_load_lets_nobody_pass(&cluster, &origin);
}

fn a_slot_that_moves_is_asked_about_on_both_sides(cluster: &RedisCluster, origin: &Origin) {
    let gateway = few(kept_in(cluster, origin), "9").config(OWN).started();
    let source = cluster.master_of("rl:u:known");
    let target = cluster.master_beside(source);
    assert_eq!(statuses(&gateway, [buy("known")]), [200]);
    let new = (0..200_000).map(|nth| format!("new{nth}"));
    let slot = cluster.slot("rl:u:known");
    let mut new = new.filter(|name| {
        u32::from(realchat_gateway::redis::slots::slot(format!("rl:u:{name}").as_bytes())) == slot
    });
    let (first, second) = (new.next().expect("a user"), new.next().expect("another"));
    let number = slot.to_string();
    let (from, to) = (cluster.id(source), cluster.id(target));
    assert_eq!(target.cli(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &from]), "OK");
    assert_eq!(source.cli(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &to]), "OK");
    // Its keys are at the source, and those of a new user at neither: two keys of one slot that no node has together.
    assert_eq!(statuses(&gateway, [(); 3].map(|()| buy("known"))), [200, 200, 429]);
    assert_eq!(statuses(&gateway, [(); 4].map(|()| buy(&first))), [200, 200, 200, 429]);
    assert!(gateway.metric("redis_redirects_total") > 0);
    assert_eq!(unlimited(&gateway), 0, "{:?}", gateway.log());
    // One key has moved, the other has not.
    let address = target.addr();
    let (host, port) = address.rsplit_once(':').expect("a port");
    let moved = source.cli(&["MIGRATE", host, port, "rl:u:known", "0", "5000"]);
    assert_eq!(moved, "OK");
    assert_eq!(statuses(&gateway, [buy("known")]), [429]);
    let other = few(kept_in(cluster, origin), "9").config(OWN).started();
    assert_eq!(statuses(&other, [buy("known"), buy(&second)]), [429, 200]);
    assert_eq!(unlimited(&other), 0, "{:?}", other.log());
    source.cli(&["MIGRATE", host, port, "{rl:u:known}:buy", "0", "5000"]);
    for node in [target, source] {
        assert_eq!(node.cli(&["CLUSTER", "SETSLOT", &number, "NODE", &to]), "OK");
    }
    assert_eq!(statuses(&other, [(); 3].map(|()| buy(&second))), [200, 200, 429]);
    other.wait_log("the masters and their slots are other ones");
    assert_eq!((unlimited(&gateway), unlimited(&other)), (0, 0));
    assert_eq!(gateway.metric("redis_breaker_open") + other.metric("redis_breaker_open"), 0);
    cluster.wait_for_peace();
}

fn a_reshard_under_load_lets_nobody_pass(cluster: &RedisCluster, origin: &Origin) {
    let gateways = [(); 2].map(|()| few(kept_in(cluster, origin), "20").cores("2").started());
    let (stopped, counted) = (AtomicBool::new(false), std::sync::Mutex::new(BTreeMap::<String, u64>::new()));
    thread::scope(|scope| {
        for client in 0..4 {
            let (gateway, stopped, counted) = (&gateways[client % 2], &stopped, &counted);
            scope.spawn(move || {
                let users: Vec<String> = (0..50).map(|nth| format!("many{nth}")).collect();
                let requests: Vec<Vec<u8>> = users.iter().map(|user| me(user).bytes()).collect();
                let mut connection = gateway.client();
                for nth in (0..).map(|nth: usize| nth * 7 + client) {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    // A hot user, and many others.
                    let nth = if nth % 3 == 0 { 0 } else { nth % users.len() };
                    match connection.send(&requests[nth]).read_response().status {
                        200 => *counted.lock().unwrap().entry(users[nth].clone()).or_default() += 1,
                        429 => {}
                        status => panic!("{status}"),
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let source = cluster.master_of("rl:u:many0");
        cluster.reshard(source, cluster.master_beside(source), 600);
        stopped.store(true, Ordering::SeqCst);
    });
    let counted = counted.into_inner().unwrap();
    assert_eq!(gateways.each_ref().map(unlimited), [0, 0], "{:?}", gateways[0].log());
    // The burst, and what a hundredth per second adds meanwhile.
    assert!(counted.values().all(|admitted| *admitted <= 21), "{counted:?}");
    assert_eq!(counted.get("many0"), Some(&20), "the hot user had its whole burst");
}
