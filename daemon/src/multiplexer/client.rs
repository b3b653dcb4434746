//! A client, as those see it who have an answer for it: where to put it, and how many are still to come.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::protocol::Intent;
use crate::net::Budget;

/// Up to how many bytes a buffer is not worth being accounted for.
pub(super) const SMALL: usize = 4096;

/// How many requests of one client may be on their way.
const MOST_OUTSTANDING: u32 = 256;
/// How many lanes a flow can have.
const MOST_LANES: usize = 65;

/// The sending side of a client. Its task ([`Session`](super::session::Session)) reads.
pub(super) struct Client {
    pub(super) from: SocketAddr,
    /// The round of its last request, in the queue of each lane that it has asked; the last one first.
    rounds: Mutex<Vec<(u64, u64)>>,
    gone: AtomicBool,
    out: Mutex<Outgoing>,
    budget: Arc<Budget>,
}

#[derive(Default)]
struct Outgoing {
    /// Until its task ends. Whoever has an answer for it later must not keep the socket open.
    write: Option<OwnedWriteHalf>,
    /// What the socket did not take yet, from `at` on.
    data: Vec<u8>,
    at: usize,
    charged: usize,
    /// The client's task.
    waker: Option<Waker>,
    /// Requests without an answer, and the writes among them.
    outstanding: u32,
    writes: u32,
    /// Its task waits for an answer to be given.
    watched: bool,
    /// Nothing comes after `data`.
    closing: bool,
    /// What it is told last, when everything that it has asked for is answered.
    dismissal: Option<Box<[u8]>>,
    /// It does not read what it is sent, and the memory for that is used up.
    overdrawn: bool,
}

/// What is left to do for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Answers are to come.
    Answers,
    /// All that was asked is answered.
    Nothing,
    /// The last answer is written.
    Close,
}

impl Client {
    pub(super) fn new(write: OwnedWriteHalf, from: SocketAddr, budget: Arc<Budget>) -> Arc<Self> {
        let out = Mutex::new(Outgoing { write: Some(write), ..Outgoing::default() });
        Arc::new(Self { from, rounds: Mutex::default(), gone: AtomicBool::new(false), out, budget })
    }

    fn out(&self) -> MutexGuard<'_, Outgoing> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the round of its last request in the queue of a lane. In one that is new to it, that is 0.
    pub(super) fn with_round(&self, lane: u64, change: impl FnOnce(&mut u64)) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        match rounds.iter().position(|(of, _)| *of == lane) {
            Some(0) => {}
            Some(place) => rounds.swap(0, place),
            None => {
                rounds.truncate(MOST_LANES); // those of earlier specs are of no use
                rounds.reserve_exact(1);
                rounds.insert(0, (lane, 0));
            }
        }
        if let Some((_, round)) = rounds.first_mut() {
            change(round);
        }
    }

    /// Whether nobody waits for its answers any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Its task has ended: what comes for it is dropped.
    pub(super) fn go(&self) {
        self.gone.store(true, Ordering::Relaxed);
        let mut out = self.out();
        out.write = None;
        out.waker = None;
        out.data = Vec::new();
        self.recharge(&mut out);
    }

    /// Whether one more request may be on its way. If not, the task is woken when that may have changed.
    ///
    /// Without tags answers must come in the order of the requests, so there is one at a time. With them, reads may pass
    /// each other, but nothing passes a write: whoever writes and then reads wants to see what was written.
    pub(super) fn may_ask(&self, intent: Intent, several: bool) -> bool {
        let mut out = self.out();
        let may = out.data.is_empty()
            && !out.closing
            && (out.outstanding == 0 || (several && out.outstanding < MOST_OUTSTANDING && intent == Intent::Read && out.writes == 0));
        out.watched = !may;
        if may {
            out.outstanding += 1;
            out.writes += u32::from(intent == Intent::Write);
        }
        may
    }

    /// Gives it an answer, the last one if `close`. An empty one is for a request that nobody answers.
    pub(super) fn answer(&self, frame: &[u8], close: bool) {
        if self.is_gone() {
            return;
        }
        let mut out = self.out();
        out.outstanding = out.outstanding.saturating_sub(1);
        if out.outstanding == 0 {
            out.writes = 0;
        }
        out.closing |= close;
        self.put(&mut out, frame);
        if out.outstanding == 0
            && let Some(last) = out.dismissal.take()
        {
            self.put(&mut out, &last);
            out.closing = true;
        }
        if out.watched || out.closing || !out.data.is_empty() {
            out.wake();
        }
    }

    /// Tells it something that is no answer.
    pub(super) fn say(&self, text: &[u8]) {
        self.put(&mut self.out(), text);
    }

    /// Nothing more is read from it: it is told why when what it has asked for is answered, and that is the end.
    pub(super) fn dismiss(&self, frame: &[u8]) {
        let mut out = self.out();
        if out.outstanding > 0 {
            out.dismissal = Some(frame.into());
        } else {
            self.put(&mut out, frame);
            out.closing = true;
        }
    }

    /// Whether it was dismissed, and is still to be answered.
    pub(super) fn is_dismissed(&self) -> bool {
        self.out().dismissal.is_some()
    }

    pub(super) fn is_overdrawn(&self) -> bool {
        self.out().overdrawn
    }

    fn put(&self, out: &mut Outgoing, frame: &[u8]) {
        let mut rest = frame;
        if out.data.is_empty() {
            // What is wrong with the socket is seen by the task, which reads from it.
            let taken = match &out.write {
                Some(write) if !rest.is_empty() => write.try_write(rest).unwrap_or(0),
                _ => 0,
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        if !rest.is_empty() {
            out.data.extend_from_slice(rest);
            self.recharge(out);
            if out.data.len() > SMALL && self.budget.is_spent() {
                out.data = Vec::new();
                out.overdrawn = true;
                self.recharge(out);
                out.wake();
            }
        }
    }

    /// Tells where the task is to be woken.
    pub(super) fn watch(&self, waker: &Waker) {
        let mut out = self.out();
        if out.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            out.waker = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        self.out().wake();
    }

    /// Writes what is held.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut guard = self.out();
        let out = &mut *guard;
        let Some(write) = &out.write else { return Poll::Ready(Ok(())) };
        while let Some(left) = out.data.get(out.at..).filter(|left| !left.is_empty()) {
            match write.try_write(left) {
                Ok(n) => out.at += n,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let stream: &TcpStream = write.as_ref();
                    if stream.poll_write_ready(cx)?.is_pending() {
                        return Poll::Pending;
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if !out.data.is_empty() {
            out.data = Vec::new();
            out.at = 0;
            self.recharge(out);
        }
        Poll::Ready(Ok(()))
    }

    /// What is left to do. If answers are to come, the task is woken by each.
    pub(super) fn left(&self) -> Left {
        let mut out = self.out();
        let left = match out.outstanding {
            _ if out.closing => Left::Close,
            0 => Left::Nothing,
            _ => Left::Answers,
        };
        out.watched |= left == Left::Answers;
        left
    }

    /// Whether it has a request on its way.
    pub(super) fn is_waiting(&self) -> bool {
        self.out().outstanding > 0
    }

    fn recharge(&self, out: &mut Outgoing) {
        let bytes = if out.data.len() > SMALL { out.data.len() } else { 0 };
        recharge(&self.budget, &mut out.charged, bytes);
    }
}

impl Outgoing {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// Memory that is accounted for as long as this lives.
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// For a buffer of so many bytes; none for a small one.
    pub(super) fn of(bytes: usize, budget: &Arc<Budget>) -> Option<Self> {
        if bytes <= SMALL {
            return None;
        }
        budget.charge(bytes, false);
        Some(Self { budget: Arc::clone(budget), bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes, false);
    }
}

/// Accounts for a buffer that has `bytes` now.
pub(super) fn recharge(budget: &Budget, charged: &mut usize, bytes: usize) {
    if bytes > *charged {
        budget.charge(bytes - *charged, false);
    } else if bytes < *charged {
        budget.release(*charged - bytes, false);
    }
    *charged = bytes;
}
