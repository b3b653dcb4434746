//! The line of counters that a command in the foreground shows on a terminal.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use crate::flow::{CounterValues, Flows};
use crate::units::Bytes;

/// Shows the counters of the flow that is called as its kind once a second, for ever. Without a terminal it shows nothing.
pub(super) async fn counters(flows: &Flows, kind: &str) {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let ids = [kind.to_owned()];
    loop {
        if let Ok(counters) = flows.counters(Some(&ids))
            && let Some(counters) = counters.values().next()
        {
            let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
            // A serial console does not know its width.
            let width = if columns == 0 { 80 } else { columns.max(20) };
            let line: String = summary(kind, &counters.values()).chars().take(width - 1).collect();
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

/// Counters in a line.
type Summary = fn(&CounterValues) -> String;

/// How each kind's are put.
static SUMMARIES: &[(&str, Summary)] = &[("mirror", mirror), ("multiplexer", multiplexer)];

/// The counters of a flow of this kind in a line.
pub(super) fn summary(kind: &str, counters: &CounterValues) -> String {
    SUMMARIES.iter().find(|(name, _)| *name == kind).map_or_else(String::new, |(_, summary)| summary(counters))
}

fn n(counters: &CounterValues, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or(0)
}

fn mirror(counters: &CounterValues) -> String {
    let n = |name: &str| n(counters, name);
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

fn multiplexer(counters: &CounterValues) -> String {
    let n = |name: &str| n(counters, name);
    let ms = |name: &str| n(name) as f64 / 1000.0;
    // There is none before the first answers, and none when the flow has ended.
    let latency = match n("latencyP50") {
        0 => String::new(),
        _ => format!(" | p50 {:.1} ms, p99 {:.1} ms", ms("latencyP50"), ms("latencyP99")),
    };
    format!(
        "clients {} of {} | requests {}, answers {} | wait {}, under way {}{latency} | device: connections {} of {}, failed {}, silent {}",
        n("activeConnections"),
        n("clientConnections"),
        n("requests"),
        n("answers"),
        n("queueDepth"),
        n("inFlight"),
        n("targetActive"),
        n("targetConnections"),
        n("targetErrConnect"),
        n("timeouts"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::KINDS;

    #[test]
    fn every_kind_has_its_summary_and_the_counters_of_it() {
        for kind in KINDS {
            let line = summary(kind.name(), &CounterValues::new());
            assert!(line.starts_with("clients 0"), "{}: {line:?}", kind.name());
        }
    }
}
