//! Lowers upstreams and routes.

use std::collections::BTreeSet;

use super::report::Report;
use super::upstreams::{self, Upstreams};
use super::{
    access, body, claims, conditions, edits, forwarding, hosts, issuers, limits, methods, name, networks,
    oddities, paths, prefixes, realchat, replies, shares, timeouts, tokens_from,
};
use crate::config::layers::Layers;
use crate::config::meaning::{EmptySegments, Issuer, Oddities, Origins, RateLimit, Route, Upstream};
use crate::config::mistake::Mistakes;
use crate::config::written::WrittenRoute;
use crate::config::wrong::Wrong;
use crate::limits::ROUTES_MAX;

/// The upstreams and routes of the nearest layer that has any, or else those of RealChat. `origins`: the pages that may
/// open a WebSocket. `empty_segments`: what becomes of `//` where a route does not say.
pub(crate) fn upstreams_and_routes(
    layers: &mut Layers,
    rate_limit: &RateLimit,
    (issuers, origins, empty_segments): (&[Issuer], &Origins, EmptySegments),
) -> (Vec<Upstream>, Vec<Route>) {
    let file = layers.written.iter().find(|layer| !layer.routes.is_empty() || !layer.upstreams.is_empty());
    let Some(file) = file else {
        let oddities = Oddities::of_gateway(empty_segments);
        let routes = realchat::routes(rate_limit).into_iter().map(|route| Route { oddities, ..route });
        return (realchat::upstreams(layers), routes.collect());
    };
    let (written, written_upstreams) = (file.routes.clone(), file.upstreams.clone());
    if written.is_empty() {
        let why = "are given without any [[route]] that uses them";
        layers.mistakes.add_beside(&Wrong::default(), "upstreams", why);
    }
    let wanted: BTreeSet<&str> = written.iter().flat_map(shares::names).collect();
    let upstreams = upstreams::of_file(layers, written_upstreams, &wanted);
    let known = Known { upstreams: &upstreams, issuers, origins, empty_segments };
    let routes = routes(&written, known, &mut layers.mistakes);
    layers.warnings.extend(paths::unlimited_spellings(&routes));
    layers.warnings.extend(hosts::hidden(&routes));
    layers.warnings.extend(conditions::open(&routes));
    (upstreams.valid, routes)
}

/// What a route may refer to.
#[derive(Clone, Copy)]
struct Known<'k> {
    upstreams: &'k Upstreams,
    issuers: &'k [Issuer],
    /// The pages that may open a WebSocket.
    origins: &'k Origins,
    /// What becomes of `//` where a route does not say.
    empty_segments: EmptySegments,
}

fn routes(written: &[WrittenRoute], known: Known<'_>, mistakes: &mut Mistakes) -> Vec<Route> {
    if written.len() > ROUTES_MAX {
        mistakes.add("route", &format!("there are {}, over {ROUTES_MAX}", written.len()));
    }
    let mut names = BTreeSet::new();
    let mut routes = Vec::new();
    for written in written {
        let mut report = Report::new("route", &written.name, (&written.place, &written.wrong), mistakes);
        if !names.insert(written.name.as_str()) {
            report.add("another route has this name");
        }
        routes.push(route(written, known, &mut report));
    }
    routes
}

/// One route. A harmless value takes the place of a wrong one.
fn route(written: &WrittenRoute, known: Known<'_>, report: &mut Report<'_>) -> Route {
    let Known { upstreams, issuers, origins, empty_segments } = known;
    let (upstream, shares) = shares::upstream(written, upstreams, report);
    name::check(&written.name, report);
    let access = access::access(written, report);
    let kind = access::kind(written, report);
    Route {
        name: written.name.clone(),
        place: written.place.clone(),
        hosts: hosts::hosts(written, report),
        upstream,
        shares,
        access,
        networks: networks::networks(written, report),
        kind,
        issuers: issuers::issuers(written, access, issuers, report),
        token_sources: tokens_from::token_sources(written, (access, kind), origins, report),
        require: claims::require(written, access, report),
        claim_fields: claims::claim_fields(written, access, report),
        methods: methods::methods(written, kind, report),
        conditions: conditions::conditions(written, report),
        paths: paths::paths(written, report),
        trailing_slash: paths::trailing_slash(written, report),
        path_case: paths::path_case(written, report),
        oddities: oddities::taken(written, empty_segments, report),
        reply: replies::reply(written, kind, report),
        prefixes: prefixes::prefixes(written, report),
        authorization_forwarded: forwarding::authorization(written, report),
        method_override_forwarded: forwarding::method_override(written, report),
        trailers_forwarded: forwarding::trailers(written, report),
        request_edits: edits::of_requests(written, report),
        response_edits: edits::of_responses(written, report),
        host_sent: forwarding::host(written, report),
        is_limited_globally: limits::is_limited_globally(written, report),
        limits: limits::limits(written, access, report),
        timeouts: timeouts::timeouts(written, report),
        body_bytes_max: body::bytes_max(written, report),
    }
}
