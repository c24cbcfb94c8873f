//! The demo's page in a real browser, through the real gateway.

use crate::harness::*;

/// A demo on ports that it keeps over a restart.
struct Ports {
    gateway: String,
    page: String,
}

impl Ports {
    fn free() -> Ports {
        let port = || port_for_later().to_string();
        Ports { gateway: port(), page: port() }
    }

    fn demo(&self, secret: &str) -> Gateway {
        self.builder(secret).start_with(&["demo"])
    }

    fn builder(&self, secret: &str) -> Builder {
        SERVICES
            .iter()
            .fold(Gateway::builder(), |builder, name| {
                builder.without(&format!("UPSTREAM_{}_URL", name.to_uppercase()))
            })
            .env("PORT", &self.gateway)
            .env("PAGE_PORT", &self.page)
            .env("JWT_SECRET", secret)
            .env("SHUTDOWN_TIMEOUT", "2s")
    }
}

fn log_in<'b>(browser: &'b Browser, ports: &Ports, user: &str, password: &str) -> Page<'b> {
    let page = browser.open(&format!("http://127.0.0.1:{}/", ports.page));
    page.write("user", user);
    page.write("password", password);
    page.click("log-in");
    page.shows("state", &format!("connected as {user}"));
    page
}

fn say(page: &Page<'_>, text: &str) {
    page.write("text", text);
    page.click("send");
}

/// Each says something that the other sees.
fn talk(alice: &Page<'_>, bob: &Page<'_>, topic: &str) {
    for page in [alice, bob] {
        page.shows("people", "alice");
        page.shows("people", "bob");
    }
    say(alice, &format!("{topic}, says alice"));
    bob.shows("messages", &format!("{topic}, says alice"));
    say(bob, &format!("{topic}, says bob"));
    alice.shows("messages", &format!("{topic}, says bob"));
}

#[test]
fn two_pages_chat_and_come_back_after_a_restart() {
    let ports = Ports::free();
    let demo = ports.demo(SECRET);
    let browser = Browser::start();
    let alice = log_in(&browser, &ports, "alice", "wonderland");
    let bob = log_in(&browser, &ports, "bob", "builder");
    talk(&alice, &bob, "tea");
    assert_eq!(browser.complaints(), [""; 0]);

    assert_eq!(demo.stop().code(), Some(0));
    for page in [&alice, &bob] {
        page.shows("state", "closed: 1012 service restart");
    }
    let demo = ports.demo(SECRET);
    for (page, user) in [(&alice, "alice"), (&bob, "bob")] {
        page.shows("state", &format!("connected as {user}"));
    }
    talk(&alice, &bob, "cake");
    let shown = alice.run("return document.getElementById('messages').childElementCount");
    assert_eq!(shown, 4, "what was said before is still there, once");

    // Another secret: their tokens are worth nothing any more.
    assert_eq!(demo.stop().code(), Some(0));
    let _demo = ports.demo("another secret, longer than thirty-two bytes");
    for page in [&alice, &bob] {
        page.shows("trouble", "Please log in again");
    }
    let complaints = browser.complaints();
    assert!(!complaints.iter().any(|line| line.contains("Content Security Policy")), "{complaints:#?}");
}

#[test]
fn two_pages_stay_connected_through_an_upgrade_until_one_is_banned() {
    let (redis, ports) = (Redis::start(), Ports::free());
    let with_redis = |builder: Builder| {
        let builder = builder.without("RATE_LIMIT_STORE").env("REDIS_ADDR", &redis.addr());
        builder.env("REVOCATION_STREAM", "{rc}:control").env("JWT_MAX_LIFETIME", "1h")
    };
    let demo = with_redis(ports.builder(SECRET)).upgradable().start_with(&["demo"]);
    let browser = Browser::start();
    let alice = log_in(&browser, &ports, "alice", "wonderland");
    let bob = log_in(&browser, &ports, "bob", "builder");
    talk(&alice, &bob, "tea");
    for page in [&alice, &bob] {
        page.run("window.ends = 0; socket.addEventListener('close', () => window.ends += 1)");
    }
    demo.upgrade().expect("an upgrade");
    talk(&alice, &bob, "cake");
    assert_eq!([&alice, &bob].map(|page| page.run("return window.ends")), [0, 0]);

    let (code, told, _) = with_redis(Gateway::builder()).run(&["revoke", "--user", "bob"]);
    assert_eq!(code, Some(0), "{told}");
    bob.shows("trouble", "revoked");
    alice.shows("state", "connected as alice");
    assert_eq!([&alice, &bob].map(|page| page.run("return window.ends")), [0, 1]);
}

#[test]
fn two_pages_chat_over_https() {
    let ports = Ports::free();
    let demo = ports.builder(SECRET).env("TLS_PORT", "0").start_with(&["demo", "--tls"]);
    let browser = Browser::start();
    let alice = log_in(&browser, &ports, "alice", "wonderland");
    let bob = log_in(&browser, &ports, "bob", "builder");
    talk(&alice, &bob, "tea");
    assert_eq!(browser.complaints(), [""; 0]);
    assert!(demo.metric("tls_handshakes_total{kind=\"full\"}") > 0);
    assert_eq!(demo.metric("tunnels_open"), 2);
}

#[test]
fn a_page_tells_what_is_wrong_and_registers_anybody() {
    let ports = Ports::free();
    let one_message =
        ports.builder(SECRET).env("WS_MESSAGES_PER_SECOND", "0.001").env("WS_MESSAGES_BURST", "1");
    let _demo = one_message.start_with(&["demo"]);
    let browser = Browser::start();
    let page = browser.open(&format!("http://localhost:{}/", ports.page));
    page.write("user", "zoe");
    page.write("password", "a long password");
    page.click("log-in");
    page.shows("trouble", "unknown user or wrong password");
    page.click("register");
    page.shows("state", "connected as zoe");
    page.click("log-out");
    page.shows("state", "not logged in");
    page.write("password", "a long password");
    page.click("log-in");
    page.shows("people", "zoe (you)");
    say(&page, "<b>not bold</b>");
    page.shows("messages", "<b>not bold</b>");
    // One too many: the gateway closes with 1008, and the page does not simply come back.
    say(&page, "and more");
    page.shows("trouble", "The connection was closed: 1008");
    page.shows("state", "not logged in");
}

#[test]
fn the_name_has_the_focus_and_no_field_makes_a_phone_zoom() {
    let ports = Ports::free();
    let _demo = ports.demo(SECRET);
    let browser = Browser::start();
    let page = browser.open(&format!("http://127.0.0.1:{}/", ports.page));
    assert_eq!(page.run("return document.activeElement.id"), "user");
    let sizes = page.run(
        "return [...document.querySelectorAll('input')].map((input) => getComputedStyle(input).fontSize)",
    );
    assert_eq!(sizes, serde_json::json!(["16px", "16px", "16px"]));
}

#[test]
fn a_reload_keeps_the_login_and_a_token_that_is_worth_nothing_asks_again() {
    let ports = Ports::free();
    let demo = ports.demo(SECRET);
    let browser = Browser::start();
    let page = log_in(&browser, &ports, "alice", "wonderland");
    say(&page, "before the reload");
    page.shows("messages", "before the reload");
    page.reload();
    page.shows("state", "connected as alice");
    page.shows("messages", "before the reload");
    assert_eq!(page.run("return document.activeElement.id"), "text");
    // Another tab is another user.
    let other = browser.open(&format!("http://127.0.0.1:{}/", ports.page));
    other.shows("state", "not logged in");
    assert_eq!(demo.stop().code(), Some(0));
    let demo = ports.demo("another secret, longer than thirty-two bytes");
    page.reload();
    page.shows("trouble", "Please log in again");
    page.reload();
    page.shows("state", "not logged in");
    assert_eq!(page.text("trouble"), "", "the token is forgotten");
    drop(demo);
    // What somebody else has put there is no session.
    page.run("sessionStorage.setItem('realchat-demo-session', '{\"user\": 1}')");
    let _demo = ports.demo(SECRET);
    page.reload();
    page.shows("state", "not logged in");
}

#[test]
fn what_is_written_without_a_connection_stays_and_one_click_tries_again() {
    let ports = Ports::free();
    let demo = ports.demo(SECRET);
    let browser = Browser::start();
    let page = log_in(&browser, &ports, "alice", "wonderland");
    assert_eq!(demo.stop().code(), Some(0));
    page.shows("state", "closed: 1012");
    // It waits ever longer, until somebody does not want to.
    page.shows("countdown", "trying again in 4 s");
    let attempts = || page.run("return attempts").as_u64().expect("a number");
    assert!(attempts() >= 4);
    page.click("retry");
    eventually("it begins anew", || attempts() <= 2);
    page.write("text", "hello\n");
    page.shows("complaint", "Not sent");
    assert_eq!(page.run("return document.getElementById('text').value"), "hello");
    let _demo = ports.demo(SECRET);
    page.shows("state", "connected as alice");
    assert_eq!(page.run("return document.getElementById('retry').hidden"), true);
    assert_eq!(page.text("complaint"), "");
    page.click("send");
    page.shows("messages", "hello");
    assert_eq!(page.run("return document.getElementById('text').value"), "");
}
