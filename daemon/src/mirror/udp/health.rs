//! Whether a peer seems to be there, for the report: a trouble is said once, and so is its end.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use std::sync::atomic::{AtomicBool, Ordering};

use crate::flow::Report;
use crate::net::Address;

/// The report is told of a lasting trouble so often, not with every datagram.
const TOLD_AGAIN: Duration = Duration::from_secs(1);
/// An error comes back well within this time, so what was sent before that and brought none has arrived somewhere.
const PROVEN: Duration = Duration::from_secs(2);

/// A target or a mirror, over all sessions.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) address: Address,
    troubled: AtomicBool,
    state: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    told: Option<Instant>,
    /// When something was first sent to it after the last error.
    sent: Option<Instant>,
}

impl Health {
    pub(super) fn new(address: Address) -> Self {
        Self { address, troubled: AtomicBool::new(false), state: Mutex::default() }
    }

    /// It seems not to be there.
    pub(super) fn failed(&self, report: &Report, now: Instant, text: impl FnOnce() -> String) {
        let tell = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.troubled.store(true, Ordering::Relaxed);
            state.sent = None;
            let tell = state.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_AGAIN);
            if tell {
                state.told = Some(now);
            }
            tell
        };
        if tell {
            report.failed(&self.address, &text());
        }
    }

    /// Something was sent without an error.
    pub(super) fn sent(&self, report: &Report, now: Instant) {
        if self.troubled.load(Ordering::Relaxed) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = *state.sent.get_or_insert(now);
            drop(state);
            if now.saturating_duration_since(sent) >= PROVEN {
                self.answered(report);
            }
        }
    }

    /// Something came from it.
    pub(super) fn answered(&self, report: &Report) {
        if self.troubled.swap(false, Ordering::Relaxed) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).told = None;
            report.mended(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::{EventKind, Events};

    #[test]
    fn silence_after_something_was_sent_is_the_end_of_a_trouble() {
        let events = Arc::new(Events::default());
        let report = Report::new("panel", Arc::clone(&events));
        let (health, now) = (Health::new("a.example:1".parse().unwrap()), Instant::now());
        let kinds = || events.look(0, 100).events.into_iter().map(|e| e.kind).collect::<Vec<_>>();
        health.sent(&report, now);
        health.failed(&report, now, || "refused".to_owned());
        health.sent(&report, now);
        health.failed(&report, now + PROVEN * 2, || "refused".to_owned());
        health.sent(&report, now + PROVEN * 2);
        assert_eq!(kinds(), [EventKind::Trouble], "what was sent brought an error");
        health.sent(&report, now + PROVEN * 3);
        assert_eq!(kinds(), [EventKind::Trouble, EventKind::Mended]);
    }
}
