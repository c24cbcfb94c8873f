//! Lowers upstreams and routes.

use std::collections::BTreeSet;

use super::report::Report;
use super::upstreams::{self, Upstreams};
use super::{access, body, forwarding, issuers, limits, methods, name, paths, realchat, tokens_from};
use crate::config::layers::Layers;
use crate::config::meaning::{Issuer, RateLimit, Route, Upstream};
use crate::config::mistake::Mistakes;
use crate::config::value::quoted;
use crate::config::written::WrittenRoute;
use crate::limits::ROUTES_MAX;

/// The upstreams and routes of the nearest layer that has any, or else those of RealChat.
pub(crate) fn upstreams_and_routes(
    layers: &mut Layers,
    rate_limit: &RateLimit,
    issuers: &[Issuer],
) -> (Vec<Upstream>, Vec<Route>) {
    let file = layers.written.iter().find(|layer| !layer.routes.is_empty() || !layer.upstreams.is_empty());
    let Some(file) = file else {
        return (realchat::upstreams(layers), realchat::routes(rate_limit));
    };
    let (written, written_upstreams) = (file.routes.clone(), file.upstreams.clone());
    if written.is_empty() {
        layers.mistakes.add("upstreams", "are given without any [[route]] that uses them");
    }
    let wanted: BTreeSet<&str> = written.iter().map(|route| route.upstream.as_str()).collect();
    let upstreams = upstreams::of_file(layers, written_upstreams, &wanted);
    let routes = routes(&written, (&upstreams, issuers), &mut layers.mistakes);
    layers.warnings.extend(paths::unlimited_spellings(&routes));
    (upstreams.valid, routes)
}

fn routes(written: &[WrittenRoute], known: (&Upstreams, &[Issuer]), mistakes: &mut Mistakes) -> Vec<Route> {
    if written.len() > ROUTES_MAX {
        mistakes.add("route", &format!("there are {}, over {ROUTES_MAX}", written.len()));
    }
    let mut names = BTreeSet::new();
    let mut routes = Vec::new();
    for written in written {
        let mut report = Report::new("route", &written.name, &written.place, mistakes);
        if !names.insert(written.name.as_str()) {
            report.add("another route has this name");
        }
        routes.push(route(written, known, &mut report));
    }
    routes
}

/// One route. A harmless value takes the place of a wrong one.
fn route(
    written: &WrittenRoute,
    (upstreams, issuers): (&Upstreams, &[Issuer]),
    report: &mut Report<'_>,
) -> Route {
    let upstream = upstream(written, upstreams, report);
    name::check(&written.name, report);
    let access = access::access(written, report);
    let kind = access::kind(written, report);
    Route {
        name: written.name.clone(),
        upstream,
        access,
        kind,
        issuers: issuers::issuers(written, access, issuers, report),
        token_sources: tokens_from::token_sources(written, (access, kind), report),
        methods: methods::methods(written, kind, report),
        paths: paths::paths(written, report),
        trailing_slash: paths::trailing_slash(written, report),
        path_case: paths::path_case(written, report),
        authorization_forwarded: forwarding::authorization(written, report),
        method_override_forwarded: forwarding::method_override(written, report),
        trailers_forwarded: forwarding::trailers(written, report),
        is_limited_globally: limits::is_limited_globally(written, report),
        limits: limits::limits(written, access, report),
        body_bytes_max: body::bytes_max(written, report),
    }
}

/// The index of the upstream that a route names. An upstream with a wrong URL has a mistake of its own.
fn upstream(written: &WrittenRoute, upstreams: &Upstreams, report: &mut Report<'_>) -> usize {
    if !upstreams.names.contains(&written.upstream) {
        let name = quoted(&written.upstream);
        report.add(&format!("upstream {name} is not defined (add [upstreams.NAME])"));
    }
    let found = upstreams.valid.iter().position(|upstream| upstream.name == written.upstream);
    found.unwrap_or_default()
}
