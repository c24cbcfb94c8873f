//! The subcommand `explain METHOD URL`: describes how the gateway would handle a request, using the same plan as the
//! pipeline.

mod caller;
mod question;

use std::fmt::Write;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

use crate::config::{
    self, Access, ClaimField, ClientHeaders, Config, HostSent, LimitStore, Rate, RouteKind, TokenSources,
    Via, show_conditions, show_destination, show_hosts, show_networks, show_oddities, show_spellings,
    show_timeouts,
};
use crate::gateway::answer::failure::Failure;
use crate::gateway::core::{body_bytes_max, head_limits};
use crate::gateway::cors::CorsPolicy;
use crate::gateway::forward::headers;
use crate::gateway::plan::Plan;
use crate::gateway::websocket::handshake;
use crate::http::path::before_parameters;
use crate::http::{Field, Request, Scheme};
use crate::http1::{HeadScan, RequestHead};
use crate::limit::arithmetic::UNITS_PER_TOKEN;
use crate::limit::{Charge, Client, KeyBuf, Limit};
use crate::limits::TOKEN_BYTES_MAX;
use crate::route::{Match, RouteEntry, RouteTable};

use caller::Caller;

pub use question::Question;

/// Describes how the gateway would handle a request: the plan of the pipeline and the header rules.
///
/// # Errors
/// Returns a line for the operator if the path is not a request target, a field is none, or the routes conflict.
pub fn explain(config: &Config, question: &Question<'_>) -> Result<String, String> {
    let routes = RouteTable::new(&config.routes).map_err(|mistakes| mistakes.join("\n"))?;
    let cors = CorsPolicy::new(&config.cors);
    let bytes = question.head()?;
    let (limits, mut request) = (head_limits(config), Request::default());
    let length = match HeadScan::default().advance(&bytes, &limits) {
        Ok(Some(length)) => length,
        Ok(None) => return Err("URL: not a request target".to_owned()),
        Err(error) => return Ok(refused(error.status(), error.code(), error.detail())),
    };
    if let Err(error) = RequestHead::parse(&bytes[..length], &limits, &mut request) {
        return Ok(refused(error.status(), error.code(), error.detail()));
    }
    // Of a path alone, what follows on a redirect, if the configuration has any.
    let scheme = if question.url.starts_with("http://") { Scheme::Http } else { Scheme::Https };
    let plan = Plan::new(config, &routes, &cors, &request, scheme);
    // What follows may be a token.
    let shown = before_parameters(request.path());
    let rest = if shown.len() < request.path().len() { "; (and parameters, not shown)" } else { "" };
    let mut text = format!("path            {}{rest}\n", String::from_utf8_lossy(shown));
    if let Err(error) = plan.check_path() {
        return Ok(text + &refused(error.status(), error.code(), error.detail()));
    }
    if plan.local.is_some() {
        text.push_str("answered by     the gateway itself, without authentication\n");
        return Ok(text);
    }
    route(&mut text, config, &plan);
    handshake(&mut text, config, &plan, &request);
    authentication(&mut text, config, &plan);
    let caller = caller::find(&mut text, config, &plan, (question, &request), (&cors, scheme));
    buckets(&mut text, config, &plan, &caller);
    if caller.is_refused() {
        text.push_str("upstream        gets nothing\n");
    } else {
        destination(&mut text, config, &plan, (&request, &caller));
    }
    Ok(text)
}

fn route(text: &mut String, config: &Config, plan: &Plan<'_>) {
    let _ = match plan.found {
        Match::Route(RouteEntry { route: config::Route { name, reply: Some(reply), .. }, .. }) => {
            writeln!(text, "route           {name} ({reply})")
        }
        Match::Route(entry) => {
            let (route, upstream) = (&entry.route, &config.upstreams[entry.route.upstream]);
            let (name, service, authority) = (&route.name, &upstream.name, &upstream.authority);
            let spellings = show_spellings(route)
                .map_or_else(String::new, |spellings| format!("; its paths: {spellings}"));
            let over = if upstream.tls.is_some() { " over TLS" } else { "" };
            if route.shares.is_empty() {
                writeln!(text, "route           {name} (upstream {service}, {authority}{over}){spellings}")
            } else {
                let by = match route.access {
                    Access::Public => "client address",
                    Access::Protected => "user",
                    Access::Optional => "user, or client address,",
                };
                let shares = show_destination(config, route);
                writeln!(text, "route           {name} (divided by {by} among upstreams {shares}){spellings}")
            }
        }
        Match::MethodNotAllowed { allow, .. } => {
            writeln!(text, "route           none for this method: 405, Allow: {allow}")
        }
        Match::FieldsMissing => {
            writeln!(text, "route           none for these fields: 404 no_route, only with a valid token")
        }
        Match::Unknown => {
            writeln!(text, "route           none: 404 no_route, only with a valid token")
        }
    };
    if let Some(hosts) = plan.route().and_then(show_hosts) {
        let _ = writeln!(text, "                {hosts}");
    }
    if let Some(conditions) = plan.route().and_then(show_conditions) {
        let _ = writeln!(text, "                {conditions}");
    }
    match plan.route().map(|route| route.kind) {
        Some(RouteKind::WebSocket) => {
            text.push_str("                WebSocket: without a handshake 426 upgrade_required\n");
        }
        Some(RouteKind::Both) => {
            text.push_str(
                "                a handshake becomes a WebSocket, any other request is forwarded\n",
            );
        }
        Some(RouteKind::Http) | None => {}
    }
}

/// Tells what is wrong with a handshake, if the request asks for one where it can have it.
fn handshake(text: &mut String, config: &Config, plan: &Plan<'_>, request: &Request) {
    let is_taken = plan.route().is_some_and(|route| route.kind != RouteKind::Http);
    if !request.is_websocket || !is_taken {
        return;
    }
    let _ = match handshake::check(request, &config.websocket.origins).map_err(Failure::Handshake) {
        Ok(()) => writeln!(text, "handshake       complete"),
        Err(failure) => {
            let (status, code) = failure.answer();
            writeln!(text, "handshake       refused: {status} {code}: {}", failure.detail())
        }
    };
}

/// Reads a token, up to the longest that is looked at. Line breaks at its end are not part of it.
///
/// # Errors
/// A line for the operator: it cannot be read, or is no text.
pub fn read_token(from: &mut impl Read) -> Result<String, String> {
    let mut text = String::new();
    let read = from.take(TOKEN_BYTES_MAX as u64 + 2).read_to_string(&mut text);
    read.map_err(|error| format!("--token: standard input cannot be read: {error}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn authentication(text: &mut String, config: &Config, plan: &Plan<'_>) {
    let known = config.jwt.issuers.iter().enumerate();
    let names =
        known.filter(|(index, _)| plan.issuers().contains(*index)).map(|(_, issuer)| issuer.name.as_str());
    let issuers = names.collect::<Vec<_>>().join(", ");
    let header = TokenSources::header();
    let sources = plan.route().map_or(&header, |route| &route.token_sources);
    let token = match sources.is_header_alone() {
        true => format!("Bearer token of {issuers}"),
        false => format!("token of {issuers}, from {sources}"),
    };
    if let Some(networks) = plan.route().and_then(show_networks) {
        let _ = writeln!(text, "clients         {networks}; others 403 address_not_allowed");
    }
    let _ = match plan.access() {
        Access::Public => writeln!(text, "authentication  none: a public route"),
        Access::Protected => writeln!(text, "authentication  {token}; without a valid one 401"),
        Access::Optional => {
            writeln!(text, "authentication  {token}; without one anonymous, with an invalid one 401")
        }
    };
    if !sources.cookies.is_empty() {
        let harm = "a handshake or a method that may change something";
        let _ = writeln!(text, "                by a cookie, {harm}, from another site: 403 cross_site");
    }
}

/// Describes the limits of the request and which header fields are removed, forwarded and set.
fn destination(text: &mut String, config: &Config, plan: &Plan<'_>, (request, caller): (&Request, &Caller)) {
    let Some(route) = plan.route() else { return };
    if matches!(plan.destination(), Err(Failure::PathParameters)) {
        text.push_str("parameters      refused: 400 path_parameters\n");
    }
    if matches!(plan.destination(), Err(Failure::Request(_))) {
        text.push_str("encoded slash   refused, because it leads to another route: 400 path_encoded_slash\n");
    }
    if let Some(oddities) = show_oddities(config, route) {
        let _ = writeln!(text, "odd paths       {oddities}");
    }
    if !route.prefixes.is_empty() {
        let sent = route.prefixes.apply(before_parameters(request.path())).concat();
        let _ = writeln!(text, "upstream path   {}", String::from_utf8_lossy(&sent));
    }
    let bytes_max = Some(body_bytes_max(config, Some(route))).filter(|bytes_max| *bytes_max != u64::MAX);
    let _ = writeln!(text, "body            at most {} bytes (0: any)", bytes_max.unwrap_or(0));
    if !route.response_edits.is_empty() {
        let _ = writeln!(text, "response fields {}", route.response_edits);
    }
    if route.reply.is_some() {
        return;
    }
    if let Some(timeouts) = show_timeouts(route) {
        let _ = writeln!(text, "timeouts        {timeouts}");
    }
    let (passed, removed): (Vec<_>, Vec<_>) = request.fields.iter().partition(|field| {
        headers::passes_upstream(field, route, false) && !headers::stays_here(field, request, route)
    });
    let names = |fields: Vec<&Field>| {
        let names = fields.into_iter().map(|field| String::from_utf8_lossy(field.name.of(request.bytes())));
        names.collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(text, "removed         {}", names(removed));
    let _ = writeln!(text, "passed on       {}, and any other field", names(passed));
    stays_here(text, &route.token_sources);
    let user = match (route.access, caller.user()) {
        (_, Some(user)) => &format!("X-Internal-User-Id: {user}, "),
        (Access::Public, None) => "",
        (Access::Optional, None) if matches!(caller, Caller::Anonymous) => "",
        (Access::Protected, None) => "X-Internal-User-Id, ",
        (Access::Optional, None) => "X-Internal-User-Id (with a token), ",
    };
    let claims: String = route.claim_fields.iter().filter_map(|field| claim_field(field, caller)).collect();
    let certified = match config.tls.client_headers {
        ClientHeaders::On => "X-Internal-Client-Verified, X-Internal-Client-Subject, X-Internal-Client-San, ",
        ClientHeaders::Off => "",
    };
    let own = &config.upstreams[route.upstream].host_sent;
    let host = match route.host_sent.as_ref().unwrap_or(own) {
        HostSent::Upstream => "",
        HostSent::Client => " (the client's)",
        HostSent::Name(name) => &format!(" ({name})"),
    };
    let via = if config.via == Via::Off { "" } else { "Via, " };
    if !route.request_edits.is_empty() {
        let _ = writeln!(text, "changed         {}", route.request_edits);
    }
    let _ = writeln!(
        text,
        "set             Host{host}, {user}{claims}{certified}X-Request-Id, X-Forwarded-For, X-Forwarded-Proto, \
         X-Forwarded-Host, {via}traceparent"
    );
}

/// A field that is set from a claim; `None`: it is not.
fn claim_field(field: &ClaimField, caller: &Caller) -> Option<String> {
    let ClaimField { field: name, claim, .. } = field;
    let value = match (caller, caller.identity()) {
        (Caller::Anonymous, _) => return None,
        (_, Some(identity)) => format!(": {}", identity.claim(field)?),
        (_, None) => String::new(),
    };
    Some(format!("{name}{value} (from the claim {}), ", claim.text))
}

/// Writes which tokens are taken out of what goes upstream.
fn stays_here(text: &mut String, sources: &TokenSources) {
    let queries = sources.queries.iter().map(|name| format!("{name} in the query"));
    let cookies = sources.cookies.iter().map(|name| format!("{name} in Cookie"));
    let prefixes = sources.subprotocols.iter().map(|known| format!("subprotocols {}…", known.prefix));
    let stays: Vec<String> =
        sources.fields.iter().cloned().chain(queries).chain(cookies).chain(prefixes).collect();
    if !stays.is_empty() {
        let _ = writeln!(text, "taken out       {}", stays.join(", "));
    }
}

/// Writes a line for each bucket, with its key.
fn buckets(text: &mut String, config: &Config, plan: &Plan<'_>, caller: &Caller) {
    if config.rate_limit.store == LimitStore::Off {
        return text.push_str("bucket          none: RATE_LIMIT_STORE=off\n");
    }
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if plan.access() == Access::Public {
        return bucket_lines(text, config, plan, Client::Address(address), "");
    }
    if let Some(user) = caller.user() {
        return bucket_lines(text, config, plan, Client::User(user), "");
    }
    match caller {
        Caller::Anonymous => return bucket_lines(text, config, plan, Client::Address(address), ""),
        Caller::Rejected | Caller::Forbidden(_) => {
            return bucket_lines(text, config, plan, Client::Bad(address), "");
        }
        Caller::Open | Caller::User(_) => {}
    }
    bucket_lines(text, config, plan, Client::User("<user>"), "");
    let condition = if plan.access() == Access::Optional {
        bucket_lines(text, config, plan, Client::Address(address), " (without a token)");
        " (with an invalid token)"
    } else {
        " (without a valid token)"
    };
    bucket_lines(text, config, plan, Client::Bad(address), condition);
}

/// Writes the buckets of one client. `condition` describes the requests to which they apply.
fn bucket_lines(text: &mut String, config: &Config, plan: &Plan<'_>, client: Client<'_>, condition: &str) {
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let charged = plan.limited_request(client, address).charges(&config.rate_limit);
    for Charge { bucket, limit } in charged.all() {
        let mut buffer = KeyBuf::default();
        let key = String::from_utf8_lossy(bucket.key(charged.prefix(), &mut buffer));
        let key = key.replace(&address.to_string(), "<client address>");
        let Limit { units_per_us, capacity, cost } = limit;
        let rate = Rate::from_milli(u32::try_from(*units_per_us).unwrap_or(0));
        let (burst, cost) = (capacity / UNITS_PER_TOKEN, cost / UNITS_PER_TOKEN);
        let _ = writeln!(text, "bucket          {key}: {rate}/s, burst {burst}, takes {cost}{condition}");
    }
    if charged.all().is_empty() {
        text.push_str("bucket          none: the route is not limited\n");
    }
}

fn refused(status: u16, code: &str, detail: &str) -> String {
    format!("refused         {status} {code}: {detail}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    fn asked<'q>(method: &'q str, url: &'q str) -> Question<'q> {
        Question { method, url, fields: &[], token: None }
    }

    fn report(method: &str, path: &str) -> String {
        explain(&config(""), &asked(method, path)).expect("a report")
    }

    #[test]
    fn describes_a_protected_route_with_its_bucket_and_headers() {
        let report = report("GET", "/api/v1/users/%61lice");
        for part in [
            "path            /api/v1/users/alice",
            "route           users",
            "rl:u:<user>: 10/s, burst 20, takes 1\n",
            "rl:bad:<client address>: 10/s, burst 20, takes 1 (without a valid token)",
            "X-Internal-User-Id, X-Request-Id",
        ] {
            assert!(report.contains(part), "{part} is missing in:\n{report}");
        }
        let removed = report.lines().find(|line| line.starts_with("removed")).expect("a line");
        for name in [
            "X_Internal_Anything",
            "X-Forwarded-For",
            "X-Nominated-By-Connection",
            "Content_Length",
            "tracestate",
        ] {
            assert!(removed.contains(name), "{name} is missing in {removed}");
        }
        assert!(!removed.contains("Authorization,") || removed.contains("Proxy-Authorization"));
        assert!(report.contains("passed on       Authorization, Cookie, Accept"));
    }

    #[test]
    fn describes_public_routes_other_methods_and_unknown_paths() {
        assert!(report("POST", "/api/v1/auth/login").contains("{rl:ip:<client address>}:auth-login: 10/s"));
        assert!(!report("POST", "/api/v1/auth/login").contains(" rl:ip:"));
        assert!(report("GET", "/api/v1/auth/login").contains("405, Allow: POST"));
        assert!(report("GET", "/nowhere").contains("404 no_route"));
        let over_tls = config("upstream_auth_url = 'https://accounts'\n");
        let login = explain(&over_tls, &asked("POST", "/api/v1/auth/login")).expect("a report");
        assert!(login.contains("(upstream auth, accounts over TLS)"), "{login}");
        assert!(report("GET", "/healthz").contains("the gateway itself"));
        assert!(report("GET", "/a/../b").contains("refused         400"));
    }

    #[test]
    fn describes_what_a_route_says_of_time_and_of_odd_paths() {
        let config = config(
            "[upstreams.a]\nurl = 'http://a'\n[[route]]\nname = 'open'\npaths = ['/*']\nupstream = 'a'\n\
             encoded_slash = 'keep'\npath_parameters = 'keep'\nhead_timeout = '2m'\nidle_timeout = 0\n\
             [[route]]\nname = 'admin'\npaths = ['/admin/*']\nupstream = 'a'\nempty_segments = 'merge'\n",
        );
        for (path, part) in [
            ("/a%2fb", "path            /a%2Fb\nroute           open"),
            ("/a%2fb", "odd paths       %2F kept, parameters kept\n"),
            ("/a", "timeouts        head_timeout 2m, idle_timeout none\n"),
            ("//admin//x", "path            /admin/x\nroute           admin"),
            ("//a", "path            /a\nrefused         400 path_empty_segment"),
            ("/admin/a%2Fb", "refused         400 path_encoded_slash"),
            (
                "/admin%2Fx",
                "encoded slash   refused, because it leads to another route: 400 path_encoded_slash",
            ),
            ("/admin/x;y", "parameters      refused: 400 path_parameters"),
        ] {
            let told = explain(&config, &asked("GET", path)).expect("a report");
            assert!(told.contains(part), "{path}: {told}");
        }
    }
}
