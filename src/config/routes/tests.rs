//! Upstreams and routes of a file, and all their mistakes.

use super::testing::lowered_route;
use super::{LIMIT_KEYS, ROUTE_KEYS};
use crate::config::keys::tokens::JWT_SECRET;
use crate::config::keys::upstreams::{UPSTREAM_AUTH_URL, UPSTREAM_MESSAGE_URL, UPSTREAM_PROFILE_URL};
use crate::config::lower::{Lowered, lower};
use crate::config::meaning::{Access, Choice, Members, RouteKind, TokenSources, UpstreamAddress};
use crate::config::mistake::Mistakes;
use crate::config::testing::{GOOD_SECRET, lowered_toml, settings};
use crate::config::written::{Written, WrittenLimit, WrittenRoute};
use crate::limits;

#[test]
fn a_file_with_routes_replaces_those_of_realchat() {
    let lowered = lowered_toml(
        "[upstreams.b]\nurl = 'http://b'\n[upstreams.a]\nurl = 'http://a:1'\n[upstreams.idle]\nurl = 'http://c'\n\
         [[route]]\nname = 'x'\npaths = ['/x']\nupstream = 'b'\naccess = 'public'\nmethods = ['GET', 'PUT']\n\
         forward_authorization = false\nforward_trailers = 'true'\nbody_max_bytes = '1KiB'\n\
         [[route]]\nname = 'y'\npaths = ['/y', '/y/*']\nupstream = 'a'\nkind = 'websocket'\n",
    )
    .unwrap();
    let [x, y] = &lowered.config.routes[..] else { panic!("two routes") };
    assert_eq!((x.name.as_str(), x.access, x.kind, x.upstream), ("x", Access::Public, RouteKind::Http, 1));
    assert_eq!(
        (&x.methods[..], &x.paths[..]),
        (&["GET".to_owned(), "PUT".to_owned()][..], &["/x".to_owned()][..])
    );
    assert_eq!(
        (x.authorization_forwarded, x.trailers_forwarded, x.body_bytes_max),
        (false, true, Some(1024))
    );
    assert_eq!((y.access, y.kind, y.upstream), (Access::Protected, RouteKind::WebSocket, 0));
    assert_eq!((&y.methods[..], y.paths.len()), (&["GET".to_owned()][..], 2));
    assert_eq!((y.authorization_forwarded, y.trailers_forwarded, y.body_bytes_max), (true, false, None));
    assert_eq!(lowered.warnings, ["upstreams.idle: no route uses it"]);
}

#[test]
fn tells_every_mistake_of_routes_and_upstreams() {
    let told = lowered_toml(
        "[upstreams.a]\nurl = 'https+unix://a'\n[upstreams.'b c']\nurl = 'http://b'\n\
         [[route]]\nname = 'x'\npaths = ['x', '/a//b']\nupstream = 'nobody'\naccess = 'open'\nkind = 'tcp'\n\
         methods = ['get', 'G T']\nforward_trailers = 'maybe'\nbody_max_bytes = '1M'\n\
         [[route]]\nname = 'x'\npaths = []\nupstream = 'a'\nmethods = []\n\
         [[route]]\nname = ''\npaths = ['/p', '/p']\nupstream = 'a'\nmethods = ['POST']\nkind = 'websocket'\n",
    )
    .unwrap_err()
    .to_string();
    for line in [
        "upstream \"a\" (gateway.toml:1): url \"https+unix://a\": there is no TLS over a Unix socket (use \
         http+unix://)",
        "upstream \"b c\" (gateway.toml:3): its name \"b c\" is not 1 to 64 letters, digits, '-', '_' or '.'",
        "route \"x\" (gateway.toml:5): upstream \"nobody\" is not defined (add [upstreams.NAME])",
        "route \"x\" (gateway.toml:5): access \"open\" is none of public, protected, optional",
        "route \"x\" (gateway.toml:5): kind \"tcp\" is none of http, websocket, both",
        "route \"x\" (gateway.toml:5): method \"get\" is not in upper case, and methods are told apart by case",
        "route \"x\" (gateway.toml:5): method \"G T\" is not a token",
        "route \"x\" (gateway.toml:5): path \"x\" does not start with /",
        "route \"x\" (gateway.toml:5): path \"/a//b\" has an empty segment",
        "route \"x\" (gateway.toml:5): forward_trailers \"maybe\" is neither true nor false",
        "route \"x\" (gateway.toml:5): body_max_bytes \"1M\" is not a size (use 512, 64KiB, 10MiB, 1GiB)",
        "route \"x\" (gateway.toml:14): another route has this name",
        "route \"x\" (gateway.toml:14): methods is empty (leave it out for any method)",
        "route \"x\" (gateway.toml:14): paths is empty",
        "route (gateway.toml:19): its name \"\" is not 1 to 64 letters, digits, '-', '_' or '.'",
        "route (gateway.toml:19): a websocket route takes GET and no other method",
        "route (gateway.toml:19): paths names \"/p\" twice",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\n\nis not in\n\n{told}");
    }
    assert!(!told.contains("upstream \"a\" is not defined"), "its URL is wrong, which is said elsewhere");
}

#[test]
fn refuses_more_routes_and_upstreams_than_there_may_be() {
    let route = |i| format!("[[route]]\nname = 'r{i}'\npaths = ['/{i}']\nupstream = 'u0'\n");
    let upstream = |i| format!("[upstreams.u{i}]\nurl = 'http://u'\n");
    let text = (0..=limits::UPSTREAMS_MAX).map(upstream).chain((0..=limits::ROUTES_MAX).map(route));
    let told = lowered_toml(&text.collect::<String>()).unwrap_err().to_string();
    assert_eq!(told, "upstreams: there are 257, over 256\nroute: there are 1025, over 1024");
}

#[test]
fn upstreams_without_routes_are_a_mistake() {
    let told = lowered_toml("[upstreams.a]\nurl = 'http://a'\n").unwrap_err().to_string();
    assert_eq!(told, "upstreams: are given without any [[route]] that uses them");
}

#[test]
fn an_upstream_url_beside_a_file_moves_the_one_of_its_name() {
    let text = "[upstreams.auth]\nurl = 'https://not-looked-at'\n\
                [[route]]\nname = 'a'\npaths = ['/a']\nupstream = 'auth'\n\
                [[route]]\nname = 'b'\npaths = ['/b']\nupstream = 'message'\n";
    let mut none = Mistakes::default();
    let file = Written::from_toml(text, "gateway.toml", &mut none);
    let args = settings(&[
        (&JWT_SECRET, GOOD_SECRET),
        (&UPSTREAM_AUTH_URL, "http://a:1"),
        (&UPSTREAM_MESSAGE_URL, "http://b:2"),
        (&UPSTREAM_PROFILE_URL, "http://c:3"),
    ]);
    let Lowered { config, warnings } = lower(args, file).unwrap();
    let port = |route: usize| match &config.upstreams[config.routes[route].upstream].members {
        Members::Listed(listed) => match &listed[0].address {
            UpstreamAddress::Tcp { port, .. } => *port,
            UpstreamAddress::Unix(_) => 0,
        },
        Members::Srv(_) | Members::File(_) => 0,
    };
    assert_eq!((port(0), port(1), config.upstreams.len()), (1, 2, 2));
    assert_eq!(
        warnings,
        ["UPSTREAM_PROFILE_URL: has no effect, no route of the file uses an upstream profile"]
    );
}

#[test]
fn every_default_is_the_one_of_the_manual() {
    let route = lowered_route("");
    let default = |key: &str| ROUTE_KEYS.iter().find(|known| known.name == key).map(|known| known.default);
    let word = |word: &str| Some(format!("`{word}`"));
    assert_eq!(default("access").map(str::to_owned), word(route.access.word()));
    assert_eq!(default("kind").map(str::to_owned), word(route.kind.word()));
    assert_eq!(
        default("forward_authorization").map(str::to_owned),
        word(route.authorization_forwarded.word())
    );
    assert_eq!(default("forward_trailers").map(str::to_owned), word(route.trailers_forwarded.word()));
    assert_eq!(default("limit_global").map(str::to_owned), word(route.is_limited_globally.word()));
    assert_eq!((default("methods"), &route.methods[..]), (Some("any"), &[][..]));
    assert!(default("tokens_from").is_some_and(|default| default.starts_with("`header`")));
    assert_eq!(route.token_sources, TokenSources::header());
    assert_eq!((default("require"), &route.require[..]), (Some("none"), &[][..]));
    assert_eq!((default("claims_to_headers"), &route.claim_fields[..]), (Some("none"), &[][..]));
    assert_eq!((default("body_max_bytes"), route.body_bytes_max), (Some("that of the gateway"), None));
    assert_eq!((default("[[route.limit]]"), &route.limits[..]), (Some("none"), &[][..]));
}

#[test]
fn the_manual_lists_the_keys_that_a_file_may_have() {
    for (keys, prefix) in [(&ROUTE_KEYS[..], ""), (&LIMIT_KEYS, "[[route.limit]]\n")] {
        for key in keys.iter().filter(|key| !key.name.starts_with('[')) {
            // No value of any key: neither a text nor a list of them, and no table of those.
            let told =
                lowered_toml(&format!("[[route]]\n{prefix}{} = {{ a = {{}} }}\n", key.name)).unwrap_err();
            let told = told.to_string();
            // Where a table is expected, it is one with other keys.
            let is_known = ["invalid type: map", "invalid type: table", "`a` is not a key"]
                .iter()
                .any(|why| told.contains(why));
            assert!(is_known, "{}: {told}", key.name);
        }
    }
    let written = serde_keys(&format!("{:?}", WrittenRoute::default()));
    assert_eq!(written, ROUTE_KEYS.len());
    assert_eq!(serde_keys(&format!("{:?}", WrittenLimit::default())), LIMIT_KEYS.len());
}

/// The fields of a debug text up to the place, which comes after them.
fn serde_keys(debug: &str) -> usize {
    debug.split("place: ").next().unwrap_or(debug).matches(": ").count()
}
