//! Which request a frame of the device answers.

use std::time::Duration;

use tokio::time::Instant;

use super::super::counters::C;
use super::super::lane::{FIN_WITHIN, Lane};
use super::super::protocol::{After, Refusal, Scan, Side, Split, modbus};
use super::super::request::Request;
use super::super::rules;
use super::super::state::State;
use super::{Conn, Ended};

impl Conn<'_> {
    /// Looks for answers in what has come.
    pub(super) fn received(&mut self, came: &[u8]) -> Result<(), Ended> {
        self.hub.count(C::TargetRxBytes, came.len() as u64);
        self.heard = Instant::now();
        self.silent = 0;
        if self.input.is_empty() {
            let used = self.parse(came, false)?;
            self.input.extend_from_slice(came.get(used..).unwrap_or_default());
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(came);
            let used = self.parse(&input, false)?;
            if used < input.len() {
                input.drain(..used);
                self.input = input;
            }
        }
        Ok(())
    }

    /// Takes the answers off the front of `came`; the answer is how many bytes these were. With `is_whole`,
    /// nothing more comes, and they end with an answer.
    pub(super) fn parse(&mut self, came: &[u8], is_whole: bool) -> Result<usize, Ended> {
        let hub = self.hub;
        let mut state = hub.state();
        let mut used = 0;
        let mut ended = None;
        while let Some(rest) = came.get(used..).filter(|rest| !rest.is_empty() && ended.is_none()) {
            if !hub.by_tag && self.flights.is_empty() {
                used = came.len();
                // A line may have noise. On TCP, the next answer would not be known from this.
                if !self.io.is_serial() {
                    ended = Some(self.unasked());
                }
                break;
            }
            if self.io.is_serial() && !self.may_begin(rest, &state) {
                used += 1; // noise
                continue;
            }
            let split = if is_whole { Ok(Split::Frame(rest.len())) } else { hub.protocol.split(rest, &mut self.scan, self.most) };
            match split {
                Ok(Split::Frame(length)) => {
                    used += length;
                    let frame = rest.get(..length).unwrap_or_default();
                    self.scan = Scan::new(Side::Upstream);
                    ended = self.answer(frame, &mut state);
                }
                Ok(Split::More | Split::Prompt(_)) => break,
                Err(_) if self.io.is_serial() => {
                    used += 1;
                    self.scan = Scan::new(Side::Upstream);
                }
                Err(error) => {
                    hub.count(C::DroppedAnswers, 1);
                    ended = Some(Ended::Lost { why: format!("its answer is none of {}: {error}", hub.protocol.name()), refusal: Refusal::BadAnswer });
                }
            }
        }
        hub.show(&state);
        ended.map_or(Ok(used), Err)
    }

    /// Whether the answer that is awaited on a line may begin so.
    fn may_begin(&self, rest: &[u8], state: &State) -> bool {
        let request = self.flights.front().and_then(|flight| state.requests.get(flight.key));
        let Some([unit, function, ..]) = request.map(|request| &*request.body) else { return true };
        // Whoever asks for 0 or 255 means the one that is there, whatever its number.
        let is_unit = |of: &u8| of == unit || matches!(unit, 0 | 255);
        match rest {
            [of, code, ..] => is_unit(of) && code & 0x7f == function & 0x7f,
            [of] => is_unit(of),
            [] => true,
        }
    }

    /// Finds the request that a frame answers.
    pub(super) fn answer(&mut self, frame: &[u8], state: &mut State) -> Option<Ended> {
        let hub = self.hub;
        let wrong = |why: String| Some(Ended::Lost { why, refusal: Refusal::BadAnswer });
        let unwrapped = match hub.protocol.unwrap(frame) {
            Ok(unwrapped) => unwrapped,
            Err(error) => {
                hub.count(C::DroppedAnswers, 1);
                return wrong(format!("its answer is none of {}: {error}", hub.protocol.name()));
            }
        };
        let body = frame.get(unwrapped.body).unwrap_or_default();
        let place = match unwrapped.tag.filter(|_| hub.by_tag) {
            None => Some(0),
            Some(tag) => self.flights.iter().position(|flight| flight.tag == tag).or_else(|| {
                self.late.retain(|late| *late != tag);
                None
            }),
        };
        let Some((place, key)) = place.and_then(|place| Some((place, self.flights.get(place)?.key))) else {
            hub.count(C::DroppedAnswers, 1);
            self.is_odd = true;
            return None;
        };
        let request = state.requests.get(key)?;
        if let Some(error) = hub.protocol.mismatch(&request.body, body) {
            hub.count(C::DroppedAnswers, 1);
            let why = format!("its answer to {} does not fit: {error}", hub.summary(&request.body));
            if hub.by_tag || self.io.is_serial() {
                // What it is to answer has its own answer still to come, or none.
                self.is_odd = true;
                hub.report
                    .happened(&"answers that do not fit", &format!("device {}: {why}; it is dropped", hub.device(self.lane)));
                return None;
            }
            return wrong(why);
        }
        let after = hub.protocol.after(&request.body, body);
        self.flights.remove(place);
        self.answers = self.answers.saturating_add(1);
        let now = self.heard;
        self.used = now;
        // A device that has closed after each answer so far is waited for, so that its FIN does not cross the next request.
        let closes = self.answers == 1 && state.lanes.get(self.lane).is_some_and(Lane::closes_after_answers);
        let gap = if closes { self.gap.max(FIN_WITHIN) } else { self.gap };
        if !gap.is_zero() {
            self.not_before = Some(now + gap);
        }
        if let Some(request) = state.finish(key) {
            self.answered(&request, body, state, now);
        }
        (after == After::Close).then_some(Ended::Closed)
    }

    pub(super) fn answered(&mut self, request: &Request, body: &[u8], state: &mut State, now: Instant) {
        let is_exception = body.get(1).is_some_and(|function| function & 0x80 != 0);
        if let (Some(read), false) = (request.read, is_exception) {
            let ttl = modbus::ask(&request.body).map_or(Duration::ZERO, |ask| rules::ttl(&self.hub.spec, &ask));
            if !ttl.is_zero() && state.epoch(read[0]) == request.epoch {
                state.cache.put(read, body, ttl, now);
            }
        }
        if let Some(lane) = state.lanes.get_mut(self.lane) {
            lane.answers();
            if !is_exception {
                lane.last_read = request.read.or(lane.last_read);
            }
            if std::mem::take(&mut lane.unwell) {
                self.hub.report.mended(&self.hub.device(self.lane));
            }
            if lane.troubled.remove(&request.unit) {
                self.hub.report.mended(&self.place_of(request));
            }
        }
        if state.latency.is_empty() {
            self.hub.attention.notify_one(); // from now on, somebody counts
        }
        for waiter in request.each() {
            state.latency.add(now - waiter.asked, now);
            if let Some(units) = &mut state.units {
                units.answered(waiter.unit, is_exception);
            }
        }
        self.post.answer_all(request, body);
    }

    /// Where a request's trouble is, for a person.
    pub(super) fn place_of(&self, request: &Request) -> String {
        let device = self.hub.device(self.lane);
        request.unit.map_or_else(|| device.clone(), |unit| format!("{device} unit {unit}"))
    }
}
