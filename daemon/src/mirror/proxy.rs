//! The PROXY protocol at both sides of a connection: whose it is, as a trusted proxy says, and telling the target and the
//! mirrors.

use std::io;
use std::net::SocketAddr;

use rustix::net::{SendFlags, send};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::counters::C;
use super::shared::Shared;
use super::spec::{MirrorSpec, ProxyProtocol};
use crate::net::proxy::{Header, Version, decode, encode};
use crate::text::reason;

/// As much of a header is looked at in one go.
const PIECE: usize = 536;

/// Whose connection it is.
pub(super) struct Caller {
    pub(super) client: SocketAddr,
    /// The address that it has connected to, if that was a proxy's.
    server: Option<SocketAddr>,
}

/// Why a connection of a trusted proxy is not served.
pub(super) enum NoCaller {
    /// It ended before its first byte, as the health checks of proxies do.
    Nothing,
    /// What is wrong.
    Wrong(String),
}

impl MirrorSpec {
    /// Whether connections from there begin with a header.
    pub(super) fn trusts(&self, proxy: SocketAddr) -> bool {
        crate::net::Network::any_contains(&self.trusted_proxies, proxy.ip())
    }
}

impl ProxyProtocol {
    fn version(self) -> Option<Version> {
        match self {
            Self::None => None,
            Self::V1 => Some(Version::V1),
            Self::V2 => Some(Version::V2),
        }
    }
}

impl Caller {
    /// The client of a connection from `from`, after the header, if there has to be one.
    pub(super) async fn of(stream: &TcpStream, from: SocketAddr, shared: &Shared) -> Result<Self, NoCaller> {
        if shared.spec.trusts(from) {
            // Boxed, because most connections have none, and all have room for the largest part of their opening.
            return Box::pin(Self::behind(stream, from, shared)).await;
        }
        Ok(Self { client: from, server: None })
    }

    async fn behind(stream: &TcpStream, proxy: SocketAddr, shared: &Shared) -> Result<Self, NoCaller> {
        let within = shared.spec.connect_timeout;
        let Ok(header) = timeout(within.0, read(stream)).await else {
            return Err(NoCaller::Wrong(format!("its PROXY header is not there after {within}")));
        };
        let caller = match header? {
            Header::Local => Self { client: proxy, server: None },
            Header::Relayed { client, server } => Self { client, server: Some(server) },
        };
        if shared.spec.allows(caller.client.ip()) {
            Ok(caller)
        } else {
            Err(NoCaller::Wrong(format!("the address of its client {} is not in `allow`", caller.client)))
        }
    }

    /// Tells the target whose connection it is, if it is to be told. The answer is the header, which the mirrors get as well.
    pub(super) fn introduce(&self, client: &TcpStream, target: &TcpStream, shared: &Shared) -> io::Result<Option<Vec<u8>>> {
        let Some(version) = shared.spec.proxy_protocol.version() else { return Ok(None) };
        let server = self.server.map_or_else(|| client.local_addr(), Ok);
        let header = server.map(|server| encode(version, Header::Relayed { client: self.client, server }));
        let sent = header.and_then(|header| begin(target, &header).map(|()| header));
        match &sent {
            Ok(header) => {
                shared.counters.add(C::TargetTxPkts as usize, 1);
                shared.counters.add(C::TargetTxBytes as usize, header.len() as u64);
            }
            Err(_) => shared.counters.add(C::TargetErrPkts as usize, 1),
        }
        sent.map(Some)
    }
}

/// Reads the header and not a byte more. What was looked at is taken out of the socket before more is waited for, so
/// that the wait does not end at once with the same bytes again.
async fn read(stream: &TcpStream) -> Result<Header, NoCaller> {
    let wrong = |error: io::Error| NoCaller::Wrong(format!("its PROXY header can't be read: {}", reason(&error)));
    let mut bytes = Vec::new();
    loop {
        let known = bytes.len();
        bytes.resize(known + PIECE, 0);
        let seen = stream.peek(bytes.get_mut(known..).unwrap_or_default()).await.map_err(wrong)?;
        bytes.truncate(known + seen);
        match (decode(&bytes), seen, known) {
            (Ok(Some((header, length))), _, _) => {
                take(stream, length - known).await.map_err(wrong)?;
                return Ok(header);
            }
            (Err(error), _, _) => return Err(NoCaller::Wrong(error.to_string())),
            (Ok(None), 0, 0) => return Err(NoCaller::Nothing),
            (Ok(None), 0, _) => return Err(NoCaller::Wrong("its connection ended within its PROXY header".to_owned())),
            (Ok(None), _, _) => take(stream, seen).await.map_err(wrong)?,
        }
    }
}

/// Takes bytes out of the socket that are there.
async fn take(stream: &TcpStream, mut count: usize) -> io::Result<()> {
    let mut piece = [0; PIECE];
    while count > 0 {
        stream.readable().await?;
        match stream.try_read(piece.get_mut(..count.min(PIECE)).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => count -= n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a header to a connection that was just made. Its socket is empty and takes it whole.
fn begin(stream: &TcpStream, header: &[u8]) -> io::Result<()> {
    match send(stream, header, SendFlags::NOSIGNAL) {
        Ok(n) if n == header.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Tells a target that expects a header that nobody is behind this connection.
pub(super) fn say_it_is_a_probe(stream: &TcpStream, protocol: ProxyProtocol) {
    if let Some(version) = protocol.version() {
        let _ = begin(stream, &encode(version, Header::Local));
    }
}
