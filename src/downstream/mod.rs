//! Downstream: the clients' side. Reads requests off connections, writes responses, and decides what the outcome of an
//! exchange means for its connection.

pub mod client_address;
pub mod clients;
mod future_pool;
mod handshake;
pub mod h1;
pub mod h2;
mod outcome;
pub mod proxied;
mod responder;
mod response_body;
mod servers;
mod settings;
mod stream;

pub use future_pool::{FuturePool, Pool};
pub use handshake::HandshakeFailure;
pub use outcome::{Next, Outcome};
pub use responder::Responder;
pub use response_body::ResponseBody;
pub use servers::Servers;
pub use settings::Settings;
pub use stream::{AfterAnswer, ClientStream, Upgraded};
