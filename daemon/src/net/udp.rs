//! The two kinds of UDP sockets: the one that clients send to, which the registry of listening sockets owns, and the
//! connected ones of a session.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::listen::{Entry, Lease};
use super::{Batch, Sent, send_from, send_on};

/// What the kernel is asked to hold, in bytes, for all clients and for one session. It grants at most `net.core.rmem_max`
/// and `net.core.wmem_max`, usually 208 KiB, and then counts its own overhead: a small datagram takes about 768 bytes.
const LISTENING_BUFFER: usize = 4 << 20;
const SESSION_BUFFER: usize = 1 << 20;

/// A socket that clients send to.
#[derive(Debug)]
pub(crate) struct UdpEnd {
    /// Nobody waits until there is room to send, and nobody is woken for it with each datagram sent.
    socket: AsyncFd<Socket>,
    /// The kernel's count of datagrams that found no room, as far as it is in a flow's counters.
    drops: AtomicU32,
    /// The number of the last lease, and of the one that reads.
    last: AtomicU32,
    reader: AtomicU32,
    closed: CancellationToken,
}

impl Drop for UdpEnd {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl UdpEnd {
    /// No address is reused: a second socket would silently take the first one's datagrams.
    pub(super) fn bind(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let socket = plain(address, LISTENING_BUFFER)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        if address.ip().is_unspecified() {
            // The answer has to come from the address that the client had sent to.
            match address {
                SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            }
        }
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        let end = Self {
            socket: watch(socket)?,
            drops: AtomicU32::new(0),
            last: AtomicU32::new(0),
            reader: AtomicU32::new(0),
            closed: CancellationToken::new(),
        };
        Ok((end, bound))
    }
}

fn plain(address: SocketAddr, buffer: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None)?;
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    // Without a ban on fragments, so that what is larger than a link allows passes as it would without us.
    let _ = match address {
        SocketAddr::V4(_) => set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT),
        SocketAddr::V6(_) => set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT),
    };
    Ok(socket)
}

/// Only for what can be read: tokio's own UDP socket is woken for room to send as well, with every datagram that it sends.
#[allow(deprecated, reason = "what replaces it is unsafe, for the sake of types that don't own their descriptor; this one does")]
fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

impl Lease<UdpEnd> {
    fn end(&self) -> &UdpEnd {
        &self.0.socket
    }

    /// A number that is higher than those of all leases before.
    pub(crate) fn number(&self) -> u32 {
        self.end().last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// From now on the lease with this number reads, unless a later one does already. Two readers would change the
    /// order of datagrams.
    pub(crate) fn take_over(&self, number: u32) {
        self.end().reader.fetch_max(number, Ordering::Relaxed);
    }

    /// Whether the lease with this number reads.
    pub(crate) fn reads(&self, number: u32) -> bool {
        self.end().reader.load(Ordering::Relaxed) == number
    }

    /// Whether no other lease is there to go on.
    pub(crate) fn is_last(&self) -> bool {
        self.0.leases.load(Ordering::Relaxed) == 1
    }

    /// Completes when there is something to receive.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.end().socket.readable().await.map(drop)
    }

    /// Receives what has come; `WouldBlock` if nothing has. The answer is how many datagrams found no room before.
    pub(crate) fn receive(&self, batch: &mut Batch) -> io::Result<u32> {
        receive(&self.end().socket, |socket| batch.receive(socket))?;
        let Some(drops) = batch.drops() else { return Ok(0) };
        Ok(news(drops, self.end().drops.swap(drops, Ordering::Relaxed)))
    }

    /// The way back to clients.
    pub(crate) fn way_back(&self) -> WayBack {
        WayBack { entry: Arc::downgrade(&self.0), closed: self.end().closed.clone() }
    }
}

/// What was dropped between two values of the kernel's count.
fn news(now: u32, before: u32) -> u32 {
    let news = now.wrapping_sub(before);
    if news > u32::MAX / 2 { 0 } else { news }
}

/// Runs a receive that says whether it emptied the socket: then there is no need to ask once more to find it empty.
fn receive(socket: &AsyncFd<Socket>, mut receive: impl FnMut(&Socket) -> io::Result<bool>) -> io::Result<()> {
    let mut received = false;
    let asked = socket.try_io(Interest::READABLE, |socket| {
        let emptied = receive(socket)?;
        received = true;
        if emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if received { Ok(()) } else { asked }
}

/// Sends to clients as long as the listening socket is open. It does not keep it open: whoever may listen there is the
/// registry's business.
#[derive(Clone, Debug)]
pub(crate) struct WayBack {
    entry: Weak<Entry<UdpEnd>>,
    /// Cancelled when the socket is closed.
    pub(crate) closed: CancellationToken,
}

impl WayBack {
    /// Sends from our address `from` until one datagram can't be sent.
    pub(crate) fn send(&self, from: Option<IpAddr>, to: SocketAddr, datagrams: &[&[u8]]) -> Sent {
        let Some(entry) = self.entry.upgrade() else { return (0, Some(io::ErrorKind::NotConnected.into())) };
        match send_from(entry.socket.socket.get_ref(), from, to, datagrams) {
            // It was sent to an address that is not one machine's, a broadcast say.
            (0, Some(error)) if from.is_some() && error.kind() == io::ErrorKind::InvalidInput => {
                send_from(entry.socket.socket.get_ref(), None, to, datagrams)
            }
            sent => sent,
        }
    }
}

/// What a session waits for. An ICMP error alone does not make a socket readable.
const NEWS: Interest = Interest::READABLE.add(Interest::ERROR);

/// A session's socket, connected to a target or a mirror.
pub(crate) struct Connected {
    socket: Arc<AsyncFd<Socket>>,
    /// Waits for [`NEWS`]: tokio lets only futures wait for errors.
    ready: Option<BoxFuture<'static, bool>>,
    /// It may not be empty yet.
    more: bool,
    /// Whom it is connected to.
    pub(crate) to: SocketAddr,
    drops: u32,
}

impl Connected {
    /// Nothing is sent by that. It fails if there is no route, or no descriptor or port is left.
    pub(crate) fn open(to: SocketAddr) -> io::Result<Self> {
        let socket = plain(to, SESSION_BUFFER)?;
        // So that a machine that is off is noticed, and what the network interface drops.
        match to {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        socket.connect(&to.into())?;
        let socket = Arc::new(watch(socket)?);
        Ok(Self { socket, ready: None, more: false, to, drops: 0 })
    }

    /// Whether it sends from an address that this machine does not have any more. Over IPv4 the kernel refuses to, over
    /// IPv6 it goes on without a word.
    pub(crate) fn is_from_nowhere(&self) -> bool {
        let Some(SocketAddr::V6(mut from)) = self.socket.get_ref().local_addr().ok().and_then(|at| at.as_socket()) else { return false };
        from.set_port(0);
        let bound = Socket::new(Domain::IPV6, Type::DGRAM, None).and_then(|socket| socket.bind(&SocketAddr::V6(from).into()));
        bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
    }

    /// Sends, each datagram behind `head`, until one can't be sent. The error may be about an earlier one.
    pub(crate) fn send(&self, head: &[u8], datagrams: &[&[u8]]) -> Sent {
        let mut all = 0;
        loop {
            let rest = datagrams.get(all..).unwrap_or_default();
            let (sent, error) = send_on(self.socket.get_ref(), head, rest);
            all += sent;
            if error.is_none() && sent == rest.len() {
                return (all, None);
            }
            let swallowed = self.take_errors();
            if let Some(error) = error.or(swallowed) {
                return (all, Some(error));
            }
            if sent == 0 {
                return (all, Some(io::ErrorKind::WouldBlock.into()));
            }
        }
    }

    /// Receives what has come. The answer is how many datagrams found no room before.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<u32>> {
        loop {
            if !self.more {
                let socket = &self.socket;
                let ready = self.ready.get_or_insert_with(|| {
                    let socket = Arc::clone(socket);
                    // Forgotten before it is used: what comes from now on is news again.
                    async move { socket.ready(NEWS).await.map(|mut ready| ready.clear_ready()).is_ok() }.boxed()
                });
                if !ready!(ready.poll_unpin(cx)) {
                    return Poll::Pending; // the runtime ends
                }
                self.ready = None;
                self.more = true;
            }
            match batch.receive_connected(self.socket.get_ref()) {
                Ok(emptied) => {
                    self.more = !emptied;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.more = false,
                Err(error) => {
                    self.take_errors();
                    return Poll::Ready(Err(error));
                }
            }
        }
        let news = batch.drops().map_or(0, |drops| news(drops, std::mem::replace(&mut self.drops, drops)));
        Poll::Ready(Ok(news))
    }

    /// The kernel keeps each error, with the datagram that it is about, until it is read. The answer is the last one.
    fn take_errors(&self) -> Option<io::Error> {
        let mut last = None;
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        while let Ok(about) = recvmsg::<()>(self.socket.as_raw_fd(), &mut [], Some(&mut space), MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT) {
            for control in about.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) = control {
                    last = Some(io::Error::from_raw_os_error(error.ee_errno.cast_signed()));
                }
            }
        }
        last
    }
}
