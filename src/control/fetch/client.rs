//! The HTTP client at its end of the socket pair.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, StatusCode};
use monoio::net::UnixStream;
use monoio_http_client::unified::UnifiedTransportConnection;
use monoio_http_client::{Client, Connector, Error, Key};

use super::error::FetchError;
use super::request::Get;
use super::response::Fetched;

/// Hands the client the one connection that it gets.
struct Pair(Cell<Option<UnixStream>>);

impl Connector<Key> for Pair {
    type Connection = UnifiedTransportConnection;
    type Error = Error;

    async fn connect(&self, _: Key) -> Result<Self::Connection, Error> {
        match self.0.take() {
            Some(stream) => Ok(UnifiedTransportConnection::Unix(stream)),
            None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }
}

/// Sends the request and takes the response, over this end of the pair. It ends when the other end is closed, at the
/// latest.
pub(super) async fn get(far: OwnedFd, get: &Get<'_>) -> Result<Fetched, FetchError> {
    let stream = UnixStream::from_std(StdUnixStream::from(far));
    let stream = stream.map_err(|error| FetchError::Connect(crate::net::ConnectError::Failed(error)))?;
    let client = Client::builder().http1_client().build_with_connector(Pair(Cell::new(Some(stream))));
    // The address of this URL leads nowhere: the connection is there already. TLS is the pump's.
    let request = client
        .get(format!("http://localhost{}", get.target))
        .header(HOST, get.authority)
        .header(ACCEPT, get.accept)
        .header(USER_AGENT, concat!("realchat-gateway/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    // None of the library's errors is shown: some of them recurse without end when they are copied.
    let response = request.send().await.map_err(|_| FetchError::Closed)?;
    let (status, headers) = (response.status(), response.headers());
    framed(status, headers)?;
    let (status, max_age_s) = (status.as_u16(), max_age_s(headers));
    let body = response.bytes().await.map_err(|_| FetchError::Closed)?;
    Ok(Fetched { status, max_age_s, body })
}

/// Whether the length of the response is beyond doubt. The client takes a body that only the end of the connection ends
/// for an empty one, and believes either of two lengths.
fn framed(status: StatusCode, headers: &HeaderMap) -> Result<(), FetchError> {
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    let count = |name| headers.get_all(name).iter().count();
    match (count(CONTENT_LENGTH), count(TRANSFER_ENCODING)) {
        (1, 0) | (0, 1) => Ok(()),
        (0, 0) => Err(FetchError::Garbled("it has neither Content-Length nor Transfer-Encoding")),
        _ => Err(FetchError::Garbled("it has two lengths")),
    }
}

/// How long the response is fresh (RFC 9111 §5.2.2), in seconds.
fn max_age_s(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(0),
            "max-age" => max_age = max_age.or(value.trim().trim_matches('"').parse().ok()),
            _ => {}
        }
    }
    max_age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_the_first_max_age_and_none_where_it_must_not_be_kept() {
        let of = |value: &str| {
            max_age_s(&HeaderMap::from_iter([(CACHE_CONTROL, value.parse().expect("a value"))]))
        };
        assert_eq!(of("public, Max-Age=600"), Some(600));
        assert_eq!(of("max-age=\"60\", max-age=5"), Some(60));
        assert_eq!(of("max-age=600, no-store"), Some(0));
        assert_eq!([of("max-age=-1"), of("max-age"), of("private")], [None; 3]);
    }
}
