//! One connection to a device, or the place for one: connects when it is wanted, and again when it was lost.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::conn::{Conn, Ended};
use super::counters::C;
use super::desk::Desk;
use super::hub::Hub;
use super::io::Io;
use super::lane::{GRACE, Lane, LinkState};
use super::post::Post;
use super::protocol::Refusal;
use super::request::Phase;
use crate::net::Dialler;

/// How long the connections of the spec before may hold up those of this one.
const PREDECESSOR_WITHIN: Duration = Duration::from_secs(10);
/// For how long an address that did not answer is passed over while another does.
const PASSED_OVER: Duration = Duration::from_secs(30);

/// The place of a connection among those to its device. However its task ends, nobody goes on waiting for it.
struct Place {
    hub: Arc<Hub>,
    desk: Arc<Desk>,
    lane: usize,
    link: usize,
}

/// Runs one connection for as long as the hub is wanted.
pub(super) async fn run(hub: Arc<Hub>, desk: Arc<Desk>, lane: usize, link: usize) {
    let place = Place { hub, desk, lane, link };
    if let Some(predecessor) = &place.hub.predecessor {
        let ended = tokio::time::timeout(PREDECESSOR_WITHIN, predecessor.cancelled());
        if place.unless_unneeded(ended).await.is_none() {
            return;
        }
    }
    let mut failed: Vec<(usize, Instant)> = Vec::new();
    let interval = place.hub.spec.health_check_interval.0;
    // The first connection looks after the device; it begins at once, so that a wrong address is seen at once.
    let mut check_at = (link == 0 && !interval.is_zero()).then(Instant::now);
    let mut last_end: Option<Instant> = None;
    while place.is_wanted(check_at, last_end).await {
        match place.unless_unneeded(place.open(&mut failed)).await {
            Some(Some(io)) => {
                place.serve(io).await;
                last_end = Some(Instant::now());
            }
            Some(None) => place.could_not(),
            None => return,
        }
        place.set(LinkState::Down);
        // A device that is to be left alone is not connected to for this.
        check_at = check_at.filter(|_| place.hub.spec.close_when_idle.is_none()).map(|_| Instant::now() + interval);
    }
}

impl Place {
    fn set(&self, link_state: LinkState) {
        let mut state = self.hub.state();
        let Some(lane) = state.lanes.get_mut(self.lane) else { return };
        if let Some(link) = lane.links.get_mut(self.link) {
            link.state = link_state;
            link.free = if link_state == LinkState::Up { self.hub.spec.in_flight as usize } else { 0 };
        }
        // What waits may need another connection now.
        lane.call(Instant::now());
    }

    /// Waits until a connection is wanted, and may be opened; `false`: never more.
    async fn is_wanted(&self, check_at: Option<Instant>, last_end: Option<Instant>) -> bool {
        let rest = last_end.max(self.desk.ended()).map(|end| end + self.hub.spec.connect_delay.0);
        let mut timer = pin!(sleep(Duration::ZERO));
        poll_fn(|cx| {
            loop {
                let now = Instant::now();
                let mut state = self.hub.state();
                let Some(lane) = state.lanes.get_mut(self.lane) else { return Poll::Ready(false) };
                lane.watch(self.link, cx);
                let is_asked = lane.needs(self.link);
                if self.hub.is_retired() && lane.queue.len() == 0 {
                    return Poll::Ready(false);
                }
                let may_at = lane.may_open_at(self.link).max(rest);
                let at = if is_asked { Some(may_at.unwrap_or(now)) } else { check_at.map(|at| may_at.map_or(at, |may| may.max(at))) };
                if at.is_some_and(|at| at <= now) {
                    if let Some(link) = lane.links.get_mut(self.link) {
                        link.state = LinkState::Opening;
                    }
                    return Poll::Ready(true);
                }
                drop(state);
                let Some(at) = at else { return Poll::Pending };
                timer.as_mut().reset(at);
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Does `work`, unless the hub is retired meanwhile and nobody waits for what comes of it.
    async fn unless_unneeded<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let unneeded = poll_fn(|cx| {
            let mut state = self.hub.state();
            let Some(lane) = state.lanes.get_mut(self.lane) else { return Poll::Ready(()) };
            lane.watch(self.link, cx);
            if self.hub.is_retired() && lane.queue.len() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            biased;
            done = work => Some(done),
            () = unneeded => None,
        }
    }

    /// A connection that the first request can be sent on.
    async fn open(&self, failed: &mut Vec<(usize, Instant)>) -> Option<Io> {
        let io = self.connect(failed).await?;
        if !self.hub.spec.delay.0.is_zero() {
            sleep(self.hub.spec.delay.0).await;
            io.forget_all(); // a greeting, say, which is no answer to anything
        }
        Some(io)
    }

    /// Connects to the first address that answers, those that failed lately last. What fails is counted and reported.
    async fn connect(&self, failed: &mut Vec<(usize, Instant)>) -> Option<Io> {
        let hub = &self.hub;
        if let Some(serial) = hub.spec.serial.as_ref().filter(|_| self.lane == 0 && hub.spec.target.is_none()) {
            return self.connected(Io::open(serial), 0);
        }
        let addresses = hub.addresses(self.lane);
        let now = Instant::now();
        failed.retain(|(_, at)| now - *at < PASSED_OVER);
        let mut order: Vec<usize> = (0..addresses.len()).collect();
        order.sort_by_key(|index| failed.iter().any(|(bad, _)| bad == index));
        let deadline = now + hub.spec.connect_timeout.0;
        let mut left = order.len() as u32;
        for index in order {
            let Some(address) = addresses.get(index) else { continue };
            let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            match (Dialler { timeout: share, keepalive: hub.spec.keepalive }).dial(address).await {
                Ok(stream) => {
                    hub.report.mended(address);
                    return self.connected(Ok(Io::Tcp(stream)), index);
                }
                Err(error) => {
                    hub.count(C::TargetErrConnect, 1);
                    failed.push((index, Instant::now()));
                    self.say_failed(address, &error.to_string());
                }
            }
        }
        None
    }

    /// That another connection of several can't be opened is how many devices are, and no trouble.
    fn say_failed(&self, place: &impl std::fmt::Display, error: &str) {
        if self.hub.state().lanes.get(self.lane).is_some_and(Lane::is_up) {
            tracing::debug!(flow = self.hub.id, "device: {error}; its other connections go on");
        } else {
            self.hub.report.failed(place, &format!("device: {error}"));
        }
    }

    fn connected(&self, opened: Result<Io, String>, index: usize) -> Option<Io> {
        match &opened {
            Ok(_) => {
                self.hub.count(C::TargetConnections, 1);
                if !self.hub.state().lanes.get(self.lane).is_some_and(|lane| lane.unwell) {
                    self.hub.report.mended(&self.hub.device(self.lane));
                }
                if self.lane == 0 && !self.hub.is_retired() {
                    self.hub.counters.set(C::TargetInUse as usize, index as u64 + 1);
                }
                if let Some(lane) = self.hub.state().lanes.get_mut(self.lane) {
                    lane.in_use = index;
                }
                tracing::debug!(flow = self.hub.id, "device {}: connected", self.hub.device(self.lane));
            }
            Err(error) => {
                self.hub.count(C::TargetErrConnect, 1);
                self.hub.report.failed(&self.hub.device(self.lane), error);
            }
        }
        opened.ok()
    }

    async fn serve(&self, io: Io) {
        self.set(LinkState::Up);
        self.hub.count(C::TargetActive, 1);
        let active = TargetActive(&self.hub);
        let mut conn = Conn::new(&self.hub, self.lane, self.link, io);
        let ended = poll_fn(|cx| conn.poll(cx)).await;
        drop(active);
        // Before its requests go back to the queue, so that they wait for another.
        self.set(LinkState::Opening);
        self.judge(&conn, &ended);
        if let (Some(was_for_one), Some(lane)) = (conn.was_for_one(&ended), self.hub.state().lanes.get_mut(self.lane)) {
            lane.learn(was_for_one);
        }
        conn.settle(&ended);
    }

    /// What the end of a connection says about the device.
    fn judge(&self, conn: &Conn<'_>, ended: &Ended) {
        let device = self.hub.device(self.lane);
        let why = match ended {
            Ended::Unused => return,
            Ended::Closed => "it closes connections at once",
            Ended::Lost { why, .. } | Ended::Cut { why } => why,
        };
        let is_closed = matches!(ended, Ended::Closed);
        self.hub.count(C::TargetLost, u64::from(!is_closed));
        // While it has another connection, it may not want a second one.
        let is_one_too_many = conn.was_turned_away(ended) && self.hub.state().lanes.get(self.lane).is_some_and(Lane::is_up);
        // A line that can be opened is there: who is silent on it is a unit.
        if is_one_too_many || (conn.was_useless() && !conn.is_serial()) {
            // Dialled again at once, it would be dialled for ever.
            self.failed();
            self.say_failed(&device, &format!("cannot use {device}: {why}"));
        } else if !is_closed {
            self.hub
                .report
                .happened(&format_args!("lost {device}"), &format!("device {device}: {why}; it is connected to again"));
        }
    }

    fn failed(&self) {
        if let Some(lane) = self.hub.state().lanes.get_mut(self.lane) {
            lane.failed(self.link, Instant::now());
        }
    }

    /// The device can't be reached: whoever has waited long enough is told, and the others wait for the next attempt.
    fn could_not(&self) {
        self.failed();
        let mut state = self.hub.state();
        if state.lanes.get(self.lane).is_none_or(Lane::is_up) {
            return;
        }
        if self.lane == 0 && !self.hub.is_retired() {
            self.hub.counters.set(C::TargetInUse as usize, 0);
        }
        let given_up = state.take_waiting(self.lane, Instant::now() - GRACE.min(self.hub.spec.timeout.0));
        for request in &given_up {
            state.note_failed(request);
        }
        self.hub.show(&state);
        drop(state);
        let mut post = Post::new(&self.hub);
        for request in &given_up {
            post.refuse_all(request, Refusal::NoPath);
        }
        post.send();
    }
}

struct TargetActive<'a>(&'a Hub);

impl Drop for TargetActive<'_> {
    fn drop(&mut self) {
        self.0.counters.sub(C::TargetActive as usize, 1);
    }
}

impl Drop for Place {
    /// What a task that was aborted, or has panicked, had on its way.
    fn drop(&mut self) {
        let mut post = Post::new(&self.hub);
        let mut state = self.hub.state();
        let own = |phase: &Phase| *phase == Phase::Sent(self.link);
        let left: Vec<usize> = state.requests.iter().filter(|(_, r)| r.lane == self.lane && own(&r.phase)).map(|(key, _)| key).collect();
        for key in left {
            if let Some(request) = state.finish(key) {
                post.refuse_all(&request, Refusal::Silent);
            }
        }
        if let Some(link) = state.lanes.get_mut(self.lane).and_then(|lane| lane.links.get_mut(self.link)) {
            link.state = LinkState::Ended;
            link.free = 0;
        }
        drop(state);
        post.send();
        if std::thread::panicking() {
            self.hub.broken.cancel();
        }
        self.hub.attention.notify_one();
    }
}

/// Waits until `at`, or for ever.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
