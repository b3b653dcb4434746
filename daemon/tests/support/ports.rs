//! Addresses where something is wrong: nobody listens, nobody reads, or the SYN is swallowed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::client::patient;
use super::until;

fn socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// A port of 127.0.0.1 that is ours, and on which nobody listens. As its socket allows reuse and does not listen,
/// the daemon can be told to listen there; nobody else gets it by chance.
pub(crate) struct Nobody {
    _socket: Socket,
    pub(crate) address: SocketAddr,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let socket = socket();
        let address = address(&socket);
        Self { _socket: socket, address }
    }
}

/// Connections are established, and nobody ever reads from them.
pub(crate) struct Stuck {
    _socket: Socket,
    pub(crate) address: SocketAddr,
}

impl Stuck {
    pub(crate) fn new() -> Self {
        let socket = socket();
        socket.listen(4096).unwrap();
        let address = address(&socket);
        Self { _socket: socket, address }
    }
}

/// A listener whose queue is as short as can be: filled, it swallows every SYN.
pub(crate) struct Narrow {
    listener: TcpListener,
    filling: Vec<TcpStream>,
    pub(crate) address: SocketAddr,
}

impl Narrow {
    pub(crate) fn new() -> Self {
        let socket = socket();
        socket.listen(0).unwrap();
        let address = address(&socket);
        Self { listener: socket.into(), filling: Vec::new(), address }
    }

    /// One that swallows from the beginning.
    pub(crate) fn filled() -> Self {
        let mut narrow = Self::new();
        narrow.fill();
        narrow
    }

    pub(crate) fn accept(&self) -> TcpStream {
        self.listener.set_nonblocking(true).unwrap();
        let (stream, _) = until("somebody connects", || self.listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        patient(&stream);
        stream
    }

    /// Lets those who only filled the queue go. The next one to be accepted is one whose SYN was swallowed so far.
    pub(crate) fn drain(&mut self) {
        for filler in self.filling.drain(..) {
            let (accepted, from) = until("the queue gets shorter", || self.listener.accept().ok());
            assert_eq!(from, filler.local_addr().unwrap());
            drop(accepted);
        }
    }

    /// From now on every SYN is swallowed.
    pub(crate) fn fill(&mut self) {
        for _ in 0..8 {
            match TcpStream::connect_timeout(&self.address, Duration::from_millis(150)) {
                Ok(stream) => self.filling.push(stream),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "a full listener does not swallow");
                    return;
                }
            }
        }
        panic!("the listener's queue does not fill up");
    }
}
