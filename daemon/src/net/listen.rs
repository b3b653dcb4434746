//! The registry of listening sockets. A socket and its backlog outlive the flow that leases it: an edit, a failure
//! and a restart of the flow lose no connection that the kernel has already taken.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{ListenAddress, do_not_pace, tune};
use crate::flow::FlowError;
use crate::text::reason;

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1024;

/// All listening sockets of the daemon's flows.
#[derive(Debug, Default)]
pub struct Listeners {
    entries: Mutex<HashMap<Key, Arc<Entry>>>,
}

/// Port 0 asks for any free port, so it names a socket only together with the flow that asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: SocketAddr,
    any_port_of: Option<String>,
}

#[derive(Debug)]
struct Entry {
    flow: String,
    listener: TcpListener,
    bound: SocketAddr,
    leases: AtomicUsize,
}

/// The right to accept on a listening socket. The socket stays open when the lease ends, until [`Listeners::sweep`].
#[derive(Debug)]
pub struct Lease(Arc<Entry>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leases.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listeners {
    /// Leases the TCP socket that listens on `address` for `flow`, opening it if need be.
    pub fn lease(&self, flow: &str, address: ListenAddress, keepalive: bool) -> Result<Lease, FlowError> {
        let fail = |why: String| FlowError::Listen { address: address.0, reason: why };
        let key = Key { address: address.0, any_port_of: (address.0.port() == 0).then(|| flow.to_owned()) };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match entries.get(&key) {
            Some(entry) if entry.flow == flow => Arc::clone(entry),
            Some(entry) => return Err(fail(format!("flow {:?} listens there", entry.flow))),
            None => {
                let listener = bind(address.0).map_err(|e| fail(self.explain(&entries, address.0, &e)))?;
                let bound = listener.local_addr().map_err(|e| fail(reason(&e)))?;
                let entry = Arc::new(Entry { flow: flow.to_owned(), listener, bound, leases: AtomicUsize::new(0) });
                entries.insert(key, Arc::clone(&entry));
                entry
            }
        };
        tune(&SockRef::from(&entry.listener), keepalive).map_err(|e| fail(reason(&e)))?;
        entry.leases.fetch_add(1, Ordering::Relaxed);
        Ok(Lease(entry))
    }

    /// Closes the sockets of `flow` that nothing leases any more.
    pub fn sweep(&self, flow: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.flow != flow || entry.leases.load(Ordering::Relaxed) > 0);
    }

    /// The addresses on which `flow` listens, as bound.
    pub fn bound(&self, flow: &str) -> Vec<SocketAddr> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bound: Vec<_> = entries.values().filter(|e| e.flow == flow && e.leases.load(Ordering::Relaxed) > 0).map(|e| e.bound).collect();
        bound.sort();
        bound
    }

    #[expect(clippy::unused_self, reason = "it speaks of the registry whose lock is held")]
    fn explain(&self, entries: &HashMap<Key, Arc<Entry>>, address: SocketAddr, error: &io::Error) -> String {
        let holder = entries.values().find(|e| e.bound.port() == address.port() && address.port() != 0);
        match (error.kind(), holder) {
            (io::ErrorKind::AddrInUse, Some(holder)) => format!("flow {:?} listens on {}", holder.flow, holder.bound),
            (io::ErrorKind::PermissionDenied, _) => {
                format!("{} (ports below 1024 need the capability CAP_NET_BIND_SERVICE)", reason(error))
            }
            _ => reason(error),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    do_not_pace(&socket, address);
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The pause after an accept that failed for want of descriptors or memory.
#[derive(Debug, Default)]
pub struct AcceptPause(u32);

impl Lease {
    /// The address that is listened on.
    pub fn bound(&self) -> SocketAddr {
        self.0.bound
    }

    /// The next connection. Errors that concern one connection are passed over; while descriptors are exhausted it
    /// pauses, longer each time up to a second, so that nothing spins and what runs goes on.
    pub async fn accept(&self, pause: &mut AcceptPause) -> (TcpStream, SocketAddr) {
        loop {
            let error = match self.0.listener.accept().await {
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
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
