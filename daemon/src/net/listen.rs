//! The registry of listening sockets. A socket and its backlog outlive the flow that leases it: an edit, a failure
//! and a restart of the flow lose no connection, and no datagram, that the kernel has already taken.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{ListenAddress, UdpEnd, do_not_pace, tune};
use crate::flow::FlowError;
use crate::text::reason;

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1024;

/// All listening sockets of the daemon's flows. TCP and UDP have the same port numbers without being in each other's way.
#[derive(Debug, Default)]
pub struct Listeners {
    tcp: Sockets<TcpListener>,
    udp: Sockets<UdpEnd>,
}

/// The listening sockets of one protocol.
#[derive(Debug)]
struct Sockets<S>(Mutex<HashMap<Key, Arc<Entry<S>>>>);

impl<S> Default for Sockets<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Port 0 asks for any free port, so it names a socket only together with the flow that asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: SocketAddr,
    any_port_of: Option<String>,
}

#[derive(Debug)]
pub(super) struct Entry<S> {
    pub(super) flow: String,
    pub(super) socket: S,
    bound: SocketAddr,
    pub(super) leases: AtomicUsize,
}

/// The right to use a listening socket. The socket stays open when the lease ends, until [`Listeners::sweep`].
#[derive(Debug)]
pub struct Lease<S = TcpListener>(pub(super) Arc<Entry<S>>);

impl<S> Drop for Lease<S> {
    fn drop(&mut self) {
        self.0.leases.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Lease<S> {
    /// The address that is listened on.
    pub fn bound(&self) -> SocketAddr {
        self.0.bound
    }
}

impl Listeners {
    /// Leases the TCP socket that listens on `address` for `flow`, opening it if need be.
    pub fn lease(&self, flow: &str, address: ListenAddress, keepalive: bool) -> Result<Lease, FlowError> {
        let lease = self.tcp.lease(flow, address.0, bind)?;
        tune(&SockRef::from(&lease.0.socket), keepalive).map_err(|e| FlowError::Listen { address: address.0, reason: reason(&e) })?;
        Ok(lease)
    }

    /// Leases the UDP socket that listens on `address` for `flow`, opening it if need be.
    pub(crate) fn lease_udp(&self, flow: &str, address: ListenAddress) -> Result<Lease<UdpEnd>, FlowError> {
        self.udp.lease(flow, address.0, UdpEnd::bind)
    }

    /// Whether `flow` could listen on `address`, and whether it does so already. Nobody can connect meanwhile.
    pub fn try_out(&self, flow: Option<&str>, address: ListenAddress, udp: bool) -> Result<bool, FlowError> {
        if udp { self.udp.try_out(flow, address.0, Type::DGRAM) } else { self.tcp.try_out(flow, address.0, Type::STREAM) }
    }

    /// Why `flow` can't listen on `address`: another flow does, there or on an address that overlaps with it.
    pub fn clash(&self, flow: Option<&str>, address: ListenAddress, udp: bool) -> Option<FlowError> {
        let reason = if udp { self.udp.clash(flow, address.0) } else { self.tcp.clash(flow, address.0) };
        reason.map(|reason| FlowError::Listen { address: address.0, reason })
    }

    /// Closes the sockets of `flow` that nothing leases any more.
    pub fn sweep(&self, flow: &str) {
        self.tcp.sweep(flow);
        self.udp.sweep(flow);
    }

    /// The addresses on which `flow` listens, as bound.
    pub fn bound(&self, flow: &str) -> Vec<SocketAddr> {
        let mut bound = self.tcp.bound(flow);
        bound.extend(self.udp.bound(flow));
        bound.sort();
        bound
    }
}

impl<S> Sockets<S> {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Arc<Entry<S>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self, flow: &str, address: SocketAddr, bind: fn(SocketAddr) -> io::Result<(S, SocketAddr)>) -> Result<Lease<S>, FlowError> {
        let fail = |reason: String| FlowError::Listen { address, reason };
        let key = Key { address, any_port_of: (address.port() == 0).then(|| flow.to_owned()) };
        let mut entries = self.entries();
        let entry = match entries.get(&key) {
            Some(entry) if entry.flow == flow => Arc::clone(entry),
            Some(entry) => return Err(fail(format!("flow {:?} listens there", entry.flow))),
            None => {
                let (socket, bound) = bind(address).map_err(|e| fail(explain(&entries, address, &e)))?;
                let entry = Arc::new(Entry { flow: flow.to_owned(), socket, bound, leases: AtomicUsize::new(0) });
                entries.insert(key, Arc::clone(&entry));
                entry
            }
        };
        entry.leases.fetch_add(1, Ordering::Relaxed);
        Ok(Lease(entry))
    }

    fn try_out(&self, flow: Option<&str>, address: SocketAddr, kind: Type) -> Result<bool, FlowError> {
        let fail = |reason: String| Err(FlowError::Listen { address, reason });
        // Held until the socket is closed again, so that no flow finds its address taken by this.
        let entries = self.entries();
        let at_port = || entries.values().filter(|e| address.port() != 0 && e.bound.port() == address.port());
        let is_ours = |entry: &Arc<Entry<S>>| flow == Some(entry.flow.as_str());
        if at_port().any(|e| is_ours(e) && e.bound == address) {
            return Ok(true);
        }
        if let Some(entry) = entries.get(&Key { address, any_port_of: None }) {
            return fail(format!("flow {:?} listens there", entry.flow));
        }
        match try_bind(address, kind) {
            Ok(()) => Ok(false),
            // An edit closes what overlaps with it first.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && at_port().next().is_some() && at_port().all(is_ours) => Ok(true),
            Err(error) => fail(explain(&entries, address, &error)),
        }
    }

    fn clash(&self, flow: Option<&str>, address: SocketAddr) -> Option<String> {
        let overlaps = |bound: SocketAddr| bound.port() == address.port() && (covers(bound.ip(), address.ip()) || covers(address.ip(), bound.ip()));
        let entries = self.entries();
        let other = entries
            .values()
            .find(|e| flow != Some(e.flow.as_str()) && e.leases.load(Ordering::Relaxed) > 0 && overlaps(e.bound))?;
        Some(if other.bound == address {
            format!("flow {:?} listens there", other.flow)
        } else {
            format!("flow {:?} listens on {}", other.flow, other.bound)
        })
    }

    fn sweep(&self, flow: &str) {
        self.entries().retain(|_, entry| entry.flow != flow || entry.leases.load(Ordering::Relaxed) > 0);
    }

    fn bound(&self, flow: &str) -> Vec<SocketAddr> {
        self.entries()
            .values()
            .filter(|e| e.flow == flow && e.leases.load(Ordering::Relaxed) > 0)
            .map(|e| e.bound)
            .collect()
    }
}

/// Whether who listens on the one has what comes to the other.
fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    wide == narrow || wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
}

fn explain<S>(entries: &HashMap<Key, Arc<Entry<S>>>, address: SocketAddr, error: &io::Error) -> String {
    let holder = entries.values().find(|e| e.bound.port() == address.port() && address.port() != 0);
    match (error.kind(), holder) {
        (io::ErrorKind::AddrInUse, Some(holder)) => format!("flow {:?} listens on {}", holder.flow, holder.bound),
        (io::ErrorKind::PermissionDenied, _) => {
            format!("{} (ports below 1024 need the capability CAP_NET_BIND_SERVICE)", reason(error))
        }
        _ => reason(error),
    }
}

/// Binds as a listening socket would be, and closes it again. It never listens.
fn try_bind(address: SocketAddr, kind: Type) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(kind == Type::STREAM)?;
    socket.bind(&address.into())
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    do_not_pace(&socket, address);
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// The pause after an accept that failed for want of descriptors or memory.
#[derive(Debug, Default)]
pub struct AcceptPause(u32);

impl Lease {
    /// The next connection. Errors that concern one connection are passed over; while descriptors are exhausted it
    /// pauses, longer each time up to a second, so that nothing spins and what runs goes on.
    pub async fn accept(&self, pause: &mut AcceptPause) -> (TcpStream, SocketAddr) {
        loop {
            let error = match self.0.socket.accept().await {
                Ok((stream, peer)) => {
                    pause.0 = 0;
                    return (stream, canonical(peer));
                }
                Err(error) => error,
            };
            if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted) {
                continue;
            }
            if pause.0 == 0 {
                tracing::warn!(flow = self.0.flow, "cannot accept on {}: {}; pausing until that is over", self.bound(), reason(&error));
            }
            let wait = Duration::from_millis((20u64 << pause.0.min(6)).min(1000));
            pause.0 += 1;
            tokio::time::sleep(wait).await;
        }
    }
}

/// A dual-stack listener sees IPv4 clients as `::ffff:a.b.c.d`.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
