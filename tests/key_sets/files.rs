//! Key sets in files, which are watched.

use std::fs;

use super::*;
use crate::harness::signer::{Signer, key_set};

#[test]
fn a_file_of_keys_is_watched_however_it_is_written() {
    let (one, two, three, origin) =
        (Signer::new("one"), Signer::new("two"), Signer::new("three"), Origin::echo());
    let path = temporary("keys", &key_set(&[&one]));
    let gateway =
        builder(&file(&format!("issuer = '{ISSUER}'\njwks_file = '{}'", path.display()), &origin)).start();
    let (first, second) = (one.token(ISSUER, "alice"), two.token(ISSUER, "bob"));
    accepts(&gateway, &first);
    // Another file in its place, as Kubernetes and careful people do.
    let next = temporary("next", &key_set(&[&two]));
    fs::rename(next, &path).expect("a rename");
    eventually("the new file is read", || answer(&gateway, &second).0 == 200);
    refuses(&gateway, &first);
    // A broken one changes nothing.
    fs::write(&path, "{ \"keys\": [").expect("a file");
    gateway.wait_log("stays in force");
    accepts(&gateway, &second);
    // In place.
    fs::write(&path, key_set(&[&two, &three])).expect("a file");
    eventually("the file is read", || answer(&gateway, &three.token(ISSUER, "carol")).0 == 200);
    accepts(&gateway, &second);
    fs::remove_file(&path).expect("our own file");
    gateway.stop();
}

#[test]
fn a_file_without_keys_is_a_mistake_at_start() {
    let origin = Origin::echo();
    let path = temporary("none", "{}");
    let toml = file(&format!("issuer = '{ISSUER}'\njwks_file = '{}'", path.display()), &origin);
    let (code, _, told) = builder(&toml).run(&["run"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("issuer id") && told.contains(path.to_str().expect("UTF-8")), "{told}");
    fs::remove_file(&path).expect("our own file");
}
