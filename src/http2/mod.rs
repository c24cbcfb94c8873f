//! HTTP/2 (RFC 9113) as pure functions over bytes: no I/O, no clock.
//!
//! ```text
//! bytes → frames → blocks → fields → lines → `http1` → `Request`
//! ```

mod block;
mod budget;
mod error;
mod fields;
pub mod frame;
pub mod hpack;
mod request;
pub mod response;
pub mod settings;
mod streams;
mod trailers;
mod window;

pub use block::Unfinished;
pub use budget::{Budget, Exhausted};
pub use error::{ErrorCode, Fault};
pub use fields::Malformed;
pub use request::{HeadError, RequestLines};
pub use settings::Settings;
pub use streams::{Block, Stream, Streams};
pub use trailers::TrailerLines;
pub use window::{ReceiveWindow, SendWindow};
