//! What goes wrong in a flow, for its status and for the log. A lasting trouble is said once, not every second.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Event, EventKind, Events};
use crate::text::{printable, unix_ms};
use std::sync::Arc;

/// How often the same trouble is said again in the log.
const SAID_AGAIN: Duration = Duration::from_secs(600);

/// How many places' troubles are remembered.
const MOST_PLACES: usize = 64;

/// The last thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LastError {
    /// What, where, what next.
    pub text: String,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// Where a flow says what goes wrong.
#[derive(Debug)]
pub struct Report {
    flow: String,
    events: Arc<Events>,
    state: Mutex<Troubles>,
}

#[derive(Debug, Default)]
struct Troubles {
    last: Option<LastError>,
    places: HashMap<String, Said>,
    /// Places whose trouble was said and whose end was not.
    open: usize,
}

/// When the trouble of a place was last said, and whether its end is still to be said. A place that comes and goes is
/// said once in [`SAID_AGAIN`], not every time.
#[derive(Debug)]
struct Said {
    at: Instant,
    open: bool,
}

impl Report {
    /// A report of the flow with this id.
    pub fn new(flow: &str, events: Arc<Events>) -> Self {
        Self { flow: flow.to_owned(), events, state: Mutex::default() }
    }

    /// Something at `place` (an address, say) failed.
    pub fn failed(&self, place: &impl Display, text: &str) {
        let text = printable(text, 1000);
        let place = place.to_string();
        let loud = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.last = Some(LastError { text: text.clone(), at: unix_ms() });
            state.is_news(place)
        };
        if loud {
            tracing::warn!(flow = self.flow, "{text}");
            self.events.push(Event::new(EventKind::Trouble, &self.flow, Some(text)));
        } else {
            tracing::debug!(flow = self.flow, "{text}");
        }
    }

    /// `place` works again, or still.
    pub fn mended(&self, place: &impl Display) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open == 0 {
            return; // the usual case, once a connection
        }
        let place = place.to_string();
        if state.ends(&place) {
            drop(state);
            tracing::info!(flow = self.flow, "{place} answers again");
            self.events.push(Event::new(EventKind::Mended, &self.flow, Some(place)));
        }
    }

    /// A client was refused.
    pub fn refused(&self, text: &str) {
        self.failed(&"refused clients", text);
    }

    /// The last trouble.
    pub fn last(&self) -> Option<LastError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// Sets the last trouble without a log line; the caller has said it.
    pub fn note(&self, text: &str) {
        let last = LastError { text: printable(text, 1000), at: unix_ms() };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last = Some(last);
    }

    /// Forgets the last trouble.
    pub fn clear(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last = None;
    }
}

impl Troubles {
    fn is_news(&mut self, place: String) -> bool {
        if self.places.get(&place).is_some_and(|said| said.at.elapsed() < SAID_AGAIN) {
            return false;
        }
        if self.places.len() >= MOST_PLACES {
            self.places.clear();
        }
        self.places.insert(place, Said { at: Instant::now(), open: true });
        self.count();
        true
    }

    /// Whether the end of the place's trouble is to be said.
    fn ends(&mut self, place: &str) -> bool {
        let ended = self.places.get_mut(place).is_some_and(|said| std::mem::replace(&mut said.open, false));
        self.count();
        ended
    }

    fn count(&mut self) {
        self.open = self.places.values().filter(|said| said.open).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_trouble_is_said_once_and_its_end_too() {
        let events = Arc::new(Events::default());
        let report = Report::new("panel", Arc::clone(&events));
        for _ in 0..3 {
            report.failed(&"a:1", "cannot connect to a:1");
        }
        report.mended(&"b:1");
        report.mended(&"a:1");
        report.mended(&"a:1");
        for _ in 0..100 {
            report.failed(&"a:1", "cannot connect to a:1");
            report.mended(&"a:1");
        }
        let kinds: Vec<_> = events.look(0, 10).events.into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [EventKind::Trouble, EventKind::Mended]);
        assert_eq!(report.last().map(|l| l.text).as_deref(), Some("cannot connect to a:1"));
    }
}
