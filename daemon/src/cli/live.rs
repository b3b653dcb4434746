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
            let _ = write!(std::io::stderr(), "\r\x1b[K{}\r", summary(&counters.values()));
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
        "clients {} now, {} ever | from client {} | to target {} | to client {} | to mirrors {} | errors: target {}, mirrors {}, copies given up {}",
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
