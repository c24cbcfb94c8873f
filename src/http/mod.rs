//! HTTP as every version of it means it: methods, fields, targets, paths, bodies, and what breaks the protocol. Pure
//! functions over bytes: no I/O, no clock.
//!
//! A codec (`http1`) parses bytes once into these types, which cannot be wrong. Whatever two parsers could read
//! differently is refused.

mod body_length;
mod claimed_scheme;
mod error;
mod field;
mod format;
mod heads;
pub(crate) mod host;
mod method;
pub(crate) mod path;
mod request;
mod response;
mod scheme;
mod span;
mod target;

pub use body_length::BodyLength;
pub use claimed_scheme::{ClaimedScheme, claimed_scheme};
pub use error::ProtocolError;
pub use field::{Field, FieldKind, is_token, tokens, values};
pub(crate) use field::{FoldedName, is_token_byte, same_name, trim};
pub use format::{AddressText, http_date, push_decimal};
pub use heads::{HeadPool, Heads, LentHeads};
pub use host::{host_name, is_host, without_port};
pub use method::Method;
pub use path::canonicalise;
pub use request::Request;
pub use response::Response;
pub use scheme::Scheme;
pub use span::Span;
pub(crate) use target::Room;
pub use target::Target;
