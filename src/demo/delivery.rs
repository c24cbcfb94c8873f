//! The delivery backend: the WebSocket handshake (RFC 6455, section 4.2) that leads into the chat room.

use std::cell::RefCell;
use std::rc::Rc;

use http::{HeaderValue, StatusCode};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::server::{create_response, write_response};

use super::answer::Answer;
use super::bounds::USER_BYTES_MAX;
use super::identity::identity;
use super::request::Request;
use super::room::{Participant, Room};

/// An accepted handshake.
pub(super) struct Handshake {
    /// The head of the 101.
    pub(super) response: Vec<u8>,
    pub(super) participant: Participant,
}

/// `None`: no such path.
pub(super) fn reply(request: &Request, room: &Rc<RefCell<Room>>) -> Option<Result<Handshake, Answer>> {
    (request.path() == "/ws").then(|| shake(request, room))
}

fn shake(request: &Request, room: &Rc<RefCell<Room>>) -> Result<Handshake, Answer> {
    let mut response = create_response(&request.as_handshake()).map_err(|error| refusal(&error))?;
    let user = identity(request)?;
    if user.len() > USER_BYTES_MAX {
        return Err(Answer::problem(StatusCode::BAD_REQUEST, "a user's name is at most 64 bytes here"));
    }
    if request.items("sec-websocket-protocol").any(|offered| offered == SUBPROTOCOL) {
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    }
    let Some(participant) = Participant::take(room, user) else {
        let full = Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "the room is full");
        return Err(full.with_field("retry-after", "5"));
    };
    let mut head = Vec::new();
    // It writes text fields to memory, so it cannot fail.
    let _ = write_response(&mut head, &response);
    Ok(Handshake { response: head, participant })
}

/// The answer to a request that is not a valid handshake.
fn refusal(error: &Error) -> Answer {
    let upgrade = |detail| {
        Answer::problem(StatusCode::UPGRADE_REQUIRED, detail)
            .with_field("connection", "upgrade")
            .with_field("upgrade", "websocket")
            // RFC 6455, section 4.4: "… MUST send … |Sec-WebSocket-Version| header fields indicating the
            // version(s) the server is willing to use."
            .with_field("sec-websocket-version", "13")
    };
    match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => Answer::not_allowed("GET"),
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            upgrade("the version of WebSocket here is 13")
        }
        Error::Protocol(ProtocolError::MissingSecWebSocketKey) => {
            Answer::problem(StatusCode::BAD_REQUEST, "a handshake has a Sec-WebSocket-Key")
        }
        _ => upgrade("this path is for WebSocket"),
    }
}

/// The subprotocol of the room: JSON texts. A client that offers none gets the same messages.
const SUBPROTOCOL: &str = "realchat.v1";
