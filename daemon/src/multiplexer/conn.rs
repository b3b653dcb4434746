//! An open connection to a device: sends what waits, and finds for each answer the request that it answers.

mod matching;
mod times;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::client::{SMALL, recharge};
use super::counters::C;
use super::hub::Hub;
use super::io::{Io, News, silence};
use super::post::Post;
use super::protocol::{Intent, Refusal, Scan, Side, Tag};
use super::request::Request;
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

/// After this, a connection is looked at before it is used again.
const JUST_NOW: Duration = Duration::from_millis(1);
/// A connection that is closed sooner, and without an answer, is of no use.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Why a connection is over.
pub(super) enum Ended {
    /// Nobody needs it.
    Unused,
    /// The device has closed it, and nothing was on its way; or its last answer said so.
    Closed,
    /// The device has closed it, or it broke, with requests on their way.
    Cut { why: String },
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
    /// What is accounted for of these.
    charged: usize,
    flights: VecDeque<Flight>,
    /// Answers that are still to be given: the device gets its next request first, so that it works meanwhile.
    post: Post<'a>,
    next_tag: Tag,
    /// Tags of requests that were given up: their answers may still come.
    late: Vec<Tag>,
    /// It has sent an answer that nobody waited for, so its tags are not used twice.
    is_odd: bool,
    /// It is not used for more.
    leaving: bool,
    silent: u32,
    /// How many of its answers were right.
    answers: u32,
    not_before: Option<Instant>,
    /// The pause between an answer and the next request.
    gap: Duration,
    /// When the device is looked after, or the connection is closed, if nothing happens before.
    rests_until: Option<Instant>,
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
            charged: 0,
            flights: VecDeque::new(),
            post: Post::new(hub),
            next_tag: fastrand::u16(..),
            late: Vec::new(),
            is_odd: false,
            leaving: false,
            silent: 0,
            answers: 0,
            not_before: None,
            gap: hub.spec.request_gap.0.max(hub.spec.serial.as_ref().map_or(Duration::ZERO, silence)),
            rests_until: None,
            heard: now,
            used: now,
            opened: now,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
        }
    }

    /// Whether it was closed before anything could be asked. One that is silent when asked, or closes then, is there: it may be
    /// one unit that is off, or one client's request that it does not like.
    pub(super) fn was_useless(&self) -> bool {
        self.written == 0 && self.answers == 0 && self.opened.elapsed() < AT_ONCE
    }

    /// Whether the device has closed it without ever answering.
    pub(super) fn was_turned_away(&self, ended: &Ended) -> bool {
        self.answers == 0 && matches!(ended, Ended::Closed | Ended::Cut { .. })
    }

    pub(super) fn is_serial(&self) -> bool {
        self.io.is_serial()
    }

    /// Whether it has answered once, and was closed by the device then; nothing, if that can't be told.
    pub(super) fn was_for_one(&self, ended: &Ended) -> Option<bool> {
        match (self.answers, ended) {
            (1, Ended::Closed) if self.used.elapsed() < AT_ONCE => Some(true),
            (0 | 1, _) => None,
            _ => Some(false),
        }
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
            self.post.send();
            if !self.has_come(self.next_time(), cx) {
                return self.account();
            }
        }
    }

    /// Accounts for what it holds. A device whose answer does not fit into what is left of the memory has given none.
    fn account(&mut self) -> Poll<Ended> {
        let bytes = self.input.len() + self.out.len();
        recharge(&self.hub.pool.budget, &mut self.charged, if bytes > SMALL { bytes } else { 0 });
        if self.input.len() > SMALL && self.hub.pool.budget.is_spent() {
            let why = "the memory for what is on its way (buffer_total) is used up".to_owned();
            return Poll::Ready(Ended::Lost { why, refusal: Refusal::BadAnswer });
        }
        Poll::Pending
    }

    fn lost(&self, why: &str) -> Ended {
        if self.flights.is_empty() {
            return Ended::Closed;
        }
        Ended::Cut { why: format!("{why} before it had answered") }
    }

    /// The device has closed.
    fn at_its_end(&mut self) -> Ended {
        if !self.hub.by_tag && !self.flights.is_empty() && self.hub.protocol.is_whole_at_end(&self.input, &self.scan) {
            let input = std::mem::take(&mut self.input);
            if let Err(ended) = self.parse(&input, true) {
                return ended;
            }
        }
        self.lost("the device has closed the connection")
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
        if free > 0
            && self.flights.is_empty()
            && state.lanes.get(self.lane)?.queue.len() > 0
            && let Some(ended) = self.look_before_asking(now)
        {
            return Some(ended);
        }
        while free > 0 {
            let Some(key) = state.take(self.lane, self.link, now, &mut abandoned) else { break };
            self.launch(key, &state, now);
            free -= 1;
        }
        if self.flights.is_empty() && free > 0 && self.check_at().is_some_and(|at| at <= now) {
            match self.health_check(&mut state) {
                Some(key) => {
                    self.launch(key, &state, now);
                    free -= 1;
                }
                None => self.used = now,
            }
        }
        let lane = state.lanes.get_mut(self.lane)?;
        let (is_empty, is_retired) = (lane.queue.len() == 0, hub.is_retired());
        if let Some(link) = lane.links.get_mut(self.link) {
            link.free = free;
            link.passed_over = self.flights.is_empty() && !is_empty;
        }
        hub.show(&state);
        drop(state);
        hub.count(C::Abandoned, abandoned);
        let rests = self.flights.is_empty() && is_empty && self.not_before.is_none();
        self.rests_until = [self.check_at(), self.close_at()].into_iter().flatten().min().filter(|_| rests);
        let is_over = self.flights.is_empty() && (self.leaving || (is_retired && is_empty));
        (is_over || (rests && self.close_at().is_some_and(|at| at <= now))).then_some(Ended::Unused)
    }

    /// Whether the connection is good for a request. Without tags, what has come is not its answer, and everything after it
    /// would be given to whoever asked next. With them, a device that has closed after its last answer loses a request only if
    /// that was just now; so this is not asked between requests that follow each other.
    fn look_before_asking(&self, now: Instant) -> Option<Ended> {
        if self.hub.by_tag && now - self.used < JUST_NOW {
            return None;
        }
        match self.io.news() {
            News::Bytes if !self.hub.by_tag => Some(self.unasked()),
            News::None | News::Bytes => None,
            News::End => Some(Ended::Closed),
        }
    }

    fn unasked(&self) -> Ended {
        self.hub.count(C::DroppedAnswers, 1);
        Ended::Lost { why: "it has sent something that it was not asked for".to_owned(), refusal: Refusal::BadAnswer }
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
            self.io.forget_noise();
        }
        protocol.wrap(tag, &request.body, &mut self.out);
        let broadcast = protocol.is_modbus() && !protocol.is_tagged() && request.unit == Some(0);
        self.flights.push_back(Flight { key, tag, sent: now, start, broadcast });
        if !self.hub.by_tag {
            self.scan = protocol.awaits(&request.body);
        }
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
        let (why, refusal) = match ended {
            Ended::Lost { why, refusal } => (why.as_str(), *refusal),
            Ended::Cut { why } => (why.as_str(), Refusal::Silent),
            Ended::Unused | Ended::Closed => ("the device has closed the connection", Refusal::Silent),
        };
        let now = Instant::now();
        self.post.send();
        let mut post = Post::new(self.hub);
        let mut state = self.hub.state();
        // From the last to the first, because each goes to the front.
        while let Some(flight) = self.flights.pop_back() {
            if flight.start >= self.written && !state.requests.get(flight.key).is_none_or(Request::is_health_check) {
                state.put_back(flight.key, now);
            } else {
                self.fail(flight.key, why, refusal, &mut state, &mut post, now);
            }
        }
        self.hub.show(&state);
        drop(state);
        post.send();
        self.hub.attention.notify_one();
    }

    /// A request that was sent has got no answer: a read is sent again, if it may be.
    fn fail(&self, key: usize, why: &str, refusal: Refusal, state: &mut State, post: &mut Post<'_>, now: Instant) {
        let Some(request) = state.requests.get_mut(key) else { return };
        let abandoned = request.forget_gone();
        self.hub.count(C::Abandoned, abandoned);
        if request.intent == Intent::Read && request.tries < self.hub.spec.retry_reads && request.waiters() > 0 {
            request.tries += 1;
            self.hub.count(C::Retries, 1);
            self.hub.attention.notify_one(); // the keeper sees to how long it waits
            return state.put_again(key, now);
        }
        let Some(request) = state.finish(key) else { return };
        let text = format!("device {}: {} is not answered: {why}", self.hub.device(self.lane), self.hub.summary(&request.body));
        if let Some(lane) = state.lanes.get_mut(self.lane)
            && request.waiters() > 0
        {
            lane.troubled.insert(request.unit);
            self.hub.report.failed(&self.place_of(&request), &text);
        }
        state.note_failed(&request);
        post.refuse_all(&request, refusal);
    }
}

impl Flight {
    /// When its answer is overdue, or it is carried out.
    fn due(&self, hub: &Hub) -> Instant {
        self.sent + if self.broadcast { TURNAROUND } else { hub.spec.timeout.0 }
    }
}

impl Drop for Conn<'_> {
    fn drop(&mut self) {
        recharge(&self.hub.pool.budget, &mut self.charged, 0);
    }
}
