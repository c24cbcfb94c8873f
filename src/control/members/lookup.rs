//! Asks: the system's resolver, a DNS server, a file.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::task::spawn_blocking;

use super::directory::{Found, Question, SrvTarget};
use crate::config::{WeightedAddress, members_file};
use crate::control::stamp::{Stamp, stamp};
use crate::limits::DNS_TIMEOUT_MS;

/// What is asked, on the thread of names.
pub(super) struct Lookup {
    server: Option<SocketAddr>,
    /// Made for the first question to a DNS server. `Err`: why nobody can be asked.
    resolver: OnceLock<Result<TokioResolver, String>>,
    files: Arc<Files>,
}

/// An answer, and how long it holds if the answer says so.
pub(super) type Answer = Result<(Found, Option<Duration>), String>;

impl Lookup {
    /// `server`: the DNS server that is asked; `None`: those of the system.
    pub(super) fn new(server: Option<SocketAddr>) -> Lookup {
        Lookup { server, resolver: OnceLock::new(), files: Arc::default() }
    }

    /// Finds the answer.
    pub(super) async fn ask(self: Arc<Self>, question: Question) -> (Question, Answer) {
        let answer = match &question {
            Question::Host(name) => of_system(name.clone()).await,
            Question::DnsHost(name) => self.addresses(name).await,
            Question::Srv(name) => self.targets(name).await,
            Question::File(path, is_tls) => {
                let (files, path, is_tls) = (self.files.clone(), path.clone(), *is_tls);
                let listed = spawn_blocking(move || files.look(&path, is_tls)).await;
                let listed =
                    listed.unwrap_or_else(|_| Err("the look at the file has ended early".to_owned()));
                listed.map(|listed| (Found::Listed(listed), None))
            }
        };
        (question, answer)
    }

    fn resolver(&self) -> Result<&TokioResolver, String> {
        self.resolver.get_or_init(|| resolver(self.server)).as_ref().map_err(Clone::clone)
    }

    async fn addresses(&self, name: &str) -> Answer {
        let found = self.resolver()?.lookup_ip(name).await;
        let found = found.map_err(|error| error.to_string())?;
        let ttl = found.valid_until().saturating_duration_since(Instant::now());
        Ok((Found::Addresses(found.iter().collect()), Some(ttl)))
    }

    async fn targets(&self, name: &str) -> Answer {
        let found = self.resolver()?.srv_lookup(name).await;
        let found = found.map_err(|error| error.to_string())?;
        let ttl = found.valid_until().saturating_duration_since(Instant::now());
        let target = |data: &RData| match data {
            RData::SRV(record) => {
                target(record.priority, record.weight, record.port, &record.target.to_ascii())
            }
            _ => None,
        };
        let targets = found.answers().iter().filter_map(|record| target(&record.data)).collect();
        Ok((Found::Targets(targets), Some(ttl)))
    }
}

/// A record that leads somewhere: "." says that there is no such service (RFC 2782), and no port is 0.
fn target(priority: u16, weight: u16, port: u16, host: &str) -> Option<SrvTarget> {
    let leads = host != "." && !host.is_empty() && port != 0;
    leads.then(|| SrvTarget { priority, host: host.to_ascii_lowercase(), port, weight })
}

/// The addresses of a name as the system finds them: files, DNS, whatever is configured. It blocks a thread.
async fn of_system(name: String) -> Answer {
    let asked = spawn_blocking(move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    let found = asked.await.map_err(|_| "the question has ended early".to_owned())?;
    let found = found.map_err(|error| error.to_string())?;
    let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    Ok((Found::Addresses(addresses), None))
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let mut builder = match server {
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
        None => TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf: {error}"))?,
    };
    options(builder.options_mut(), server.is_some());
    builder.build().map_err(|error| error.to_string())
}

fn options(options: &mut ResolverOpts, is_dns_only: bool) {
    // What is known is kept in the directory; a question is asked because it should be asked now.
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = Duration::from_millis(DNS_TIMEOUT_MS);
    options.attempts = 2;
    if is_dns_only {
        options.use_hosts_file = ResolveHosts::Never;
    }
}

/// The files that list members, and what was in them at the last look.
#[derive(Default)]
struct Files(Mutex<HashMap<PathBuf, (Stamp, Listing)>>);

/// What a file lists, or what is wrong with it.
type Listing = Result<Vec<WeightedAddress>, String>;

impl Files {
    /// What the file lists. It is read only if it is another one than at the last look. Blocks.
    fn look(&self, path: &Path, is_tls: bool) -> Listing {
        let now = stamp(path);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some((before, listed)) = known
            && before == now
            && now.is_some()
        {
            return listed;
        }
        let listed = members_file::read(path, is_tls);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(path.to_owned(), (now, listed.clone()));
        listed
    }
}
