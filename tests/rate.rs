//! Who draws from which bucket, and what a refusal says.

use crate::harness::*;

/// Two requests per bucket, and hardly a third.
fn limited(origin: &Origin) -> Builder {
    Gateway::builder()
        .everywhere(origin)
        .env("RATE_LIMIT_STORE", "memory")
        .env("RATE_LIMIT_RPS", "0.01")
        .env("RATE_LIMIT_BURST", "2")
}

fn me() -> Request {
    Request::new("GET", "/api/v1/users/me")
}

fn login() -> Request {
    Request::new("POST", "/api/v1/auth/login").body("{}")
}

fn statuses(gateway: &Gateway, requests: impl IntoIterator<Item = Request>) -> Vec<u16> {
    requests.into_iter().map(|request| gateway.ask(request).status).collect()
}

#[test]
fn a_users_bucket_follows_the_subject_and_not_the_token() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    let other = token_with(format!(r#"{{"sub":"ann","exp":{}}}"#, now() + 60), r#"{"alg":"HS256"}"#, SECRET);
    assert_eq!(
        statuses(&gateway, [me().token("ann"), me().bearer(&other), me().token("ann")]),
        [200, 200, 429]
    );
    let messages = Request::new("GET", "/api/v1/messages");
    assert_eq!(gateway.ask(messages.token("ann")).status, 429, "one bucket for every route");
    assert_eq!(gateway.get("/nowhere", "ann").status, 429, "and for what is no route");
    assert_eq!(
        statuses(&gateway, [me().token("bob"), me().token("bob"), me().token("bob")]),
        [200, 200, 429]
    );
    assert_eq!(origin.requests().len(), 4);
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let origin = Origin::echo();
    let gateway = limited(&origin).env("RATE_LIMIT_RPS", "2").env("RATE_LIMIT_BURST", "1").start();
    let mut client = gateway.client();
    let mut refused = None;
    for _ in 0..3 {
        let response = client.send(me().token("ann").bytes()).read_response();
        refused = (response.status == 429).then_some(response).or(refused);
    }
    let refused = refused.expect("one of three at once is too many");
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(refused.field("retry-after"), Some("1"));
    // The connection goes on, and after that time so do requests.
    std::thread::sleep(std::time::Duration::from_millis(1_000));
    assert_eq!(client.send(me().token("ann").bytes()).read_response().status, 200);
}

#[test]
fn a_long_wait_is_said_in_whole_seconds() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    statuses(&gateway, [me().token("ann"), me().token("ann")]);
    let refused = gateway.ask(me().token("ann"));
    let seconds: u64 = refused.field("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!((90..=100).contains(&seconds), "{seconds}");
    assert_eq!(gateway.metric("requests_limited_total"), 1);
}

#[test]
fn bad_credentials_have_a_bucket_of_their_own() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    let stale = token_with(r#"{"sub":"ann","exp":1000000000}"#, r#"{"alg":"HS256"}"#, SECRET);
    let flood = || me().bearer(&stale);
    // The limit comes before the 401: 401s are limited themselves.
    assert_eq!(
        statuses(&gateway, [flood(), flood(), flood(), me(), me().bearer("x")]),
        [401, 401, 429, 429, 429]
    );
    assert_eq!(gateway.ask(login()).status, 200, "a stale token does not keep its bearer from logging in");
    assert_eq!(gateway.ask(me().token("ann")).status, 200, "nor the same address from a valid one");
}

#[test]
fn forged_tokens_never_drain_a_victims_bucket() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    let claims = format!(r#"{{"sub":"victim","exp":{}}}"#, now() + 60);
    let forged = token_with(&claims, r#"{"alg":"HS256"}"#, "a secret that somebody has made up for this");
    let expired = token_with(r#"{"sub":"victim","exp":1000000000}"#, r#"{"alg":"HS256"}"#, SECRET);
    for _ in 0..5 {
        statuses(&gateway, [me().bearer(&forged), me().bearer(&expired)]);
    }
    assert_eq!(statuses(&gateway, [me().token("victim"), me().token("victim")]), [200, 200]);
}

#[test]
fn a_public_route_is_limited_per_address_and_a_token_changes_nothing() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    assert_eq!(
        statuses(&gateway, [login(), login().token("ann"), login(), login().token("bob")]),
        [200, 200, 429, 429]
    );
    let register = Request::new("POST", "/api/v1/auth/register").body("{}");
    assert_eq!(gateway.ask(register).status, 200, "registering has a bucket of its own");
    assert_eq!(gateway.ask(me().token("ann")).status, 200);
}

/// Two public routes and a protected one, the first and the last with limits of their own.
const SHOP: &str = "
[upstreams.auth]
url = 'http://nobody'
[[route]]
name = 'search'
paths = ['/search']
upstream = 'auth'
access = 'public'
[[route.limit]]
rate = 0.01
burst = 3
[[route]]
name = 'browse'
paths = ['/browse']
upstream = 'auth'
access = 'public'
[[route]]
name = 'buy'
paths = ['/buy']
upstream = 'auth'
[[route.limit]]
rate = 0.01
burst = 3
cost = 2
[[route.limit]]
rate = 0.01
burst = 2
per = 'none'
";

#[test]
fn a_routes_own_limits_come_on_top() {
    let origin = Origin::echo();
    let gateway = limited(&origin).env("RATE_LIMIT_BURST", "4").config(SHOP).start();
    let get = |path: &str| Request::new("GET", path);
    let searches = (0..4).map(|_| get("/search"));
    assert_eq!(statuses(&gateway, searches), [200, 200, 200, 429]);
    // The refused one took nothing from the global bucket, of which three are gone.
    assert_eq!(statuses(&gateway, [get("/browse"), get("/browse")]), [200, 429]);
    let buy = |user| get("/buy").token(user);
    assert_eq!(statuses(&gateway, [get("/buy"), buy("ann"), buy("ann")]), [401, 200, 429]);
    let refused = gateway.ask(buy("ann"));
    assert_eq!(refused.field("ratelimit-limit"), Some("3"), "the tightest limit");
    // A limit for everybody: the second of two.
    assert_eq!(statuses(&gateway, [buy("bob"), buy("eve")]), [200, 429]);
}

#[test]
fn a_refusal_tells_the_limit_and_on_request_every_response_does() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nRateLimit-Limit: 9\r\nContent-Length: 0\r\n\r\n");
    // That a field comes once is asserted where it is read.
    let told = |response: &Response| {
        let names = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
        names.map(|name| response.field(name).unwrap_or("none").to_owned()).join(" ")
    };
    let quiet = limited(&origin).start();
    let responses = [(); 3].map(|()| quiet.ask(me().token("ann")));
    assert_eq!(responses.each_ref().map(told), ["9 none none", "9 none none", "2 0 200"]);
    let all = limited(&origin).env("RATE_LIMIT_HEADERS", "all").start();
    let responses = [(); 3].map(|()| all.ask(me().token("ann")));
    assert_eq!(responses.each_ref().map(told), ["2 1 100", "2 0 200", "2 0 200"]);
    assert_eq!(told(&all.ask(me())), "2 1 100", "a 401 is limited too");
    let nobody =
        limited(&origin).env("RATE_LIMIT_HEADERS", "all").upstream_url("profile", "http://127.0.0.1:1");
    let unreachable = nobody.start().ask(me().token("ann"));
    assert_eq!((unreachable.status, told(&unreachable).as_str()), (502, "2 1 100"));
}

#[test]
fn a_strangers_forwarding_header_does_not_change_the_bucket() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    let from = |address: &str| login().field("X-Forwarded-For", address);
    assert_eq!(statuses(&gateway, ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(from)), [200, 200, 429]);
    let forwarded = login().field("Forwarded", "for=192.0.2.9").field("X-Real-IP", "192.0.2.9");
    assert_eq!(gateway.ask(forwarded).status, 429);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_bucket() {
    let origin = Origin::echo();
    let gateway = limited(&origin).env("TRUSTED_PROXIES", "127.0.0.0/8").start();
    let from = |address: &str| login().field("X-Forwarded-For", address);
    let one = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "203.0.113.9, 192.0.2.1"];
    assert_eq!(statuses(&gateway, one.map(from)), [200, 200, 429, 200, 429]);
    // An IPv6 client is its /64.
    let six = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"];
    assert_eq!(statuses(&gateway, six.map(from)), [200, 200, 429, 200]);
}

#[test]
fn health_is_never_limited() {
    let gateway = Gateway::builder().env("RATE_LIMIT_STORE", "memory").env("RATE_LIMIT_RPS", "0").start();
    assert_eq!(gateway.ask(me().token("ann")).status, 429);
    for _ in 0..30 {
        assert_eq!(gateway.ask(Request::new("GET", "/readyz")).status, 200);
    }
}

#[test]
fn all_cores_share_the_buckets_of_memory() {
    let origin = Origin::echo();
    let gateway = limited(&origin).cores("2").env("RATE_LIMIT_BURST", "5").start();
    let got = statuses(&gateway, (0..20).map(|_| me().token("ann")));
    assert_eq!(got.iter().filter(|status| **status == 200).count(), 5, "{got:?}");
}

#[test]
fn every_spelling_of_a_limited_path_draws_from_its_bucket() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    let spelled = |path: &str| Request::new("POST", path).token("ann").body("{}");
    assert_eq!(
        statuses(&gateway, [spelled("/api/v1/auth/login/"), spelled("/api/v1/auth/Login")]),
        [200, 200]
    );
    for path in ["/api/v1/auth/login", "/api/v1/auth/LOGIN", "/API/v1/auth/login/", "/api/v1/auth/%4Cogin"] {
        assert_eq!(gateway.ask(spelled(path)).status, 429, "{path}");
    }
    assert_eq!(gateway.ask(spelled("/api/v1/auth/logins")).status, 200, "another path");
    assert_eq!(gateway.ask(spelled("/api/v1/auth/Register/")).status, 200, "another bucket");
}

#[test]
fn malformed_heads_draw_from_the_bucket_for_bad_credentials() {
    let origin = Origin::echo();
    let gateway = limited(&origin).env("ACCESS_LOG", "stdout").start();
    let malformed = "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n";
    for _ in 0..2 {
        gateway.refuses(malformed, 400, Some("space_before_colon"), Then::Closes);
    }
    for raw in [malformed, "\x16\x03\x01\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = gateway.client();
        let response = client.send(raw).read_response();
        assert_eq!((response.status, response.code().as_str()), (429, "rate_limited"), "{raw:?}");
        assert!(response.field("retry-after").is_some() && response.head.lists("connection", "close"));
        client.expect_closed();
        let line = gateway.wait_stdout(response.field("x-request-id").expect("a request id"));
        assert!(line.contains(r#""status":429"#) && line.contains(r#""cause":""#), "{line}");
    }
    assert_eq!(gateway.ask(me().bearer("x")).status, 429, "it is one bucket");
    assert_eq!(gateway.ask(me().token("ann")).status, 200, "a well-formed request pays nothing for them");
    assert_eq!(gateway.ask(login()).status, 200);
    assert_eq!(gateway.metric("requests_limited_total"), 4);
}

#[test]
fn only_preflights_of_origins_that_may_not_call_are_limited() {
    let origin = Origin::echo();
    let gateway = limited(&origin)
        .env("CORS_ALLOWED_ORIGINS", "https://chat.example")
        .env("ACCESS_LOG", "stdout")
        .start();
    let preflight = |from: &str| {
        let request = Request::new("OPTIONS", "/api/v1/messages");
        request.field("Origin", from).field("Access-Control-Request-Method", "POST")
    };
    let evil = || preflight("https://evil.example");
    assert_eq!(statuses(&gateway, [evil(), evil(), evil(), evil()]), [204, 204, 429, 429]);
    for _ in 0..20 {
        assert_eq!(gateway.ask(preflight("https://chat.example")).status, 204, "a NAT full of browsers");
    }
    let response = gateway.ask(evil());
    assert_eq!((response.status, response.code().as_str()), (429, "rate_limited"));
    let line = gateway.wait_stdout(response.field("x-request-id").expect("a request id"));
    assert!(line.contains(r#""code":"rate_limited""#), "{line}");
}

#[test]
fn a_flood_of_forged_tokens_costs_little_more_than_its_429s() {
    let origin = Origin::echo();
    let gateway = limited(&origin).start();
    const REQUESTS: u32 = 8_000;
    let forged = |names: usize| {
        let names: Vec<_> = (0..names).map(|n| format!(r#""{n:x}":1"#)).collect();
        let header = format!(r#"{{"alg":"HS256",{}}}"#, names.join(","));
        let room = (8_000_usize).saturating_sub(header.len() * 4 / 3) * 3 / 4;
        token_with("c".repeat(room), header, "a secret that somebody has made up for this")
    };
    let claims_of = |bytes: usize| {
        let filler = "x".repeat(bytes * 3 / 4);
        let claims = format!(r#"{{"sub":"ann{bytes}","exp":{},"x":"{filler}"}}"#, now() + 60);
        token_with(claims, r#"{"alg":"HS256"}"#, SECRET)
    };
    let cpu_of = |request: Request| {
        let (mut client, bytes, begun) = (gateway.client(), request.bytes(), gateway.cpu_time());
        for _ in 0..REQUESTS {
            client.send(&bytes).read_response();
        }
        gateway.cpu_time() - begun
    };
    // As long a head, and nothing in it to verify.
    let plain = cpu_of(me().bearer("x").field("X-Filler", &"f".repeat(8_000)));
    for names in [1, 50, 600] {
        let token = forged(names);
        assert!(token.len() <= 8 * 1024 && token.len() > 7_000, "{}", token.len());
        let cpu = cpu_of(me().bearer(&token));
        println!("{names} names: {:?} for a request, {:?} without a token", cpu / REQUESTS, plain / REQUESTS);
        assert!(cpu < plain * 3, "{names} names: {cpu:?}, without a token {plain:?}");
        assert_eq!(gateway.ask(me().bearer(&token)).status, 429);
    }
    let new = claims_of(600);
    assert_eq!(gateway.ask(me().bearer(&new)).status, 200, "a new and valid token of the same address");
    let long = claims_of(7_000);
    eventually("a long one has its turn", || gateway.ask(me().bearer(&long)).status == 200);
}
