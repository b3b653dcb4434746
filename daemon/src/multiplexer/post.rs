//! Answers on their way to clients: made while the hub's state is looked at, delivered when it is not locked any more.

use std::sync::Arc;

use super::client::Client;
use super::counters::C;
use super::hub::Hub;
use super::protocol::{After, Refusal, modbus};
use super::request::{Request, Waiter};

/// How many bytes are kept for the next answers.
const KEPT: usize = 16 << 10;

/// Frames for clients.
pub(super) struct Post<'a> {
    hub: &'a Hub,
    frames: Vec<u8>,
    letters: Vec<Letter>,
    body: Vec<u8>,
    counted: Counted,
}

struct Letter {
    client: Arc<Client>,
    /// Where its frame ends in `frames`.
    end: usize,
    close: bool,
}

#[derive(Default)]
struct Counted {
    answers: u64,
    exceptions: u64,
    abandoned: u64,
}

impl<'a> Post<'a> {
    pub(super) fn new(hub: &'a Hub) -> Self {
        Self { hub, frames: Vec::new(), letters: Vec::new(), body: Vec::new(), counted: Counted::default() }
    }

    /// The answer to `request` for one client.
    pub(super) fn answer(&mut self, waiter: &Waiter, request: &[u8], answer: &[u8]) {
        let close = self.hub.protocol.after(request, answer) == After::Close;
        let is_exception = self.hub.protocol.is_modbus() && answer.get(1).is_some_and(|function| function & 0x80 != 0);
        if waiter.client.is_gone() {
            self.counted.abandoned += 1;
            return;
        }
        self.counted.answers += 1;
        self.counted.exceptions += u64::from(is_exception);
        let answer = Some(answer).filter(|_| !self.is_for_all(waiter, request));
        self.put(waiter, answer, close);
    }

    /// The answer to `request` for all who wait for it.
    pub(super) fn answer_all(&mut self, request: &Request, answer: &[u8]) {
        request.each().for_each(|waiter| self.answer(waiter, &request.body, answer));
    }

    /// `request` is carried out, and nothing comes back: a broadcast.
    pub(super) fn confirm(&mut self, request: &Request, answer: Option<&[u8]>) {
        for waiter in request.each() {
            self.counted.answers += 1;
            self.put(waiter, answer.filter(|_| !self.is_for_all(waiter, &request.body)), false);
        }
    }

    /// Why `request` has no answer, for one client.
    pub(super) fn refuse(&mut self, waiter: &Waiter, request: &[u8], why: Refusal) {
        let counter = match why {
            _ if waiter.client.is_gone() => C::Abandoned,
            Refusal::Silent => C::Timeouts,
            Refusal::NoPath => C::NoPath,
            Refusal::Busy => C::Busy,
            Refusal::Denied => C::Denied,
            Refusal::BadAnswer | Refusal::Malformed => C::BadAnswers,
        };
        self.hub.count(counter, 1);
        let answer = self.hub.protocol.refuse(request, why);
        let close = answer.is_none();
        let answer = answer.filter(|_| !self.is_for_all(waiter, request));
        self.put(waiter, answer.as_deref(), close);
    }

    pub(super) fn refuse_all(&mut self, request: &Request, why: Refusal) {
        request.each().for_each(|waiter| self.refuse(waiter, &request.body, why));
    }

    /// Whether who speaks a protocol without tags knows that this has no answer: a write to all.
    fn is_for_all(&self, waiter: &Waiter, request: &[u8]) -> bool {
        self.hub.protocol.is_modbus() && !self.hub.several && waiter.unit == 0 && modbus::success(request).is_some()
    }

    fn put(&mut self, waiter: &Waiter, answer: Option<&[u8]>, close: bool) {
        if let Some(answer) = answer {
            self.body.clear();
            self.body.extend_from_slice(answer);
            if let (true, Some(unit)) = (self.hub.protocol.is_modbus(), self.body.first_mut()) {
                *unit = waiter.unit;
            }
            self.hub.client_protocol.wrap(waiter.tag, &self.body, &mut self.frames);
        }
        self.letters.push(Letter { client: Arc::clone(&waiter.client), end: self.frames.len(), close });
    }

    /// Delivers all of them. The hub's state must not be locked.
    pub(super) fn send(&mut self) {
        let mut start = 0;
        for letter in self.letters.drain(..) {
            letter.client.answer(self.frames.get(start..letter.end).unwrap_or_default(), letter.close);
            start = letter.end;
        }
        let counted = std::mem::take(&mut self.counted);
        self.hub.count(C::Answers, counted.answers);
        self.hub.count(C::Exceptions, counted.exceptions);
        self.hub.count(C::Abandoned, counted.abandoned);
        self.hub.count(C::ClientTxBytes, self.frames.len() as u64);
        self.frames.clear();
        self.body.clear();
        // What a large answer took is not kept for the next small one.
        self.frames.shrink_to(KEPT);
        self.body.shrink_to(KEPT);
    }
}
