//! What happened lately, for those who wait for it with `event.poll`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use crate::text::unix_ms;

/// How many events are kept.
pub const KEPT: usize = 1000;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The flow's state changed; `flow.status` has the whole of it.
    Status,
    /// Something that a person should know went wrong.
    Trouble,
    /// It works again.
    Mended,
    /// The flow is gone.
    Removed,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Event {
    /// Its number, counted from 1 since the daemon started.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// What kind.
    pub kind: EventKind,
    /// The flow's id.
    pub flow: String,
    /// The new state, the error, or the address that answers again.
    pub text: Option<String>,
}

impl Event {
    /// An event that gets its number when it is pushed.
    pub fn new(kind: EventKind, flow: &str, text: Option<String>) -> Self {
        Self { seq: 0, at: unix_ms(), kind, flow: flow.to_owned(), text }
    }
}

/// The last events, and those who wait for the next.
#[derive(Debug, Default)]
pub struct Events {
    ring: Mutex<Ring>,
    pushed: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    last_seq: u64,
    events: VecDeque<Event>,
}

/// What a poll found.
#[derive(Debug)]
pub struct Polled {
    /// The events after the cursor, oldest first.
    pub events: Vec<Event>,
    /// The cursor for the next poll.
    pub seq: u64,
    /// Whether events after the cursor are no longer kept.
    pub missed: bool,
}

impl Events {
    /// Adds an event and wakes those who wait.
    pub fn push(&self, mut event: Event) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last_seq += 1;
        event.seq = ring.last_seq;
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(event);
        drop(ring);
        self.pushed.notify_waiters();
    }

    /// The number of the last event.
    pub fn last_seq(&self) -> u64 {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).last_seq
    }

    /// The first `most` of the kept events with a number above `seq`.
    pub fn look(&self, seq: u64, most: usize) -> Polled {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let events: Vec<Event> = ring.events.iter().filter(|e| e.seq > seq).take(most).cloned().collect();
        let next = events.last().map_or(seq, |e| e.seq);
        let missed = events.first().is_some_and(|e| e.seq > seq + 1);
        Polled { events, seq: next, missed }
    }

    /// Completes when there is an event after `seq`.
    pub async fn after(&self, seq: u64) {
        loop {
            let pushed = self.pushed.notified();
            if self.last_seq() > seq {
                return;
            }
            pushed.await;
        }
    }

    /// The events after `seq`, waiting up to `wait` for the first.
    pub async fn poll(&self, seq: u64, wait: Duration) -> Polled {
        let _ = tokio::time::timeout(wait, self.after(seq)).await;
        self.look(seq, KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_poll_waits_and_tells_what_it_missed() {
        let events = std::sync::Arc::new(Events::default());
        assert!(events.poll(0, Duration::from_secs(1)).await.events.is_empty());
        let waiting = tokio::spawn({
            let events = std::sync::Arc::clone(&events);
            async move { events.poll(0, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        events.push(Event::new(EventKind::Status, "a", None));
        let polled = waiting.await.expect("the poll ends");
        assert_eq!((polled.seq, polled.missed, polled.events.len()), (1, false, 1));
        for _ in 0..KEPT + 5 {
            events.push(Event::new(EventKind::Status, "a", None));
        }
        let polled = events.poll(1, Duration::ZERO).await;
        assert_eq!((polled.missed, polled.events.len()), (true, KEPT));
    }
}
