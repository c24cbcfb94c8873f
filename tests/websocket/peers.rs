//! Real WebSocket peers: a library on both sides, each with its own handshake.

use std::net::TcpStream;
use std::thread;

use tungstenite::client::client_with_config;
use tungstenite::handshake::server::{Request as Asked, Response as Answer};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::frame::{Frame as Piece, coding::Data, coding::OpCode};
use tungstenite::{Message, Utf8Bytes, WebSocket, accept_hdr_with_config};

use crate::harness::*;

fn generous() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(64 << 20)).max_frame_size(Some(64 << 20))
}

/// A server of the library's: it echoes messages, and closes with 4001 and a reason when it is told to.
fn server() -> (std::net::SocketAddr, thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its port");
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        // The library wants the error as large as it is.
        #[allow(clippy::result_large_err)]
        let choose = |asked: &Asked, mut answer: Answer| {
            assert_eq!(asked.headers()["x-internal-user-id"], "ann");
            answer.headers_mut().insert("sec-websocket-protocol", "chat".parse().expect("a value"));
            Ok(answer)
        };
        let mut socket = accept_hdr_with_config(stream, choose, Some(generous())).expect("a handshake");
        loop {
            match socket.read() {
                Ok(Message::Text(text)) if text.as_str() == "leave" => {
                    let reason = Utf8Bytes::from_static("go\u{f6}dbye");
                    socket
                        .close(Some(CloseFrame { code: CloseCode::Library(4001), reason }))
                        .expect("a close");
                }
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    socket.send(message).expect("an echo")
                }
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    });
    (address, serving)
}

fn client(gateway: &Gateway) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(gateway.public).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = tungstenite::http::Request::builder()
        .uri(format!("ws://{}/ws", gateway.public))
        .header("Host", gateway.public.to_string())
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
        .header("Sec-WebSocket-Protocol", format!("bearer.{}, chat", token("ann")))
        .body(())
        .expect("a request");
    let (socket, answer) = client_with_config(request, stream, Some(generous())).expect("a handshake");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    socket
}

fn gateway(upstream: std::net::SocketAddr, driver: &str) -> Gateway {
    let gateway = Gateway::builder().upstream_url("delivery", &format!("http://{upstream}"));
    gateway.env("WS_MAX_MESSAGE_BYTES", "32MiB").env("IO_DRIVER", driver).start()
}

#[test]
fn messages_of_every_size_come_back_and_the_servers_close_reaches_the_client() {
    for driver in ["auto", "epoll"] {
        let (upstream, serving) = server();
        let gateway = gateway(upstream, driver);
        let mut socket = client(&gateway);
        let text: String = "\u{1f600}\u{e4}x".repeat(1_000);
        socket.send(Message::text(text.clone())).expect("a send");
        assert_eq!(socket.read().expect("an echo"), Message::text(text));
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
            socket.send(Message::binary(bytes.clone())).expect("a send");
            let echoed = socket.read().expect("an echo").into_data();
            assert!(echoed == bytes, "{} of {size} bytes", echoed.len());
        }
        // Bytes of TLS cannot be spliced.
        assert_eq!(gateway.metric("tunnel_bytes_spliced_total") > 16 << 20, scheme() == "http");
        socket.send(Message::text("leave")).expect("a send");
        let Ok(Message::Close(Some(close))) = socket.read() else { panic!("no Close frame") };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (4001, "go\u{f6}dbye"));
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
        serving.join().expect("the server saw a closing handshake in order");
        eventually("the tunnel ends", || gateway.metric("tunnels_open") == 0);
        assert_eq!(gateway.metric("tunnels_closed_total{reason=\"upstream_closed\"}"), 1);
    }
}

#[test]
fn fragments_with_pings_between_them_are_one_message_and_the_clients_close_is_answered() {
    let (upstream, serving) = server();
    let gateway = gateway(upstream, "auto");
    let mut socket = client(&gateway);
    let piece =
        |payload: Vec<u8>, data, fin| Message::Frame(Piece::message(payload, OpCode::Data(data), fin));
    socket.send(piece(vec![b'a'; 70_000], Data::Text, false)).expect("a send");
    socket.send(Message::Ping(b"are you there".to_vec().into())).expect("a send");
    socket.send(piece(vec![b'b'; 10], Data::Continue, false)).expect("a send");
    socket.send(piece(vec![], Data::Continue, true)).expect("a send");
    assert_eq!(socket.read().expect("a pong"), Message::Pong(b"are you there".to_vec().into()));
    assert_eq!(socket.read().expect("an echo"), Message::text(format!("{}bbbbbbbbbb", "a".repeat(70_000))));
    let reason = Utf8Bytes::from_static("done");
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason })).expect("a close");
    let Ok(Message::Close(Some(close))) = socket.read() else { panic!("no Close frame") };
    assert_eq!(close.code, CloseCode::Normal);
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    serving.join().expect("the server saw a closing handshake in order");
    eventually("the tunnel ends", || gateway.metric("tunnels_closed_total{reason=\"client_closed\"}") == 1);
}
