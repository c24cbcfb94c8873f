//! "Your own services in 20 lines": the configuration in the README works as it is printed there.

use crate::harness::*;

/// Where the README says that the services are.
const ADDRESSES: [&str; 3] = ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"];

/// The README's configuration.
fn configuration() -> String {
    let readme = super::read("README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("a configuration in the README");
    rest.split("```").next().unwrap_or_default().to_owned()
}

/// What a reader has: a secret, and the file. Nothing else of the harness.
fn readers(toml: &str) -> Builder {
    let mut builder = Gateway::builder().config(toml);
    for name in ["PORT", "BIND", "ADMIN_ADDR", "CORES", "RATE_LIMIT_STORE", "ACCESS_LOG"] {
        builder = builder.without(name);
    }
    SERVICES.iter().fold(builder, |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    })
}

#[test]
fn the_configuration_of_the_readme_is_valid_and_short() {
    let toml = configuration();
    let lines = toml.lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 20, "{lines} lines");
    let (code, stdout, stderr) = readers(&toml).run(&["check"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for address in ADDRESSES {
        assert!(stdout.contains(address), "{address} is not in:\n{stdout}");
    }
    let (code, token, stderr) = readers(&toml).run(&["token", "--user", "alice"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{token}");
}

#[test]
fn the_configuration_of_the_readme_leads_to_two_services_and_a_websocket() {
    let (accounts, orders, chat) = (Origin::echo(), Origin::echo(), echoing());
    let toml = ADDRESSES
        .iter()
        .zip([&accounts, &orders, &chat])
        .fold(configuration(), |toml, (from, origin)| toml.replace(from, &origin.address.to_string()));
    let gateway = readers(&toml)
        .env("PORT", "0")
        .env("BIND", "127.0.0.1")
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("CORES", "1")
        .start();

    assert_eq!(gateway.ask(Request::new("POST", "/login").body("{}")).status, 200);
    assert_eq!(accounts.last().target(), "/login");

    assert_eq!(gateway.get("/orders/1", "alice").status, 200);
    assert_eq!(orders.last().target(), "/orders/1");
    assert_eq!(orders.last().field("x-internal-user-id"), Some("alice"));
    assert_eq!(gateway.ask(Request::new("GET", "/orders/1")).code(), "token_missing");

    Socket::open_with(&gateway, &handshake_on("/chat").bearer(&token("alice"))).expect_echo("hello");
}
