//! A request on its way, and who waits for its answer.

use std::sync::Arc;

use tokio::time::Instant;

use super::cache::ReadKey;
use super::client::{Charge, Client};
use super::protocol::{Intent, Tag};

/// One request to a device. Several clients may wait for its answer.
pub(super) struct Request {
    /// As the device gets it, without its wrapping.
    pub(super) body: Box<[u8]>,
    /// For a large body.
    pub(super) charge: Option<Charge>,
    pub(super) intent: Intent,
    pub(super) lane: usize,
    /// The unit, as the device knows it (Modbus).
    pub(super) unit: Option<u8>,
    /// What others may share (Modbus reads).
    pub(super) read: Option<ReadKey>,
    /// How many writes its unit had seen when it was sent.
    pub(super) epoch: u32,
    /// How often it was sent again.
    pub(super) tries: u32,
    pub(super) phase: Phase,
    /// Since when it has waited, or had when it was sent.
    pub(super) since: Instant,
    /// The first and the others. Nobody waits for a health check.
    pub(super) first: Option<Waiter>,
    pub(super) more: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In the queue since then.
    Waiting(Instant),
    /// On its way by this connection of its lane.
    Sent(usize),
}

/// A client that waits for the answer to its request.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) client: Arc<Client>,
    /// The tag of its request.
    pub(super) tag: Tag,
    /// The unit, as the client knows it (Modbus).
    pub(super) unit: u8,
    pub(super) asked: Instant,
}

impl Request {
    pub(super) fn new(body: Box<[u8]>, intent: Intent, lane: usize, is_modbus: bool) -> Self {
        let unit = body.first().copied().filter(|_| is_modbus);
        let read = match (is_modbus, ReadKey::try_from(&*body)) {
            (true, Ok(key @ [_, 1..=4, ..])) => Some(key),
            _ => None,
        };
        Self {
            body,
            charge: None,
            intent,
            lane,
            unit,
            read,
            epoch: 0,
            tries: 0,
            phase: Phase::Sent(usize::MAX),
            since: Instant::now(),
            first: None,
            more: Vec::new(),
        }
    }

    /// A read of the daemon's own, to see whether the device answers.
    pub(super) fn of_health(key: ReadKey, lane: usize) -> Self {
        let mut request = Self::new(key.into(), Intent::Read, lane, true);
        request.read = None; // nobody may wait for it
        request.tries = u32::MAX;
        request
    }

    /// Forgets the waiters that have gone; the answer is how many these were.
    pub(super) fn forget_gone(&mut self) -> u64 {
        let before = self.waiters();
        if self.first.as_ref().is_some_and(|waiter| waiter.client.is_gone()) {
            self.first = None;
        }
        self.more.retain(|waiter| !waiter.client.is_gone());
        if self.first.is_none() {
            self.first = self.more.pop();
        }
        (before - self.waiters()) as u64
    }

    pub(super) fn waiters(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &Waiter> {
        self.first.iter().chain(&self.more)
    }

    pub(super) fn is_health_check(&self) -> bool {
        self.tries == u32::MAX
    }
}
