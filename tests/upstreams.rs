//! Several members of one upstream: who is chosen, what happens when one fails, and what is bounded.

mod bounds;
mod failures;
mod shares;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::harness::*;

/// A gateway whose one upstream has these members and keys, behind a public route.
fn gateway(members: &[SocketAddr], keys: &str) -> Gateway {
    builder(members, keys).start()
}

fn builder(members: &[SocketAddr], keys: &str) -> Builder {
    Gateway::builder().config(&file(members, keys, "access = 'public'"))
}

fn file(members: &[SocketAddr], keys: &str, route: &str) -> String {
    let urls: Vec<String> = members.iter().map(|member| format!("'http://{member}'")).collect();
    let place = match &urls[..] {
        [url] => format!("url = {url}"),
        urls => format!("urls = [{}]\nhost = 'members.test'", urls.join(", ")),
    };
    format!(
        "[upstreams.all]\n{place}\n{keys}\n\
         [[route]]\nname = 'all'\npaths = ['/x', '/x/*']\nupstream = 'all'\n{route}\n"
    )
}

/// The statuses of so many requests, one after another, and how often each came.
fn statuses(gateway: &Gateway, method: &str, count: usize) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for nth in 0..count {
        let request = Request::new(method, &format!("/x/{method}-{nth}"));
        let request = if method == "POST" { request.body("x") } else { request };
        *statuses.entry(gateway.ask(request).status).or_insert(0) += 1;
    }
    statuses
}

/// How often each target reached one of these origins, at most.
fn most_often(origins: &[&Origin]) -> usize {
    let mut seen = BTreeMap::new();
    for request in origins.iter().flat_map(|origin| origin.requests()) {
        *seen.entry(request.target().to_owned()).or_insert(0) += 1;
    }
    seen.into_values().max().unwrap_or(0)
}

/// An address where nobody listens.
fn refusing() -> SocketAddr {
    ([127, 0, 0, 1], port_for_later()).into()
}

/// An address that says nothing: the queue of its listener is full, so the kernel drops what begins a connection.
struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    fn new() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        rustix::net::listen(&listener, 0).expect("a shorter queue");
        let patience = Duration::from_millis(300);
        let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok());
        let queued = queued.take(8).collect::<Vec<_>>();
        assert!(queued.len() < 8, "the queue has a bound");
        Silent { address, _listener: listener, _queued: queued }
    }
}
