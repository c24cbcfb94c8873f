//! Where a service sends a client, and how long it says that it keeps a connection.

use crate::harness::*;

/// A gateway with the public routes `/plain` and `/client` (`host = 'client'`) to an upstream with these keys.
fn gateway(upstream: &str) -> Builder {
    let route = |name: &str, keys: &str| {
        format!(
            "[[route]]\nname = '{name}'\npaths = ['/{name}']\nupstream = 'a'\naccess = 'public'\n{keys}\n"
        )
    };
    let routes = route("plain", "") + &route("client", "host = 'client'");
    let builder = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    builder.config(&format!("[upstreams.a]\n{upstream}\n{routes}"))
}

/// An origin that answers with the field line that the query names, `HOST` being the `Host` that it got.
fn sending() -> Origin {
    Origin::each(|request| {
        let (_, line) = request.target().split_once('?').expect("a query");
        let line = line.replace("%20", " ").replace("HOST", request.field("host").unwrap_or_default());
        format!("HTTP/1.1 302 Found\r\n{line}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    })
}

fn ask(gateway: &Gateway, path: &str, name: &str, value: &str, fields: &str) -> String {
    let target = format!("{path}?{name}:%20{}", value.replace(' ', "%20"));
    let response = gateway.ask(Request::new("GET", &target).raw(fields));
    assert_eq!(response.status, 302, "{response:?}");
    response.field(name).unwrap_or_default().to_owned()
}

#[test]
fn a_redirect_to_the_upstream_itself_leads_to_the_gateway() {
    let origin = sending();
    let port = origin.address.port();
    let gateway = gateway(&format!("urls = ['http://{}', 'http://other.test:81']", origin.address)).start();
    let own = format!("{}://chat.test", scheme());
    for (name, value, expected) in [
        ("Location", "http://HOST/x/".to_owned(), format!("{own}/x/")),
        ("Location", "https://HOST/x/;y=z".to_owned(), format!("{own}/x/;y=z")),
        ("location", "HTTP://HOST".to_owned(), own.clone()),
        ("Location", "//HOST/x".to_owned(), format!("{own}/x")),
        ("Location", "http://Other.TEST:81/x".to_owned(), format!("{own}/x")),
        ("Content-Location", "http://HOST/x".to_owned(), format!("{own}/x")),
        ("Refresh", "5; url=http://HOST/x".to_owned(), format!("5; url={own}/x")),
        ("Refresh", "0;URL='http://HOST'".to_owned(), format!("0;URL='{own}'")),
    ] {
        assert_eq!(ask(&gateway, "/plain", name, &value, ""), expected, "{value}");
    }
    for value in [
        "/x".to_owned(),
        "http://other.test/x".to_owned(),
        "http://other.test:82/x".to_owned(),
        format!("http://127.0.0.1:{port}.evil.test/x"),
        format!("http://127.0.0.1:{port}0/x"),
        format!("http://u@127.0.0.1:{port}/x"),
        format!("http://x127.0.0.1:{port}/x"),
        format!("ftp://127.0.0.1:{port}/x"),
        format!("/x/http://127.0.0.1:{port}/x"),
        "https://elsewhere.test/x".to_owned(),
    ] {
        assert_eq!(ask(&gateway, "/plain", "Location", &value, ""), value);
    }
    assert_eq!(
        ask(&gateway, "/plain", "X-Location", "http://HOST/", ""),
        format!("http://{}/", origin.address)
    );
}

#[test]
fn a_redirect_is_left_alone_where_the_service_was_told_the_client_s_host_or_the_key_says_so() {
    let origin = sending();
    let url = format!("url = 'http://{}'", origin.address);
    let internal = format!("http://{}/x", origin.address);
    let kept = gateway(&format!("{url}\nrewrite_location = false")).start();
    assert_eq!(ask(&kept, "/plain", "Location", &internal, ""), internal);
    let told = gateway(&url).start();
    assert_eq!(ask(&told, "/client", "Location", &internal, ""), internal);
    assert_eq!(ask(&told, "/client", "Location", "http://HOST/x", ""), "http://chat.test/x");
}

#[test]
fn a_redirect_names_what_a_trusted_proxy_says_of_the_client_and_nothing_longer_than_a_host() {
    let origin = sending();
    let url = format!("url = 'http://{}'", origin.address);
    let claims = "X-Forwarded-Host: shop.test:444\r\nX-Forwarded-Proto: wss\r\n";
    let behind = gateway(&url).env("TRUSTED_PROXIES", "127.0.0.0/8").start();
    assert_eq!(ask(&behind, "/plain", "Location", "http://HOST/x", claims), "https://shop.test:444/x");
    let broken = "X-Forwarded-Host: a, b\r\n";
    let own = format!("{}://chat.test/x", scheme());
    assert_eq!(ask(&behind, "/plain", "Location", "http://HOST/x", broken), own);
    let open = gateway(&url).start();
    assert_eq!(ask(&open, "/plain", "Location", "http://HOST/x", claims), own);
    // Heads with the longest hosts on both routes: nothing breaks, and nobody is named.
    let long = "a.".repeat(10_000) + "test";
    for (path, location) in [("/plain", "/x".to_owned()), ("/client", format!("http://{}/x", origin.address))]
    {
        let head = format!("GET {path}?Location:%20http://HOST/x HTTP/1.1\r\nHost: {long}\r\n\r\n");
        let response = open.client().send(head.as_bytes()).read_response();
        assert_eq!((response.status, response.field("location")), (302, Some(location.as_str())), "{path}");
    }
}

#[test]
fn a_connection_that_its_service_is_about_to_close_is_not_pooled() {
    for (announced, connections) in [
        ("timeout=0", 3),
        ("timeout=1", 3),
        ("timeout=60", 1),
        ("timeout=99999999999999999999", 1),
        ("timeout=soon", 1),
        ("max=0", 1),
    ] {
        let origin = Origin::fixed(format!(
            "HTTP/1.1 200 OK\r\nKeep-Alive: {announced}\r\nContent-Length: 2\r\n\r\nok"
        ));
        let gateway = gateway(&format!("url = 'http://{}'", origin.address)).env("CORES", "1").start();
        let mut client = gateway.client();
        for _ in 0..3 {
            assert_eq!(client.send(Request::new("GET", "/plain").bytes()).read_response().status, 200);
        }
        assert_eq!(origin.connections(), connections, "{announced}");
    }
}

#[test]
fn a_redirect_of_a_service_below_a_prefix_leads_below_it() {
    let origin = sending();
    let address = origin.address;
    let route = |name: &str, paths: &str, keys: &str| {
        format!("[[route]]\nname = '{name}'\npaths = {paths}\nupstream = 'a'\naccess = 'public'\n{keys}\n")
    };
    let routes = route("shop", "['/shop', '/shop/*']", "strip_prefix = '/shop'\nadd_prefix = '/v2'")
        + &route("site", "['/site/*']", "strip_prefix = '/site'")
        + &route("other", "['/other/*']", "strip_prefix = '/other'\nhost = 'client'");
    let gateway =
        Gateway::builder().config(&format!("[upstreams.a]\nurl = 'http://{address}'\n{routes}")).start();
    let own = format!("{}://chat.test", scheme());
    for (path, name, value, expected) in [
        ("/shop/x", "Location", "http://HOST/v2/cart?a=b".to_owned(), format!("{own}/shop/cart?a=b")),
        ("/shop", "Location", "http://HOST/v2".to_owned(), format!("{own}/shop")),
        ("/shop", "Content-Location", "//HOST/v2/".to_owned(), format!("{own}/shop/")),
        ("/site/x", "Location", "http://HOST/login".to_owned(), format!("{own}/site/login")),
        ("/site/x", "Location", "http://HOST".to_owned(), format!("{own}/site")),
        ("/site/x", "Refresh", "0;URL='http://HOST'".to_owned(), format!("0;URL='{own}/site'")),
        // What the route does not lead to, and what does not name the upstream.
        ("/shop/x", "Location", "http://HOST/v20".to_owned(), format!("{own}/v20")),
        ("/shop/x", "Location", "/v2/cart".to_owned(), "/v2/cart".to_owned()),
        ("/site/x", "Location", "https://elsewhere.test/x".to_owned(), "https://elsewhere.test/x".to_owned()),
        ("/other/x", "Location", "http://HOST/x".to_owned(), "http://chat.test/x".to_owned()),
    ] {
        assert_eq!(ask(&gateway, path, name, &value, ""), expected, "{path} {value}");
    }
}
