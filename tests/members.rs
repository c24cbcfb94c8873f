//! Where the members of upstreams come from and go to, with origins on addresses of the loopback network and a DNS
//! server of the tests.

mod files;
mod health;
mod names;
mod requests;

use crate::harness::{Builder, DnsServer, Exchange, Gateway, Origin, Request, eventually, port_for_later};

/// Origins on 127.0.0.2 and so on, all at one port. Each answers with its last byte.
struct Fleet {
    port: u16,
    origins: Vec<Origin>,
}

impl Fleet {
    fn new(count: u8) -> Fleet {
        let port = port_for_later();
        Fleet { port, origins: (2..2 + count).map(|last| Fleet::origin(last, port)).collect() }
    }

    fn origin(last: u8, port: u16) -> Origin {
        Origin::at(([127, 0, 0, last], port).into(), move |exchange: &mut Exchange| {
            while exchange.read_request().is_some() {
                exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{last}"));
            }
        })
    }

    /// Requests that the origin at this last byte got.
    fn heads(&self, last: u8) -> usize {
        self.origins[usize::from(last) - 2].heads()
    }

    /// One upstream with these keys, a public route to it, and this DNS server. Each request has a connection of its
    /// own, so that a member's share does not depend on who was used last.
    fn gateway(&self, dns: &DnsServer, upstream: &str) -> Builder {
        Gateway::builder().env("DNS_SERVER", &dns.address.to_string()).config(&config(upstream))
    }
}

fn config(upstream: &str) -> String {
    format!(
        "[upstreams.chat]\nconnection_reuse = false\n{upstream}\n\
         [[route]]\nname = 'r'\npaths = ['/*']\nupstream = 'chat'\naccess = 'public'\n"
    )
}

/// The status and body of one request.
#[track_caller]
fn ask(gateway: &Gateway) -> (u16, String) {
    let response = gateway.ask(Request::new("GET", "/x"));
    (response.status, response.text())
}

/// Who answers, until everybody of these has, and nobody else for as many requests.
#[track_caller]
fn eventually_answered_by(gateway: &Gateway, who: &str) {
    let round = || {
        let mut answers: Vec<char> =
            (0..8).flat_map(|_| ask(gateway).1.chars().collect::<Vec<_>>()).collect();
        answers.sort_unstable();
        answers.dedup();
        answers.into_iter().collect::<String>()
    };
    eventually(&format!("requests go to {who}"), || round() == who);
}
