//! A real OpenID provider: login, token, gateway.

use super::*;
use crate::harness::provider::Provider;

const ALGORITHMS: &str = "RS256,PS256,ES256,ES384,EdDSA";

fn discovering(provider: &Provider, origin: &Origin) -> Gateway {
    let issuer = format!("issuer = '{}'\naudiences = ['chat']\ndiscovery = true", provider.issuer());
    builder(&file(&issuer, origin)).start()
}

#[test]
fn who_has_logged_in_at_the_provider_enters_by_every_algorithm() {
    let (provider, origin) = (Provider::start(ALGORITHMS, 1), Origin::echo());
    let gateway = discovering(&provider, &origin);
    for algorithm in ALGORITHMS.split(',') {
        let token = provider.login("alice", algorithm);
        accepts(&gateway, &token);
        assert_eq!(origin.last().field("x-internal-user-id"), Some("alice"), "{algorithm}");
        let (signed, _) = token.rsplit_once('.').expect("three parts");
        refuses(&gateway, &format!("{signed}.{}", "A".repeat(86)));
    }
}

#[test]
fn the_keys_of_a_provider_that_comes_up_late_are_found_and_its_new_keys_too() {
    let (provider, origin) = (Provider::start("ES256", 1), Origin::echo());
    let token = provider.login("alice", "ES256");
    let (address, issuer) = (provider.address, provider.issuer());
    provider.stop();
    let toml = file(&format!("issuer = '{issuer}'\ndiscovery = true"), &origin);
    let gateway = builder(&toml).start();
    let response = gateway.ask(Request::new("GET", "/").bearer(&token));
    assert_eq!((response.status, response.code().as_str()), (503, "keys_unavailable"));
    assert!(response.field("retry-after").is_some(), "{response:?}");
    let provider = Provider::at(address, "ES256", 2);
    let token = provider.login("bob", "ES256");
    eventually("its keys are found", || answer(&gateway, &token).0 == 200);
    assert_eq!(origin.last().field("x-internal-user-id"), Some("bob"));
    // Another key, and the one before is withdrawn.
    provider.stop();
    let provider = Provider::at(address, "ES256", 3);
    accepts(&gateway, &token);
    accepts(&gateway, &provider.login("carol", "ES256"));
    assert_eq!(origin.last().field("x-internal-user-id"), Some("carol"));
    refuses(&gateway, &token);
}

#[test]
fn who_logs_out_at_the_provider_is_out_at_the_gateway() {
    let (redis, origin, port) = (Redis::start(), Origin::echo(), port_for_later());
    let provider = Provider::telling(&format!("http://127.0.0.1:{port}/oidc/logout"));
    let issuer = format!("issuer = '{}'\naudiences = ['chat']\ndiscovery = true", provider.issuer());
    let gateway = builder(&file(&issuer, &origin))
        .env("PORT", &port.to_string())
        .env("REDIS_ADDR", &redis.addr())
        .env("REVOCATION_STREAM", "{rc}:control")
        .env("BACKCHANNEL_LOGOUT_PATH", "/oidc/logout")
        .env("BACKCHANNEL_LOGOUT_CLIENTS", "app")
        .start();
    let [alice, bob] = ["alice", "bob"].map(|user| provider.login(user, "ES256"));
    accepts(&gateway, &alice);
    accepts(&gateway, &bob);
    let again = provider.login_and_logout("alice");
    for token in [&alice, &again] {
        let revoked = (401, "token_revoked".to_owned());
        eventually("her tokens do not count", || answer(&gateway, token) == revoked);
    }
    accepts(&gateway, &bob);
}
