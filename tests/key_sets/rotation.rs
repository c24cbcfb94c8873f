//! Keys change, and floods of keys that nobody has.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::harness::signer::{Signer, key_set};

#[test]
fn a_rotation_under_load_loses_no_request() {
    let (old, new, origin) = (Signer::new("old"), Signer::new("new"), Origin::echo());
    let keys = KeyServer::with(&key_set(&[&old]));
    let gateway = builder(&file(&keys.issuer(), &origin)).cores("2").start();
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (gateway, is_over, asked, old) = (&gateway, &is_over, &asked, &old);
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        let n = asked.fetch_add(1, Ordering::SeqCst);
                        // A token of its own for each request, so that none comes from the cache.
                        accepts(gateway, &old.token(ISSUER, &format!("user-{client}-{n}")));
                    }
                })
            })
            .collect();
        eventually("the load runs", || asked.load(Ordering::SeqCst) > 50);
        keys.says(json_answer(&key_set(&[&old, &new])));
        // Users get tokens of the new key from now on, all at once.
        let users: Vec<_> = (0..16)
            .map(|user| {
                let (gateway, new) = (&gateway, &new);
                scope.spawn(move || {
                    (0..5).for_each(|n| accepts(gateway, &new.token(ISSUER, &format!("{user}-{n}"))))
                })
            })
            .collect();
        users.into_iter().for_each(|user| user.join().expect("no request was refused"));
        is_over.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().expect("no request was refused"));
    });
    assert!(keys.origin.heads() <= 3, "{} fetches", keys.origin.heads());
}

#[test]
fn a_token_that_waits_goes_on_waiting_when_other_keys_change() {
    let (old, new, origin) = (Signer::new("old"), Signer::new("new"), Origin::echo());
    let (other, others_next) = (Signer::new("other"), Signer::new("next"));
    let keys = KeyServer::with(&key_set(&[&old]));
    let others = KeyServer::with(&key_set(&[&other]));
    let second = "https://other.example";
    let toml = format!(
        "[[issuer]]\nname = 'other'\nissuer = '{second}'\njwks_url = 'http://{}/'\n{}",
        others.origin.address,
        file(&keys.issuer(), &origin)
    );
    let gateway = builder(&toml).start();
    accepts(&gateway, &old.token(ISSUER, "alice"));
    // Its server says nothing until the answer is free again.
    let asked = keys.origin.heads();
    let answer_is_held = keys.answer.lock().expect("no panic while locked");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| answer(&gateway, &new.token(ISSUER, "bob")));
        eventually("the issuer is asked", || keys.origin.heads() > asked);
        others.says(json_answer(&key_set(&[&other, &others_next])));
        // How long a token waits is a matter of time; that it is not refused is none.
        let next = others_next.token(second, "carol");
        eventually("the other issuer's keys change", || answer(&gateway, &next).0 == 200);
        let told = waiting.join().expect("an answer");
        drop(answer_is_held);
        assert_eq!(told, (503, "keys_unavailable".to_owned()), "its key set did not come in time");
    });
    keys.says(json_answer(&key_set(&[&old, &new])));
    eventually("the new key is found", || answer(&gateway, &new.token(ISSUER, "dave")).0 == 200);
}

#[test]
fn a_forged_token_for_one_issuer_keeps_no_key_of_another_one_out() {
    let (one, two, next, origin) =
        (Signer::new("one"), Signer::new("two"), Signer::new("next"), Origin::echo());
    let keys = KeyServer::with(&key_set(&[&one]));
    let others = KeyServer::with(&key_set(&[&two]));
    let second = "https://other.example";
    let toml = format!(
        "[[issuer]]\nname = 'other'\nissuer = '{second}'\njwks_url = 'http://{}/'\n{}\
         [[route]]\nname = 'first'\npaths = ['/first']\nupstream = 'a'\nissuers = ['id']\n\
         [[route]]\nname = 'second'\npaths = ['/second']\nupstream = 'a'\nissuers = ['other']\n",
        others.origin.address,
        file(&keys.issuer(), &origin)
    );
    let gateway = builder(&toml).start();
    let status = |path: &str, token: &str| gateway.ask(Request::new("GET", path).bearer(token)).status;
    others.says(json_answer(&key_set(&[&two, &next])));
    // The name of the new key is public. The first issuer does not have it, and says so.
    let forged = Signer::new("next").token(ISSUER, "eve");
    eventually("the forged token is refused", || status("/first", &forged) == 401);
    assert_eq!(status("/second", &next.token(second, "alice")), 200);
}

#[test]
fn a_withdrawn_key_is_dead_at_once_and_the_tokens_of_the_others_stay_verified() {
    let (one, two, three) = (Signer::new("one"), Signer::new("two"), Signer::new("three"));
    let origin = Origin::echo();
    let keys = KeyServer::with(&key_set(&[&one, &two]));
    let gateway = builder(&file(&keys.issuer(), &origin)).start();
    let (gone, kept) = (one.token(ISSUER, "gone"), two.token(ISSUER, "kept"));
    accepts(&gateway, &gone);
    accepts(&gateway, &kept);
    let misses = gateway.metric("token_cache_misses_total");
    keys.says(json_answer(&key_set(&[&two, &three])));
    accepts(&gateway, &three.token(ISSUER, "new"));
    refuses(&gateway, &gone);
    let misses_between = gateway.metric("token_cache_misses_total") - misses;
    accepts(&gateway, &kept);
    assert_eq!(gateway.metric("token_cache_misses_total") - misses, misses_between, "it was verified again");
}

#[test]
fn a_flood_of_made_up_keys_costs_the_issuer_nothing() {
    let (signer, origin) = (Signer::new("real"), Origin::echo());
    let keys = KeyServer::with(&key_set(&[&signer]));
    let gateway = builder(&file(&keys.issuer(), &origin)).start();
    let begun = Instant::now();
    let fetches = keys.origin.heads();
    let token = |n: usize| {
        let header = serde_json::json!({ "alg": "ES256", "kid": format!("made-up-{n}") });
        signer.signed(&header, &serde_json::json!({ "iss": ISSUER, "sub": "eve", "exp": now() + 60 }))
    };
    // The first one is told when the issuer has been asked.
    refuses(&gateway, &token(0));
    let mut client = gateway.client();
    for n in 0..10_000 {
        client.send(Request::new("GET", "/").bearer(&token(n % 20)).bytes());
        let status = client.read_response().status;
        assert!(status == 401 || status == 503, "{status}");
    }
    std::thread::scope(|scope| {
        for client in 0..100 {
            let (gateway, token) = (&gateway, &token);
            scope.spawn(move || {
                let mut connection = gateway.client();
                for n in 0..10 {
                    let token = token(1_000 + client * 10 + n);
                    let status = connection
                        .send(Request::new("GET", "/").bearer(&token).bytes())
                        .read_response()
                        .status;
                    assert!(status == 401 || status == 503, "{status}");
                }
            });
        }
    });
    accepts(&gateway, &signer.token(ISSUER, "alice"));
    let most = 2 + begun.elapsed().as_secs() as usize / 10;
    let fetched = keys.origin.heads() - fetches;
    assert!((1..=most).contains(&fetched), "{fetched} fetches in {:?}", begun.elapsed());
}
