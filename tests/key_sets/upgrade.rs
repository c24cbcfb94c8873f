//! A hot upgrade while the issuer is away.

use super::*;
use crate::harness::signer::{Signer, key_set};

#[test]
fn a_new_process_has_the_keys_of_the_one_before() {
    let (signer, origin) = (Signer::new("one"), Origin::echo());
    let keys = KeyServer::with(&key_set(&[&signer]));
    let gateway = builder(&file(&keys.issuer(), &origin)).upgradable().start();
    accepts(&gateway, &signer.token(ISSUER, "alice"));
    keys.says("HTTP/1.1 500 Away\r\nContent-Length: 0\r\n\r\n");
    gateway.upgrade().expect("an upgrade");
    accepts(&gateway, &signer.token(ISSUER, "bob"));
    gateway.wait_log("the key set before stays in force");
    keys.says(json_answer(&key_set(&[&signer, &Signer::new("two")])));
    gateway.wait_log("another key set is in force issuer=\"id\" keys=\"\\\"one\\\", \\\"two");
}
