//! The requests of a multiplexer: which wait, which are on their way, which share one, and what is kept of their answers.

use std::collections::HashMap;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::cache::{Cache, ReadKey};
use super::lane::Lane;
use super::latency::Latency;
use super::protocol::Intent;
use super::queue::FairQueue;
use super::request::{Phase, Request, Waiter};
use super::spec::MultiplexerSpec;
use super::units::Units;

/// Everything about requests that changes.
pub(super) struct State {
    pub(super) requests: Slab<Request>,
    pub(super) lanes: Box<[Lane]>,
    /// Reads that others may share.
    reads: HashMap<ReadKey, usize>,
    pub(super) cache: Cache,
    /// How many writes each unit has seen; a read that was sent before one of them is not shared with who asks after it.
    epochs: Box<[u32]>,
    pub(super) latency: Latency,
    pub(super) units: Option<Box<Units>>,
    /// When the keeper looks whether somebody has waited too long; without it, nobody waits.
    look_at: Option<Instant>,
    timeout: Duration,
    coalesces: bool,
}

impl State {
    pub(super) fn new(spec: &MultiplexerSpec, is_modbus: bool) -> Self {
        Self {
            requests: Slab::new(),
            lanes: (0..=spec.routes.len()).map(|_| Lane::new(spec, is_modbus)).collect(),
            reads: HashMap::new(),
            cache: Cache::default(),
            epochs: vec![0; if is_modbus { 256 } else { 0 }].into(),
            latency: Latency::new(Instant::now()),
            units: is_modbus.then(Box::default),
            look_at: None,
            timeout: spec.timeout.0,
            coalesces: spec.coalesce,
        }
    }

    pub(super) fn note_unit(&mut self, unit: u8) {
        if let Some(units) = &mut self.units {
            units.asked(unit);
        }
    }

    pub(super) fn note_failed_of(&mut self, unit: u8) {
        if let Some(units) = &mut self.units {
            units.failed(unit);
        }
    }

    /// Nobody who waits for `request` gets an answer of the device.
    pub(super) fn note_failed(&mut self, request: &Request) {
        if let Some(units) = &mut self.units {
            request.each().for_each(|waiter| units.failed(waiter.unit));
        }
    }

    /// Lets a client wait for the answer to a read that was asked already, if no write came between. When more than `most`
    /// wait, some of them have gone.
    pub(super) fn join(&mut self, key: ReadKey, waiter: &Waiter, most: usize) -> bool {
        let Some(request) = self.reads.get(&key).and_then(|place| self.requests.get_mut(*place)) else { return false };
        let is_fresh = matches!(request.phase, Phase::Waiting(_)) || self.epochs.get(usize::from(key[0])) == Some(&request.epoch);
        if is_fresh && request.more.len() <= most {
            request.more.push(waiter.clone());
            return true;
        }
        false
    }

    /// Puts a request into its device's queue. The answer is whether the keeper has to be told.
    pub(super) fn push(&mut self, mut request: Request, waiter: Waiter, now: Instant) -> bool {
        let (lane, read, unit) = (request.lane, request.read, request.unit);
        if let (Intent::Write, Some(unit)) = (request.intent, unit) {
            self.written(unit);
        }
        let client = std::sync::Arc::clone(&waiter.client);
        request.since = now;
        request.phase = Phase::Waiting(now);
        request.first = Some(waiter);
        let place = self.requests.insert(request);
        if let Some(read) = read.filter(|_| self.coalesces) {
            self.reads.insert(read, place);
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            client.with_round(lane.number, |last| lane.queue.push(place, last));
            if let Some(unit) = unit {
                lane.see(unit, now);
            }
            lane.call(now);
        }
        self.look_at.is_none() && {
            self.look_at = Some(now + self.timeout);
            true
        }
    }

    /// Takes the requests of clients that have gone out of a queue; the answer is how many clients these were.
    pub(super) fn sweep(&mut self, lane: usize) -> u64 {
        let requests = &self.requests;
        let is_gone = |place: usize| requests.get(place).is_some_and(|request| request.each().all(|waiter| waiter.client.is_gone()));
        let gone = self.lanes.get_mut(lane).map(|lane| lane.take_out(is_gone)).unwrap_or_default();
        gone.into_iter().filter_map(|place| self.remove(place)).map(|request| request.waiters() as u64).sum()
    }

    /// A unit is written to, or has been: what was read of it before is old.
    pub(super) fn written(&mut self, unit: u8) {
        self.cache.forget(unit);
        if unit == 0 {
            self.epochs.iter_mut().for_each(|epoch| *epoch = epoch.wrapping_add(1));
        } else if let Some(epoch) = self.epochs.get_mut(usize::from(unit)) {
            *epoch = epoch.wrapping_add(1);
        }
    }

    pub(super) fn epoch(&self, unit: u8) -> u32 {
        self.epochs.get(usize::from(unit)).copied().unwrap_or(0)
    }

    /// Takes the next request of a lane for its connection `link`; gone clients' are dropped, and counted in `abandoned`.
    pub(super) fn take(&mut self, lane: usize, link: usize, now: Instant, abandoned: &mut u64) -> Option<usize> {
        loop {
            let requests = &self.requests;
            let unit_of = |place: usize| requests.get(place).and_then(|request| request.unit).unwrap_or(0);
            let place = self.lanes.get_mut(lane)?.next(unit_of, now)?;
            let request = self.requests.get_mut(place)?;
            *abandoned += request.forget_gone();
            if request.waiters() == 0 {
                self.lanes.get_mut(lane)?.release(request.unit.unwrap_or(0));
                self.remove(place);
                continue;
            }
            request.phase = Phase::Sent(link);
            request.epoch = self.epochs.get(usize::from(request.unit.unwrap_or(0))).copied().unwrap_or(0);
            return Some(place);
        }
    }

    /// Puts a request back that was taken and not sent: before all others.
    pub(super) fn put_back(&mut self, place: usize, now: Instant) {
        let since = self.requests.get(place).map_or(now, |request| request.since);
        self.put(place, since, now, |queue| queue.push_front(place));
    }

    /// Puts a request into its queue again that got no answer. It is not the first: a unit that is off must not have every turn.
    pub(super) fn put_again(&mut self, place: usize, now: Instant) {
        self.put(place, now, now, |queue| queue.push(place, &mut 0));
    }

    fn put(&mut self, place: usize, since: Instant, now: Instant, push: impl FnOnce(&mut FairQueue)) {
        self.look_at = self.look_at.or(Some(since + self.timeout));
        let Some(request) = self.requests.get_mut(place) else { return };
        request.since = since;
        request.phase = Phase::Waiting(since);
        if let Some(lane) = self.lanes.get_mut(request.lane) {
            lane.release(request.unit.unwrap_or(0));
            push(&mut lane.queue);
            lane.call(now);
        }
    }

    /// A request that was taken is over.
    pub(super) fn finish(&mut self, place: usize) -> Option<Request> {
        let request = self.remove(place)?;
        if let Some(lane) = self.lanes.get_mut(request.lane) {
            lane.release(request.unit.unwrap_or(0));
        }
        if let (Intent::Write, Some(unit)) = (request.intent, request.unit) {
            self.written(unit);
        }
        Some(request)
    }

    /// Takes a request off all lists but the queue's.
    pub(super) fn remove(&mut self, place: usize) -> Option<Request> {
        let request = self.requests.try_remove(place)?;
        if let Some(read) = &request.read
            && self.reads.get(read) == Some(&place)
        {
            self.reads.remove(read);
        }
        Some(request)
    }

    /// Takes the requests of a lane that have waited since `before` or longer out of its queue.
    pub(super) fn take_waiting(&mut self, lane: usize, before: Instant) -> Vec<Request> {
        let requests = &self.requests;
        let since = |place: usize| match requests.get(place).map(|request| request.phase) {
            Some(Phase::Waiting(since)) => since <= before,
            _ => false,
        };
        let places = self.lanes.get_mut(lane).map(|lane| lane.take_out(since)).unwrap_or_default();
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// When the keeper has to look next: when the request that has waited longest may have waited too long. It is found out anew
    /// only then, so that requests that are sent at once wake nobody.
    pub(super) fn next_look(&mut self, now: Instant) -> Option<Instant> {
        if self.look_at.is_some_and(|at| at <= now) {
            let waiting = self.requests.iter().filter_map(|(_, request)| match request.phase {
                Phase::Waiting(since) => Some(since + self.timeout),
                Phase::Sent(_) => None,
            });
            self.look_at = waiting.min();
        }
        self.look_at
    }
}
