//! What the service manager is told, as `sd_notify(3)` describes it: datagrams of `NAME=value` lines to the socket in
//! `NOTIFY_SOCKET`.
//!
//! The crate `sd-notify` writes to a blocking socket. Whoever does not read would hold the relaying thread, so this is
//! done here: a socket for each message, which neither waits for long nor minds that the manager was started anew.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a message may wait for a manager that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to the service manager; without one, everything that is said goes nowhere.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    to: Option<Arc<SocketAddr>>,
}

impl Notify {
    /// The manager that the environment names.
    pub fn from_env() -> Self {
        Self { to: std::env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name)).map(Arc::new) }
    }

    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// Says something, for example `READY=1`.
    pub async fn say(&self, text: &str) {
        let Some(to) = &self.to else { return };
        let sent = tokio::time::timeout(PATIENCE, send(to, text)).await;
        if let Err(error) = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            tracing::debug!("the service manager was not told {text:?}: {error}");
        }
    }

    /// Says that a reload began.
    pub async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000)).await;
    }
}

async fn send(to: &SocketAddr, text: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(to)?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixDatagram::from_std(socket)?.send(text.as_bytes()).await.map(drop)
}

/// A path, or `@` and the name of an abstract socket.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None, // vsock, for virtual machines, is not spoken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets_are_understood() {
        let path = address(OsStr::new("/run/systemd/notify")).unwrap();
        assert_eq!(path.as_pathname(), Some(std::path::Path::new("/run/systemd/notify")));
        let name = address(OsStr::new("@manager")).unwrap();
        assert_eq!(name.as_abstract_name(), Some(b"manager".as_slice()));
        for other in ["", "relative", "vsock:2:1"] {
            assert!(address(OsStr::new(other)).is_none(), "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_manager_that_does_not_read_holds_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let deaf = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let notify = Notify { to: Some(Arc::new(deaf.local_addr().unwrap())) };
        for _ in 0..2000 {
            notify.say("STATUS=more than its queue holds").await;
        }
    }
}
