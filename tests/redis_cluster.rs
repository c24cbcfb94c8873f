//! Limits with their buckets in a real Redis cluster: each slot at its master, several slots in one request, slots that
//! move, masters that fail.

mod failover;
mod moving;
mod routing;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::harness::*;

/// The buckets are in this cluster.
fn kept_in(cluster: &RedisCluster, origin: &Origin) -> Builder {
    let builder = Gateway::builder().env("RATE_LIMIT_STORE", "redis").env("REDIS_ADDR", &cluster.addr());
    // Patient: a call that is late passes unlimited, and how soon Redis gets to run is this machine's matter.
    builder.everywhere(origin).env("REDIS_TIMEOUT", "10s")
}

/// So few requests per bucket, and hardly another one.
fn few(builder: Builder, burst: &str) -> Builder {
    builder.env("RATE_LIMIT_RPS", "0.01").env("RATE_LIMIT_BURST", burst)
}

/// A gateway that knows the masters: on a machine that has much else to do, that can take longer than a start waits for
/// them.
trait Started {
    fn started(self) -> Gateway;
}

impl Started for Builder {
    #[track_caller]
    fn started(self) -> Gateway {
        let gateway = self.start();
        gateway.wait_log("the masters and their slots are other ones");
        gateway
    }
}

fn me(user: &str) -> Request {
    Request::new("GET", "/api/v1/users/me").token(user)
}

fn statuses(gateway: &Gateway, requests: impl IntoIterator<Item = Request>) -> Vec<u16> {
    requests.into_iter().map(|request| gateway.ask(request).status).collect()
}

/// Requests that passed although nobody has decided them.
fn unlimited(gateway: &Gateway) -> u64 {
    gateway.metric("limit_unlimited_timeout_total") + gateway.metric("limit_unlimited_breaker_total")
}

/// A route with two limits for each user beside the global one, which are all in one slot.
const OWN: &str = "
[upstreams.auth]
url = 'http://nobody'
[[route]]
name = 'buy'
paths = ['/buy']
upstream = 'auth'
[[route.limit]]
rate = 0.01
burst = 3
per = 'user'
";

fn buy(user: &str) -> Request {
    Request::new("GET", "/buy").token(user)
}
