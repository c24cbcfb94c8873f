//! Admission: identifies the caller, charges the rate limiter, authorizes, and finds the route. Forwarding takes an
//! [`Admission`] as evidence.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::auth::{
    self, CredentialError, Identity, Refusal, Standing, UnknownKey, User, Verified, credentials,
};
use crate::clock;
use crate::config::{Access, FieldEdits, IssuerSet, LimitHeaders, Route};
use crate::gateway::answer::failure::Failure;
use crate::gateway::exchange::Exchange;
use crate::gateway::forward::share;
use crate::gateway::forward::trace::CallEnd;
use crate::gateway::plan::Plan;
use crate::http::ProtocolError;
use crate::limit::{Client, Denied, LimitOutcome, Limited, LimitedRequest, Permit};
use crate::limits::{TICK_MS, UNKNOWN_KEY_WAIT_MS};

/// Evidence that one request may use one route: its caller is authorized, and every bucket was charged.
/// Only [`Exchange::admit`] makes one, so an identity or a permit of one route cannot be used for another.
#[derive(Debug)]
pub struct Admission<'c> {
    route: &'c Route,
    /// Index into the upstreams of the configuration.
    upstream: usize,
    identity: Identity,
    _permit: Permit,
}

/// The caller, as far as its credential says.
#[derive(Debug)]
enum Caller {
    /// A public route, where no credential is looked at; or an optional one, and there is none.
    Anonymous,
    /// A valid token.
    User(Verified),
    /// No valid token where one is needed, or an invalid one.
    Rejected(CredentialError),
    /// A valid token in a cookie, and another site's page may have sent the request.
    CrossSite,
}

impl<'c> Admission<'c> {
    /// The route.
    pub fn route(&self) -> &'c Route {
        self.route
    }

    /// The index of the upstream that the request goes to.
    pub fn upstream(&self) -> usize {
        self.upstream
    }

    /// The identity that the route was authorized for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl Caller {
    /// Whose bucket the request is charged to. A caller without a valid token has a bucket of its own kind, so that a
    /// client with a stale token can still log in.
    fn client(&self, address: IpAddr) -> Client<'_> {
        match self {
            Caller::Anonymous => Client::Address(address),
            Caller::User(verified) => Client::User(verified.user.as_str()),
            // With a bucket of the user's, such a page could empty it.
            Caller::Rejected(_) | Caller::CrossSite => Client::Bad(address),
        }
    }

    fn user(&self) -> Option<&User> {
        match self {
            Caller::User(verified) => Some(&verified.user),
            Caller::Anonymous | Caller::Rejected(_) | Caller::CrossSite => None,
        }
    }

    /// What the route changes in answers to it: as the route itself, nothing that a stranger could see.
    fn learns<'c>(&self, plan: &Plan<'c>) -> Option<&'c FieldEdits> {
        let edits = &plan.route()?.response_edits;
        match self {
            Caller::Anonymous | Caller::User(_) => Some(edits).filter(|edits| !edits.is_empty()),
            Caller::Rejected(_) | Caller::CrossSite => None,
        }
    }

    /// What `auth` is told of it. `Err`: it does not come so far.
    fn identified(self) -> Result<Result<Verified, CredentialError>, Failure> {
        match self {
            Caller::Anonymous => Ok(Err(CredentialError::Missing)),
            Caller::User(verified) => Ok(Ok(verified)),
            Caller::Rejected(error) => Ok(Err(error)),
            Caller::CrossSite => Err(Failure::CrossSite),
        }
    }
}

impl<'c> Exchange<'c> {
    /// Identify, limit, authorize, route: in this order, so that guessing tokens is limited too, and only callers
    /// with a valid token learn which routes there are.
    ///
    /// # Errors
    /// The first of the four that fails.
    pub async fn admit(&mut self, plan: Plan<'c>) -> Result<Admission<'c>, Failure> {
        let mut caller = self.identify(&plan);
        if let Caller::Rejected(CredentialError::UnknownKey(key)) = caller {
            // Charged first: whoever writes tokens of made-up keys is limited as whoever guesses.
            let _of_stranger = self.charge(&plan, &caller).await?;
            // Boxed, because it would be part of every exchange, and is rare.
            caller = Box::pin(self.await_key(key, &plan)).await.map_err(Failure::Credential)?;
        }
        self.record.user = caller.user().cloned();
        self.record.edits = caller.learns(&plan);
        let permit = self.charge(&plan, &caller).await?;
        let authorized = auth::authorize(plan.access(), plan.route(), caller.identified()?);
        let identity = authorized.map_err(|refusal| self.refused(refusal))?;
        let destination = plan.destination()?;
        self.client.set_body_bytes_max(destination.body_bytes_max);
        let route = destination.route;
        self.client.set_body_timeout_ms(route.timeouts.body_ms(self.core.snapshot.downstream.body_ms));
        let upstream = route.upstream_of(|| share::key(self, &identity));
        Ok(Admission { route, upstream, identity, _permit: permit })
    }

    /// The request to the upstream has ended, for its trace. `failure`: there is no whole response.
    pub fn call_over(&mut self, admission: &Admission<'_>, failure: Option<&Failure>) {
        if let Some(trace) = &mut self.record.trace {
            let end = match failure {
                None => CallEnd::Response(self.response.status),
                Some(failure) => CallEnd::Failure(failure.word()),
            };
            trace.call_over(self.core, self.request, Some(admission.route), end);
        }
    }

    fn refused(&mut self, refusal: Refusal<'c>) -> Failure {
        match refusal {
            Refusal::Credential(error) => Failure::Credential(error),
            Refusal::Claim(cause) => {
                self.record.refused_for = Some(cause);
                Failure::Forbidden
            }
        }
    }

    fn identify(&self, plan: &Plan<'c>) -> Caller {
        if plan.access() == Access::Public {
            return Caller::Anonymous;
        }
        let found = plan.token(self.request);
        let (verified, is_cookie) = match &found {
            Ok(credential) => (self.verify(&credential.token, plan.issuers()), credential.is_cookie),
            Err(CredentialError::Missing) if plan.access() == Access::Optional => return Caller::Anonymous,
            Err(error) => (Err(*error), false),
        };
        match verified {
            Ok(_) if is_cookie && self.is_cross_site(plan) => Caller::CrossSite,
            Ok(verified) => Caller::User(verified),
            Err(error) => Caller::Rejected(self.told(found.map(|credential| credential.token), error)),
        }
    }

    fn is_cross_site(&self, plan: &Plan<'c>) -> bool {
        plan.is_cross_site(self.request, &self.core.snapshot.cors, self.client_scheme())
    }

    /// Waits for a newer key set, because the token names a key that nobody has yet. Ends when somebody has it.
    ///
    /// # Errors
    /// The key is nobody's, or that cannot be said in time.
    async fn await_key(&self, key: UnknownKey, plan: &Plan<'c>) -> Result<Caller, CredentialError> {
        let (authenticator, timers) = (&self.core.snapshot.authenticator, &self.core.resources.io.timers);
        let deadline_ms = clock::now_ms() + UNKNOWN_KEY_WAIT_MS;
        let (mut generation, mut waiter) = (authenticator.generation(), None);
        loop {
            // Any other keys may be the cause, also those of other issuers.
            if std::mem::replace(&mut generation, authenticator.generation()) != generation {
                match self.identify(plan) {
                    Caller::Rejected(CredentialError::UnknownKey(_)) => {}
                    caller => return Ok(caller),
                }
            }
            if authenticator.look_for(key) == Standing::Nowhere {
                return Err(CredentialError::UnknownKey(key));
            }
            waiter = waiter.or_else(|| authenticator.waiter(deadline_ms));
            if waiter.is_none() || clock::now_ms() >= deadline_ms {
                return Err(CredentialError::KeysUnavailable);
            }
            timers.sleep_until(clock::now_ms() + TICK_MS).await;
        }
    }

    /// What a client without a valid credential is told: the fault of its first one, whatever the route would have
    /// looked at. So the answer is the same on every path. A client whose first credential is valid may learn what the
    /// route wants.
    fn told(&self, found: Result<Cow<'_, [u8]>, CredentialError>, error: CredentialError) -> CredentialError {
        let first = credentials::first(self.request, &self.core.snapshot.config.token_sources);
        if first == found {
            return error;
        }
        match first.and_then(|token| self.verify(&token, IssuerSet::ALL)) {
            // Of two faults with the same code, the log gets the one that the route has found.
            Err(other) if other.code() != error.code() => other,
            Err(_) | Ok(_) => error,
        }
    }

    /// Whether a token counts now, of these issuers and not revoked.
    ///
    /// # Errors
    /// The check that it fails.
    pub(in crate::gateway) fn verify(
        &self,
        token: &[u8],
        issuers: IssuerSet,
    ) -> Result<Verified, CredentialError> {
        let snapshot = &self.core.snapshot;
        let stranger = self.stranger();
        let is_limited = || snapshot.limiter.is_known_empty(&stranger, &snapshot.config.rate_limit);
        let verified = snapshot.authenticator.verify(token, issuers, clock::unix_s(), is_limited)?;
        // Also of a token that is remembered: it may have been revoked since.
        self.core.resources.live.check(&verified.holder)?;
        Ok(verified)
    }

    /// What is limited of a client without a valid credential, whatever it asks for.
    pub(in crate::gateway) fn stranger(&self) -> LimitedRequest<'static> {
        let address = self.record.client;
        LimitedRequest { client: Client::Bad(address), address, route: None }
    }

    /// Charges what reaches no route and needs no credential: a malformed head, and a preflight of an origin that may
    /// not call. It draws from the bucket of its address for bad credentials. Where nobody can count at the moment, the
    /// gateway's own answer costs no service anything, and goes out.
    ///
    /// # Errors
    /// The bucket is empty.
    pub async fn charge_stranger(&mut self) -> Result<(), Limited> {
        let snapshot = &self.core.snapshot;
        let (stranger, global) = (self.stranger(), &snapshot.config.rate_limit);
        let charged = snapshot.limiter.charge(&stranger, global).await;
        self.count_decision(&stranger, &charged);
        match charged {
            Err(Denied::Limited(limited)) => {
                self.record.quota = Some(limited.quota);
                Err(limited)
            }
            Ok(_) | Err(Denied::Unavailable) => Ok(()),
        }
    }

    /// The failure of a head that breaks HTTP. Its address pays for it as for a bad credential; well-formed requests
    /// pay nothing here.
    pub async fn malformed(&mut self, error: ProtocolError) -> Failure {
        match self.charge_stranger().await {
            Ok(()) => Failure::Request(error),
            Err(denied) => Failure::MalformedLimited(error, denied),
        }
    }

    /// Charges every bucket that applies.
    async fn charge(&mut self, plan: &Plan<'c>, caller: &Caller) -> Result<Permit, Failure> {
        let address = self.record.client;
        let (limiter, global) = (&self.core.snapshot.limiter, &self.core.snapshot.config.rate_limit);
        let request = plan.limited_request(caller.client(address), address);
        let charged = limiter.charge(&request, global).await;
        self.count_decision(&request, &charged);
        self.record.quota = match &charged {
            Ok(permit) if global.headers == LimitHeaders::All => permit.quota(),
            Err(Denied::Limited(limited)) => Some(limited.quota),
            Ok(_) | Err(Denied::Unavailable) => None,
        };
        let permit = charged.map_err(Failure::Limit)?;
        self.core.resources.metrics.requests.admitted.add(1);
        Ok(permit)
    }

    /// Counts what each limit of a request has decided. The record gets the one that has refused it.
    fn count_decision(&mut self, request: &LimitedRequest<'_>, charged: &Result<Permit, Denied>) {
        let snapshot = &self.core.snapshot;
        if snapshot.limiter.is_off() {
            return;
        }
        let route = self.record.route_index();
        let label = |limit| snapshot.limits.of(limit, route);
        let outcome = match charged {
            Err(Denied::Limited(limited)) => {
                if let Some(label) = request.limits().nth(limited.charge).and_then(label) {
                    label.count(LimitOutcome::Limited);
                    self.record.limited_by = Some(&label.name);
                }
                return;
            }
            Ok(permit) if permit.quota().is_some() => LimitOutcome::Admitted,
            Ok(_) | Err(Denied::Unavailable) => LimitOutcome::Undecided,
        };
        request.limits().filter_map(label).for_each(|label| label.count(outcome));
    }
}
