//! The status page: what an operator sees of it in a browser, and its figures.

use crate::harness::*;

/// A gateway with a route to a service that answers and one to a service that is not there.
fn gateway(origin: &Origin) -> Gateway {
    let dead = port_for_later();
    let toml = format!(
        "[upstreams.alive]\nurl = 'http://{}'\n[upstreams.dead]\nurl = 'http://127.0.0.1:{dead}'\n\
         [[route]]\nname = 'works'\npaths = ['/works']\nupstream = 'alive'\naccess = 'public'\n\
         [[route]]\nname = 'broken'\npaths = ['/broken']\nupstream = 'dead'\naccess = 'public'\n\
         [[route]]\nname = 'private'\npaths = ['/private']\nupstream = 'alive'\n",
        origin.address
    );
    Gateway::builder().cores("2").config(&toml).start()
}

fn ask_each(gateway: &Gateway) {
    assert_eq!(gateway.ask(Request::new("GET", "/works")).status, 200);
    assert_eq!(gateway.ask(Request::new("GET", "/broken")).status, 502);
    assert_eq!(gateway.ask(Request::new("GET", "/private")).status, 401);
}

#[test]
fn the_page_shows_routes_upstreams_and_errors_as_they_are() {
    let origin = Origin::echo();
    let gateway = gateway(&origin);
    ask_each(&gateway);
    let browser = Browser::start();
    let page = browser.open(&format!("http://{}/", gateway.admin));
    page.shows("state", "✓ ready");
    for (part, shown) in [
        ("routes", "works"),
        ("routes", "broken"),
        ("routes", "(no route)"),
        ("upstreams", "alive"),
        ("upstreams", "127.0.0.1"),
        ("errors", "upstream_unreachable"),
        ("errors", "token_missing"),
        ("cores", "io_uring"),
        ("limits", "not used"),
        ("process", "version 1 on every core"),
        ("trust", "a shared secret, no TLS"),
        ("log", "gateway is listening"),
    ] {
        page.shows(part, shown);
    }
    // It is live: what happens now is there with the next look.
    gateway.rewrite_config("nonsense");
    gateway.reload();
    page.shows("process", "✗ refused");
    page.shows("log", "the running configuration stays");
    // On a phone nothing but a table scrolls sideways.
    page.resize(360, 740);
    let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(page.run(fits), true);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_page_shows_what_is_in_flight_and_who_asks_and_is_limited_most() {
    let (origin, release) = Origin::held();
    let builder = Gateway::builder().cores("2").everywhere(&origin).env("TRUSTED_PROXIES", "127.0.0.0/8");
    let builder = builder.env("RATE_LIMIT_STORE", "memory").env("RATE_LIMIT_RPS", "0.01");
    let gateway = builder.env("RATE_LIMIT_BURST", "1").start();
    let mut waiting = gateway.client();
    let request = Request::new("GET", "/api/v1/users/me").token("ann").field("X-Request-Id", "the-old-one");
    waiting.send(request.bytes());
    eventually("it is in flight", || origin.heads() == 1);
    let limited = Request::new("GET", "/api/v1/users/me").token("ann").field("X-Forwarded-For", "192.0.2.7");
    for _ in 0..64 {
        assert_eq!(gateway.ask(limited.clone()).status, 429);
    }
    let status = || gateway.admin("/status.json").json();
    let ids = || {
        let status = status();
        let ids = status["in_flight"].as_array().expect("a list").clone();
        ids.iter().map(|one| one["request_id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    eventually("it is shown", || ids() == ["the-old-one"]);
    let shown = status();
    assert_eq!(shown["in_flight"][0]["route"], "users", "{shown}");
    assert_eq!((&shown["limited"][0]["name"], &shown["limited"][0]["kind"]), (&"ann".into(), &"user".into()));
    assert!(shown["limited"][0]["count"].as_u64() > Some(20), "{shown}");
    assert_eq!(
        (&shown["talkers"][0]["name"], &shown["talkers"][0]["kind"]),
        (&"192.0.2.7".into(), &"address".into())
    );
    let browser = Browser::start();
    let page = browser.open(&format!("http://{}/", gateway.admin));
    page.shows("inflight", "the-old-one");
    page.shows("heavy", "192.0.2.7");
    page.shows("heavy", "ann");
    assert_eq!(browser.complaints(), [""; 0]);
    drop(release);
    assert_eq!(waiting.read_response().status, 200);
    eventually("it is not shown any more", || ids().is_empty());
}

#[test]
fn the_page_says_when_the_gateway_is_gone() {
    let origin = Origin::echo();
    let gateway = gateway(&origin);
    let browser = Browser::start();
    let page = browser.open(&format!("http://{}/", gateway.admin));
    page.shows("state", "✓ ready");
    page.click("pause");
    page.shows("pause", "Go on");
    page.click("pause");
    assert_eq!(gateway.stop().code(), Some(0));
    page.shows("state", "✗ no answer");
}

#[test]
fn the_figures_of_the_page_are_those_of_the_metrics() {
    let origin = Origin::echo();
    let gateway = gateway(&origin);
    ask_each(&gateway);
    eventually("all are counted", || gateway.metric("responses_total") == 3);
    let answer = gateway.admin("/status.json");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    let status = answer.json();
    assert_eq!((&status["state"], &status["version"]), (&"ready".into(), &env!("CARGO_PKG_VERSION").into()));
    let metrics = &status["metrics"];
    let find = |name: &str, label: &str, value: &str| {
        let samples = metrics[name].as_array().unwrap_or_else(|| panic!("no {name} in {status}"));
        samples.iter().filter(|sample| sample["labels"][label] == value).cloned().collect::<Vec<_>>()
    };
    let answered: u64 =
        find("responses_total", "route", "broken").iter().filter_map(|sample| sample["value"].as_u64()).sum();
    assert_eq!(answered, 1);
    let durations = &find("request_duration_seconds", "route", "works")[0];
    assert_eq!(durations["counts"].as_array().and_then(|counts| counts.last()), Some(&1.into()));
    assert_eq!(durations["bounds"].as_array().map(Vec::len), Some(14));
    assert_eq!(status["upstreams"][1]["name"], "dead");
    assert!(status["upstreams"][1]["members"][0]["connect_failures"].as_u64() >= Some(1), "{status}");
    let log = status["log"].as_array().expect("lines");
    assert!(log.iter().any(|line| line.as_str().is_some_and(|line| line.contains("gateway is listening"))));
    // Nobody but an operator reads them: no browser keeps them, and no page of another origin gets them.
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let foreign = Request::new("GET", "/status.json").field("Origin", "https://evil.example");
    assert_eq!(Client::connect(gateway.admin).send(foreign.bytes()).read_response().status, 403);
}

#[test]
fn with_a_token_only_health_is_open_and_the_page_asks_for_it() {
    let gateway = Gateway::builder().env("ADMIN_TOKEN", "secret-of-operators").start();
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(gateway.admin(path).status, 200, "{path}");
    }
    let ask = |path: &str, value: &str| {
        let request = Request::new("GET", path).field("Authorization", value);
        Client::connect(gateway.admin).send(request.bytes()).read_response()
    };
    for path in ["/metrics", "/status.json", "/upstreams", "/issuers"] {
        let refused = gateway.admin(path);
        assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer")), "{path}");
        for wrong in
            ["Bearer", "Bearer secret", "Bearer secret-of-operators2", "Basic secret-of-operators", ""]
        {
            assert_eq!(ask(path, wrong).status, 401, "{path} {wrong:?}");
        }
        for right in ["Bearer secret-of-operators", "bearer secret-of-operators"] {
            assert_eq!(ask(path, right).status, 200, "{path} {right:?}");
        }
    }
    let browser = Browser::start();
    let page = browser.open(&format!("http://{}/", gateway.admin));
    page.shows("entrance", "Token of this listener");
    page.write("token", "wrong");
    page.click("enter");
    page.shows("state", "status 401");
    page.write("token", "secret-of-operators");
    page.click("enter");
    page.shows("state", "\u{2713} ready");
    page.shows("cores", "0");
}

#[test]
fn a_token_comes_from_a_file_as_well_and_must_be_one_that_can_be_sent() {
    let file = TempFile::new("token", "from-a-file\n");
    let gateway = Gateway::builder().env("ADMIN_TOKEN_FILE", &file.path()).start();
    let request = Request::new("GET", "/metrics").bearer("from-a-file");
    assert_eq!(Client::connect(gateway.admin).send(request.bytes()).read_response().status, 200);
    assert_eq!(gateway.admin("/metrics").status, 401);
    let (code, _, told) = Gateway::builder().env("ADMIN_TOKEN", "two words").run(&[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("ADMIN_TOKEN: has something other than visible ASCII in it"), "{told}");
}
