//! Members from a file that is watched.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Fleet, ask, eventually_answered_by};
use crate::harness::{DnsServer, Gateway, eventually};

/// A file in a folder of its own, removed in the end.
struct MembersFile(PathBuf);

impl MembersFile {
    fn new(text: &str) -> MembersFile {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let nth = COUNT.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("realchat-members-{}-{nth}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let file = MembersFile(folder.join("members.toml"));
        file.write(text);
        file
    }

    /// In place.
    fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("our own file");
    }

    /// As a whole.
    fn replace(&self, text: &str) {
        let next = self.0.with_extension("next");
        fs::write(&next, text).expect("our own folder");
        fs::rename(next, &self.0).expect("our own file");
    }

    fn key(&self) -> String {
        format!("members_file = '{}'", self.0.display())
    }
}

impl Drop for MembersFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().expect("a folder"));
    }
}

fn listing(fleet: &Fleet, last: &[u8]) -> String {
    let urls: Vec<String> =
        last.iter().map(|last| format!("\n  'http://127.0.0.{last}:{}'", fleet.port)).collect();
    format!("members = [{}]\n", urls.join(","))
}

#[test]
fn a_file_is_followed_whichever_way_it_is_written() {
    let (fleet, dns) = (Fleet::new(3), DnsServer::start());
    let file = MembersFile::new(&listing(&fleet, &[2]));
    let gateway = fleet.gateway(&dns, &file.key()).start();
    eventually_answered_by(&gateway, "2");
    assert_eq!(fleet.origins[0].last().field("host"), Some("chat"), "the name of the upstream");
    file.replace(&listing(&fleet, &[2, 3]));
    eventually_answered_by(&gateway, "23");
    file.write(&listing(&fleet, &[4]));
    eventually_answered_by(&gateway, "4");
}

#[test]
fn a_broken_file_changes_nothing_and_is_said_once_with_its_line() {
    let (fleet, dns) = (Fleet::new(2), DnsServer::start());
    let file = MembersFile::new(&listing(&fleet, &[2]));
    let gateway = fleet.gateway(&dns, &file.key()).start();
    let said = |part: &str| gateway.log().iter().filter(|line| line.contains(part)).count();
    file.write("members = [\n  'http://127.0.0.3',\n  'nonsense',\n]\n");
    let line = gateway.wait_log("the file of the service's members is not usable, those before stay");
    assert!(line.contains("members.toml:3: ") && line.contains("nonsense"), "{line}");
    file.replace("members = []\n");
    gateway.wait_log("lists no member");
    fs::remove_file(&file.0).expect("our own file");
    gateway.wait_log("cannot be read");
    assert_eq!(ask(&gateway), (200, "2".to_owned()));
    assert_eq!(said("is not usable"), 3, "each once: {:#?}", gateway.log());
    file.replace(&listing(&fleet, &[3]));
    eventually_answered_by(&gateway, "3");
    assert_eq!(said("the file of the service's members is usable"), 1);
}

#[test]
fn a_broken_file_at_the_start_is_a_mistake_and_a_reload_with_one_changes_nothing() {
    let (fleet, dns) = (Fleet::new(1), DnsServer::start());
    let file = MembersFile::new("members = [\n7]\n");
    let (code, _, told) = fleet.gateway(&dns, &file.key()).run(&["run"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("upstream \"chat\": members_file ") && told.contains("members.toml:2: "), "{told}");
    file.write(&listing(&fleet, &[2]));
    let config = super::config(&format!("url = 'http://127.0.0.2:{}'", fleet.port));
    let gateway = Gateway::builder().config(&config).start();
    file.write("member = []\n");
    gateway.rewrite_config(&super::config(&file.key()));
    let told = gateway.reload().join("\n");
    assert!(told.contains("`member` is not a key of this file"), "{told}");
    assert_eq!(ask(&gateway), (200, "2".to_owned()));
    file.write(&listing(&fleet, &[2]));
    gateway.reload();
    eventually("it is served from the file", || ask(&gateway) == (200, "2".to_owned()));
    assert_eq!(fleet.origins[0].last().field("host"), Some("chat"));
}
