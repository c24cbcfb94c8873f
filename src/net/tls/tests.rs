//! The session and its stream against the client of `rustls`: what is cut, flooded, forged or too slow.

mod client;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::Write;
use std::rc::Rc;

use super::fault::Fault;
use super::session::Session;
use super::stream::{Handshake, TlsStream};
use super::testing::{client, handshake, hear, listen, pair, records, say, server_config};
use crate::limits::{BUFFER_BYTES, TLS_BARREN_RECORDS_MAX, TLS_RECORDS_PER_TURN};
use crate::net::runtime::{Preference, ThreadRuntime};
use crate::net::{BufferPool, Liveness, Transport};

fn on_a_core<T>(test: impl Future<Output = T>) -> T {
    ThreadRuntime::build(Preference::Ring).expect("a runtime").0.block_on(test)
}

/// Gives the session bytes, in pieces of at most so many.
fn give(session: &mut Session, bytes: &[u8], piece: usize) -> Result<(), Fault> {
    for part in bytes.chunks(piece) {
        let Some(room) = session.room().get_mut(..part.len()) else {
            // As the stream does.
            session.fail(Fault::Protocol);
            return Err(Fault::Protocol);
        };
        room.copy_from_slice(part);
        session.received(part.len());
        while session.advance()? {}
        session.park();
    }
    Ok(())
}

fn unsent(session: &mut Session) -> Vec<u8> {
    let bytes = session.unsent().to_vec();
    session.sent(bytes.len());
    bytes
}

/// A session and its client after the handshake, whose bytes came in pieces of this size.
fn established(piece: usize) -> (Session, rustls::ClientConnection, Rc<BufferPool>) {
    let pool = BufferPool::new();
    let mut session = Session::server(server_config(), &pool).expect("a session");
    let mut client = client();
    while client.is_handshaking() || session.is_handshaking() {
        give(&mut session, &records(&mut client), piece).expect("a handshake");
        hear(&mut client, &unsent(&mut session));
    }
    (session, client, pool)
}

fn take_all(session: &mut Session) -> Result<Vec<u8>, Fault> {
    let mut taken = Vec::new();
    let mut space = [0; 1000];
    let mut records = u32::MAX;
    loop {
        match session.take(&mut space, &mut records)? {
            0 => return Ok(taken),
            n => taken.extend(&space[..n]),
        }
    }
}

#[test]
fn a_handshake_and_its_records_may_be_cut_at_every_byte() {
    for piece in [1, 2, 3, 5, 7, 64, 1000, 1 << 14] {
        let (mut session, mut client, pool) = established(piece);
        let asked = vec![b'q'; 40_000];
        let mut got = Vec::new();
        for part in say(&mut client, &asked).chunks(piece) {
            give(&mut session, part, piece).expect("records");
            got.extend(take_all(&mut session).expect("plaintext"));
        }
        assert!(got == asked, "in pieces of {piece}");
        assert_eq!(session.seal(b"head ", b"and body").expect("a record"), 13);
        assert_eq!(hear(&mut client, &unsent(&mut session)), b"head and body");
        session.park();
        assert_eq!(pool.held(), 0, "an idle session holds nothing");
    }
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_kept() {
    let pool = BufferPool::new();
    let mut session = Session::server(server_config(), &pool).expect("a session");
    let mut client = client();
    give(&mut session, &records(&mut client), 1 << 14).expect("a hello");
    hear(&mut client, &unsent(&mut session));
    let finished = say(&mut client, b"GET / HTTP/1.1\r\n\r\n");
    give(&mut session, &finished, 1 << 14).expect("the end of a handshake");
    assert!(!session.is_handshaking() && session.is_readable());
    assert_eq!(take_all(&mut session).expect("a request"), b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn a_head_and_its_body_share_records_and_no_more_than_a_block_is_sealed() {
    let (mut session, mut client, _) = established(1 << 14);
    let body = vec![b'x'; 1 << 20];
    let sealed = session.seal(b"head", &body).expect("records");
    assert!((40_000..BUFFER_BYTES).contains(&sealed), "{sealed}");
    assert!(session.unsent().len() < BUFFER_BYTES);
    let lengths = |bytes: &[u8]| {
        let mut rest = bytes;
        let mut lengths = Vec::new();
        while rest.len() > 5 {
            let length = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            lengths.push(length);
            rest = &rest[length..];
        }
        lengths
    };
    let bytes = unsent(&mut session);
    assert_eq!(lengths(&bytes)[..2], [16_406, 16_406], "full records");
    let heard = hear(&mut client, &bytes);
    assert!(heard.starts_with(b"headxxx") && heard.len() == sealed);
}

#[test]
fn key_updates_are_followed_and_answered_and_a_flood_of_them_ends_the_connection() {
    let (mut session, mut client, _) = established(1 << 14);
    client.refresh_traffic_keys().expect("new keys");
    let update = records(&mut client);
    give(&mut session, &update, 1).expect("an update");
    assert!(!session.is_readable());
    give(&mut session, &say(&mut client, b"under new keys"), 3).expect("records");
    assert_eq!(take_all(&mut session).expect("plaintext"), b"under new keys");
    session.seal(b"answer", b"").expect("a record");
    assert_eq!(hear(&mut client, &unsent(&mut session)), b"answer");
    let mut updates = 0;
    loop {
        client.refresh_traffic_keys().expect("new keys");
        match give(&mut session, &records(&mut client), 1 << 14) {
            Ok(()) => updates += 1,
            Err(fault) => break assert_eq!(fault, Fault::Protocol),
        }
        assert!(updates <= TLS_BARREN_RECORDS_MAX, "{updates} updates");
    }
}

#[test]
fn plaintext_that_pretends_to_be_a_record_ends_the_connection() {
    for forged in [
        &[23, 3, 3, 0, 32][..],
        &[20, 3, 3, 0, 1, 1],
        &[21, 3, 3, 0, 2, 1, 0],
        &[22, 3, 3, 0, 4, 0, 0, 0, 0],
        b"HTTP/1.1 200 OK\r\n\r\n",
        &[23, 3, 3, 0xff, 0xff],
    ] {
        let (mut session, mut client, _) = established(1 << 14);
        let mut bytes = forged.to_vec();
        bytes.extend([0; 32]);
        assert_eq!(give(&mut session, &bytes, 1 << 14), Err(Fault::Protocol), "{forged:?}");
        assert!(session.has_unsent(), "an alert says so");
        let mut alert = &unsent(&mut session)[..];
        client.read_tls(&mut alert).expect("a record");
        let heard = client.process_new_packets().expect_err("an alert");
        assert!(matches!(heard, rustls::Error::AlertReceived(_)), "{heard}");
        assert!(!session.has_unsent() && session.fault() == Some(Fault::Protocol), "it is said once");
    }
}

#[test]
fn a_client_that_turns_away_is_one() {
    let (mut session, mut client, _) = established(1 << 14);
    client.send_close_notify();
    give(&mut session, &records(&mut client), 1).expect("a close_notify");
    assert!(session.has_ended() && session.fault().is_none());
    session.seal(b"the rest of an answer", b"").expect("a record");
    assert_eq!(hear(&mut client, &unsent(&mut session)), b"the rest of an answer");
}

#[test]
fn garbage_at_any_stage_of_a_handshake_ends_it() {
    for garbage in [&b"\x16\x03\x01\0\x05hello"[..], b"\x17\x03\x03\0\x01x", b"\x14\x03\x03\0\x01\x02", b"\0"]
    {
        let pool = BufferPool::new();
        let mut session = Session::server(server_config(), &pool).expect("a session");
        assert_eq!(give(&mut session, garbage, 1), Err(Fault::Protocol), "first {garbage:?}");
        drop(session);
        let mut session = Session::server(server_config(), &pool).expect("a session");
        give(&mut session, &records(&mut client()), 1 << 14).expect("a hello");
        assert_eq!(give(&mut session, garbage, 1), Err(Fault::Protocol), "then {garbage:?}");
        drop(session);
        assert_eq!(pool.held(), 0);
    }
}

#[test]
fn records_of_change_cipher_spec_have_an_end() {
    let pool = BufferPool::new();
    let mut session = Session::server(server_config(), &pool).expect("a session");
    give(&mut session, &records(&mut client()), 1 << 14).expect("a hello");
    let flood = [20, 3, 3, 0, 1, 1].repeat(10);
    assert_eq!(give(&mut session, &flood, 6), Err(Fault::Protocol));
}

/// A record whose flight is bent at one place never opens, and never panics.
#[test]
fn bytes_that_are_changed_on_their_way_never_get_through() {
    let pool = BufferPool::new();
    let mut client = client();
    let hello = records(&mut client);
    for at in (0..hello.len()).step_by(3) {
        let mut bent = hello.clone();
        bent[at] ^= 0x55;
        let mut session = Session::server(server_config(), &pool).expect("a session");
        // Some bytes may be anything; then the handshake does not come to its end.
        let _ = give(&mut session, &bent, 1 << 14);
        assert!(session.is_handshaking() || session.fault().is_some(), "byte {at}");
    }
}

/// Well-formed on the outside, anything inside, in pieces of any size.
#[test]
fn random_records_end_a_connection_and_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for round in 0..300 {
        let (mut session, client, pool) = match round % 3 {
            0 => established(1 << 14),
            _ => {
                let pool = BufferPool::new();
                let mut session = Session::server(server_config(), &pool).expect("a session");
                let mut client = client();
                if round % 3 == 1 {
                    give(&mut session, &records(&mut client), 1 << 14).expect("a hello");
                }
                (session, client, pool)
            }
        };
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let length = random(300);
            let mut record = vec![20 + random(4) as u8, 3, 3, 0, 0];
            record[3..].copy_from_slice(&(length as u16).to_be_bytes());
            record.extend((0..length).map(|_| random(256) as u8));
            outcome = give(&mut session, &record, 1 + random(400) as usize);
        }
        assert!(session.fault().is_some());
        drop((session, client));
        assert_eq!(pool.held(), 0);
    }
}

/// The wish of one side for a whole message, the other one taking a few bytes at a time.
#[test]
fn a_slow_reader_gets_everything_and_a_block_is_all_that_is_sealed_for_it() {
    on_a_core(async {
        let pool = BufferPool::new();
        let (stream, mut far) = pair(&pool);
        let mut client = client();
        handshake(&stream, &mut far, &mut client);
        let body: Vec<u8> = (0..3_000_000_u32).map(|nth| nth as u8).collect();
        let (mut sent, mut heard) = (0, Vec::new());
        while heard.len() < body.len() {
            if sent < body.len() {
                sent += stream.try_send_both(&body[sent..], &[]).expect("a peer").unwrap_or(0);
            } else {
                stream.try_flush().expect("a peer");
            }
            assert!(pool.held() <= BUFFER_BYTES, "{}", pool.held());
            listen(&mut far, &mut client, &mut heard);
        }
        assert!(heard == body && !stream.has_unsent());
        assert_eq!(pool.held(), 0);
    });
}

#[test]
fn an_end_without_close_notify_is_an_error_and_one_with_it_is_an_end() {
    on_a_core(async {
        for says_it in [true, false] {
            let (stream, mut far) = pair(&BufferPool::new());
            let mut client = client();
            handshake(&stream, &mut far, &mut client);
            let mut last = say(&mut client, b"last words");
            if says_it {
                client.send_close_notify();
                last.extend(records(&mut client));
            }
            far.write_all(&last).expect("room");
            drop(far);
            let mut space = [0; 100];
            assert_eq!(stream.try_recv(&mut space).expect("words"), Some(10));
            match (says_it, stream.try_recv(&mut space)) {
                (true, Ok(Some(0))) => {}
                (false, Err(error)) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof),
                (_, other) => panic!("{says_it}: {other:?}"),
            }
        }
    });
}

#[test]
fn what_the_protocol_itself_sends_is_no_sign_of_life_and_no_bytes() {
    on_a_core(async {
        let (stream, mut far) = pair(&BufferPool::new());
        let mut client = client();
        handshake(&stream, &mut far, &mut client);
        assert_eq!(stream.liveness(), Liveness::Quiet);
        client.refresh_traffic_keys().expect("new keys");
        far.write_all(&records(&mut client)).expect("room");
        assert_eq!(stream.liveness(), Liveness::Quiet, "after an update of keys");
        let words = say(&mut client, b"words");
        far.write_all(&words[..3]).expect("room");
        assert_eq!(stream.liveness(), Liveness::Quiet, "part of a record");
        far.write_all(&words[3..]).expect("room");
        assert_eq!((stream.liveness(), stream.liveness()), (Liveness::Bytes, Liveness::Bytes));
        client.send_close_notify();
        far.write_all(&records(&mut client)).expect("room");
        assert_eq!(stream.try_recv(&mut [0; 10]).expect("words"), Some(5));
        assert_eq!((stream.liveness(), stream.liveness()), (Liveness::HalfClosed, Liveness::HalfClosed));
        far.shutdown(std::net::Shutdown::Write).expect("a half-close");
        assert_eq!(stream.liveness(), Liveness::HalfClosed, "the end of the socket says no more");
        drop(far);
        assert_eq!(stream.liveness(), Liveness::Closed);
        let (stream, mut far) = pair(&BufferPool::new());
        let mut client = super::testing::client();
        handshake(&stream, &mut far, &mut client);
        far.shutdown(std::net::Shutdown::Write).expect("a half-close");
        assert_eq!(stream.liveness(), Liveness::Closed, "without a close_notify it may be anybody's work");
        let (stream, mut far) = pair(&BufferPool::new());
        let mut client = super::testing::client();
        handshake(&stream, &mut far, &mut client);
        drop(far);
        assert_eq!(stream.liveness(), Liveness::Closed);
    });
}

#[test]
fn the_last_word_is_close_notify_unless_the_end_is_a_cut() {
    on_a_core(async {
        for is_cut in [false, true] {
            let (stream, mut far) = pair(&BufferPool::new());
            let mut client = client();
            handshake(&stream, &mut far, &mut client);
            if is_cut {
                stream.cut();
            }
            drop(stream);
            let mut bytes = Vec::new();
            // The ring closes a socket a moment after it was dropped.
            while std::io::Read::read_to_end(&mut far, &mut bytes).is_err() {
                monoio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            hear(&mut client, &bytes);
            assert_eq!(bytes.is_empty(), is_cut);
            let read = std::io::Read::read(&mut client.reader(), &mut [0]);
            assert_eq!(read.is_ok_and(|n| n == 0), !is_cut);
        }
    });
}

#[test]
fn many_small_records_leave_a_turn_to_others() {
    on_a_core(async {
        let (stream, mut far) = pair(&BufferPool::new());
        let mut client = client();
        handshake(&stream, &mut far, &mut client);
        let count = 2 * TLS_RECORDS_PER_TURN as usize + 7;
        for _ in 0..count {
            far.write_all(&say(&mut client, b"x")).expect("room");
        }
        let transport = Transport::Tls(Box::new(stream));
        let (mut got, mut turns, mut space) = (0, 0, [0; 1000]);
        while got < count {
            transport.readable().await.expect("bytes");
            turns += 1;
            while let Some(n) = transport.try_recv(&mut space).expect("bytes") {
                got += n;
                if !transport.may_read_on() {
                    break;
                }
            }
            assert!(got <= turns * TLS_RECORDS_PER_TURN as usize, "{got} in {turns} turns");
        }
        assert_eq!(got, count);
    });
}

#[test]
fn a_session_goes_on_elsewhere_with_all_that_it_held() {
    on_a_core(async {
        let (stream, mut far) = pair(&BufferPool::new());
        let mut client = client();
        handshake(&stream, &mut far, &mut client);
        let mut words = say(&mut client, b"one");
        words.extend(say(&mut client, b"two"));
        let (first, rest) = words.split_at(words.len() - 9);
        far.write_all(first).expect("room");
        let mut transport = Transport::Tls(Box::new(stream));
        assert_eq!(transport.try_recv(&mut [0; 1]).expect("a letter"), Some(1));
        let socket = transport.duplicate().expect("a descriptor");
        let detached = transport.detach(socket);
        drop(transport);
        let pool = BufferPool::new();
        let transport = Transport::attach(detached, &pool).expect("a place in the runtime");
        assert_eq!(pool.held(), 2 + 16, "the rest of a word, and a part of a record");
        far.write_all(rest).expect("room");
        let mut space = [0; 10];
        let mut got = Vec::<u8>::new();
        while got.len() < 5 {
            transport.readable().await.expect("bytes");
            let n = transport.try_recv(&mut space).expect("bytes").unwrap_or(0);
            got.extend(&space[..n]);
        }
        assert_eq!(got, b"netwo");
        transport.try_send(b"three").expect("a peer");
        let mut heard = Vec::new();
        listen(&mut far, &mut client, &mut heard);
        assert_eq!(heard, b"three");
    });
}

#[test]
fn plain_http_is_told_from_a_broken_handshake() {
    on_a_core(async {
        let (stream, mut far) = pair(&BufferPool::new());
        far.write_all(b"GET / HT").expect("room");
        stream.receive().expect("a peer");
        assert_eq!(stream.handshake(), Err(Fault::PlainHttp));
        let (stream, far) = pair(&BufferPool::new());
        drop(far);
        stream.receive().expect("an end");
        assert_eq!(stream.handshake(), Err(Fault::Closed));
    });
}

/// How many handshakes of a storm take a step between two turns of another task.
#[test]
fn a_storm_of_handshakes_leaves_turns_to_others() {
    use crate::limits::TLS_STEPS_PER_TURN;
    use crate::net::tls::Gate;
    on_a_core(async {
        let (gate, turns) = (Rc::<Gate>::default(), Rc::<Cell<usize>>::default());
        let steps = Rc::new(RefCell::new(Vec::new()));
        for nth in 0..100 {
            let (gate, steps, turns) = (gate.clone(), steps.clone(), turns.clone());
            monoio::spawn(async move {
                let _step = gate.step().await;
                steps.borrow_mut().push((nth, turns.get()));
            });
        }
        let (other, _far) = pair(&BufferPool::new());
        while steps.borrow().len() < 100 {
            other.socket().writable().await.expect("a turn");
            turns.set(turns.get() + 1);
        }
        let steps = steps.borrow();
        assert!(steps.is_sorted_by_key(|(nth, _)| *nth), "first come, first served: {steps:?}");
        for turn in 0..=turns.get() {
            let taken = steps.iter().filter(|(_, taken)| *taken == turn).count();
            assert!(taken <= 2 * TLS_STEPS_PER_TURN as usize, "{taken} steps in a turn: {steps:?}");
        }
    });
}

/// What one idle connection costs of the heap is in `tests/allocations.rs`; this is its own part.
#[test]
fn a_stream_is_small_beside_the_state_of_the_protocol() {
    assert!(size_of::<TlsStream>() <= 384, "{} bytes", size_of::<TlsStream>());
    assert_eq!(Handshake::Done, Handshake::Done);
}
