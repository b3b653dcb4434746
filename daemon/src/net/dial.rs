//! Dialling: every address of a name is tried, all within one deadline.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::resolve::resolve;
use super::{Address, do_not_pace, tune};
use crate::text::reason;

/// How connections are opened.
#[derive(Clone, Copy, Debug)]
pub struct Dialler {
    /// How long one dial may take in all, name resolution and all addresses together.
    pub timeout: Duration,
    /// Whether silent connections are probed.
    pub keepalive: bool,
}

/// A peer that can't be reached, with what was tried.
#[derive(Debug)]
pub struct DialError {
    address: Address,
    tried: Vec<(SocketAddr, String)>,
    why: Option<String>,
    ours: bool,
}

/// Why one address can't be reached.
struct Why {
    text: String,
    ours: bool,
}

impl DialError {
    /// Whether nobody was even asked, because this machine is out of descriptors or memory.
    pub fn is_ours(&self) -> bool {
        self.ours
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: ", self.address)?;
        let mut first = true;
        for (at, why) in &self.tried {
            let comma = if first { "" } else { ", " };
            first = false;
            // For an IP address the address is already there.
            if self.address.literal().is_some() { write!(f, "{comma}{why}")? } else { write!(f, "{comma}{at} {why}")? }
        }
        match &self.why {
            Some(why) if first => f.write_str(why),
            Some(why) => write!(f, ", {why}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DialError {}

impl Dialler {
    /// Connects to the first address of `address` that answers.
    pub async fn dial(self, address: &Address) -> Result<TcpStream, DialError> {
        let deadline = Instant::now() + self.timeout;
        if let Some(literal) = address.literal() {
            return match self.connect(literal, deadline).await {
                Ok(stream) => Ok(stream),
                Err(Why { text, ours }) => Err(DialError { address: address.clone(), tried: vec![(literal, text)], why: None, ours }),
            };
        }
        self.dial_name(address, deadline).await
    }

    async fn dial_name(self, address: &Address, deadline: Instant) -> Result<TcpStream, DialError> {
        let fail = |tried, why, ours| Err(DialError { address: address.clone(), tried, why, ours });
        let found: Vec<SocketAddr> = match timeout_at(deadline, resolve(address.host())).await {
            Ok(Ok(found)) => found.into_iter().map(|ip| SocketAddr::new(ip, address.port())).collect(),
            Ok(Err(why)) => return fail(Vec::new(), Some(why), false),
            Err(_) => return fail(Vec::new(), Some(format!("its name was not resolved within {} s", self.timeout.as_secs_f32())), false),
        };
        let (mut tried, mut any_ours) = (Vec::new(), false);
        let mut left = found.len() as u32;
        for at in found {
            // Each address has an equal part of what is left, so that one that swallows packets leaves time for the next.
            let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            match self.connect(at, Instant::now() + share).await {
                Ok(stream) => return Ok(stream),
                Err(Why { text, ours }) => {
                    tried.push((at, text));
                    any_ours |= ours;
                }
            }
        }
        let why = tried.is_empty().then(|| "its name has no address".to_owned());
        fail(tried, why, any_ours)
    }

    async fn connect(self, at: SocketAddr, deadline: Instant) -> Result<TcpStream, Why> {
        let started = Instant::now();
        let theirs = |error: &io::Error| Why { text: reason(error), ours: false };
        let stream = self.begin(at).map_err(|e| Why { text: reason(&e), ours: is_ours(&e) })?;
        // On one machine the connection is there when the call returns; nobody has to wait to be told.
        if stream.peer_addr().is_ok() {
            return Ok(stream);
        }
        match timeout_at(deadline, stream.writable()).await {
            Ok(Ok(())) => match stream.take_error() {
                Ok(None) => Ok(stream),
                Ok(Some(error)) | Err(error) => Err(theirs(&error)),
            },
            Ok(Err(error)) => Err(theirs(&error)),
            Err(_) => Err(Why { text: format!("no answer within {:.1} s", started.elapsed().as_secs_f32()), ours: false }),
        }
    }

    /// Sends the SYN.
    fn begin(self, at: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None)?;
        tune(&socket, self.keepalive)?;
        do_not_pace(&socket, at);
        match socket.connect(&at.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
            _ => TcpStream::from_std(socket.into()),
        }
    }
}

/// Where datagrams for `address` would go, if it has an address and there is a way. None is sent.
pub(crate) async fn can_send_to(address: &Address, within: Duration) -> Result<SocketAddr, DialError> {
    let fail = |why: String| DialError { address: address.clone(), tried: Vec::new(), why: Some(why), ours: false };
    let found = match address.literal() {
        Some(literal) => vec![literal],
        None => match tokio::time::timeout(within, resolve(address.host())).await {
            Ok(found) => found.map_err(fail)?.into_iter().map(|ip| SocketAddr::new(ip, address.port())).collect(),
            Err(_) => return Err(fail(format!("its name was not resolved within {} s", within.as_secs_f32()))),
        },
    };
    let mut tried = Vec::new();
    for at in found {
        match Socket::new(Domain::for_address(at), Type::DGRAM, None).and_then(|socket| socket.connect(&at.into())) {
            Ok(()) => return Ok(at),
            Err(error) => tried.push((at, reason(&error))),
        }
    }
    let why = tried.is_empty().then(|| "its name has no address".to_owned());
    Err(DialError { address: address.clone(), tried, why, ours: false })
}

/// Whether the kernel had nothing to ask with.
fn is_ours(error: &io::Error) -> bool {
    let used_up = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    used_up.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
