//! Messages on the wire: heads as they are written, bodies as they pass from one connection to another.
//!
//! ```text
//! peer ──▶ BodySource ──piece──▶ BodySink ──▶ other peer
//!          (decodes)             (encodes)
//! ```
//!
//! The pipeline sees the enums; each variant speaks one version of HTTP. Nothing here knows what a head or a body is
//! for.

mod error;
pub mod h1;
pub mod h2;
mod head_writer;
mod piece;
mod pump;
mod recipient;
mod sink;
mod source;
mod trailers;

pub use error::BodyError;
pub use head_writer::HeadWriter;
pub use piece::Piece;
pub use pump::{Progress, flush, pump, transfer};
pub use recipient::Recipient;
pub use sink::BodySink;
pub use source::BodySource;
pub use trailers::Trailers;
