//! Tests of the route table.

use proptest::prelude::*;

use super::*;
use crate::config::{FieldCondition, HostPattern, PathCase, TrailingSlash};

fn route(name: &str, methods: &[&str], paths: &[&str], access: Access) -> Route {
    let methods = methods.iter().map(ToString::to_string).collect();
    Route { methods, access, ..Route::new(name, paths) }
}

fn table() -> RouteTable {
    use Access::{Protected, Public};
    RouteTable::new(&[
        route("login", &["POST"], &["/api/v1/auth/login"], Public),
        route("auth", &[], &["/api/v1/auth/*"], Protected),
        route("users", &["GET", "PUT"], &["/api/v1/users/{id}"], Protected),
        route("talk", &[], &["/api/v1/conversations", "/api/v1/conversations/*"], Protected),
        route("read", &["GET"], &["/shared"], Public),
        route("write", &["POST"], &["/shared"], Protected),
        route("open-a", &["GET"], &["/open"], Public),
        route("open-b", &["PUT"], &["/open"], Public),
    ])
    .unwrap()
}

fn asked<'r>(method: &'r str, path: &'r [u8]) -> Asked<'r> {
    Asked { method: method.as_bytes(), host: b"", path, fields: &[], head: b"" }
}

fn found(table: &RouteTable, method: &str, path: &str) -> String {
    match table.find(asked(method, path.as_bytes())) {
        Match::Route(entry) => entry.route.name.clone(),
        Match::MethodNotAllowed { allow, access, .. } => format!("405 {allow} {access:?}"),
        Match::FieldsMissing | Match::Unknown => "?".into(),
    }
}

#[test]
fn finds_the_most_specific_route() {
    let table = table();
    for (method, path, expected) in [
        ("POST", "/api/v1/auth/login", "login"),
        ("GET", "/api/v1/auth/login", "405 POST Public"),
        ("POST", "/api/v1/auth/login/", "auth"),
        ("POST", "/api/v1/auth/logi", "auth"),
        ("POST", "/api/v1/auth/logins", "auth"),
        ("DELETE", "/api/v1/auth/a/b/c", "auth"),
        ("GET", "/api/v1/auth/", "auth"),
        ("GET", "/api/v1/auth", "?"),
        ("GET", "/api/v1/conversations", "talk"),
        ("GET", "/api/v1/conversations/", "talk"),
        ("GET", "/api/v1/conversations/7/x", "talk"),
        ("GET", "/api/v1/conversationsX", "?"),
        ("GET", "/api/v1/users/%C3%A9", "users"),
        ("GET", "/api/v1/users/", "?"),
        ("GET", "/api/v1/users/7/", "?"),
        ("GET", "/API/v1/users/7", "?"),
        ("GET", "/", "?"),
        ("OPTIONS", "*", "?"),
        ("GET", "", "?"),
    ] {
        assert_eq!(found(&table, method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_known_path_with_another_method_names_the_methods() {
    let table = table();
    for (method, path, expected) in [
        ("HEAD", "/api/v1/users/7", "users"),
        ("DELETE", "/api/v1/users/7", "405 GET, HEAD, PUT Protected"),
        ("OPTIONS", "/api/v1/users/7", "405 GET, HEAD, PUT Protected"),
        ("get", "/api/v1/users/7", "405 GET, HEAD, PUT Protected"),
        ("GET", "/shared", "read"),
        ("HEAD", "/shared", "read"),
        ("POST", "/shared", "write"),
        ("PUT", "/shared", "405 GET, HEAD, POST Protected"),
        ("POST", "/open", "405 GET, HEAD, PUT Public"),
    ] {
        assert_eq!(found(&table, method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_method_of_its_own_wins_over_any_method() {
    let routes = [
        route("any", &[], &["/x", "/y/*"], Access::Protected),
        route("post", &["POST"], &["/x"], Access::Public),
        route("root", &["GET"], &["/y/"], Access::Public),
    ];
    let table = RouteTable::new(&routes).unwrap();
    assert_eq!(found(&table, "POST", "/x"), "post");
    assert_eq!(found(&table, "GET", "/x"), "any");
    assert_eq!(found(&table, "GET", "/y/"), "root");
    assert_eq!(found(&table, "POST", "/y/"), "405 GET, HEAD Public");
    assert_eq!(found(&table, "POST", "/y/z"), "any");
}

#[test]
fn a_route_for_everything_takes_the_root_too() {
    let table = RouteTable::new(&[route("all", &[], &["/*"], Access::Public)]).unwrap();
    for path in ["/", "/a", "/a/b", "/a//"] {
        assert_eq!(found(&table, "GET", path), "all", "{path}");
    }
}

#[test]
fn parameters_of_one_segment_may_have_different_names() {
    let routes = [
        route("a", &[], &["/u/{id}/a"], Access::Public),
        route("b", &[], &["/u/{name}/b"], Access::Public),
        route("c", &["GET"], &["/u/{x}"], Access::Public),
        route("d", &["POST"], &["/u/{y}"], Access::Public),
    ];
    let table = RouteTable::new(&routes).unwrap();
    assert_eq!(found(&table, "GET", "/u/1/a"), "a");
    assert_eq!(found(&table, "GET", "/u/1/b"), "b");
    assert_eq!(found(&table, "POST", "/u/1"), "d");
}

#[test]
fn bytes_that_are_not_text_match_nothing() {
    assert_eq!(table().find(asked("GET", b"/api/v1/auth/\xff")), Match::Unknown);
    let entry = table();
    assert!(matches!(entry.find(asked("POST", b"/shared")), Match::Route(e) if e.index == 5));
}

#[test]
fn reports_every_mistake_with_its_route() {
    let any = |name: &str, path: &str| route(name, &[], &[path], Access::Public);
    let get = |name: &str, path: &str| route(name, &["GET"], &[path], Access::Public);
    for (routes, expected) in [
        (vec![any("a", "x")], "must begin with /"),
        (vec![any("a", "/x/*/y")], "* must be the last segment"),
        (vec![any("a", "/x*")], "* must be a whole segment"),
        (vec![any("a", "/{}")], "a parameter needs a name"),
        (vec![any("a", "/x{id}")], "{parameter} must be a whole segment"),
        (vec![any("a", "/{{x}}")], "{parameter} must be a whole segment"),
        (vec![any("a", "/{*all}")], "{parameter} must be a whole segment"),
        (vec![any("a", "/x"), any("b", "/x")], "with any method is taken by route \"a\""),
        (vec![get("a", "/{x}"), get("b", "/{y}")], "with GET is taken by route \"a\""),
        (vec![get("a", "/x/{id}"), get("b", "/x/*")], "conflicts with \"/x/"),
    ] {
        let mistakes = RouteTable::new(&routes).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(expected) && mistakes[0].starts_with("route \""), "{mistakes:?}");
    }
    assert_eq!(RouteTable::new(&[any("a", "x"), any("b", "/{}")]).unwrap_err().len(), 2);
}

/// A limited login below a wildcard, in these spellings.
fn login(paths: &[&str], trailing_slash: TrailingSlash, path_case: PathCase) -> Route {
    Route { trailing_slash, path_case, ..route("login", &["POST"], paths, Access::Public) }
}

#[test]
fn a_route_takes_its_paths_with_and_without_a_trailing_slash_if_it_says_so() {
    let wildcard = route("rest", &[], &["/auth/*"], Access::Protected);
    let either =
        login(&["/auth/login", "/auth/in/", "/x/{y}", "/z/*", "/"], TrailingSlash::Either, PathCase::Exact);
    let table = RouteTable::new(&[either, wildcard.clone()]).unwrap();
    for path in
        ["/auth/login", "/auth/login/", "/auth/in", "/auth/in/", "/x/1", "/x/1/", "/z", "/z/", "/z/1", "/"]
    {
        assert_eq!(found(&table, "POST", path), "login", "{path}");
    }
    assert_eq!(found(&table, "GET", "/auth/login/"), "405 POST Public");
    assert_eq!(found(&table, "POST", "/auth/Login"), "rest");
    let exact = login(&["/auth/login"], TrailingSlash::Exact, PathCase::Exact);
    assert_eq!(found(&RouteTable::new(&[exact, wildcard]).unwrap(), "POST", "/auth/login/"), "rest");
}

#[test]
fn a_route_takes_its_paths_in_any_case_if_it_says_so() {
    let wildcard = route("rest", &[], &["/auth/*"], Access::Protected);
    let upper = route("upper", &["GET"], &["/auth/LOGIN"], Access::Public);
    let any = login(&["/auth/Login"], TrailingSlash::Either, PathCase::Any);
    let table = RouteTable::new(&[wildcard, upper, any]).unwrap();
    for path in ["/auth/Login", "/auth/login", "/AUTH/LOGIN", "/auth/LOGIN", "/auth/lOGIN/"] {
        assert_eq!(found(&table, "POST", path), "login", "{path}");
    }
    assert_eq!(found(&table, "GET", "/auth/LOGIN"), "upper");
    assert_eq!(found(&table, "GET", "/auth/login"), "405 POST Public");
    for (path, expected) in
        [("/auth/logins", "rest"), ("/Auth/x", "?"), (&format!("/auth/{}", "l".repeat(64 + 5)), "rest")]
    {
        assert_eq!(found(&table, "POST", path), expected, "{path}");
    }
}

#[test]
fn a_spelling_that_another_route_has_is_a_mistake() {
    let (either, any) = (TrailingSlash::Either, PathCase::Any);
    for (path, other) in
        [("/login", "/login/"), ("/login/", "/login"), ("/login", "/LOGIN"), ("/Login", "/login/")]
    {
        let routes = [login(&[path], either, any), route("other", &["POST"], &[other], Access::Public)];
        let mistakes = RouteTable::new(&routes).unwrap_err();
        let is_told = |mistake: &String| mistake.contains("\"other\"") && mistake.contains("\"login\"");
        assert!(mistakes.iter().any(is_told), "{path} {other}: {mistakes:?}");
    }
    let two = [
        login(&["/login"], TrailingSlash::Exact, any),
        Route { name: "b".into(), ..login(&["/Login"], TrailingSlash::Exact, any) },
    ];
    assert!(RouteTable::new(&two).is_err());
    assert!(RouteTable::new(&[login(&["/login", "/login/", "/LOGIN"], either, any)]).is_ok());
}

/// A route of these hosts.
fn of(hosts: &[HostPattern], route: Route) -> Route {
    Route { hosts: hosts.to_vec(), ..route }
}

fn exact(name: &str) -> HostPattern {
    HostPattern::Exact(name.into())
}

fn below(name: &str) -> HostPattern {
    HostPattern::Below(name.into())
}

fn found_on(table: &RouteTable, host: &str, method: &str, path: &str) -> String {
    match table.find(Asked { host: host.as_bytes(), ..asked(method, path.as_bytes()) }) {
        Match::Route(entry) => entry.route.name.clone(),
        Match::MethodNotAllowed { allow, access, .. } => format!("405 {allow} {access:?}"),
        Match::FieldsMissing | Match::Unknown => "?".into(),
    }
}

#[test]
fn the_narrowest_host_with_a_pattern_for_the_path_decides_alone() {
    use Access::{Protected, Public};
    let table = RouteTable::new(&[
        route("open", &[], &["/api/{id}", "/open"], Public),
        of(&[exact("admin.example")], route("admin", &["GET"], &["/api/*"], Protected)),
        of(&[below("example")], route("team", &[], &["/api/*", "/team"], Protected)),
        of(&[exact("a.example"), exact("b.example")], route("ab", &["POST"], &["/api/x"], Protected)),
    ])
    .unwrap();
    for (host, method, path, expected) in [
        ("admin.example", "GET", "/api/7", "admin"),
        // Not the public route for every host, although it has the method and the more specific path.
        ("admin.example", "POST", "/api/7", "405 GET, HEAD Protected"),
        ("ADMIN.Example.:8443", "GET", "/api/7", "admin"),
        ("admin.example", "GET", "/team", "team"),
        ("admin.example", "GET", "/open", "open"),
        ("admin.example", "GET", "/none", "?"),
        ("other.example", "GET", "/api/7", "team"),
        ("a.example", "POST", "/api/x", "ab"),
        ("b.example", "GET", "/api/x", "405 POST Protected"),
        ("b.example", "GET", "/api/y", "team"),
        // One label and no more, no less.
        ("x.admin.example", "GET", "/team", "?"),
        ("example", "GET", "/team", "?"),
        (".example", "GET", "/team", "?"),
        ("admin.example.org", "GET", "/api/7", "open"),
        ("", "GET", "/api/7", "open"),
        ("[::1]:80", "GET", "/api/7", "open"),
        (&"a.".repeat(200), "GET", "/api/7", "open"),
        (&format!("{}.example", "a".repeat(246)), "GET", "/api/7", "open"),
    ] {
        assert_eq!(found_on(&table, host, method, path), expected, "{host} {method} {path}");
    }
}

#[test]
fn two_routes_for_the_same_requests_of_one_host_are_a_mistake() {
    let one = |name: &str, hosts: &[HostPattern], path: &str| Route {
        place: format!("gateway.toml:{}", name.len()),
        ..of(hosts, route(name, &["GET"], &[path], Access::Public))
    };
    let told = RouteTable::new(&[
        one("a", &[exact("x"), exact("y")], "/{p}"),
        one("bb", &[exact("y"), exact("z")], "/{q}"),
    ]);
    assert_eq!(
        told.unwrap_err(),
        [
            "route \"bb\" (gateway.toml:2): path \"/{p}\" with GET on y is taken by route \"a\" (gateway.toml:1)"
        ]
    );
    for (hosts, other) in [
        (vec![exact("x")], vec![]),
        (vec![exact("x.y")], vec![below("y")]),
        (vec![exact("x")], vec![exact("y")]),
    ] {
        assert!(RouteTable::new(&[one("a", &hosts, "/p"), one("b", &other, "/p")]).is_ok(), "{hosts:?}");
    }
}

#[test]
fn patterns_of_different_hosts_do_not_conflict() {
    let routes = [
        of(&[exact("a")], route("a", &[], &["/x/{id}"], Access::Public)),
        of(&[exact("b")], route("b", &[], &["/x/*"], Access::Public)),
    ];
    let table = RouteTable::new(&routes).unwrap();
    assert_eq!(
        (found_on(&table, "a", "GET", "/x/1/2"), found_on(&table, "b", "GET", "/x/1/2")),
        ("?".into(), "b".into())
    );
}

/// Finds a route for a request with these field lines.
fn found_with(table: &RouteTable, method: &str, fields: &str) -> String {
    let head = format!("{method} /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let mut request = crate::http::Request::default();
    crate::http1::RequestHead::parse(head.as_bytes(), &crate::http1::HeadLimits::DEFAULT, &mut request)
        .expect("a head");
    match table.find((&request).into()) {
        Match::Route(entry) => entry.route.name.clone(),
        Match::MethodNotAllowed { allow, .. } => format!("405 {allow}"),
        Match::FieldsMissing => "fields".into(),
        Match::Unknown => "?".into(),
    }
}

fn asking(name: &str, methods: &[&str], conditions: &[(&str, Option<&str>)]) -> Route {
    let condition = |&(name, value): &(&str, Option<&str>)| FieldCondition {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let conditions = conditions.iter().map(condition).collect();
    Route { conditions, ..route(name, methods, &["/x"], Access::Public) }
}

#[test]
fn the_route_that_asks_for_the_most_fields_comes_first_among_those_of_the_method() {
    let table = RouteTable::new(&[
        asking("plain", &[], &[]),
        asking("two", &[], &[("x-v", Some("2"))]),
        asking("three", &[], &[("x-v", Some("3"))]),
        asking("both", &[], &[("x-v", Some("2")), ("x-beta", None)]),
        asking("put", &["PUT"], &[]),
        asking("read", &["GET"], &[("x-read", None)]),
    ])
    .unwrap();
    for (method, fields, name) in [
        ("POST", "", "plain"),
        ("POST", "X-V: 2\r\n", "two"),
        ("POST", "X-V: 3\r\n", "three"),
        ("POST", "X-V: 4\r\n", "plain"),
        ("POST", "X-V: 2\r\nX-V: 3\r\n", "plain"),
        ("POST", "X-Beta: 1\r\n", "plain"),
        ("POST", "X-Beta: 1\r\nX-V: 2\r\n", "both"),
        // A listed method comes before any method, whatever the fields.
        ("PUT", "X-Beta: 1\r\nX-V: 2\r\n", "put"),
        ("GET", "X-V: 2\r\n", "two"),
        ("GET", "X-V: 2\r\nX-Read: \r\n", "read"),
        ("HEAD", "X-V: 2\r\nX-Read: \r\n", "read"),
        ("HEAD", "X-V: 2\r\n", "two"),
    ] {
        assert_eq!(found_with(&table, method, fields), name, "{method} {fields}");
    }
}

#[test]
fn without_the_fields_a_path_has_no_route_and_without_the_method_it_is_405() {
    let table = RouteTable::new(&[
        asking("a", &["GET"], &[("x-v", None)]),
        route("wide", &[], &["/*"], Access::Public),
    ])
    .unwrap();
    assert_eq!(found_with(&table, "GET", "X-V: 1\r\n"), "a");
    for method in ["GET", "HEAD"] {
        assert_eq!(found_with(&table, method, ""), "fields");
    }
    assert_eq!(found_with(&table, "POST", ""), "405 GET, HEAD");
    assert_eq!(found_with(&table, "POST", "X-V: 1\r\n"), "405 GET, HEAD");
}

#[test]
fn routes_between_which_no_field_decides_are_a_mistake() {
    let table = |one: &[(&str, Option<&str>)], two: &[(&str, Option<&str>)]| {
        RouteTable::new(&[asking("a", &["GET"], one), asking("b", &["GET", "PUT"], two)]).map(drop)
    };
    for (one, two) in [
        (&[("x-v", Some("2"))][..], &[("x-v", Some("2"))][..]),
        (&[("x-v", Some("2"))], &[("x-v", None)]),
        (&[("x-v", Some("2"))], &[("x-w", Some("2"))]),
        (&[("x-v", None), ("x-w", Some("1"))], &[("x-u", None), ("x-w", Some("1"))]),
    ] {
        let told = table(one, two).unwrap_err();
        let expected =
            "route \"b\": path \"/x\" with GET is taken by route \"a\", and their headers do not decide";
        assert_eq!(told, [expected], "{one:?} {two:?}");
        assert!(table(one, &[]).is_ok() && table(&[], two).is_ok());
    }
    assert!(table(&[("x-v", Some("2"))], &[("x-v", Some("3"))]).is_ok());
    assert!(table(&[("x-v", None), ("x-w", Some("1"))], &[("x-v", None), ("x-w", Some("2"))]).is_ok());
    assert!(table(&[("x-v", Some("2")), ("x-w", None)], &[("x-v", Some("2"))]).is_ok());
    let own = RouteTable::new(&[asking("a", &[], &[("x-forwarded-for", None)])]).unwrap_err();
    assert_eq!(own, ["route \"a\": headers \"x-forwarded-for\": is not taken from a client"]);
}

/// Methods and conditions of a route, as numbers.
type Drawn = (usize, Vec<(usize, usize)>);

fn some_routes() -> impl Strategy<Value = Vec<Drawn>> {
    let conditions = prop::collection::vec((0..3_usize, 0..3_usize), 0..3);
    prop::collection::vec((0..3_usize, conditions), 1..6)
}

const NAMES: [&str; 3] = ["x-a", "x-b", "x-c"];
const VALUES: [Option<&str>; 3] = [None, Some("1"), Some("2")];

fn drawn(nth: usize, (methods, conditions): &Drawn) -> Route {
    let methods: &[&str] = [&[][..], &["GET"], &["GET", "HEAD", "PUT"]][*methods];
    let mut conditions: Vec<_> =
        conditions.iter().map(|&(name, value)| (NAMES[name], VALUES[value])).collect();
    conditions.sort_unstable();
    conditions.dedup_by_key(|(name, _)| *name);
    asking(&format!("r{nth}"), methods, &conditions)
}

proptest! {
    /// Of a table that is accepted, the order of the routes decides nothing.
    #[test]
    fn the_order_of_routes_decides_nothing(
        routes in some_routes(),
        fields in prop::collection::vec((0..3_usize, 0..3_usize), 0..4),
        method in 0..3_usize,
    ) {
        let routes: Vec<Route> = routes.iter().enumerate().map(|(nth, route)| drawn(nth, route)).collect();
        let Ok(table) = RouteTable::new(&routes) else { return Ok(()) };
        let reversed: Vec<Route> = routes.into_iter().rev().collect();
        let reversed = RouteTable::new(&reversed).expect("the same routes");
        let line = |&(name, value): &(usize, usize)| {
            format!("{}: {}\r\n", NAMES[name], VALUES[value].unwrap_or("3"))
        };
        let (method, lines) = (["GET", "HEAD", "PUT"][method], fields.iter().map(line).collect::<String>());
        let (one, other) = (found_with(&table, method, &lines), found_with(&reversed, method, &lines));
        // The methods of a 405 are listed in the order of the routes.
        let are_405 = one.starts_with("405") && other.starts_with("405");
        prop_assert!(are_405 || one == other, "{} {}: {} {}", one, other, method, lines);
    }
}
