//! The HTTP/1.1 codec as pure functions over bytes: no I/O, no clock, no memory beyond what the caller lends.
//!
//! A head is found ([`HeadScan`]), parsed once into a [`Request`](crate::http::Request) or a
//! [`Response`](crate::http::Response), and its body is taken apart by [`BodyDecoder`].

mod chunked;
mod connection;
mod declared;
mod framing;
mod limits;
mod nominated;
pub(crate) mod refused;
mod request;
mod response;
mod scan;
mod section;
mod version;

pub use chunked::{LAST_CHUNK, encode_size, parse_trailers};
pub use framing::{BodyDecoder, Framing, Step};
pub use limits::HeadLimits;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use scan::HeadScan;
pub use version::Version;
