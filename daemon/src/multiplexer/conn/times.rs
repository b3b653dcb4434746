//! What is due on a connection, and when.

use std::task::Context;

use tokio::time::Instant;

use super::super::post::Post;
use super::super::protocol::{Refusal, modbus};
use super::super::request::Request;
use super::{Conn, Ended, MOST_LATE, MOST_SILENT, PAUSE, TURNAROUND};

impl Conn<'_> {
    /// What is due now: answers that did not come, a pause that ends a frame, a connection that nobody uses.
    pub(super) fn look_at_times(&mut self, now: Instant) -> Option<Ended> {
        if self.io.is_serial() && !self.input.is_empty() && self.heard + PAUSE <= now {
            let input = std::mem::take(&mut self.input);
            if self.hub.protocol.is_whole_after_silence(&input, &self.scan) {
                if let Err(ended) = self.parse(&input, true) {
                    return Some(ended);
                }
            } else {
                self.input = input;
            }
        }
        while let Some(flight) = self.flights.front().filter(|flight| flight.due(self.hub) <= now) {
            if flight.broadcast {
                self.confirm_broadcast();
                continue;
            }
            self.silent += 1;
            let why = format!("no answer within {}", self.hub.spec.timeout);
            // What has begun to come and does not go on would be taken for the beginning of the next answer.
            let is_unsure = !self.hub.by_tag || !self.input.is_empty() || self.silent >= MOST_SILENT || self.late.len() >= MOST_LATE;
            self.note_health_check(&why);
            if is_unsure && !self.io.is_serial() {
                return Some(Ended::Lost { why, refusal: Refusal::Silent });
            }
            let flight = self.flights.pop_front()?;
            if self.io.is_serial() {
                // Another connection would be the same line. What still comes is given the time for that.
                self.input = Vec::new();
                self.not_before = Some(now + self.gap.max(TURNAROUND));
            } else {
                self.late.push(flight.tag);
            }
            let mut post = Post::new(self.hub);
            let mut state = self.hub.state();
            let is_health_check = state.requests.get(flight.key).is_some_and(Request::is_health_check);
            self.fail(flight.key, &why, Refusal::Silent, &mut state, &mut post, now);
            drop(state);
            post.send();
            if is_health_check && !self.io.is_serial() {
                return Some(Ended::Lost { why: format!("{why} to the health check"), refusal: Refusal::Silent });
            }
        }
        None
    }

    /// Says that the device is not well, if it is that what was not answered asked for.
    fn note_health_check(&self, why: &str) {
        let Some(key) = self.flights.front().map(|flight| flight.key) else { return };
        let mut state = self.hub.state();
        if !state.requests.get(key).is_some_and(Request::is_health_check) {
            return;
        }
        if let Some(lane) = state.lanes.get_mut(self.lane) {
            lane.unwell = true;
        }
        drop(state);
        let device = self.hub.device(self.lane);
        self.hub.report.failed(&device, &format!("device {device}: {why} to the health check"));
    }

    /// A request for all is carried out.
    pub(super) fn confirm_broadcast(&mut self) {
        let Some(flight) = self.flights.pop_front() else { return };
        let mut post = Post::new(self.hub);
        if let Some(request) = self.hub.state().finish(flight.key) {
            post.confirm(&request, modbus::success(&request.body).as_deref());
        }
        post.send();
    }

    /// When there is something to do without anything happening.
    pub(super) fn next_time(&self) -> Option<Instant> {
        let mut next = self.flights.front().map(|flight| flight.due(self.hub));
        let mut also = |at: Option<Instant>| next = [next, at].into_iter().flatten().min();
        also(self.not_before);
        also(self.rests_until);
        let may_be_whole = self.io.is_serial() && !self.input.is_empty() && !self.flights.is_empty();
        also(may_be_whole.then(|| self.heard + PAUSE).filter(|at| *at > Instant::now()));
        next
    }

    /// When the device is looked after, if nothing is answered before. The first connection does that for all.
    pub(super) fn check_at(&self) -> Option<Instant> {
        let interval = self.hub.spec.health_check_interval.0;
        (self.link == 0 && self.hub.protocol.is_modbus() && !interval.is_zero()).then(|| self.used + interval)
    }

    /// When a connection that nobody uses is closed.
    pub(super) fn close_at(&self) -> Option<Instant> {
        self.hub.spec.close_when_idle.map(|idle| self.used + idle.0)
    }

    /// Whether `at` has come; if not, the task is woken then. The timer is moved only to an earlier time: what is due moves
    /// back with every answer, and moving a timer each time would cost more than being woken once in a while for nothing.
    pub(super) fn has_come(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(at) = at else { return false };
        if self.armed.is_none_or(|armed| at < armed) {
            self.timer.as_mut().reset(at);
            self.armed = Some(at);
        }
        let has_come = self.timer.as_mut().poll(cx).is_ready();
        if has_come {
            self.armed = None;
        }
        has_come
    }
}
