//! The way to one device: the requests that wait for it, and the connections that take them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::cache::ReadKey;
use super::queue::FairQueue;
use super::spec::MultiplexerSpec;
use crate::flow::Backoff;

/// The longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a request may wait for a device that can't be reached, so that one that is only starting is waited for.
pub(super) const GRACE: Duration = Duration::from_millis(700);
/// How long a device that closes after each answer is given to do so.
pub(super) const FIN_WITHIN: Duration = Duration::from_millis(50);
/// After how many timeouts a unit that is silent has another turn while others wait.
const SILENT_TURNS: u32 = 4;
/// A unit counts as one that others have to be protected from for so long after its last request.
const UNIT_COUNTS: Duration = Duration::from_secs(60);

/// The numbers of lanes. 0 is none.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// One device.
pub(super) struct Lane {
    /// Unlike that of any other.
    pub(super) number: u64,
    pub(super) queue: FairQueue,
    /// Nothing more will be asked.
    retired: bool,
    pub(super) links: Box<[Link]>,
    /// How many requests a connection takes at the same time.
    in_flight: usize,
    backoff: Backoff,
    /// How often in a row nobody could connect.
    failures: u32,
    /// Nobody could connect since it last answered; then nobody tries before that time.
    pub(super) down_until: Option<Instant>,
    units: Option<Box<Units>>,
    /// The read that was answered last.
    pub(super) last_read: Option<ReadKey>,
    /// Which of the addresses is used.
    pub(super) in_use: usize,
    /// It has not answered the last health check.
    pub(super) unwell: bool,
    /// When one of these was asked last.
    silent_sent: Option<Instant>,
    timeout: Duration,
    /// How many connections in a row the device has closed after their first answer.
    closed_after_one: u32,
    /// The units that have not answered lately; none for a protocol without units.
    pub(super) troubled: HashSet<Option<u8>>,
}

/// One connection to the device, or the place for one.
#[derive(Default)]
pub(super) struct Link {
    pub(super) state: LinkState,
    /// How many more requests it takes.
    pub(super) free: usize,
    /// It has nothing on its way, although something waits that is not for it.
    pub(super) passed_over: bool,
    /// It was woken, and has not looked yet.
    called: bool,
    waker: Option<Waker>,
    /// The device takes no more connections than there are: this one is not tried before that time.
    pub(super) not_before: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Not connected.
    #[default]
    Down,
    /// Being connected.
    Opening,
    /// Connected.
    Up,
    /// Its task is over.
    Ended,
}

/// What the units behind a gateway have on their way.
struct Units {
    sent: [u16; 256],
    seen: [Option<Instant>; 256],
    /// How many have asked lately, and when that was counted.
    several: bool,
    counted: Option<Instant>,
}

impl Lane {
    pub(super) fn new(spec: &MultiplexerSpec, is_modbus: bool) -> Self {
        let units = is_modbus.then(|| Box::new(Units { sent: [0; 256], seen: [None; 256], several: false, counted: None }));
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            queue: FairQueue::default(),
            retired: false,
            links: (0..spec.max_connections).map(|_| Link::default()).collect(),
            in_flight: spec.in_flight as usize,
            backoff: Backoff::new(spec.reconnect_backoff.0.max(Duration::from_millis(10)), LONGEST_PAUSE.max(spec.reconnect_backoff.0)),
            failures: 0,
            down_until: None,
            units,
            last_read: None,
            in_use: 0,
            unwell: false,
            silent_sent: None,
            timeout: spec.timeout.0,
            closed_after_one: 0,
            troubled: HashSet::new(),
        }
    }

    /// Wakes as many connections as are needed for what waits: those that are open before those that are being opened, and
    /// these before others.
    pub(super) fn call(&mut self, now: Instant) {
        let mut waiting = self.queue.len();
        for state in [LinkState::Up, LinkState::Opening, LinkState::Down] {
            for link in self.links.iter_mut().filter(|link| link.state == state) {
                if waiting == 0 {
                    return;
                }
                let free = match state {
                    LinkState::Up => link.free,
                    LinkState::Down if link.not_before.is_some_and(|at| at > now) => 0,
                    _ => self.in_flight,
                };
                if free > 0 {
                    link.call();
                    waiting = waiting.saturating_sub(free);
                }
            }
        }
    }

    /// Nothing more will be asked: whoever has nothing to do may end.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        self.links.iter_mut().for_each(Link::call);
    }

    /// Nothing waits any more. Whoever has waited for that, to rest or to end, is woken.
    fn emptied(&mut self) {
        let retired = self.retired;
        self.links.iter_mut().filter(|link| retired || link.passed_over).for_each(Link::call);
    }

    /// Takes all requests that `is_over` names out of the queue.
    pub(super) fn take_out(&mut self, is_over: impl Fn(usize) -> bool) -> Vec<usize> {
        let over = self.queue.take(is_over);
        if !over.is_empty() && self.queue.len() == 0 {
            self.emptied();
        }
        over
    }

    /// The connection's task looks: it is woken here.
    pub(super) fn watch(&mut self, link: usize, cx: &Context<'_>) {
        if let Some(link) = self.links.get_mut(link) {
            link.called = false;
            if link.waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
                link.waker = Some(cx.waker().clone());
            }
        }
    }

    /// Whether what waits is more than the other connections take.
    pub(super) fn needs(&self, link: usize) -> bool {
        let others = self.links.iter().enumerate().filter(|(i, _)| *i != link);
        let taken: usize = others
            .map(|(_, other)| match other.state {
                LinkState::Up => other.free,
                LinkState::Opening => self.in_flight,
                LinkState::Down | LinkState::Ended => 0,
            })
            .sum();
        self.queue.len() > taken
    }

    /// Before when a connection may not be opened.
    pub(super) fn may_open_at(&self, link: usize) -> Option<Instant> {
        self.down_until.max(self.links.get(link).and_then(|link| link.not_before))
    }

    pub(super) fn is_up(&self) -> bool {
        self.links.iter().any(|link| link.state == LinkState::Up)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.links.iter().all(|link| link.state == LinkState::Ended)
    }

    /// Whether a request that comes now has nothing to wait for. One failure may be a device that is just starting again.
    pub(super) fn is_hopeless(&self, now: Instant) -> bool {
        self.failures > 1 && !self.is_up() && self.down_until.is_some_and(|until| until > now + GRACE)
    }

    /// The device could not be reached, or has answered nothing: how long nobody tries.
    pub(super) fn failed(&mut self, link: usize, now: Instant) {
        let others_are_up = self.links.iter().enumerate().any(|(i, other)| i != link && other.state == LinkState::Up);
        if others_are_up {
            if let Some(link) = self.links.get_mut(link) {
                link.not_before = Some(now + LONGEST_PAUSE);
            }
        } else if self.down_until.is_none_or(|until| until <= now) {
            self.down_until = Some(now + self.backoff.pause());
            self.failures += 1;
        }
    }

    /// Whether the device seems to close its connection after each answer.
    pub(super) fn closes_after_answers(&self) -> bool {
        self.closed_after_one > 1
    }

    /// Notes whether a connection was closed after its first answer.
    pub(super) fn learn(&mut self, was_for_one: bool) {
        self.closed_after_one = if was_for_one { self.closed_after_one + 1 } else { 0 };
    }

    /// The device has answered.
    pub(super) fn answers(&mut self) {
        if self.down_until.take().is_some() {
            self.backoff.reset();
            self.failures = 0;
        }
    }

    /// Takes the first request that may be sent now. `unit_of` is the unit of a request.
    ///
    /// Where several units are behind the device, none of them may have everything: the last place is kept for another, so
    /// that one that is slow does not hold up the rest.
    pub(super) fn next(&mut self, unit_of: impl Fn(usize) -> u8, now: Instant) -> Option<usize> {
        if self.queue.len() == 0 {
            return None;
        }
        let places = self.links.iter().filter(|link| link.state == LinkState::Up).count() * self.in_flight;
        let found = match &mut self.units {
            None => self.queue.pop(|_| true)?,
            Some(units) => {
                let most = if places > 1 && units.are_several(now) { places - 1 } else { usize::MAX };
                let may_go = |request| usize::from(units.sent(unit_of(request))) < most;
                let is_silent = |request| self.troubled.contains(&Some(unit_of(request)));
                let had_a_turn = self.silent_sent.is_some_and(|at| now - at < self.timeout * SILENT_TURNS);
                // One that is silent takes a whole timeout each time: while others wait, it has one turn in a few.
                let first = if had_a_turn { self.queue.pop(|request| may_go(request) && !is_silent(request)) } else { None };
                let found = match first {
                    Some(found) => found,
                    None => self.queue.pop(may_go)?,
                };
                if is_silent(found) {
                    self.silent_sent = Some(now);
                }
                units.add(unit_of(found));
                found
            }
        };
        if self.queue.len() == 0 {
            self.emptied();
        }
        Some(found)
    }

    /// Notes that a unit is asked for.
    pub(super) fn see(&mut self, unit: u8, now: Instant) {
        let Some(units) = &mut self.units else { return };
        if let Some(seen) = units.seen.get_mut(usize::from(unit)) {
            let is_new = seen.replace(now).is_none_or(|at| now - at >= UNIT_COUNTS);
            if is_new {
                units.counted = None;
            }
        }
    }

    /// A request is not on its way any more.
    pub(super) fn release(&mut self, unit: u8) {
        if let Some(sent) = self.units.as_mut().and_then(|units| units.sent.get_mut(usize::from(unit))) {
            *sent = sent.saturating_sub(1);
        }
    }

    /// A request is sent that was not in the queue.
    pub(super) fn occupy(&mut self, unit: u8) {
        if let Some(units) = &mut self.units {
            units.add(unit);
        }
    }
}

impl Link {
    fn call(&mut self) {
        if !self.called {
            self.called = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }
}

impl Units {
    fn sent(&self, unit: u8) -> u16 {
        self.sent.get(usize::from(unit)).copied().unwrap_or(0)
    }

    fn add(&mut self, unit: u8) {
        if let Some(sent) = self.sent.get_mut(usize::from(unit)) {
            *sent += 1;
        }
    }

    /// Whether several units were asked for lately. Counted when one comes, and otherwise once a second at most.
    fn are_several(&mut self, now: Instant) -> bool {
        if self.counted.is_none_or(|at| now - at > Duration::from_secs(1)) {
            let lately = |at: &Option<Instant>| at.is_some_and(|at| now - at < UNIT_COUNTS);
            self.several = self.seen.iter().filter(|at| lately(at)).count() > 1;
            self.counted = Some(now);
        }
        self.several
    }
}
