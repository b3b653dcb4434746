//! How a daemon is told to stop, and how long that may take.

use std::io;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::AppError;
use crate::text::reason;

/// What SIGTERM and SIGINT ask for.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled by the first signal: stop.
    pub now: CancellationToken,
    /// Cancelled by the second: do not wait for connections.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Watches for signals. The third one ends the process, whatever it is doing.
    pub fn on_signals() -> Result<Self, AppError> {
        Self::on_signals_and(&[])
    }

    /// The same with more of them.
    pub fn on_signals_and(more: &[SignalKind]) -> Result<Self, AppError> {
        let stop = Self::default();
        let system = |error: io::Error| AppError::System { what: "cannot watch for signals".to_owned(), reason: reason(&error) };
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()].into_iter().chain(more.iter().copied());
        let mut signals = kinds.map(signal).collect::<io::Result<Vec<_>>>().map_err(system)?;
        let cancel = stop.clone();
        tokio::spawn(async move {
            for token in [Some(cancel.now), Some(cancel.at_once), None] {
                select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
                match token {
                    Some(token) => token.cancel(),
                    None => {
                        crate::log::flush();
                        std::process::exit(1)
                    }
                }
            }
        });
        Ok(stop)
    }
}

/// How long a stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopTimes {
    /// For running connections, counted from the signal on.
    pub drain: Duration,
    /// For everything.
    pub all: Duration,
}

impl StopTimes {
    /// 10 s for everything, of which connections have 5; where they have more, so has the whole.
    pub fn new(drain: Duration) -> Self {
        let usual = Duration::from_secs(5);
        Self { drain, all: drain.max(usual) + usual }
    }

    /// Ends the process when the time is over, even if a flow holds the relaying thread for good. What the store has
    /// accepted is on the disk by then.
    pub fn enforce(self) {
        let end = move || {
            std::thread::sleep(self.all);
            tracing::error!("not everything has ended within {} s: the process ends without it", self.all.as_secs());
            crate::log::flush();
            std::process::exit(1)
        };
        let _ = std::thread::Builder::new().name("stop".to_owned()).stack_size(128 << 10).spawn(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_takes_ten_seconds_or_five_more_than_connections_have() {
        let all = |drain| StopTimes::new(Duration::from_secs(drain)).all.as_secs();
        assert_eq!((all(0), all(5), all(60)), (10, 10, 65));
    }
}
