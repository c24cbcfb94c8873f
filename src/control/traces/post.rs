//! One POST to the collector, on a thread that may wait: name, connection, TLS, request, answer, all until a
//! deadline.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::answer::Answer;
use crate::config::{KeysUrl, Secret, UpstreamTls};
use crate::control::keys::Location;
use crate::limits::SPANS_ANSWER_BYTES_MAX;
use crate::tls::Origination;

/// A collector.
pub(super) struct Collector {
    location: Location,
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    fields: Vec<u8>,
    timeout: Duration,
}

impl Collector {
    /// The one at this URL. Reads the authorities of the system, if it is behind TLS.
    ///
    /// # Errors
    /// Why it cannot be spoken to.
    pub(super) fn new(
        url: &KeysUrl,
        headers: &[(String, Secret)],
        timeout: Duration,
    ) -> Result<Collector, String> {
        let location = Location::of(url).ok_or("it is no URL")?;
        let tls = match location.is_tls {
            true => {
                let server_name = location.host.clone();
                let origination =
                    Origination::load(&UpstreamTls { server_name, ca: None, certificate: None })?;
                Some((origination.name.clone(), origination.for_core()))
            }
            false => None,
        };
        let mut fields = Vec::new();
        for (name, value) in headers {
            fields.extend([name.as_bytes(), b": ", &value.0, b"\r\n"].concat());
        }
        Ok(Collector { location, tls, fields, timeout })
    }

    /// Sends a body and returns the answer.
    ///
    /// # Errors
    /// There is no whole answer in time.
    pub(super) fn post(&self, body: &[u8], patience: Duration) -> io::Result<Answer> {
        let deadline = Instant::now() + self.timeout.min(patience);
        let socket = self.connect(deadline)?;
        let stream = Timed { socket, deadline };
        match &self.tls {
            None => self.exchange(stream, body),
            Some((name, config)) => {
                let session =
                    ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
                self.exchange(StreamOwned::new(session, stream), body)
            }
        }
    }

    fn connect(&self, deadline: Instant) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in (self.location.host.as_str(), self.location.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(deadline)?) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn exchange(&self, mut stream: impl Read + Write, body: &[u8]) -> io::Result<Answer> {
        let Location { authority, target, .. } = &self.location;
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: realchat-gateway/{}\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {}\r\nConnection: close\r\n",
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        // A collector may answer before it has read everything, and close: what it says counts.
        let written =
            [head.as_bytes(), &self.fields, b"\r\n", body].iter().try_for_each(|part| stream.write_all(part));
        let written = written.and_then(|()| stream.flush());
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some(answer) = answer(&bytes, false)? {
                return Ok(answer);
            }
            if bytes.len() > SPANS_ANSWER_BYTES_MAX {
                return Err(garbled());
            }
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend(&buffer[..count]),
                // The end without close_notify; a length tells whether something is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(written.err().unwrap_or(error)),
            }
        }
        answer(&bytes, true)?
            .ok_or_else(|| written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }
}

/// The answer in these bytes, once it is whole. Interim responses are passed over.
fn answer(bytes: &[u8], is_end: bool) -> io::Result<Option<Answer>> {
    let mut rest = bytes;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = response.parse(rest).map_err(|_| garbled())? else {
            return Ok(None);
        };
        let status = response.code.ok_or_else(garbled)?;
        let body = &rest[length..];
        if (100..200).contains(&status) {
            rest = body;
            continue;
        }
        let field = |name: &str| {
            let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            found.and_then(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
        };
        let retry_after_s = field("retry-after").and_then(|text| text.parse().ok());
        let whole = match (field("transfer-encoding"), field("content-length")) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => chunks(body)?,
            (Some(_), _) => return Err(garbled()),
            (None, Some(length)) => {
                let length: usize = length.parse().map_err(|_| garbled())?;
                body.get(..length).map(<[u8]>::to_vec)
            }
            (None, None) => is_end.then(|| body.to_vec()),
        };
        return Ok(whole.map(|body| Answer { status, retry_after_s, body }));
    }
}

/// The body in these chunks. `None`: the last one is not there yet.
fn chunks(mut bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((start, size)) =
            httparse::parse_chunk_size(bytes).map_err(|_| garbled())?
        else {
            return Ok(None);
        };
        let size =
            usize::try_from(size).ok().filter(|size| *size <= SPANS_ANSWER_BYTES_MAX).ok_or_else(garbled)?;
        if size == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = bytes.get(start..start + size) else { return Ok(None) };
        body.extend(chunk);
        match bytes.get(start + size..start + size + 2) {
            None => return Ok(None),
            Some(b"\r\n") => bytes = &bytes[start + size + 2..],
            Some(_) => return Err(garbled()),
        }
    }
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its answer is not valid")
}

/// What is left until a deadline.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket on which every wait ends at the deadline.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn done<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        let read = self.socket.read(buffer);
        self.done(read)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        let written = self.socket.write(buffer);
        self.done(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Fields of an answer. Over it: it counts as garbled.
const FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_end: bool) -> Option<(u16, Option<u64>, String)> {
        let answer = answer(text.as_bytes(), is_end).expect("valid")?;
        Some((answer.status, answer.retry_after_s, String::from_utf8(answer.body).expect("UTF-8")))
    }

    #[test]
    fn an_answer_is_whole_by_its_length_its_chunks_or_the_end() {
        let whole = Some((200, None, "abcd".to_owned()));
        let by_length = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n3\r\nbcd\r\n0\r\n\r\n";
        let by_end = "HTTP/1.1 200 OK\r\n\r\nabcd";
        for text in [by_length, chunked] {
            assert_eq!(read(text, false), whole);
            for cut in 0..text.len() - 5 {
                assert_eq!(read(&text[..cut], true), None, "{text} cut at {cut}");
            }
        }
        assert_eq!((read(by_end, false), read(by_end, true)), (None, whole.clone()));
        assert_eq!(read(&format!("HTTP/1.1 103 Early\r\nA: b\r\n\r\n{by_length}"), false), whole);
        let later = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(later, false), Some((503, Some(7), String::new())));
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_no_panic() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(answer(text.as_bytes(), true).is_err(), "{text:?}");
        }
    }
}
