//! What every flow that moves bytes is built from: addresses, listening sockets, dialling, and bounded memory.

mod address;
mod addresses;
pub(crate) mod budget;
mod datagrams;
mod dial;
mod held;
mod listen;
mod network;
mod peer;
pub(crate) mod pool;
pub mod proxy;
mod resolve;
pub(crate) mod taken;
mod tick;
mod udp;

pub use address::{Address, ListenAddress};
pub use addresses::Addresses;
pub use budget::Budget;
pub(crate) use datagrams::{Batch, Sent, send_from, send_on};
pub(crate) use dial::can_send_to;
pub use dial::{DialError, Dialler};
pub(crate) use held::Held;
pub(crate) use listen::canonical;
pub use listen::{AcceptPause, Lease, Listeners};
pub use network::Network;
pub(crate) use peer::{Fin, Peer};
pub use pool::RelayPool;
pub(crate) use resolve::resolve;
pub(crate) use tick::Tick;
pub(crate) use udp::{Connected, UdpEnd, WayBack};

use socket2::{Socket, TcpKeepalive};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

/// After how much silence a connection is probed, and how long until it is given up: 60 s + 4 × 15 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Whether this machine paces what it sends, as BBR does.
static PACED: LazyLock<bool> = LazyLock::new(|| {
    let system = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    system.trim().starts_with("bbr")
});

/// Between two programs of one machine there is nothing to pace for, and the timers cost more than half of the
/// throughput: connections over loopback take the plain algorithm. What a listener has, its connections inherit.
fn do_not_pace(socket: &Socket, address: SocketAddr) {
    if address.ip().is_loopback() && *PACED {
        let _ = socket.set_tcp_congestion(b"reno");
    }
}

/// Sets the options that a relayed connection has. An accepted socket inherits them from its listener.
fn tune(socket: &Socket, keepalive: bool) -> std::io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    keep_alive(socket, keepalive)
}

fn keep_alive(socket: &Socket, keepalive: bool) -> std::io::Result<()> {
    if keepalive {
        let probes = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
        socket.set_tcp_keepalive(&probes)
    } else {
        socket.set_keepalive(false)
    }
}
