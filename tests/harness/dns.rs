//! A DNS server of the tests: authoritative for everything, over UDP and TCP, with answers that a test may change.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A server on a port of its own. It lives as long as the test binary.
pub struct DnsServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

/// What a name has.
#[derive(Clone)]
pub enum Says {
    /// These addresses for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// SRV records (priority, weight, port, target) for so many seconds.
    Targets(Vec<(u16, u16, u16, String)>, u32),
    /// NXDOMAIN.
    NoSuchName,
    /// A good answer without a record.
    Nothing,
    /// No answer at all.
    Silence,
    /// These bytes behind the id of the question.
    Bytes(Vec<u8>),
}

#[derive(Default)]
struct Zone {
    says: HashMap<String, Says>,
    asked: HashMap<String, usize>,
}

impl DnsServer {
    /// A server that knows no name yet.
    pub fn start() -> DnsServer {
        let (udp, tcp) = std::iter::repeat_with(sockets).flatten().next().expect("it never ends");
        let address = udp.local_addr().expect("the port");
        let zone = Arc::<Mutex<Zone>>::default();
        let known = zone.clone();
        thread::spawn(move || {
            let mut question = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut question) {
                if let Some(answer) = answer(&question[..length], &known, UDP_BYTES_MAX) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let known = zone.clone();
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let known = known.clone();
                thread::spawn(move || over_tcp(stream, &known));
            }
        });
        DnsServer { address, zone }
    }

    /// From now on it says this about a name.
    pub fn set(&self, name: &str, says: Says) {
        self.zone.lock().expect("no panic while locked").says.insert(name.to_owned(), says);
    }

    /// The same for addresses, by the last byte behind 127.0.0, for one second.
    pub fn lead(&self, name: &str, last: &[u8]) {
        self.set(name, Says::Addresses(last.iter().map(|last| Ipv4Addr::new(127, 0, 0, *last)).collect(), 1));
    }

    /// How often a name was asked for its IPv4 addresses or its SRV records.
    pub fn asked(&self, name: &str) -> usize {
        self.zone.lock().expect("no panic while locked").asked.get(name).copied().unwrap_or_default()
    }
}

/// Sockets at one port. `None`: somebody has one of them already.
fn sockets() -> Option<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let tcp = TcpListener::bind(udp.local_addr().expect("the port")).ok()?;
    Some((udp, tcp))
}

fn over_tcp(mut stream: TcpStream, zone: &Mutex<Zone>) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let Some(answer) = answer(&question, zone, usize::from(u16::MAX)) else { return };
        let length = u16::try_from(answer.len()).expect("it was bounded").to_be_bytes();
        if stream.write_all(&[&length[..], &answer].concat()).is_err() {
            return;
        }
    }
}

/// The answer in at most so many bytes; one that is longer is truncated to nothing and says so.
fn answer(question: &[u8], zone: &Mutex<Zone>, bytes_max: usize) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    let name = query.name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let says = {
        let mut zone = zone.lock().expect("no panic while locked");
        if query.query_type != RecordType::AAAA {
            *zone.asked.entry(name.clone()).or_default() += 1;
        }
        zone.says.get(&name).cloned().unwrap_or(Says::NoSuchName)
    };
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let mut add = |ttl, data| {
        answer.add_answer(Record::from_rdata(query.name.clone(), ttl, data));
    };
    match says {
        Says::Addresses(addresses, ttl) if is_for(&query, RecordType::A) => {
            addresses.into_iter().for_each(|address| add(ttl, RData::A(A(address))));
        }
        Says::Targets(targets, ttl) if is_for(&query, RecordType::SRV) => {
            for (priority, weight, port, target) in targets {
                let target = Name::from_ascii(target).expect("a name");
                add(ttl, RData::SRV(SRV::new(priority, weight, port, target)));
            }
        }
        Says::Addresses(..) | Says::Targets(..) | Says::Nothing => {}
        Says::NoSuchName => answer.metadata.response_code = ResponseCode::NXDomain,
        Says::Silence => return None,
        Says::Bytes(bytes) => return Some([&question.metadata.id.to_be_bytes()[..], &bytes].concat()),
    }
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= bytes_max {
        return Some(bytes);
    }
    answer.answers.clear();
    answer.metadata.truncation = true;
    answer.to_vec().ok()
}

fn is_for(query: &Query, kind: RecordType) -> bool {
    query.query_type == kind
}

/// What a server sends over UDP to whom it knows nothing of (RFC 1035 §4.2.1).
const UDP_BYTES_MAX: usize = 512;
