//! Key servers that are away, slow, or answer something else.

use super::*;
use crate::harness::signer::{Signer, key_set};

#[test]
fn an_issuer_that_goes_away_logs_nobody_out() {
    let set = |signer: &Signer| key_set(&[signer]);
    type Outage = fn(&str) -> String;
    let outages: [(&str, Outage); 7] = [
        ("status 500", |_| "HTTP/1.1 500 Away\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("redirects", |_| {
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_owned()
        }),
        ("JSON", |_| json_answer("<html>Sorry</html>")),
        ("JSON", |_| json_answer("")),
        ("key", |_| json_answer("{\"keys\":[]}")),
        ("too long", |_| json_answer(&format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(10 << 20)))),
        ("Content-Length", |set| format!("HTTP/1.1 200 OK\r\n\r\n{set}")),
    ];
    std::thread::scope(|scope| {
        for (told, outage) in outages {
            scope.spawn(move || {
                let (signer, stranger, origin) = (Signer::new("one"), Signer::new("new"), Origin::echo());
                let keys = KeyServer::with(&set(&signer));
                let gateway = builder(&file(&keys.issuer(), &origin)).start();
                accepts(&gateway, &signer.token(ISSUER, "alice"));
                keys.says(outage(&set(&signer)));
                // A token of a key that nobody has yet: who could say that it is wrong?
                let unknown = stranger.token(ISSUER, "bob");
                assert_eq!(answer(&gateway, &unknown), (503, "keys_unavailable".to_owned()), "{told}");
                assert!(gateway.wait_log("stays in force").contains(told), "{:#?}", gateway.log());
                accepts(&gateway, &signer.token(ISSUER, "carol"));
                eventually("it is asked again", || keys.origin.heads() > 3);
                let warnings = gateway.log().iter().filter(|line| line.contains("stays in force")).count();
                assert_eq!(warnings, 1, "one line for an outage: {:#?}", gateway.log());
                keys.says(json_answer(&set(&signer)));
                eventually("the key is known to be nobody's", || answer(&gateway, &unknown).0 == 401);
                gateway.wait_log("can be had again");
            });
        }
    });
}

#[test]
fn a_server_that_stalls_delays_nothing_but_its_own_keys() {
    let (signer, origin) = (Signer::new("one"), Origin::echo());
    let (stalled, _release) = Origin::held();
    let keys = KeyServer::with(&key_set(&[&signer]));
    let toml = format!(
        "[[issuer]]\nname = 'stalled'\nissuer = 'https://stalled.example'\njwks_url = 'http://{}/'\n{}",
        stalled.address,
        file(&keys.issuer(), &origin)
    );
    let gateway = builder(&toml).start();
    accepts(&gateway, &signer.token(ISSUER, "alice"));
    assert_eq!(gateway.admin("/readyz").status, 200);
    gateway.wait_log("no complete response in time");
    accepts(&gateway, &signer.token(ISSUER, "bob"));
}

#[test]
fn a_document_of_another_issuer_is_not_believed() {
    let (signer, origin) = (Signer::new("one"), Origin::echo());
    let keys = KeyServer::with(&key_set(&[&signer]));
    let document = |issuer: &str, keys: &str| {
        json_answer(&serde_json::json!({ "issuer": issuer, "jwks_uri": keys }).to_string())
    };
    let provider = KeyServer::new("");
    let issuer = format!("http://{}", provider.origin.address);
    let keys_url = format!("http://{}/keys", keys.origin.address);
    provider.says(document("https://id.example", &keys_url));
    let gateway = builder(&file(&format!("issuer = '{issuer}'\ndiscovery = true"), &origin)).start();
    let token = signer.token(&issuer, "alice");
    assert_eq!(answer(&gateway, &token).0, 503);
    gateway.wait_log("another issuer");
    provider.says(document(&issuer, "ftp://127.0.0.1/keys"));
    assert_eq!(keys.origin.heads(), 0);
    provider.says(document(&issuer, &keys_url));
    eventually("the right document is believed", || answer(&gateway, &token).0 == 200);
    let asked = provider.origin.last();
    assert_eq!(asked.target(), "/.well-known/openid-configuration");
    assert_eq!(asked.field("host"), Some(provider.origin.address.to_string().as_str()));
}

#[test]
fn a_reload_brings_an_issuer_and_takes_one_away() {
    let (signer, origin) = (Signer::new("one"), Origin::echo());
    let keys = KeyServer::with(&key_set(&[&signer]));
    let plain = file("secret_file = 'SECRET'\nmax_lifetime = '0s'", &origin);
    let secret = temporary("secret", SECRET);
    let plain = plain.replace("SECRET", secret.to_str().expect("a path in UTF-8"));
    let gateway = builder(&plain).start();
    let alice = signer.token(ISSUER, "alice");
    refuses(&gateway, &alice);
    accepts(&gateway, &token("bob"));
    gateway.rewrite_config(&file(&keys.issuer(), &origin));
    gateway.reload();
    eventually("the new issuer's keys are found", || answer(&gateway, &alice).0 == 200);
    refuses(&gateway, &token("bob"));
    gateway.rewrite_config(&plain);
    gateway.reload();
    refuses(&gateway, &alice);
    accepts(&gateway, &token("bob"));
}
