//! HTTP by hand, so that the tests see every byte of it.

use std::net::SocketAddr;

use super::{Talk, connect};

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends raw bytes, and reads the answer up to the end of the connection.
#[track_caller]
pub(crate) fn request(to: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = connect(to);
    stream.send(bytes);
    Reply::read(&mut stream)
}

impl Reply {
    #[track_caller]
    pub(crate) fn read(stream: &mut std::net::TcpStream) -> Self {
        let (bytes, _) = stream.receive_all();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status: {head:?}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
