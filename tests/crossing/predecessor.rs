//! A new process whose predecessor is not what it should be: it takes nothing, and serves.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    socketpair,
};

use crate::harness::*;

/// A new process, and the other ends of its ways from the old one.
struct Successor {
    child: Child,
    address: SocketAddr,
    lines: Vec<OwnedFd>,
    _pipe: UnixStream,
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent.expect("the other end is open"), bytes.len());
}

/// The next record from there; empty: the other end is closed.
fn receive(line: &OwnedFd) -> Vec<u8> {
    let (mut space, deadline) = ([0; 256], Instant::now() + PATIENCE);
    loop {
        match rustix::net::recv(line, &mut space[..], RecvFlags::DONTWAIT) {
            Ok((_, count)) => return space[..count].to_vec(),
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            // It was closed with something unread.
            Err(rustix::io::Errno::CONNRESET) => return Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Successor {
    fn start(lines: usize) -> Successor {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("the port");
        let (mut pipe, far) = UnixStream::pair().expect("a pair");
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" run", PROGRAM]).env_clear();
        command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "public:predecessor");
        let port = address.port().to_string();
        command.envs([
            ("JWT_SECRET", SECRET),
            ("RATE_LIMIT_STORE", "off"),
            ("ACCESS_LOG", "off"),
            ("PORT", &port),
        ]);
        command.envs([("BIND", "127.0.0.1"), ("ADMIN_ADDR", "off"), ("CORES", "1")]);
        let descriptors: [OwnedFd; 2] = [listener.into(), far.into()];
        let mappings = descriptors.into_iter().zip(3..);
        let mappings = mappings.map(|(fd, number)| FdMapping { parent_fd: fd, child_fd: number });
        command.fd_mappings(mappings.collect()).expect("no descriptor twice");
        let child = command.stderr(Stdio::null()).spawn().expect("the gateway starts");
        pipe.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut word = [0; 6];
        pipe.read_exact(&mut word).expect("a word");
        assert_eq!(&word, b"ready\n");
        let pair = || {
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair")
        };
        let (near, far): (Vec<OwnedFd>, Vec<OwnedFd>) = (0..lines).map(|_| pair()).unzip();
        let far: Vec<BorrowedFd<'_>> = far.iter().map(AsFd::as_fd).collect();
        send(&pipe, b"go\n", &far);
        Successor { child, address, lines: near, _pipe: pipe }
    }

    #[track_caller]
    fn serves(&self) {
        Client::connect(self.address).expect_open();
    }
}

/// A record of so many tunnels, with these bytes behind its header.
fn record(kind: u8, count: u16, number: u64, entries: &[u8]) -> Vec<u8> {
    let mut bytes = b"rctn\x01".to_vec();
    bytes.push(kind);
    bytes.extend(count.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    bytes.extend(entries);
    bytes
}

fn entry(state: &[u8], registration: &[u8]) -> Vec<u8> {
    let part = |part: &[u8]| [&(part.len() as u32).to_le_bytes()[..], part].concat();
    [part(state), part(registration)].concat()
}

/// Two ends of one connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("the port")).expect("a listener");
    (near, listener.accept().expect("a connection").0)
}

#[test]
fn what_is_no_record_closes_the_way() {
    let entries = entry(b"x", b"");
    let cases = [
        b"something else".to_vec(),
        record(2, 0, 1, b""),
        record(0, 65, 1, b""),
        record(9, 0, 1, b""),
        record(1, 1, 1, &entries),
        vec![0xff; 100_000],
    ];
    let new = Successor::start(cases.len());
    for (line, case) in new.lines.iter().zip(&cases) {
        send(line, case, &[]);
        assert_eq!(receive(line), b"", "{}", show(case));
    }
    new.serves();
}

#[test]
fn a_tunnel_that_it_cannot_make_sense_of_is_refused_and_its_sockets_are_left_alone() {
    let new = Successor::start(1);
    let (mut client, ours) = connection();
    let (upstream, theirs) = connection();
    let sockets = [ours.as_fd(), theirs.as_fd()];
    client.write_all(b"unread").expect("an open connection");
    for (number, (state, verdict)) in
        [(&[99, 1, 2][..], 2), (&[], 3), (&[VERSION], 3), (&[VERSION; 300], 3)].into_iter().enumerate()
    {
        send(&new.lines[0], &record(0, 1, number as u64, &entry(state, b"")), &sockets);
        let answer = receive(&new.lines[0]);
        assert_eq!((&answer[..6], &answer[24..]), (&b"rctn\x01\x02"[..], &[verdict][..]), "{state:?}");
        assert_eq!(answer[8], number as u8);
    }
    // One descriptor is missing.
    send(&new.lines[0], &record(0, 1, 9, &entry(&[4; 300], b"")), &sockets[..1]);
    assert_eq!(receive(&new.lines[0])[24..], [4]);
    let mut bytes = [0; 16];
    ours.set_nonblocking(true).expect("a mode");
    assert_eq!((&ours).read(&mut bytes).expect("what the client has sent"), 6);
    drop((ours, theirs, upstream));
    assert_eq!(client.read(&mut bytes).expect("the end, since nobody else has the socket"), 0);
    new.serves();
}

/// Of the state of a tunnel.
const VERSION: u8 = 5;
