//! What one request draws from: every bucket that applies to it, decided at once.

use std::net::{IpAddr, Ipv4Addr};

use super::arithmetic::{Decision, Limit, NEVER_US};
use super::bucket::{Bucket, Client, RouteBucket};
use super::{Limited, Permit, Quota};
use crate::config::{Per, RateLimit, Route};
use crate::limits::ROUTE_LIMITS_MAX;

/// A request, as far as limits care.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who asks.
    pub client: Client<'a>,
    /// From where; for a route's limits per address.
    pub address: IpAddr,
    /// The route, if there is one.
    pub route: Option<&'a Route>,
}

/// One bucket and what is taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw<'a> {
    /// The bucket.
    pub bucket: Bucket<'a>,
    /// How it fills, and the cost.
    pub limit: Limit,
}

/// Every bucket of a request: the client's global one first, then the route's in the order written.
#[derive(Debug, Clone)]
pub struct Draws<'a> {
    prefix: &'a str,
    all: [Draw<'a>; 1 + ROUTE_LIMITS_MAX],
    length: usize,
}

impl<'a> Ask<'a> {
    /// The buckets it draws from. None: it is not limited.
    ///
    /// Whoever has no valid credential draws from the bucket for that alone: a route's limits are for those whom
    /// it serves, and a stranger must not be able to empty them.
    pub fn draws(&self, global: &'a RateLimit) -> Draws<'a> {
        let mut draws = Draws { prefix: &global.prefix, all: [NOTHING; 1 + ROUTE_LIMITS_MAX], length: 0 };
        let route = self.route.filter(|_| !matches!(self.client, Client::Bad(_)));
        if route.is_none_or(|route| route.is_limited_globally) {
            let limit = Limit::new(global.rate, global.burst, 1);
            draws.push(Draw { bucket: Bucket::Global(self.client), limit });
        }
        let Some(route) = route else { return draws };
        for (place, own) in route.limits.iter().enumerate() {
            let bucket = RouteBucket { route: &route.name, place };
            let bucket = match own.per {
                Per::User => Bucket::Own(self.client, bucket),
                Per::Ip => Bucket::Own(Client::Address(self.address), bucket),
                Per::None => Bucket::Everybody(bucket),
            };
            draws.push(Draw { bucket, limit: Limit::new(own.rate, own.burst, own.cost) });
        }
        draws
    }
}

impl<'a> Draws<'a> {
    fn push(&mut self, draw: Draw<'a>) {
        self.all[self.length] = draw;
        self.length += 1;
    }

    /// All of them.
    pub fn all(&self) -> &[Draw<'a>] {
        &self.all[..self.length]
    }

    /// What their keys begin with.
    pub fn prefix(&self) -> &'a str {
        self.prefix
    }

    /// What is known without asking anybody: that nothing passes a limit whose rate is 0. No store is ever asked
    /// about one.
    pub fn foregone(&self) -> Option<Decision> {
        let tightest = self.all().iter().position(|draw| draw.limit.units_per_us == 0)?;
        let (wait_us, full_us) = (NEVER_US, NEVER_US);
        Some(Decision { is_admitted: false, tightest, remaining: 0, wait_us, full_us })
    }

    /// What a store's decision means for the request: the one way to a permit of a request that was counted.
    ///
    /// # Errors
    /// [`Limited`] if it was refused.
    pub fn settle(&self, decision: Decision) -> Result<Permit, Limited> {
        let Decision { is_admitted, tightest, remaining, wait_us, full_us } = decision;
        let limit = self.all().get(tightest).map_or(0, |draw| draw.limit.burst());
        let quota = Quota { limit, remaining: remaining.min(limit), full_us };
        if is_admitted { Ok(Permit(Some(quota))) } else { Err(Limited { wait_us, quota }) }
    }
}

const NOTHING: Draw<'static> = Draw {
    bucket: Bucket::Global(Client::Bad(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
    limit: Limit { units_per_us: 0, capacity: 0, cost: 0 },
};

#[cfg(test)]
mod tests {
    use super::super::KeyBuf;
    use super::super::testing::{global, route};
    use super::*;
    use crate::config::{Access, Rate, RouteLimit};

    fn own(per: Per) -> RouteLimit {
        RouteLimit { rate: Rate::from_milli(500), burst: 4, per, cost: 2 }
    }

    fn keys(client: Client<'_>, route: Option<&Route>) -> Vec<String> {
        let ask = Ask { client, address: "192.0.2.1".parse().unwrap(), route };
        let global = global("10", 20);
        let draws = ask.draws(&global);
        let key = |draw: &Draw<'_>| draw.bucket.key(draws.prefix(), &mut KeyBuf::default()).to_vec();
        draws.all().iter().map(|draw| String::from_utf8(key(draw)).unwrap()).collect()
    }

    #[test]
    fn a_request_draws_from_its_clients_bucket_and_those_of_its_route() {
        let (ann, from) = (Client::User("ann"), "192.0.2.1".parse().unwrap());
        assert_eq!(keys(ann, None), ["rl:u:ann"]);
        let limits = vec![own(Per::User), own(Per::Ip), own(Per::None)];
        let shop = Route { limits, ..route("shop", Access::Protected) };
        assert_eq!(
            keys(ann, Some(&shop)),
            ["rl:u:ann", "{rl:u:ann}:shop", "{rl:ip:192.0.2.1}:shop:2", "rl:route:shop:3"]
        );
        assert_eq!(keys(Client::Bad(from), Some(&shop)), ["rl:bad:192.0.2.1"]);
        let limits = vec![own(Per::Ip)];
        let login = Route { limits, is_limited_globally: false, ..route("login", Access::Public) };
        assert_eq!(keys(Client::Address(from), Some(&login)), ["{rl:ip:192.0.2.1}:login"]);
        let free = Route { is_limited_globally: false, ..route("free", Access::Public) };
        assert_eq!(keys(Client::Address(from), Some(&free)), [""; 0]);
        assert_eq!(keys(Client::Bad(from), Some(&free)), ["rl:bad:192.0.2.1"]);
    }

    #[test]
    fn nothing_passes_a_rate_of_zero() {
        let closed = RouteLimit { rate: Rate::from_milli(0), ..own(Per::User) };
        let shop = Route { limits: vec![own(Per::User), closed], ..route("shop", Access::Protected) };
        let (client, global) = (Client::User("ann"), global("10", 20));
        let ask = Ask { client, address: "192.0.2.1".parse().unwrap(), route: Some(&shop) };
        let draws = ask.draws(&global);
        let limited = draws.settle(draws.foregone().unwrap()).unwrap_err();
        assert_eq!((limited.quota.limit, limited.quota.remaining, limited.retry_after_s()), (4, 0, 3600));
        assert_eq!(Ask { route: None, ..ask }.draws(&global).foregone(), None);
    }
}
