//! Messages of HTTP/2: bodies of streams, and what the streams of a connection share.
//!
//! ```text
//! connection's task: reads frames ──▶ Link ──▶ H2Source (a stream's task)
//!                    writes once  ◀── Link ◀── H2Sink   (a stream's task)
//! ```

mod head;
mod link;
mod metrics;
mod output;
mod sink;
mod source;
mod state;
mod stream;

pub use head::H2Head;
pub use link::{Link, Pulse};
pub use metrics::{H2Metrics, ResetReason};
pub use sink::H2Sink;
pub(crate) use sink::send_interim;
pub use source::{H2Body, H2Source, Position};
pub use stream::{Gone, StreamId};
