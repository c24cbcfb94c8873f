//! A cluster without faults: who is asked about which bucket, and what becomes of limits in several slots.

use realchat_gateway::redis::slots;

use super::*;

#[test]
fn each_bucket_is_at_the_master_of_its_slot() {
    let (cluster, origin) = (RedisCluster::start(0), Origin::echo());
    slots_are_those_of_redis(&cluster);
    users_are_limited_wherever_their_buckets_are(&cluster, &origin);
    limits_in_several_slots_are_decided_together(&cluster, &origin);
    a_master_that_cannot_write_opens_its_own_slots_alone(&cluster, &origin);
    names_that_nodes_announce_are_followed(&cluster, &origin);
    revocations_are_at_the_master_of_their_stream(&cluster, &origin);
    a_wrong_password_is_said_and_a_reload_mends_it(&cluster, &origin);
}

fn slots_are_those_of_redis(cluster: &RedisCluster) {
    let mut client = cluster.nodes[0].client();
    for nth in 0..200 {
        for key in [
            format!("rl:u:{nth}"),
            format!("{{rl:ip:10.0.0.{nth}}}:shop"),
            format!("{{{nth}"),
            format!("a{{}}{nth}"),
        ] {
            let slot = client.ask(&["CLUSTER", "KEYSLOT", &key]);
            assert_eq!(slots::slot(key.as_bytes()).to_string(), slot, "{key}");
        }
    }
}

fn revocations_are_at_the_master_of_their_stream(cluster: &RedisCluster, origin: &Origin) {
    let stream = "{rc}:control";
    // The first node is another one.
    let other = cluster.master_beside(cluster.master_of(stream));
    let seeds = format!("redis-cluster://{},{}", NOBODY, other.addr());
    let builder = || {
        let builder = kept_in(cluster, origin).env("REDIS_ADDR", &seeds).env("JWT_MAX_LIFETIME", "24h");
        builder.env("REVOCATION_STREAM", stream)
    };
    let gateway = builder().start();
    let issued = now() - 60;
    let claims = format!(r#"{{"sub":"banned","iat":{issued},"exp":{}}}"#, issued + 3_600);
    let token = token_with(claims, r#"{"alg":"HS256"}"#, SECRET);
    let status = || gateway.ask(Request::new("GET", "/api/v1/users/me").bearer(&token)).status;
    assert_eq!(status(), 200);
    let (code, told, errors) = builder().run(&["revoke", "--user", "banned"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{told}");
    eventually("the token is revoked", || status() == 401);
}

fn users_are_limited_wherever_their_buckets_are(cluster: &RedisCluster, origin: &Origin) {
    // One node is enough to find the others, and one that nobody listens at does no harm.
    let seeds = format!("redis-cluster://{NOBODY},{}", cluster.nodes[1].addr());
    let gateway = few(kept_in(cluster, origin), "2").env("REDIS_ADDR", &seeds).cores("2").started();
    for nth in 0..30 {
        let user = format!("one{nth}");
        assert_eq!(statuses(&gateway, [(); 3].map(|()| me(&user))), [200, 200, 429], "{user}");
    }
    for node in &cluster.nodes {
        let keys: u64 = node.cli(&["DBSIZE"]).parse().expect("a number");
        assert!(keys >= 3, "{keys} keys at {}", node.addr());
    }
    assert_eq!((unlimited(&gateway), gateway.metric("redis_redirects_total")), (0, 0));
    assert!((3..=6).contains(&gateway.metric("redis_nodes")), "one for each master and core that needs it");
    // What a core knows to be empty it does not ask about, whichever node has it.
    let calls = gateway.metric("redis_calls_total");
    let refused: Vec<u16> = (0..20).map(|_| gateway.ask(me("one7")).status).collect();
    assert_eq!(refused, [429; 20]);
    assert!(gateway.metric("redis_calls_total") <= calls + 2);
}

/// Limits for each user, for everybody and for an address: in three slots.
const SHOP: &str = "
[upstreams.auth]
url = 'http://nobody'
[[route]]
name = 'buy'
paths = ['/buy']
upstream = 'auth'
[[route.limit]]
rate = 0.01
burst = 5
per = 'user'
cost = 2
[[route.limit]]
rate = 0.01
burst = 3
per = 'none'
[[route.limit]]
rate = 0.01
burst = 50
per = 'ip'
";

/// The tokens of each bucket, in thousandths.
fn left(cluster: &RedisCluster, keys: &[&str]) -> Vec<u64> {
    let tokens = |key: &&str| {
        let value = cluster.master_of(key).cli(&["GET", key]);
        let units: u64 = value.split_once(':').and_then(|(units, _)| units.parse().ok()).expect("a bucket");
        units / 1_000_000
    };
    keys.iter().map(tokens).collect()
}

fn limits_in_several_slots_are_decided_together(cluster: &RedisCluster, origin: &Origin) {
    let gateway = few(kept_in(cluster, origin), "9").config(SHOP).env("RATE_LIMIT_PREFIX", "shop").started();
    assert_eq!(statuses(&gateway, [buy("ann"), buy("ann")]), [200, 200]);
    let keys = ["shop:u:ann", "{shop:u:ann}:buy", "shop:route:buy:2", "{shop:ip:127.0.0.1}:buy:3"];
    let before = left(cluster, &keys);
    assert!(
        before.iter().zip([7_000, 1_000, 1_000, 48_000]).all(|(left, wanted)| left.abs_diff(wanted) < 400)
    );
    // One token of two that a third one costs. The buckets in the other slots have let it pass, and have their tokens
    // back.
    let refused = gateway.ask(buy("ann"));
    assert_eq!((refused.status, refused.field("ratelimit-limit")), (429, Some("5")));
    assert_eq!(gateway.metric("limit_given_back_total"), 2);
    eventually("the tokens are given back", || {
        left(cluster, &keys).iter().zip(&before).all(|(left, before)| left.abs_diff(*before) < 900)
    });
    // The third one of everybody's, and no fourth: what was refused for that has cost eve nothing.
    assert_eq!(statuses(&gateway, [buy("bob"), buy("eve"), buy("eve")]), [200, 429, 429]);
    eventually("eve has her tokens", || {
        let at = |key: &str| cluster.master_of(key).cli(&["GET", key]);
        // A bucket that is full is gone after a moment.
        ["shop:u:eve", "{shop:u:eve}:buy"].iter().all(|key| at(key) == "(nil)")
    });
    assert_eq!(unlimited(&gateway), 0);
}

fn a_master_that_cannot_write_opens_its_own_slots_alone(cluster: &RedisCluster, origin: &Origin) {
    let gateway = few(kept_in(cluster, origin), "1").env("RATE_LIMIT_PREFIX", "full").started();
    let full = &cluster.nodes[0];
    let user = |nth: usize| format!("u{nth}");
    let is_at_full = |nth: &usize| cluster.master_of(&format!("full:u:u{nth}")).addr() == full.addr();
    let (of_full, others): (Vec<usize>, Vec<usize>) = (0..24).partition(is_at_full);
    assert!(of_full.len() > 2 && others.len() > 4, "{of_full:?} {others:?}");
    full.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for nth in &others {
        assert_eq!(statuses(&gateway, [(); 2].map(|()| me(&user(*nth)))), [200, 429]);
    }
    for nth in &of_full {
        assert_eq!(statuses(&gateway, [(); 2].map(|()| me(&user(*nth)))), [200, 200]);
    }
    let line = gateway.wait_log("Redis is out of reach");
    for part in [full.addr().as_str(), "(", "OOM", "slots"] {
        assert!(line.contains(part), "{line}");
    }
    let opened = gateway.log().iter().filter(|line| line.contains("out of reach")).count();
    assert_eq!((opened, gateway.metric("redis_breaker_open")), (1, 1));
    eventually("it is degraded", || gateway.ask(Request::new("GET", "/readyz")).text().trim() == "degraded");
    assert_eq!(unlimited(&gateway), 2 * of_full.len() as u64);
    full.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    gateway.wait_log("Redis answers again");
    let nth = of_full[0];
    assert_eq!(statuses(&gateway, [(); 2].map(|()| me(&user(nth)))), [200, 429]);
    assert_eq!(gateway.metric("redis_breaker_open"), 0);
}

fn names_that_nodes_announce_are_followed(cluster: &RedisCluster, origin: &Origin) {
    for node in &cluster.nodes {
        node.cli(&["CONFIG", "SET", "cluster-announce-hostname", "localhost"]);
        node.cli(&["CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname"]);
    }
    eventually("every node knows the names", || {
        cluster.nodes.iter().all(|node| node.cli(&["CLUSTER", "SLOTS"]).matches("localhost").count() == 3)
    });
    let gateway = few(kept_in(cluster, origin), "1").env("RATE_LIMIT_PREFIX", "named").started();
    for nth in 0..12 {
        let user = format!("u{nth}");
        assert_eq!(statuses(&gateway, [(); 2].map(|()| me(&user))), [200, 429], "{user}");
    }
    assert_eq!(unlimited(&gateway), 0);
    for node in &cluster.nodes {
        node.cli(&["CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint"]);
    }
    let gateway = few(kept_in(cluster, origin), "1").env("RATE_LIMIT_PREFIX", "unnamed").started();
    assert_eq!(
        statuses(&gateway, [me("a"), me("a"), me("b"), me("b"), me("c"), me("c")]),
        [200, 429, 200, 429, 200, 429]
    );
    assert_eq!(unlimited(&gateway), 0);
}

fn a_wrong_password_is_said_and_a_reload_mends_it(cluster: &RedisCluster, origin: &Origin) {
    for node in &cluster.nodes {
        // What docs/rate-limiting.md says is enough.
        let rights = "on >sesame resetkeys ~pw:* ~{pw:* resetchannels -@all +evalsha +script|load +time +get +set \
                      +cluster|slots +cluster|info +asking";
        let words: Vec<&str> = ["ACL", "SETUSER", "gateway"].into_iter().chain(rights.split(' ')).collect();
        assert_eq!(node.cli(&words), "OK");
        node.cli(&["ACL", "SETUSER", "default", "off"]);
    }
    let written = |password: &str| format!("redis_username = 'gateway'\nredis_password = '{password}'\n");
    let gateway = few(kept_in(cluster, origin), "1").env("RATE_LIMIT_PREFIX", "pw");
    let gateway = gateway.config(&written("wrong")).start();
    assert!(gateway.wait_log("no node says which master has which slots").contains("WRONGPASS"));
    assert_eq!(statuses(&gateway, [me("a"), me("a")]), [200, 200]);
    assert_eq!(gateway.metric("limit_unlimited_breaker_total"), 2);
    gateway.rewrite_config(&written("sesame"));
    gateway.reload();
    assert_eq!(statuses(&gateway, [me("b"), me("b")]), [200, 429]);
}
