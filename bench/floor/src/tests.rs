//! Messages of all sizes through a core's thread, byte for byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::message::missing_bytes;
use crate::worker;

#[test]
fn answers_come_down_and_uploads_go_up_byte_for_byte() {
    let floor = start(echo());
    let sizes = [0, 1, 200, 16_384, 65_536, 1 << 20];
    let clients = 0..8;
    let all: Vec<_> = clients.map(|first| thread::spawn(move || echoed(floor, first, &sizes))).collect();
    all.into_iter().for_each(|client| client.join().expect("what was sent"));
}

#[test]
fn an_end_is_found_by_its_length() {
    assert_eq!(missing_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(0));
    assert_eq!(missing_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello"), Some(7));
    assert_eq!(missing_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello"), None);
    assert_eq!(missing_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"), None);
    assert_eq!(missing_bytes(b""), None);
}

/// Sends bodies of these sizes over one connection, and finds each in its answer.
fn echoed(floor: SocketAddr, first: usize, sizes: &[usize]) {
    let mut stream = TcpStream::connect(floor).expect("the floor");
    for (round, size) in (0..).zip(sizes) {
        let body: Vec<u8> = (0..*size).map(|at| (at * 7 + first + round) as u8).collect();
        let message =
            [format!("POST / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n").as_bytes(), &body].concat();
        stream.write_all(&message).expect("a request");
        let mut answer = vec![0; message.len()];
        stream.read_exact(&mut answer).expect("an answer");
        assert!(answer == message, "a body of {size} bytes came back changed");
    }
}

fn start(origin: SocketAddr) -> SocketAddr {
    let listener = worker::listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = listener.local_addr().expect("its address");
    let cpu = core_affinity::get_core_ids().expect("CPUs")[0].id;
    thread::spawn(move || worker::serve(listener, origin, cpu));
    address
}

/// An origin that answers each request with itself, once it has all of it. It ends with the test's process.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut message, mut piece) = (Vec::new(), vec![0; 100_000]);
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    message.extend_from_slice(&piece[..count]);
                    if missing_bytes(&message) == Some(0) {
                        stream.write_all(&message).expect("a client");
                        message.clear();
                    }
                }
            });
        }
    });
    address
}
