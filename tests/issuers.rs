//! Tokens of issuers with public keys, over the wire: whose tokens enter where, and what the operator is told.

use std::fs;

use serde_json::{Value, json};

use crate::harness::signer::{ISS, Signer};
use crate::harness::*;

const ME: &str = "/api/v1/users/me";

fn issuer(name: &str, source: &str) -> String {
    format!("[[issuer]]\nname = '{name}'\nissuer = '{ISS}'\naudiences = ['chat']\n{source}\n")
}

fn ask(gateway: &Gateway, path: &str, token: &str) -> (u16, String) {
    let response = gateway.ask(Request::new("GET", path).bearer(token));
    let code = if response.status == 200 { String::new() } else { response.code() };
    (response.status, code)
}

#[test]
fn tokens_of_a_key_set_enter_beside_those_of_the_secret() {
    let (origin, signer, other) = (Origin::echo(), Signer::new("k1"), Signer::new("k1"));
    let set = TempFile::set("enter", &[signer.jwk(), json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s" })]);
    let config = issuer("corp", &format!("jwks_file = '{}'", set.path()));
    let gateway = Gateway::builder().config(&config).everywhere(&origin).start();
    // The second time from the cache.
    for _ in 0..2 {
        assert_eq!(ask(&gateway, ME, &signer.good()).0, 200);
        assert_eq!(origin.last().field("x-internal-user-id"), Some("ann"));
        assert_eq!(ask(&gateway, ME, &token("bob")).0, 200);
    }
    assert!(gateway.log().join("\n").contains("key 1 (\"s\"): is a secret"), "{:?}", gateway.log());
    let claims = |change: fn(&mut Value)| {
        let mut claims = json!({ "sub": "ann", "iss": ISS, "aud": "chat", "iat": now(), "exp": now() + 600 });
        change(&mut claims);
        signer.claiming(&claims)
    };
    for (reason, wrong) in [
        ("signature", other.good()),
        ("unknown_key", Signer::new("k2").good()),
        ("issuer", claims(|claims| claims["iss"] = json!("https://id.example"))),
        ("audience", claims(|claims| claims["aud"] = json!("mail"))),
        ("token_bound", claims(|claims| claims["cnf"] = json!({ "jkt": "x" }))),
        ("lifetime", claims(|claims| claims["exp"] = json!(now() + 100_000))),
        ("no_issued_at", claims(|claims| claims["iat"] = json!(null))),
    ] {
        assert_eq!(ask(&gateway, ME, &wrong), (401, "token_invalid".to_owned()), "{reason}");
        assert_eq!(gateway.metric(&format!("unauthorized_total{{reason=\"{reason}\"}}")), 1, "{reason}");
    }
}

#[test]
fn a_token_whose_issuer_has_no_keys_yet_gets_503_and_others_enter() {
    let (origin, signer) = (Origin::echo(), Signer::new("k1"));
    // Nobody listens there.
    let config = issuer("far", "jwks_url = 'http://127.0.0.1:1/keys'");
    let gateway = Gateway::builder().config(&config).everywhere(&origin).start();
    let response = gateway.ask(Request::new("GET", ME).bearer(&signer.good()));
    assert_eq!((response.status, response.code().as_str()), (503, "keys_unavailable"));
    assert!(response.field("retry-after").is_some() && response.field("www-authenticate").is_none());
    assert_eq!(gateway.metric("requests_unauthorized_total"), 0);
    assert_eq!(ask(&gateway, ME, &token("bob")).0, 200);
    assert_eq!(ask(&gateway, ME, "x.y.z"), (401, "token_invalid".to_owned()));
    assert_eq!(origin.heads(), 1);
}

#[test]
fn a_route_takes_the_tokens_of_its_issuers_alone() {
    let (origin, signer) = (Origin::echo(), Signer::new("k1"));
    let set = TempFile::set("route", &[signer.jwk()]);
    let config = format!(
        "{}[upstreams.a]\nurl = 'http://{}'\n\
         [[route]]\nname = 'corp'\npaths = ['/corp']\nupstream = 'a'\nissuers = ['corp']\n\
         [[route]]\nname = 'ours'\npaths = ['/ours']\nupstream = 'a'\nissuers = ['default']\n\
         [[route]]\nname = 'all'\npaths = ['/all']\nupstream = 'a'\n",
        issuer("corp", &format!("jwks_file = '{}'", set.path())),
        origin.address
    );
    let gateway = Gateway::builder().config(&config).start();
    let (theirs, ours) = (signer.good(), token("bob"));
    // Also after the token is remembered.
    for _ in 0..2 {
        for (path, token, status) in [
            ("/all", &theirs, 200),
            ("/all", &ours, 200),
            ("/corp", &theirs, 200),
            ("/corp", &ours, 401),
            ("/ours", &theirs, 401),
            ("/ours", &ours, 200),
        ] {
            assert_eq!(ask(&gateway, path, token).0, status, "{path}");
        }
    }
}

#[test]
fn a_reload_takes_another_key_set_and_another_secret_of_an_issuer() {
    let (origin, before, after) = (Origin::echo(), Signer::new("k1"), Signer::new("k2"));
    let set = TempFile::set("rotate", &[before.jwk()]);
    let secret = TempFile::new("secret", "the secret of an issuer, long enough");
    let config = issuer("corp", &format!("jwks_file = '{}'\nsecret_file = '{}'", set.path(), secret.path()));
    let gateway = Gateway::builder().config(&config).everywhere(&origin).start();
    assert_eq!((ask(&gateway, ME, &before.good()).0, ask(&gateway, ME, &after.good()).0), (200, 401));
    fs::write(&set.0, json!({ "keys": [after.jwk()] }).to_string()).expect("our own file");
    fs::write(&secret.0, "another secret of it, as long as the first").expect("our own file");
    let told = gateway.reload().join("\n");
    assert!(told.contains("issuer corp: another secret or key"), "{told}");
    assert_eq!((ask(&gateway, ME, &before.good()).0, ask(&gateway, ME, &after.good()).0), (401, 200));
    // A set that is none changes nothing.
    fs::write(&set.0, "<html>").expect("our own file");
    fs::write(&secret.0, "a third one, which must not come into force").expect("our own file");
    let told = gateway.reload().join("\n");
    assert!(told.contains("is not JSON") && told.contains("the running configuration stays"), "{told}");
    assert_eq!(ask(&gateway, ME, &after.good()).0, 200);
}

#[test]
fn check_shows_issuers_and_keys_and_explain_what_becomes_of_a_token() {
    let signer = Signer::new("k1");
    let set = TempFile::set("check", &[signer.jwk()]);
    let config = issuer("corp", &format!("jwks_file = '{}'", set.path()));
    let run = |arguments: &[&str]| Gateway::builder().config(&config).run(arguments);
    let (code, shown, _) = run(&["check"]);
    assert_eq!(code, Some(0), "{shown}");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = shown.lines().map(words).collect();
    for line in [
        format!("corp {ISS} chat {} those of the keys user sub, up to 24h", set.path()),
        "corp \"k1\" ES256".to_owned(),
        "default of any name HS256".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}\n{shown}");
    }
    let (code, told, _) = run(&["explain", "GET", ME, "--token", &signer.good()]);
    assert_eq!(code, Some(0));
    for part in [
        "token           algorithm ES256, key \"k1\", type \"at+jwt\"\n",
        "signed by the issuer corp, key \"k1\"\n",
        "valid for ",
        "s: user ann\n",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let (_, told, _) = run(&["explain", "GET", ME, "--token", &Signer::new("k9").good()]);
    assert!(told.contains("401 token_invalid (unknown_key)"), "{told}");
}

#[test]
fn an_issuers_files_are_judged_before_the_start() {
    let not_a_set = TempFile::new("mistake.json", r#"{"keys":[{"kty":"oct"}]}"#);
    let not_a_key =
        TempFile::new("mistake.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (source, why) in [
        (format!("jwks_file = '{}'", not_a_set.path()), "issuer corp: "),
        (format!("pem_file = '{}'", not_a_key.path()), "has no PUBLIC KEY"),
        ("jwks_file = '/does/not/exist'".to_owned(), "/does/not/exist cannot be read"),
        ("jwks_url = 'http://id.example/keys'".to_owned(), "is not https"),
    ] {
        let (code, _, stderr) = Gateway::builder().config(&issuer("corp", &source)).run(&["check"]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(why) && stderr.lines().count() == 1, "{stderr}");
    }
}
