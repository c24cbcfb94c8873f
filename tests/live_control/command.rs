//! The subcommand `revoke`.

use super::*;

#[test]
fn a_person_revokes_by_the_same_configuration_and_learns_what_was_written() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    let run = |arguments: &[&str]| controlled(&redis, &origin).run(arguments);
    let [ann, bob] = ["ann", "bob"].map(|user| issued(user, 60, r#","sid":"s""#));
    let mut socket = opened(&gateway, &ann);
    let (code, told, errors) = run(&["revoke", "--user", "ann"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(told.starts_with("{rc}:control ") && told.contains(" op=revoke user=ann before="), "{told}");
    socket.expect_goodbye(1008);
    until_revoked(&gateway, &ann);
    let before = (now() - 120).to_string();
    let mut newer = opened(&gateway, &bob);
    let (code, told, _) = run(&["revoke", "--user", "bob", "--before", &before, "--close"]);
    assert_eq!((code, told.lines().count()), (Some(0), 2), "{told}");
    newer.expect_goodbye(1008);
    assert_eq!(asked(&gateway, &bob), fine());
    assert_eq!(run(&["revoke", "--sid", "s"]).0, Some(0));
    until_revoked(&gateway, &bob);
    // Each has trimmed what cannot matter any more.
    redis.cli(&["DEL", STREAM]);
    for number in 0..500 {
        redis.cli(&["XADD", STREAM, &format!("1000-{number}"), "op", "x"]);
    }
    assert_eq!(run(&["revoke", "--all", "--before", "5"]).0, Some(0));
    let left: usize = redis.cli(&["XLEN", STREAM]).parse().expect("a number");
    assert!(left < 250, "{left}");
}

#[test]
fn without_a_stream_or_a_redis_nothing_is_revoked() {
    let origin = either();
    let (code, _, errors) = Gateway::builder().run(&["revoke", "--user", "ann"]);
    assert_eq!(code, Some(2));
    assert!(errors.starts_with("REVOCATION_STREAM: is not set"), "{errors}");
    let (code, _, errors) = controlled_at(NOBODY, &origin).run(&["revoke", "--user", "ann"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("was not written"), "{errors}");
    let (code, _, errors) = Gateway::builder().env("REVOCATION_STREAM", "x").run(&["check"]);
    assert_eq!(code, Some(2));
    assert!(errors.starts_with("REVOCATION_STREAM: needs a bound"), "{errors}");
}
