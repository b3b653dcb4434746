//! What goes wrong in a flow, for its status and for the log. A lasting trouble is said once, not every second.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

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
    details: Mutex<Details>,
}

/// What says how it is inside a flow now, if the flow is still there.
#[derive(Default)]
struct Details(Option<Box<dyn Fn() -> Option<Value> + Send + Sync>>);

impl std::fmt::Debug for Details {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Details" } else { "none" })
    }
}

#[derive(Debug, Default)]
struct Troubles {
    last: Option<LastError>,
    places: HashMap<String, Said>,
    /// What is wrong now, by place.
    wrong: HashMap<String, LastError>,
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
        Self { flow: flow.to_owned(), events, state: Mutex::default(), details: Mutex::default() }
    }

    /// `place` (an address, say) fails, until it is [`mended`](Self::mended).
    pub fn failed(&self, place: &impl Display, text: &str) {
        self.say(place, text, true);
    }

    /// Something went wrong at `place`, once.
    pub fn happened(&self, place: &impl Display, text: &str) {
        self.say(place, text, false);
    }

    fn say(&self, place: &impl Display, text: &str, lasts: bool) {
        let text = printable(text, 1000);
        let place = place.to_string();
        let loud = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let last = LastError { text: text.clone(), at: unix_ms() };
            if lasts && (state.wrong.len() < MOST_PLACES || state.wrong.contains_key(&place)) {
                state.wrong.insert(place.clone(), last.clone());
            }
            state.last = Some(last);
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
        if state.open == 0 && state.wrong.is_empty() {
            return; // the usual case, once a connection
        }
        let place = place.to_string();
        state.wrong.remove(&place);
        if state.ends(&place) {
            drop(state);
            tracing::info!(flow = self.flow, "{place} answers again");
            self.events.push(Event::new(EventKind::Mended, &self.flow, Some(place)));
        }
    }

    /// How the flow says what is so now inside it, for its status.
    pub fn describe(&self, details: impl Fn() -> Option<Value> + Send + Sync + 'static) {
        self.details.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(Box::new(details));
    }

    /// What is so now inside the flow; each kind has its own form.
    pub fn details(&self) -> Option<Value> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner).0.as_ref().and_then(|details| details())
    }

    /// A client was refused.
    pub fn refused(&self, text: &str) {
        self.happened(&"refused clients", text);
    }

    /// The last trouble.
    pub fn last(&self) -> Option<LastError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// What is wrong now, the latest first.
    pub fn wrong(&self) -> Vec<LastError> {
        let mut wrong: Vec<_> = self.state.lock().unwrap_or_else(PoisonError::into_inner).wrong.values().cloned().collect();
        wrong.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.text.cmp(&b.text)));
        wrong
    }

    /// The spec is another one: what was wrong may have gone with the old one.
    pub fn renew(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).wrong.clear();
    }

    /// Sets the last trouble without a log line; the caller has said it.
    pub fn note(&self, text: &str) {
        let last = LastError { text: printable(text, 1000), at: unix_ms() };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last = Some(last);
    }

    /// Forgets the last trouble.
    pub fn clear(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = None;
        state.wrong.clear();
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

    #[test]
    fn what_is_wrong_now_is_known_however_often_it_was_said() {
        let report = Report::new("panel", Arc::new(Events::default()));
        let wrong = || report.wrong().into_iter().map(|l| l.text).collect::<Vec<_>>();
        for _ in 0..2 {
            report.failed(&"a:1", "no a:1");
            report.failed(&"b:1", "no b:1");
            report.happened(&"clients", "refused");
            report.mended(&"b:1");
            assert_eq!(wrong(), ["no a:1"]);
            report.mended(&"a:1");
            assert_eq!(wrong(), [""; 0]);
        }
        report.failed(&"a:1", "no a:1");
        report.renew();
        assert_eq!(wrong(), [""; 0], "of another spec");
        for n in 0..1000 {
            report.failed(&n, "no");
        }
        assert!(report.wrong().len() <= MOST_PLACES);
    }
}
