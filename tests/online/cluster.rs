//! The same with a Redis cluster: a user's sockets are in the slot of the user, the events in that of the stream.

use super::*;

#[test]
fn a_cluster_has_the_places_of_many_users_and_all_events() {
    let (origin, cluster) = (echoing(), RedisCluster::start(0));
    let builder = Gateway::builder().everywhere(&origin).env("REDIS_ADDR", &cluster.addr());
    let builder =
        builder.env("REDIS_TIMEOUT", "10s").env("WS_EVENTS", "redis:{rc}:events").env("WS_LEASE", "10s");
    let gateway = builder.env("WS_MAX_PER_USER_GLOBAL", "1").start();
    gateway.wait_log("the masters and their slots are other ones");
    let mut sockets: Vec<Socket> =
        (0..12).map(|nth| Socket::open(&gateway, &format!("user-{nth}"))).collect();
    for nth in 0..12 {
        let user = format!("user-{nth}");
        assert_eq!(attempt(&gateway, &user).0, 429, "{user} has as many as allowed");
        assert_eq!(count(cluster.master_of(&sockets_of(&user)), &user), 1);
    }
    let told = cluster.master_of("{rc}:events");
    assert_eq!((wait_events(told, "open", 12).len(), wait_events(told, "online", 12).len()), (12, 12));
    for socket in &mut sockets {
        socket.send(Frame::close(1000, "")).read();
    }
    assert_eq!((wait_events(told, "close", 12).len(), wait_events(told, "offline", 12).len()), (12, 12));
    assert_eq!(told.cli(&["ZCARD", "{rc}:online"]), "0");
}
