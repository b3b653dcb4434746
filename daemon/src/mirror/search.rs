//! One client's search among several targets.
//!
//! It may take one `connect_timeout` in all: an alarm panel that has waited for so long gives up, and redials or takes
//! its other path, and a target that is found then is of no use to it. So a target that is silent costs a part of that
//! time, and once it is known to be down, nothing. When none is known to answer, all are dialled at the same time and the
//! first that answers is taken: the panel has no time to ask those that are still silent before the one that is back.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::targets::{Targets, dialler};
use crate::net::{Address, DialError};

/// How long a client waits for one target while it can turn to another: a SYN that was lost is sent again after a second.
const PATIENCE: Duration = Duration::from_millis(1500);

pub(super) struct Search<'a> {
    targets: &'a Targets,
    deadline: Instant,
    left: Vec<Option<Left>>,
}

/// How the client left a target.
struct Left {
    /// What it was known as then: up or down, and for how many times that has changed.
    turns: u32,
    /// It has answered that nobody is there, or has no address.
    refused: bool,
    why: String,
}

/// What to do next.
enum Step {
    /// Wait for this one, for so long.
    One(usize, Duration),
    /// Dial all of these.
    All(Vec<usize>),
}

impl<'a> Search<'a> {
    pub(super) fn new(targets: &'a Targets) -> Self {
        let left = targets.all().iter().map(|_| None).collect();
        Self { targets, deadline: Instant::now() + targets.timeout, left }
    }

    pub(super) async fn run(mut self, client: SocketAddr) -> Option<(TcpStream, &'a Address)> {
        let (stream, index) = loop {
            let found = match self.next() {
                Step::One(index, within) => self.dial_one(index, within).await,
                Step::All(none) if none.is_empty() || self.time_left().is_zero() => {
                    self.targets.none_answers(client, &self.reasons());
                    return None;
                }
                Step::All(some) => self.dial_all(&some).await,
            };
            if let Some(found) = found {
                break found;
            }
        };
        self.targets.answers(index);
        Some((stream, self.targets.all().get(index)?))
    }

    /// The first that is up and that it has not left as it is now, or else all that have not refused it as they are now.
    fn next(&self) -> Step {
        let known = self.targets.known();
        let mut first = None;
        let mut rest = Vec::new();
        for ((index, target), left) in known.targets.iter().enumerate().zip(&self.left) {
            let left = left.as_ref().filter(|left| left.turns == target.turns);
            if !left.is_some_and(|left| left.refused) {
                rest.push(index);
            }
            if !target.down && left.is_none() {
                first = first.or(Some(index));
            }
        }
        match (first, rest.len() as u32) {
            (Some(only), 0 | 1) => Step::One(only, self.time_left()),
            (Some(first), several) => Step::One(first, PATIENCE.min(self.time_left() / several)),
            (None, _) => Step::All(rest),
        }
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for a target until it fails this client, or another.
    async fn dial_one(&mut self, index: usize, within: Duration) -> Option<(TcpStream, usize)> {
        let began = Instant::now();
        let address = self.targets.all().get(index)?;
        tokio::select! {
            biased;
            dialled = dialler(within).dial(address) => match dialled {
                Ok(stream) => return Some((stream, index)),
                Err(error) => self.failed(index, began, within, &error),
            },
            () = self.targets.until(|known| known.targets.get(index).is_some_and(|target| target.down)) => {
                self.leave(index, false, String::new());
            }
        }
        None
    }

    /// Takes the first that answers, unless one is found up meanwhile that it can turn to.
    async fn dial_all(&mut self, indices: &[usize]) -> Option<(TcpStream, usize)> {
        let (began, within, targets) = (Instant::now(), self.time_left(), self.targets);
        let dial = |index: usize| async move {
            let address = targets.all().get(index)?;
            Some((index, dialler(within).dial(address).await))
        };
        let mut dials: FuturesUnordered<_> = indices.iter().copied().map(dial).collect();
        let ups = targets.known().ups;
        loop {
            tokio::select! {
                biased;
                dialled = dials.next() => match dialled?? {
                    (index, Ok(stream)) => return Some((stream, index)),
                    (index, Err(error)) => self.failed(index, began, within, &error),
                },
                // Its SYN of a while ago may be sent again much later than a new one.
                () = targets.until(|known| known.ups != ups) => return None,
            }
        }
    }

    fn failed(&mut self, index: usize, began: Instant, within: Duration, error: &DialError) {
        self.targets.fails(index, began, error, "the next in the list is tried");
        self.leave(index, began.elapsed() < within, error.to_string());
    }

    fn leave(&mut self, index: usize, refused: bool, why: String) {
        let turns = self.targets.target(index).turns;
        if let Some(left) = self.left.get_mut(index) {
            *left = Some(Left { turns, refused, why });
        }
    }

    fn reasons(&self) -> String {
        let mut text = String::new();
        for left in self.left.iter().flatten().filter(|left| !left.why.is_empty()) {
            let separator = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{separator}{}", left.why);
        }
        text
    }
}
