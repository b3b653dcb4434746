//! Clients: plain sockets with deadlines, and how their streams end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// A connection with deadlines on everything.
#[track_caller]
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    try_connect(to).unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"))
}

pub(crate) fn try_connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    patient(&stream);
    Ok(stream)
}

/// Gives a socket its deadlines.
pub(super) fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
}

/// What clients and servers do with a stream.
pub(crate) trait Talk {
    fn send(&mut self, data: &[u8]);
    /// Exactly `n` bytes.
    fn receive(&mut self, n: usize) -> Vec<u8>;
    /// Everything up to the end, and how it ended.
    fn receive_all(&mut self) -> (Vec<u8>, End);
    /// Sends, and receives as many bytes.
    fn ask(&mut self, data: &[u8]) -> Vec<u8>;
    /// Sends FIN.
    fn finish(&self);
    /// Closes with a reset.
    fn reset(self);
    /// Fails when reading takes longer.
    fn hurry(&self, limit: Duration);
}

impl Talk for TcpStream {
    #[track_caller]
    fn send(&mut self, data: &[u8]) {
        self.write_all(data).unwrap_or_else(|error| panic!("cannot send {} bytes: {error}", data.len()));
    }

    #[track_caller]
    fn receive(&mut self, n: usize) -> Vec<u8> {
        let mut data = vec![0; n];
        self.read_exact(&mut data).unwrap_or_else(|error| panic!("cannot receive {n} bytes: {error}"));
        data
    }

    #[track_caller]
    fn receive_all(&mut self) -> (Vec<u8>, End) {
        let mut data = Vec::new();
        let mut part = vec![0; 256 << 10];
        loop {
            match self.read(&mut part) {
                Ok(0) => return (data, End::Fin),
                Ok(n) => data.extend_from_slice(&part[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return (data, End::Reset),
                Err(error) => panic!("neither data nor an end after {} bytes: {error}", data.len()),
            }
        }
    }

    #[track_caller]
    fn ask(&mut self, data: &[u8]) -> Vec<u8> {
        self.send(data);
        self.receive(data.len())
    }

    fn finish(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(self) {
        socket2::SockRef::from(&self).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn hurry(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).unwrap();
    }
}

/// Connects, sends all of it and FIN while it reads; the answer, and how it ended.
#[track_caller]
pub(crate) fn exchange(to: SocketAddr, data: &[u8]) -> (Vec<u8>, End) {
    let mut stream = connect(to);
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.send(data);
            writer.finish();
        });
        stream.receive_all()
    })
}

/// Connects to somebody who listens, and who closes at once without a byte.
#[track_caller]
pub(crate) fn is_turned_away(at: SocketAddr) {
    match try_connect(at) {
        Ok(mut stream) => assert_eq!(stream.receive_all().0, b"", "it was not turned away"),
        // The reset can be here before connect() has returned.
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}
