//! An open connection to a device: sends what waits, and finds for each answer the request that it answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::counters::C;
use super::hub::Hub;
use super::io::{Io, silence};
use super::post::Post;
use super::protocol::modbus;
use super::protocol::{After, Intent, Refusal, Scan, Side, Split, Tag};
use super::request::Request;
use super::rules;
use super::state::State;

/// What is read at once.
const READ: usize = 64 << 10;
/// After how many silent timeouts in a row, without a byte of the device, a connection is given up.
const MOST_SILENT: u32 = 2;
/// How many answers may be overdue before a connection is given up; each keeps a transaction id from being used.
const MOST_LATE: usize = 256;
/// How long a device on a serial line gets for a request that it does not answer, because it is for all.
const TURNAROUND: Duration = Duration::from_millis(100);
/// After how much silence a frame of unknown length is whole; adapters hand on what they get in such pieces.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection that is closed sooner, and without an answer, is of no use.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Why a connection is over.
pub(super) enum Ended {
    /// Nobody needs it.
    Unused,
    /// The device has closed it, and nothing was on its way; or its last answer said so.
    Closed,
    /// It is of no use any more. `refusal` is for those whose request was on its way.
    Lost { why: String, refusal: Refusal },
}

/// A request that was sent.
struct Flight {
    key: usize,
    tag: Tag,
    sent: Instant,
    /// Where its first byte is in all that was to be sent.
    start: u64,
    /// Nobody answers it.
    broadcast: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "what has happened on a connection comes in any combination")]
pub(super) struct Conn<'a> {
    hub: &'a Hub,
    lane: usize,
    link: usize,
    io: Io,
    most: usize,
    /// What has come and is no whole answer yet.
    input: Vec<u8>,
    scan: Scan,
    /// What the device did not take yet.
    out: Vec<u8>,
    out_at: usize,
    /// How many bytes it has taken.
    written: u64,
    flights: VecDeque<Flight>,
    next_tag: Tag,
    /// Tags of requests that were given up: their answers may still come.
    late: Vec<Tag>,
    /// It has sent an answer that nobody waited for, so its tags are not used twice.
    is_odd: bool,
    /// It is not used for more.
    leaving: bool,
    silent: u32,
    has_sent: bool,
    has_answered: bool,
    not_before: Option<Instant>,
    /// The pause between an answer and the next request.
    gap: Duration,
    /// When a byte came last, and when something was answered or sent last.
    heard: Instant,
    used: Instant,
    opened: Instant,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl<'a> Conn<'a> {
    pub(super) fn new(hub: &'a Hub, lane: usize, link: usize, io: Io) -> Self {
        let now = Instant::now();
        Self {
            hub,
            lane,
            link,
            io,
            most: hub.protocol.most(hub.spec.max_message.0 as usize),
            input: Vec::new(),
            scan: Scan::new(Side::Upstream),
            out: Vec::new(),
            out_at: 0,
            written: 0,
            flights: VecDeque::new(),
            next_tag: fastrand::u16(..),
            late: Vec::new(),
            is_odd: false,
            leaving: false,
            silent: 0,
            has_sent: false,
            has_answered: false,
            not_before: None,
            gap: hub.spec.request_gap.0.max(hub.spec.serial.as_ref().map_or(Duration::ZERO, silence)),
            heard: now,
            used: now,
            opened: now,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
        }
    }

    /// Whether it was asked something and has never answered, or was closed before it could be asked.
    pub(super) fn was_useless(&self) -> bool {
        !self.has_answered && (self.has_sent || self.opened.elapsed() < AT_ONCE)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let pool = Arc::clone(&self.hub.pool);
        let mut scratch = pool.take_scratch();
        if scratch.len() < READ {
            scratch.resize(READ, 0);
        }
        let polled = self.work(cx, &mut scratch);
        pool.put_scratch(scratch);
        polled
    }

    fn work(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Ended> {
        while let Poll::Ready(read) = self.io.poll_read(cx, scratch.get_mut(..READ).unwrap_or_default()) {
            let ended = match read {
                Ok(0) => Some(self.at_its_end()),
                Ok(n) => self.received(scratch.get(..n).unwrap_or_default()).err(),
                Err(error) => Some(self.lost(&crate::text::reason(&error))),
            };
            if let Some(ended) = ended {
                return Poll::Ready(ended);
            }
        }
        loop {
            let now = Instant::now();
            if let Some(ended) = self.look_at_times(now) {
                return Poll::Ready(ended);
            }
            if let Some(ended) = self.take(cx, now) {
                return Poll::Ready(ended);
            }
            if let Err(error) = self.flush(cx) {
                return Poll::Ready(self.lost(&crate::text::reason(&error)));
            }
            if !self.has_come(self.next_time(), cx) {
                return Poll::Pending;
            }
        }
    }

    fn lost(&self, why: &str) -> Ended {
        if self.flights.is_empty() {
            return Ended::Closed;
        }
        Ended::Lost { why: format!("{why} before it had answered"), refusal: Refusal::Silent }
    }

    /// The device has closed.
    fn at_its_end(&mut self) -> Ended {
        if !self.hub.by_tag && !self.flights.is_empty() && self.hub.protocol.is_whole_at_end(&self.input, &self.scan) {
            let input = std::mem::take(&mut self.input);
            if let Err(ended) = self.parse(&input, Some(input.len())) {
                return ended;
            }
        }
        self.lost("the device has closed the connection")
    }

    /// Looks for answers in what has come.
    fn received(&mut self, came: &[u8]) -> Result<(), Ended> {
        self.hub.count(C::TargetRxBytes, came.len() as u64);
        self.heard = Instant::now();
        self.silent = 0;
        if self.input.is_empty() {
            let used = self.parse(came, None)?;
            self.input.extend_from_slice(came.get(used..).unwrap_or_default());
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(came);
            let used = self.parse(&input, None)?;
            if used < input.len() {
                input.drain(..used);
                self.input = input;
            }
        }
        Ok(())
    }

    /// Takes the answers off the front of `came`; the answer is how many bytes these were. With `whole`, the first so many
    /// bytes are an answer, whatever they say.
    fn parse(&mut self, came: &[u8], mut whole: Option<usize>) -> Result<usize, Ended> {
        let hub = self.hub;
        let mut post = Post::new(hub);
        let mut state = hub.state();
        let mut used = 0;
        let mut ended = None;
        while let Some(rest) = came.get(used..).filter(|rest| !rest.is_empty() && ended.is_none()) {
            if !hub.by_tag && self.flights.is_empty() {
                hub.count(C::DroppedAnswers, 1);
                used = came.len();
                // A line may have noise. On TCP, the next answer would not be known from this.
                if !self.io.is_serial() {
                    ended = Some(Ended::Lost { why: "it has sent something that it was not asked for".to_owned(), refusal: Refusal::BadAnswer });
                }
                break;
            }
            let split = whole
                .take()
                .map_or_else(|| hub.protocol.split(rest, &mut self.scan, self.most), |whole| Ok(Split::Frame(whole)));
            match split {
                Ok(Split::Frame(length)) => {
                    used += length;
                    let frame = rest.get(..length).unwrap_or_default();
                    self.scan = Scan::new(Side::Upstream);
                    ended = self.answer(frame, &mut state, &mut post);
                }
                Ok(Split::More | Split::Prompt(_)) => break,
                Err(error) => {
                    hub.count(C::DroppedAnswers, 1);
                    ended = Some(Ended::Lost { why: format!("its answer is none of {}: {error}", hub.protocol.name()), refusal: Refusal::BadAnswer });
                }
            }
        }
        hub.show(&state);
        drop(state);
        post.send();
        ended.map_or(Ok(used), Err)
    }

    /// Finds the request that a frame answers.
    fn answer(&mut self, frame: &[u8], state: &mut State, post: &mut Post<'_>) -> Option<Ended> {
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
            if hub.by_tag {
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
        self.has_answered = true;
        let now = self.heard;
        self.used = now;
        if !self.gap.is_zero() {
            self.not_before = Some(now + self.gap);
        }
        if let Some(request) = state.finish(key) {
            self.answered(&request, body, state, post, now);
        }
        (after == After::Close).then_some(Ended::Closed)
    }

    fn answered(&self, request: &Request, body: &[u8], state: &mut State, post: &mut Post<'_>, now: Instant) {
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
        post.answer_all(request, body, now);
    }

    /// Where a request's trouble is, for a person.
    fn place_of(&self, request: &Request) -> String {
        let device = self.hub.device(self.lane);
        request.unit.map_or_else(|| device.clone(), |unit| format!("{device} unit {unit}"))
    }

    /// What is due now: answers that did not come, a pause that ends a frame, a connection that nobody uses.
    fn look_at_times(&mut self, now: Instant) -> Option<Ended> {
        if self.io.is_serial() && !self.input.is_empty() && self.heard + PAUSE <= now {
            let input = std::mem::take(&mut self.input);
            if self.hub.protocol.is_whole_after_silence(&input, &self.scan) {
                if let Err(ended) = self.parse(&input, Some(input.len())) {
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
            if !self.hub.by_tag || self.silent >= MOST_SILENT || self.late.len() >= MOST_LATE {
                return Some(Ended::Lost { why, refusal: Refusal::Silent });
            }
            let flight = self.flights.pop_front()?;
            self.late.push(flight.tag);
            let mut post = Post::new(self.hub);
            let mut state = self.hub.state();
            let is_health_check = state.requests.get(flight.key).is_some_and(Request::is_health_check);
            self.fail(flight.key, Refusal::Silent, &mut state, &mut post, now);
            drop(state);
            post.send();
            if is_health_check {
                return Some(Ended::Lost { why: format!("{why} to the health check"), refusal: Refusal::Silent });
            }
        }
        let is_idle = self.flights.is_empty() && self.out.is_empty();
        match self.hub.spec.close_when_idle {
            Some(idle) if is_idle && self.used + idle.0 <= now => Some(Ended::Unused),
            _ => None,
        }
    }

    /// A request for all is carried out.
    fn confirm_broadcast(&mut self) {
        let Some(flight) = self.flights.pop_front() else { return };
        let mut post = Post::new(self.hub);
        if let Some(request) = self.hub.state().finish(flight.key) {
            post.confirm(&request, modbus::success(&request.body).as_deref());
        }
        post.send();
    }

    /// When there is something to do without anything happening.
    fn next_time(&self) -> Option<Instant> {
        let spec = &self.hub.spec;
        let is_idle = self.flights.is_empty();
        let mut next = self.flights.front().map(|flight| flight.due(self.hub));
        let mut also = |at: Option<Instant>| next = [next, at].into_iter().flatten().min();
        also(self.not_before);
        also(spec.close_when_idle.filter(|_| is_idle).map(|idle| self.used + idle.0));
        also(self.check_at().filter(|_| is_idle));
        also(
            (self.io.is_serial() && !self.input.is_empty() && !is_idle)
                .then(|| self.heard + PAUSE)
                .filter(|at| *at > Instant::now()),
        );
        next
    }

    /// When the device is looked after, if nothing is answered before.
    fn check_at(&self) -> Option<Instant> {
        let interval = self.hub.spec.health_check_interval.0;
        (self.hub.protocol.is_modbus() && !interval.is_zero()).then(|| self.used + interval)
    }

    /// Whether `at` has come; if not, the task is woken then. The timer is moved only to an earlier time: what is due moves
    /// back with every answer, and moving a timer each time would cost more than being woken once in a while for nothing.
    fn has_come(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> bool {
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

    /// Takes requests from the queue, as many as may be on their way.
    fn take(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<Ended> {
        if self.not_before.is_some_and(|at| at <= now) {
            self.not_before = None;
        }
        let hub = self.hub;
        let most = hub.spec.in_flight as usize;
        let mut free = if self.leaving || self.not_before.is_some() { 0 } else { most.saturating_sub(self.flights.len()) };
        let mut abandoned = 0;
        let mut state = hub.state();
        state.lanes.get_mut(self.lane)?.watch(self.link, cx);
        while free > 0 {
            let Some(key) = state.take(self.lane, self.link, now, &mut abandoned) else { break };
            self.launch(key, &state, now);
            free -= 1;
        }
        let checks = self.flights.is_empty() && free > 0 && self.link == 0 && self.check_at().is_some_and(|at| at <= now);
        if checks && let Some(key) = self.health_check(&mut state) {
            self.launch(key, &state, now);
            free -= 1;
        } else if checks {
            self.used = now;
        }
        let lane = state.lanes.get_mut(self.lane)?;
        if let Some(link) = lane.links.get_mut(self.link) {
            link.free = free;
        }
        let is_over = self.flights.is_empty() && (self.leaving || (hub.is_retired() && lane.queue.len() == 0));
        hub.show(&state);
        hub.count(C::Abandoned, abandoned);
        is_over.then_some(Ended::Unused)
    }

    /// A read that shows whether the device answers.
    fn health_check(&self, state: &mut State) -> Option<usize> {
        let spec = self.hub.spec.probe.as_ref().filter(|_| self.lane == 0);
        let of_spec = spec.map(|probe| {
            let ([a, b], [c, d]) = (probe.address.to_be_bytes(), probe.count.to_be_bytes());
            [probe.unit, probe.function, a, b, c, d]
        });
        let lane = state.lanes.get_mut(self.lane)?;
        let read = of_spec.or(lane.last_read)?;
        lane.occupy(read[0]);
        let mut request = Request::of_health(read, self.lane);
        request.phase = super::request::Phase::Sent(self.link);
        Some(state.requests.insert(request))
    }

    /// Puts a request into what is to be sent.
    fn launch(&mut self, key: usize, state: &State, now: Instant) {
        let Some(request) = state.requests.get(key) else { return };
        let protocol = self.hub.protocol;
        let tag = if protocol.is_tagged() { self.new_tag() } else { 0 };
        let start = self.written + (self.out.len() - self.out_at) as u64;
        if self.flights.is_empty() {
            self.io.forget_input();
        }
        protocol.wrap(tag, &request.body, &mut self.out);
        let broadcast = protocol.is_modbus() && !protocol.is_tagged() && request.unit == Some(0);
        self.flights.push_back(Flight { key, tag, sent: now, start, broadcast });
        if !self.hub.by_tag {
            self.scan = protocol.awaits(&request.body);
        }
        self.has_sent = true;
        self.used = now;
        self.hub.count(C::Sent, 1);
    }

    /// A transaction id that nothing on its way has, and nothing that may still be answered.
    fn new_tag(&mut self) -> Tag {
        loop {
            let tag = self.next_tag;
            self.next_tag = tag.wrapping_add(1);
            // A device that has answered twice may do so later than all ids take to be used up: then a new connection is taken.
            self.leaving |= self.is_odd && tag == Tag::MAX;
            if !self.late.contains(&tag) && !self.flights.iter().any(|flight| flight.tag == tag) {
                return tag;
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        while let Some(left) = self.out.get(self.out_at..).filter(|left| !left.is_empty()) {
            match self.io.poll_write(cx, left)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => {
                    self.out_at += n;
                    self.written += n as u64;
                    self.hub.count(C::TargetTxBytes, n as u64);
                }
            }
        }
        if self.out.capacity() > READ {
            self.out = Vec::new();
        }
        self.out.clear();
        self.out_at = 0;
        Ok(())
    }

    /// Sees to the requests that were on their way when the connection ended: what was not sent waits for another one, and a
    /// read is sent again.
    pub(super) fn settle(&mut self, ended: &Ended) {
        let refusal = if let Ended::Lost { refusal, .. } = ended { *refusal } else { Refusal::Silent };
        let now = Instant::now();
        let mut post = Post::new(self.hub);
        let mut state = self.hub.state();
        // From the last to the first, because each goes to the front.
        while let Some(flight) = self.flights.pop_back() {
            if flight.start >= self.written && !state.requests.get(flight.key).is_none_or(Request::is_health_check) {
                state.put_back(flight.key, now);
            } else {
                self.fail(flight.key, refusal, &mut state, &mut post, now);
            }
        }
        self.hub.show(&state);
        drop(state);
        post.send();
    }

    /// A request that was sent has got no answer: a read is sent again, if it may be.
    fn fail(&self, key: usize, refusal: Refusal, state: &mut State, post: &mut Post<'_>, now: Instant) {
        let Some(request) = state.requests.get_mut(key) else { return };
        let abandoned = request.forget_gone();
        self.hub.count(C::Abandoned, abandoned);
        if request.intent == Intent::Read && request.tries < self.hub.spec.retry_reads && request.waiters() > 0 {
            request.tries += 1;
            self.hub.count(C::Retries, 1);
            return state.put_back(key, now);
        }
        let Some(request) = state.finish(key) else { return };
        let text = format!("device {}: {} got no answer", self.hub.device(self.lane), self.hub.summary(&request.body));
        if let Some(lane) = state.lanes.get_mut(self.lane)
            && request.waiters() > 0
        {
            lane.troubled.insert(request.unit);
            self.hub.report.failed(&self.place_of(&request), &text);
        }
        if let Some(units) = &mut state.units {
            request.each().for_each(|waiter| units.failed(waiter.unit));
        }
        post.refuse_all(&request, refusal);
    }
}

impl Flight {
    /// When its answer is overdue, or it is carried out.
    fn due(&self, hub: &Hub) -> Instant {
        self.sent + if self.broadcast { TURNAROUND } else { hub.spec.timeout.0 }
    }
}
