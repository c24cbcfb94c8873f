//! Key sets from servers behind TLS: whom the gateway believes.

use super::authority::Authority;
use super::files::Folder;
use super::front::Front;
use crate::harness::signer::{Signer, key_set};
use crate::harness::*;

const ISSUER: &str = "https://id.example";

#[test]
fn a_key_server_proves_its_name_to_the_authorities_that_the_issuer_has() {
    let (folder, authority, stranger) = (Folder::new(), Authority::new(), Authority::new());
    folder.write("ca.pem", &authority.pem());
    let (signer, service) = (Signer::new("one"), Origin::echo());
    let set = key_set(&[&signer]);
    let length = set.len();
    let keys = Origin::fixed(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{set}"));
    let gateway = |front: &Front, ca: &str| {
        Gateway::builder().without("JWT_SECRET").config(&format!(
            "[[issuer]]\nname = 'id'\nissuer = '{ISSUER}'\njwks_url = 'https://{}/keys'\n{ca}\n\
             [upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'all'\npaths = ['/*']\nupstream = 'a'\n",
            front.address, service.address
        ))
    };
    let ca = format!("ca_file = '{}'", folder.path("ca.pem"));
    let ask = |gateway: &Gateway| {
        gateway.ask(Request::new("GET", "/").bearer(&signer.token(ISSUER, "alice"))).status
    };
    let good = Front::before(&keys, authority.issue(&["127.0.0.1"]).server());
    assert_eq!(ask(&gateway(&good, &ca).start()), 200);
    assert_eq!(keys.last().field("host"), Some(good.address.to_string().as_str()));
    let asked = keys.heads();
    let forged = Front::before(&keys, stranger.issue(&["127.0.0.1"]).server());
    let misnamed = Front::before(&keys, authority.issue(&["keys.example"]).server());
    for (front, ca) in [(&forged, ca.as_str()), (&misnamed, &ca), (&good, "")] {
        let gateway = gateway(front, ca).start();
        assert_eq!(ask(&gateway), 503);
        gateway.wait_log("keys: https://");
    }
    assert_eq!(keys.heads(), asked, "nothing is asked of a server that does not prove who it is");
}
