//! The line of counters that a command in the foreground shows on a terminal.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use crate::flow::{CounterValues, Flows};
use crate::units::Bytes;

/// Shows the counters of a flow once a second, for ever. Without a terminal it shows nothing.
pub(super) async fn counters(flows: &Flows, id: &str) {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let ids = [id.to_owned()];
    loop {
        if let Ok(counters) = flows.counters(Some(&ids))
            && let Some(counters) = counters.values().next()
        {
            let width = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col)).max(20);
            let line: String = summary(&counters.values()).chars().take(width - 1).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Leaves the line.
pub(super) fn end() {
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr());
    }
}

/// The counters of a mirror in a line.
pub(super) fn summary(counters: &CounterValues) -> String {
    let n = |name: &str| counters.get(name).copied().unwrap_or(0);
    let bytes = |name: &str| Bytes(n(name));
    format!(
        "clients {} of {} | from them {}, to target {}, to them {}, to mirrors {} | failed: target {}, mirrors {}, copies {}",
        n("activeConnections"),
        n("clientConnections"),
        bytes("clientRxBytes"),
        bytes("targetTxBytes"),
        bytes("clientTxBytes"),
        bytes("mirrorTxBytes"),
        n("targetErrConnect"),
        n("mirrorErrConnect"),
        n("mirrorDetached"),
    )
}
