//! Tokens over the wire: who gets in, and how the others are told.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::harness::*;

const ME: &str = "/api/v1/users/me";
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Signed like a good token, with these claims.
fn claims(claims: impl ToString) -> String {
    token_with(claims.to_string(), HS256, SECRET)
}

fn good_claims() -> String {
    json!({ "sub": "ann", "exp": now() + 3600 }).to_string()
}

/// Each of these tokens gets 401 with this code; no request reaches the origin.
#[track_caller]
fn none_enters(tokens: impl IntoIterator<Item = impl AsRef<str>>, code: &str) {
    none_enters_with(Gateway::builder(), tokens, code);
}

#[track_caller]
fn none_enters_with(builder: Builder, tokens: impl IntoIterator<Item = impl AsRef<str>>, code: &str) {
    let origin = Origin::echo();
    let gateway = builder.everywhere(&origin).start();
    for token in tokens {
        let token = token.as_ref();
        let response = gateway.ask(Request::new("GET", ME).bearer(token));
        assert_eq!((response.status, response.code().as_str()), (401, code), "{token}");
        assert!(
            response.field("www-authenticate").is_some_and(|value| value.starts_with("Bearer")),
            "{response:?}"
        );
        assert!(!response.text().contains(token) || token.is_empty(), "the answer repeats the token");
    }
    assert_eq!(origin.heads(), 0);
    assert!(!gateway.log().join("\n").contains(SECRET));
}

/// Each of these tokens is ann's.
#[track_caller]
fn ann_enters_with(builder: Builder, tokens: impl IntoIterator<Item = impl AsRef<str>>) {
    let origin = Origin::echo();
    let gateway = builder.everywhere(&origin).start();
    for token in tokens {
        // Twice: the second time from the cache.
        for _ in 0..2 {
            let response = gateway.ask(Request::new("GET", ME).bearer(token.as_ref()));
            assert_eq!(response.status, 200, "{}: {response:?}", token.as_ref());
            assert_eq!(origin.last().field("x-internal-user-id"), Some("ann"));
        }
    }
}

// --- Where the token is

#[test]
fn a_request_without_a_token_is_told_so() {
    let gateway = Gateway::builder().start();
    for fields in ["", "Authorization: Basic YTpi\r\n", "Cookie: token=x\r\n"] {
        let response = gateway.ask(Request::new("GET", ME).raw(fields));
        assert_eq!(response.status, 401, "{fields}");
        assert!(response.field("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    }
    assert_eq!(gateway.ask(Request::new("GET", ME)).code(), "token_missing");
}

#[test]
fn keeps_the_scheme_in_any_case() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} {}", token("ann"));
        assert_eq!(
            gateway.ask(Request::new("GET", ME).field("authorization", &value)).status,
            200,
            "{scheme}"
        );
    }
}

#[test]
fn refuses_two_authorization_fields() {
    let gateway = Gateway::builder().start();
    let twice = Request::new("GET", ME).token("ann").token("ann");
    let mixed = Request::new("GET", ME).field("Authorization", "Basic YTpi").token("ann");
    for request in [twice, mixed] {
        assert_eq!(gateway.ask(request).status, 401);
    }
}

#[test]
fn refuses_a_value_that_is_more_or_less_than_one_token() {
    let gateway = Gateway::builder().start();
    let good = token("ann");
    for value in [
        "Bearer".to_owned(),
        format!("Bearer{good}"),
        format!("Bearer {good} {good}"),
        format!("Bearer {good},"),
        format!("Bearer \"{good}\""),
        good.clone(),
        format!("JWT {good}"),
        format!("Bearer {good}; a"),
        "Bearer .".to_owned(),
        "Bearer ..".to_owned(),
        "Bearer a.b.c".to_owned(),
        format!("Bearer {good}."),
        format!("Bearer .{good}"),
    ] {
        let response = gateway.ask(Request::new("GET", ME).field("Authorization", &value));
        assert_eq!(response.status, 401, "{value}");
    }
}

#[test]
fn takes_no_token_from_the_query_of_an_ordinary_route() {
    let gateway = Gateway::builder().start();
    for name in ["token", "access_token", "jwt"] {
        assert_eq!(
            gateway.ask(Request::new("GET", &format!("{ME}?{name}={}", token("ann")))).code(),
            "token_missing"
        );
    }
}

// --- Signature and algorithm

#[test]
fn refuses_a_signature_of_another_secret() {
    none_enters(
        [
            token_with(good_claims(), HS256, "another secret, long enough for anybody"),
            token_with(good_claims(), HS256, ""),
        ],
        "token_invalid",
    );
}

#[test]
fn refuses_a_token_without_or_with_a_cut_signature() {
    let good = token("ann");
    let (parts, signature) = good.rsplit_once('.').expect("three parts");
    none_enters(
        [
            parts.to_owned(),
            format!("{parts}."),
            format!("{parts}.{}", &signature[..signature.len() - 4]),
            format!("{parts}.{signature}AAAA"),
            format!("{parts}.{}", "A".repeat(43)),
        ],
        "token_invalid",
    );
}

#[test]
fn refuses_a_changed_token() {
    let good = token("ann");
    let (parts, signature) = good.rsplit_once('.').expect("three parts");
    let (header, _) = parts.split_once('.').expect("two parts");
    let bobs = URL_SAFE_NO_PAD.encode(json!({ "sub": "bob", "exp": now() + 3600 }).to_string());
    none_enters([format!("{header}.{bobs}.{signature}")], "token_invalid");
}

#[test]
fn the_token_never_chooses_its_algorithm() {
    let headers = [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":256}"#,
        r#"{"alg":null}"#,
        r#"{"typ":"JWT"}"#,
        "{}",
    ];
    let signed = headers.iter().map(|header| token_with(good_claims(), header, SECRET));
    let bare = headers.iter().map(|header| {
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(good_claims()))
    });
    none_enters(signed.chain(bare), "token_invalid");
}

#[test]
fn refuses_critical_extensions() {
    let headers = [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
    ];
    none_enters(headers.map(|header| token_with(good_claims(), header, SECRET)), "token_invalid");
}

// --- Encoding

#[test]
fn refuses_base64_that_is_not_strict_base64url() {
    // Claims whose encodings differ between the alphabets and need padding.
    let claims = json!({ "sub": "ann", "exp": now() + 3600, "x": "??>>~~" }).to_string() + " ";
    let header = URL_SAFE_NO_PAD.encode(HS256);
    let parts = |claims: String| sign(&format!("{header}.{claims}"), SECRET);
    let good = token("ann");
    let last = good.chars().last().expect("a signature");
    // A signature of 32 bytes leaves two trailing bits in its last character: the next letter sets one.
    let loose = format!("{}{}", &good[..good.len() - 1], char::from(last as u8 + 1));
    let mut tokens =
        vec![loose, format!("{good}="), format!("{good}=="), format!("{}\t", good.replace('.', ".\t"))];
    tokens.push(parts(format!("{}=", URL_SAFE_NO_PAD.encode(&claims))));
    for padding in ["", " ", "  "] {
        let claims = format!("{claims}{padding}");
        tokens.extend(
            [STANDARD.encode(&claims), URL_SAFE.encode(&claims)]
                .into_iter()
                .filter(|encoded| *encoded != URL_SAFE_NO_PAD.encode(&claims))
                .map(parts),
        );
    }
    none_enters(tokens, "token_invalid");
}

#[test]
fn refuses_parts_that_are_not_one_json_object_each() {
    let good = good_claims();
    let with = |more: &str| format!("{}{more}}}", &good[..good.len() - 1]);
    let claims = [
        format!("{good}{{}}"),
        format!("{good} x"),
        format!("[{good}]"),
        "null".to_owned(),
        "\"ann\"".to_owned(),
        String::new(),
        "{".to_owned(),
        with(",\"sub\":\"bob\""),
        with(",\"exp\":9999999999"),
        with(",\"a\":1,\"a\":2"),
        format!("\u{feff}{good}"),
    ];
    let headers = [
        format!("{HS256}{{}}"),
        format!("{HS256} x"),
        format!("[{HS256}]"),
        "null".to_owned(),
        String::new(),
        r#"{"alg":"none","alg":"HS256"}"#.to_owned(),
        r#"{"alg":"HS256","alg":"HS256"}"#.to_owned(),
        r#"{"alg":"HS256","a":1,"a":2}"#.to_owned(),
    ];
    let claims = claims.map(|claims| token_with(claims, HS256, SECRET));
    let headers = headers.map(|header| token_with(&good, header, SECRET));
    none_enters(claims.into_iter().chain(headers), "token_invalid");
}

#[test]
fn refuses_claims_that_are_not_utf_8() {
    none_enters([token_with(b"{\"sub\":\"ann\xff\",\"exp\":9999999999}", HS256, SECRET)], "token_invalid");
}

#[test]
fn refuses_a_token_over_its_bound() {
    none_enters(
        [
            claims(json!({ "sub": "ann", "exp": now() + 3600, "x": "a".repeat(7 * 1024) })),
            "a".repeat(8 * 1024 + 1),
        ],
        "token_invalid",
    );
}

#[test]
fn keeps_a_long_token_within_its_bound() {
    ann_enters_with(
        Gateway::builder(),
        [claims(json!({ "sub": "ann", "exp": now() + 3600, "x": "a".repeat(5 * 1024) }))],
    );
}

// --- Time

#[test]
fn an_expired_token_is_told_so() {
    let expired = [now() - 1, now() - 3600, 0, 1].map(|exp| claims(json!({ "sub": "ann", "exp": exp })));
    none_enters(expired, "token_expired");
}

#[test]
fn refuses_an_expiry_that_is_missing_or_no_sensible_number() {
    let values = [
        "\"9999999999\"",
        "-1",
        "-9999999999",
        "null",
        "true",
        "[9999999999]",
        "{}",
        "1e400",
        "1e300",
        "18446744073709551616",
        "99999999999999999999999999",
        "NaN",
        "Infinity",
        "9999999999.",
        "09999999999",
        "+9999999999",
        "0x2540be3ff",
    ];
    let valued = values.map(|exp| claims(format!(r#"{{"sub":"ann","exp":{exp}}}"#)));
    none_enters(valued.into_iter().chain([claims(r#"{"sub":"ann"}"#)]), "token_invalid");
}

#[test]
fn a_token_ends_in_the_cache_too() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let short = claims(json!({ "sub": "ann", "exp": now() + 5 }));
    assert_eq!(gateway.ask(Request::new("GET", ME).bearer(&short)).status, 200);
    eventually("the token ends", || {
        let response = gateway.ask(Request::new("GET", ME).bearer(&short));
        response.status == 401 && response.code() == "token_expired"
    });
}

#[test]
fn refuses_a_token_before_its_time() {
    let nbf = |nbf: serde_json::Value| claims(json!({ "sub": "ann", "exp": now() + 3600, "nbf": nbf }));
    none_enters([nbf(json!(now() + 600)), nbf(json!("0"))], "token_invalid");
    ann_enters_with(Gateway::builder(), [nbf(json!(now() - 600))]);
}

#[test]
fn leeway_counts_both_ways_when_configured() {
    let late = claims(json!({ "sub": "ann", "exp": now() - 10 }));
    let early = claims(json!({ "sub": "ann", "exp": now() + 3600, "nbf": now() + 10 }));
    ann_enters_with(Gateway::builder().env("JWT_LEEWAY", "60s"), [late, early]);
}

// --- Claims

#[test]
fn refuses_a_subject_that_cannot_be_a_header_value() {
    let long = "a".repeat(257);
    let subjects = [
        json!(""),
        json!("a\r\nX-Internal-Role: admin"),
        json!("a\n"),
        json!("a b"),
        json!(" ann"),
        json!("ann\t"),
        json!("a\0"),
        json!("é"),
        json!("\u{7f}"),
        json!(long),
        json!(-7),
        json!(7.5),
        json!(null),
        json!(true),
        json!(["ann"]),
        json!({ "id": "ann" }),
    ];
    let valued = subjects.map(|sub| claims(json!({ "sub": sub, "exp": now() + 3600 })));
    none_enters(valued.into_iter().chain([claims(json!({ "exp": now() + 3600 }))]), "token_invalid");
}

#[test]
fn keeps_subjects_of_visible_ascii_up_to_the_bound() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for subject in
        ["a", "user@chat.test", "auth0|5f7c", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", &"a".repeat(256)]
    {
        assert_eq!(gateway.get(ME, subject).status, 200, "{subject}");
        assert_eq!(origin.last().field("x-internal-user-id"), Some(subject));
    }
}

#[test]
fn the_user_may_be_another_claim() {
    let builder = Gateway::builder().env("JWT_USER_CLAIM", "uid");
    ann_enters_with(builder.clone(), [claims(json!({ "uid": "ann", "sub": "bob", "exp": now() + 3600 }))]);
    none_enters_with(builder, [token("ann")], "token_invalid");
}

#[test]
fn issuer_and_audience_are_checked_when_configured() {
    let builder = Gateway::builder().env("JWT_ISSUER", "chat").env("JWT_AUDIENCE", "api");
    let with = |iss: serde_json::Value, aud: serde_json::Value| {
        claims(json!({ "sub": "ann", "exp": now() + 3600, "iss": iss, "aud": aud }))
    };
    ann_enters_with(
        builder.clone(),
        [with(json!("chat"), json!("api")), with(json!("chat"), json!(["web", "api"]))],
    );
    let wrong = [
        with(json!("other"), json!("api")),
        with(json!("chat"), json!("web")),
        with(json!("chat"), json!([])),
        with(json!(["chat"]), json!("api")),
        with(json!("Chat"), json!("api")),
        with(json!(null), json!(null)),
        token("ann"),
    ];
    none_enters_with(builder, wrong, "token_invalid");
}

// --- Keys

#[test]
fn a_previous_secret_still_verifies() {
    let old = "the secret of last month, long enough as well";
    let builder = Gateway::builder().env("JWT_SECRET_PREVIOUS", old);
    ann_enters_with(builder, [token("ann"), token_with(good_claims(), HS256, old)]);
}

#[test]
fn starts_with_no_secret_or_an_empty_one_never() {
    for builder in [Gateway::builder().without("JWT_SECRET"), Gateway::builder().env("JWT_SECRET", "")] {
        let (code, _, stderr) = builder.run(&["run"]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("JWT_SECRET"), "{stderr}");
    }
}

#[test]
fn warns_of_a_short_secret_without_telling_it() {
    let gateway = Gateway::builder().env("JWT_SECRET", "short-and-sweet").start();
    let log = gateway.log().join("\n");
    assert!(log.contains("WARN") && log.contains("JWT_SECRET") && !log.contains("short-and-sweet"), "{log}");
}

#[test]
fn an_hmac_secret_is_never_a_pem() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----";
    let (code, _, stderr) = Gateway::builder().env("JWT_SECRET", pem).run(&["run"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(!stderr.contains("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), "{stderr}");
}

#[test]
fn no_token_appears_in_any_log() {
    let origin = Origin::echo();
    let gateway =
        Gateway::builder().everywhere(&origin).env("ACCESS_LOG", "stdout").env("RUST_LOG", "trace").start();
    let good = token("ann");
    assert_eq!(
        gateway.ask(Request::new("GET", &format!("{ME}?access_token={good}")).bearer(&good)).status,
        200
    );
    let line = gateway.wait_stdout(ME);
    assert!(!line.contains("access_token"), "the query is logged: {line}");
    let signature = good.rsplit('.').next().expect("a signature");
    assert!(
        !gateway.stdout().join("\n").contains(signature) && !gateway.log().join("\n").contains(signature)
    );
}

#[test]
fn refuses_a_header_over_its_bound() {
    let names: Vec<_> = (0..830).map(|n| format!(r#""{n:x}":1"#)).collect();
    let header = format!(r#"{{"alg":"HS256",{}}}"#, names.join(","));
    none_enters([token_with(good_claims(), header, SECRET)], "token_invalid");
}

#[test]
fn without_a_valid_credential_every_path_gives_the_same_answer() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let expired = claims(json!({ "sub": "ann", "exp": 1_000_000_000 }));
    let offer = |token: &str| ("Sec-WebSocket-Protocol", format!("chat, bearer.{token}"));
    let header = |token: &str| ("Authorization", format!("Bearer {token}"));
    let cases = [
        ("", vec![], "token_missing"),
        ("?access_token=x", vec![], "token_invalid"),
        ("?access+token[]=x", vec![], "token_invalid"),
        ("", vec![offer("x")], "token_invalid"),
        ("", vec![offer(&expired)], "token_expired"),
        ("?access_token=x", vec![header(&expired)], "token_expired"),
        ("?access_token=x", vec![offer(&expired)], "token_expired"),
        ("?access_token=x", vec![("Authorization", "Basic eA==".to_owned())], "token_invalid"),
        ("", vec![header("a"), header("b")], "token_invalid"),
        ("", vec![("Authorization", "Bearer\tx".to_owned()), offer(&expired)], "token_invalid"),
    ];
    for (query, fields, code) in &cases {
        let mut told = Vec::new();
        for path in ["/ws", "/api/v1/users/me", "/api/v1/auth/me", "/nowhere", "/"] {
            for upgrade in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
                let request = Request::new("GET", &format!("{path}{query}")).raw(upgrade);
                let request =
                    fields.iter().fold(request, |request, (name, value)| request.field(name, value));
                let response = gateway.ask(request);
                let authenticate = response.field("www-authenticate").map(str::to_owned);
                assert_eq!(
                    (response.status, response.code().as_str()),
                    (401, *code),
                    "{path}{query} {fields:?}"
                );
                told.push((response.head.fields.len(), response.body.len(), authenticate));
            }
        }
        assert!(told.iter().all(|answer| *answer == told[0]), "{query} {fields:?}: {told:?}");
    }
    assert_eq!(origin.heads(), 0);
}
