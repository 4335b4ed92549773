//! An address at which nobody listens, and nobody else can.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Holds a port of loopback without listening there: who connects is refused. A port that was let go of may be anybody's, a
/// receiver of the next test among them.
#[derive(Debug)]
pub struct Nobody {
    socket: Socket,
    addr: SocketAddr,
}

impl Nobody {
    /// Takes any free port.
    #[must_use]
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Self { socket, addr }
    }

    /// Where nobody listens; without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Listens from now on.
    #[must_use]
    pub fn arrives(self) -> TcpListener {
        self.socket.listen(128).unwrap();
        self.socket.into()
    }
}

impl Default for Nobody {
    fn default() -> Self {
        Self::new()
    }
}
