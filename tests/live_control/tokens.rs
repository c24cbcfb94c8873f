//! Which tokens a revocation refuses, on requests and handshakes.

use super::*;

#[test]
fn a_token_that_is_remembered_is_refused_and_one_that_was_issued_later_passes() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    let (old, other) = (issued("ann", 60, ""), issued("bob", 60, ""));
    // Often, so that each core has it in its cache.
    for _ in 0..20 {
        assert_eq!((asked(&gateway, &old), asked(&gateway, &other)), (fine(), fine()));
    }
    write(&redis, &["op", "revoke", "user", "ann", "before", &(now() - 30).to_string()]);
    until_revoked(&gateway, &old);
    for _ in 0..20 {
        assert_eq!(asked(&gateway, &old), revoked());
        assert_eq!((asked(&gateway, &other), asked(&gateway, &issued("ann", 10, ""))), (fine(), fine()));
    }
    let response = gateway.ask(Request::new("GET", "/api/v1/users/me").bearer(&old));
    assert_eq!(response.head.field("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    let refused = gateway.ask(handshake().bearer(&old));
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_revoked"));
    assert!(gateway.metric("unauthorized_total{reason=\"revoked\"}") >= 21);
    assert_eq!((gateway.metric("revocations"), gateway.metric("control_stream_connected")), (1, 1));
}

#[test]
fn one_token_one_session_or_everybody() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    let one = issued("ann", 60, r#","jti":"t-1","sid":"s-1""#);
    let same_session = issued("ann", 60, r#","jti":"t-2","sid":"s-1""#);
    let later_session = issued("ann", 10, r#","jti":"t-3","sid":"s-1""#);
    let bob = issued("bob", 60, r#","jti":"t-4","sid":"s-2""#);
    let all = |tokens: [&str; 4]| tokens.map(|token| asked(&gateway, token).0);
    let tokens = [one.as_str(), &same_session, &later_session, &bob];
    assert_eq!(all(tokens), [200; 4]);
    write(&redis, &["op", "revoke", "jti", "t-1"]);
    until_revoked(&gateway, &one);
    assert_eq!(all(tokens), [401, 200, 200, 200]);
    write(&redis, &["op", "revoke", "sid", "s-1", "before", &(now() - 30).to_string()]);
    until_revoked(&gateway, &same_session);
    assert_eq!(all(tokens), [401, 401, 200, 200]);
    write(&redis, &["op", "revoke", "all", "1", "before", &(now() + 4).to_string()]);
    until_revoked(&gateway, &bob);
    assert_eq!(all(tokens), [401; 4]);
    // Whoever logs in again in a second that was named is refused, so it is a later one.
    assert_eq!(asked(&gateway, &issued("ann", 0, "")).0, 401);
    eventually("a new login passes", || asked(&gateway, &issued("ann", 0, "")).0 == 200);
}

#[test]
fn what_was_revoked_before_the_start_is_in_force_with_the_first_request() {
    let (redis, origin) = (Redis::start(), either());
    ban(&redis, "ann");
    // What nobody needs to know any more is not even read.
    redis.cli(&["XADD", "{rc}:other", "1-1", "op", "revoke", "all", "1"]);
    for _ in 0..1_500 {
        write(&redis, &["op", "revoke", "user", "nobody"]);
    }
    let gateway = controlled(&redis, &origin).start();
    assert_eq!(asked(&gateway, &issued("ann", 60, "")), revoked());
    assert_eq!(asked(&gateway, &issued("bob", 60, "")), fine());
    assert_eq!((gateway.metric("control_entries_total"), gateway.metric("revocations")), (1_501, 2));
}

#[test]
fn entries_that_mean_nothing_are_passed_over_and_the_next_one_counts() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    let ahead = (now() + 100_000).to_string();
    for fields in [
        &["op", "ban", "user", "ann"][..],
        &["user", "ann"],
        &["op", "revoke", "user", "ann", "before", &ahead],
        &["op", "revoke", "user", ""],
        &["op", "close", "user", "ann", "code", "1005"],
    ] {
        write(&redis, fields);
    }
    ban(&redis, "bob");
    until_revoked(&gateway, &issued("bob", 60, ""));
    assert_eq!(asked(&gateway, &issued("ann", 60, "")), fine());
    assert_eq!(gateway.metric("control_entries_malformed_total"), 5);
    let told = gateway.log().iter().filter(|line| line.contains("means nothing")).count();
    assert_eq!(told, 1, "once in a while");
}

#[test]
fn a_public_route_has_no_token_to_revoke_and_an_optional_one_refuses_it() {
    let (redis, origin) = (Redis::start(), either());
    let routes = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'p'\npaths = ['/p']\nupstream = 'a'\naccess = 'public'\n\
         [[route]]\nname = 'o'\npaths = ['/o']\nupstream = 'a'\naccess = 'optional'\n",
        origin.address
    );
    let mut builder = controlled(&redis, &origin);
    for service in SERVICES {
        builder = builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()));
    }
    let gateway = builder.config(&routes).start();
    let token = issued("ann", 60, "");
    ban(&redis, "ann");
    let status = |path: &str| gateway.ask(Request::new("GET", path).bearer(&token)).status;
    eventually("the optional route refuses it", || status("/o") == 401);
    assert_eq!(status("/p"), 200);
}
