//! The connections of one core to the origin: one is lent for each request, the one that was used last.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use monoio::net::TcpStream;

use crate::socket::Socket;

pub struct Upstream {
    origin: SocketAddr,
    /// Each as idle as it was left. There are never more than there were requests at once.
    idle: RefCell<Vec<Socket>>,
}

impl Upstream {
    pub fn new(origin: SocketAddr) -> Self {
        Self { origin, idle: RefCell::default() }
    }

    pub async fn lend(&self) -> io::Result<Socket> {
        while let Some(socket) = self.idle.borrow_mut().pop() {
            if socket.is_quiet() {
                return Ok(socket);
            }
        }
        let stream = TcpStream::connect_addr(self.origin).await?;
        stream.set_nodelay(true)?;
        Ok(stream.into())
    }

    pub fn give_back(&self, socket: Socket) {
        self.idle.borrow_mut().push(socket);
    }
}
