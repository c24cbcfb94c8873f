//! The charges of one request: every bucket that applies to it, and what the request costs there.

use std::net::{IpAddr, Ipv4Addr};

use super::arithmetic::{Decision, Limit, NEVER_US};
use super::bucket::{Bucket, Client, RouteBucket};
use super::permit::{Limited, Permit, Quota};
use crate::config::{Per, RateLimit, Route};
use crate::limits::ROUTE_LIMITS_MAX;

/// What rate limiting needs to know of a request.
#[derive(Debug, Clone, Copy)]
pub struct LimitedRequest<'a> {
    /// Whose buckets are charged.
    pub client: Client<'a>,
    /// The client's address, for limits of a route per address.
    pub address: IpAddr,
    /// The route, if one matches.
    pub route: Option<&'a Route>,
}

/// Which limit of the configuration a bucket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitId {
    /// The global one.
    Global,
    /// The global one, for who has shown no valid credential.
    Strangers,
    /// One of the route's own, by its place.
    Own(usize),
}

/// One bucket and what the request costs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge<'a> {
    /// The bucket that is charged.
    pub bucket: Bucket<'a>,
    /// How the bucket fills, and the cost of the request.
    pub limit: Limit,
}

/// All charges of a request: the client's global bucket first, then the buckets of the route in the order written.
#[derive(Debug, Clone)]
pub struct Charges<'a> {
    prefix: &'a str,
    all: [Charge<'a>; 1 + ROUTE_LIMITS_MAX],
    length: usize,
}

impl<'a> LimitedRequest<'a> {
    /// The request's charges. If there are none, the request is not limited.
    ///
    /// A request without a valid credential is charged to the bad-credentials bucket alone: the limits of a route are
    /// for its users, and a stranger must not be able to empty their buckets.
    pub fn charges(&self, global: &'a RateLimit) -> Charges<'a> {
        let mut charges = Charges { prefix: &global.prefix, all: [NOTHING; 1 + ROUTE_LIMITS_MAX], length: 0 };
        let route = self.route.filter(|_| !matches!(self.client, Client::Bad(_)));
        if route.is_none_or(|route| route.is_limited_globally) {
            let limit = Limit::new(global.rate, global.burst, 1);
            charges.push(Charge { bucket: Bucket::Global(self.client), limit });
        }
        let Some(route) = route else { return charges };
        for (index, own) in route.limits.iter().enumerate() {
            let bucket = RouteBucket { route: &route.name, index };
            let bucket = match own.per {
                Per::User => Bucket::Own(self.client, bucket),
                Per::Ip => Bucket::Own(Client::Address(self.address), bucket),
                Per::None => Bucket::Everybody(bucket),
            };
            charges.push(Charge { bucket, limit: Limit::new(own.rate, own.burst, own.cost) });
        }
        charges
    }
}

impl LimitedRequest<'_> {
    /// The limits of the request, in the order of its charges.
    pub fn limits(&self) -> impl Iterator<Item = LimitId> + use<> {
        let is_stranger = matches!(self.client, Client::Bad(_));
        let route = self.route.filter(|_| !is_stranger);
        let global = if is_stranger { LimitId::Strangers } else { LimitId::Global };
        let is_global = route.is_none_or(|route| route.is_limited_globally);
        let own = route.map_or(0, |route| route.limits.len());
        is_global.then_some(global).into_iter().chain((0..own).map(LimitId::Own))
    }
}

impl<'a> Charges<'a> {
    fn push(&mut self, charge: Charge<'a>) {
        self.all[self.length] = charge;
        self.length += 1;
    }

    /// The charges, in order.
    pub fn all(&self) -> &[Charge<'a>] {
        &self.all[..self.length]
    }

    /// Some of the charges, in their order.
    pub(super) fn pick(&self, is_wanted: impl Fn(usize) -> bool) -> Charges<'a> {
        let mut picked = Charges { prefix: self.prefix, all: [NOTHING; 1 + ROUTE_LIMITS_MAX], length: 0 };
        let wanted = self.all().iter().enumerate().filter(|(nth, _)| is_wanted(*nth));
        wanted.for_each(|(_, charge)| picked.push(*charge));
        picked
    }

    /// The beginning of every key.
    pub fn prefix(&self) -> &'a str {
        self.prefix
    }

    /// The decision that needs no store: a limit whose rate is 0 denies every request. A store is never asked about
    /// such a limit.
    pub fn known_denied(&self) -> Option<Decision> {
        let most_restrictive = self.all().iter().position(|charge| charge.limit.units_per_us == 0)?;
        let (wait_us, full_us) = (NEVER_US, NEVER_US);
        Some(Decision { is_admitted: false, most_restrictive, remaining: 0, wait_us, full_us })
    }

    /// Turns a store's decision into a permit or a denial. A request that was charged gets its permit only here.
    ///
    /// # Errors
    /// [`Limited`] if the request was denied.
    pub fn decide(&self, decision: Decision) -> Result<Permit, Limited> {
        let Decision { is_admitted, most_restrictive, remaining, wait_us, full_us } = decision;
        let limit = self.all().get(most_restrictive).map_or(0, |charge| charge.limit.burst());
        let quota = Quota { limit, remaining: remaining.min(limit), full_us };
        if is_admitted {
            Ok(Permit::charged(quota))
        } else {
            Err(Limited { charge: most_restrictive, wait_us, quota })
        }
    }
}

/// Fills the unused elements of an array of charges.
const NOTHING: Charge<'static> = Charge {
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
        let request = LimitedRequest { client, address: "192.0.2.1".parse().unwrap(), route };
        let global = global("10", 20);
        let charges = request.charges(&global);
        let key = |charge: &Charge<'_>| charge.bucket.key(charges.prefix(), &mut KeyBuf::default()).to_vec();
        assert_eq!(request.limits().count(), charges.all().len());
        for (limit, charge) in request.limits().zip(charges.all()) {
            let is_its = match charge.bucket {
                Bucket::Global(Client::Bad(_)) => limit == LimitId::Strangers,
                Bucket::Global(_) => limit == LimitId::Global,
                Bucket::Own(_, own) | Bucket::Everybody(own) => limit == LimitId::Own(own.index),
            };
            assert!(is_its, "{limit:?} of {charge:?}");
        }
        charges.all().iter().map(|charge| String::from_utf8(key(charge)).unwrap()).collect()
    }

    #[test]
    fn a_request_is_charged_to_its_clients_bucket_and_those_of_its_route() {
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
        let request = LimitedRequest { client, address: "192.0.2.1".parse().unwrap(), route: Some(&shop) };
        let charges = request.charges(&global);
        let limited = charges.decide(charges.known_denied().unwrap()).unwrap_err();
        assert_eq!((limited.quota.limit, limited.quota.remaining, limited.retry_after_s()), (4, 0, 3600));
        assert_eq!(LimitedRequest { route: None, ..request }.charges(&global).known_denied(), None);
    }
}
