//! Network I/O: sockets, buffers, deadlines and listeners.
//!
//! Every wait is a *poll* on the ring, which owns no buffer. The bytes then move by a direct system call that never
//! blocks. So a future that is dropped while it waits loses no bytes and leaves no buffer with the kernel, and an idle
//! connection owns no memory except its task.

pub mod buffer;
pub mod connect;
pub mod deadline;
pub mod descriptors;
pub mod endpoint;
mod errno;
pub mod io;
pub mod listener;
pub mod pace;
pub mod pipe;
pub mod proxy_header;
pub mod race;
mod round_robin;
pub mod runtime;
pub mod sink;
pub mod socket;
pub mod tls;
pub mod transport;
mod turns;

pub use buffer::{Buffer, BufferPool};
pub use connect::{Candidate, ConnectError, connect, connect_any};
pub use deadline::{Elapsed, NEVER, Timers};
pub use endpoint::Endpoint;
pub use errno::errno_name;
pub use io::Io;
pub use pace::Pace;
pub use pipe::{Pipe, PipePool};
pub use race::race;
pub use round_robin::RoundRobin;
pub use sink::Sink;
pub use socket::{Liveness, RecvError, SendError, StreamSocket};
pub use transport::{DetachedTransport, Flush, Transport};
pub use turns::Turns;
