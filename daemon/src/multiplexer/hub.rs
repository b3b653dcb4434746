//! What all clients and all connections of a multiplexer share: its requests, and the ways to its devices.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{Charge, Client};
use super::counters::C;
use super::desk::Desk;
use super::lane::{Lane, LinkState};
use super::post::Post;
use super::protocol::modbus::{self, Ask};
use super::protocol::{Intent, Protocol, ProtocolError, Refusal, Tag};
use super::request::{Request, Waiter};
use super::rules::{self, Verdict};
use super::spec::{Match, MultiplexerSpec, OnBusy};
use super::state::State;
use crate::flow::{Counters, FlowContext, Report};
use crate::net::{Address, Network, RelayPool};

/// How many clients the status names.
const SHOWN_CLIENTS: usize = 100;

/// One attempt of a multiplexer.
pub(super) struct Hub {
    pub(super) id: String,
    pub(super) spec: MultiplexerSpec,
    pub(super) protocol: &'static dyn Protocol,
    pub(super) client_protocol: &'static dyn Protocol,
    /// The longest frame of a client.
    pub(super) most: usize,
    /// Whether a client may have several requests on their way.
    pub(super) several: bool,
    /// Whether answers are found by their tags.
    pub(super) by_tag: bool,
    pub(super) counters: Arc<Counters>,
    pub(super) report: Arc<Report>,
    pub(super) pool: Arc<RelayPool>,
    state: Mutex<State>,
    retired: AtomicBool,
    /// Wakes the keeper.
    pub(super) attention: Notify,
    /// A task of its own has panicked: it can't go on.
    pub(super) broken: CancellationToken,
    /// The device's connections of this hub are closed.
    pub(super) ended: CancellationToken,
    /// The same of the hub before: a device that takes one connection takes this hub's after that.
    pub(super) predecessor: Option<CancellationToken>,
}

/// A request as it was read.
pub(super) struct Asked<'a> {
    tag: Tag,
    body: &'a [u8],
    pub(super) intent: Intent,
    ask: Option<Ask>,
}

impl Hub {
    pub(super) fn new(spec: MultiplexerSpec, cx: &FlowContext, predecessor: Option<CancellationToken>) -> Arc<Self> {
        let protocol = spec.protocol.0;
        let client_protocol = spec.clients_speak();
        Arc::new(Self {
            id: cx.id.clone(),
            protocol,
            client_protocol,
            most: client_protocol.most(spec.max_message.0 as usize),
            several: client_protocol.is_tagged(),
            by_tag: protocol.is_tagged() && spec.r#match == Match::Id,
            counters: Arc::clone(&cx.counters),
            report: Arc::clone(&cx.report),
            pool: Arc::clone(&cx.pool),
            state: Mutex::new(State::new(&spec, protocol.is_modbus())),
            retired: AtomicBool::new(false),
            attention: Notify::new(),
            broken: CancellationToken::new(),
            ended: CancellationToken::new(),
            predecessor,
            spec,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, counter: C, n: u64) {
        self.counters.add(counter as usize, n);
    }

    /// Whether a client at `ip` may connect.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        self.spec.allow.is_empty() || Network::any_contains(&self.spec.allow, ip)
    }

    /// Whether another hub serves now, or none.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Takes no more requests. What is asked already is answered.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.state().lanes.iter_mut().for_each(Lane::retire);
        self.attention.notify_one();
    }

    /// Where the devices of a lane are.
    pub(super) fn addresses(&self, lane: usize) -> &[Address] {
        let route = lane.checked_sub(1).and_then(|route| self.spec.routes.get(route)).map(|route| &route.target);
        route.or(self.spec.target.as_ref()).map_or(&[], |target| target.all())
    }

    /// The device of a lane, for a person.
    pub(super) fn device(&self, lane: usize) -> String {
        let addresses: Vec<String> = self.addresses(lane).iter().map(ToString::to_string).collect();
        match (&self.spec.serial, addresses.is_empty()) {
            (Some(serial), true) => serial.device.clone(),
            _ => addresses.join(", "),
        }
    }

    /// Reads a client's frame.
    pub(super) fn read_request<'a>(&self, frame: &'a [u8]) -> Result<Asked<'a>, ProtocolError> {
        let unwrapped = self.client_protocol.unwrap(frame)?;
        let body = frame.get(unwrapped.body).unwrap_or_default();
        let ask = if self.protocol.is_modbus() { modbus::ask(body) } else { None };
        Ok(Asked { tag: unwrapped.tag.unwrap_or(0), body, intent: self.protocol.intent(body), ask })
    }

    /// Takes a client's request: answers it, or has it sent.
    pub(super) fn submit(&self, client: &Arc<Client>, asked: &Asked<'_>, now: Instant) {
        self.count(C::Requests, 1);
        let waiter = Waiter { client: Arc::clone(client), tag: asked.tag, unit: asked.body.first().copied().unwrap_or(0), asked: now };
        let mut body: Box<[u8]> = asked.body.into();
        let mut lane = 0;
        let mut verdict = Verdict::Send;
        if let (Some(ask), Some(unit)) = (asked.ask, body.first_mut()) {
            self.count(C::of_function(ask.function), 1);
            *unit = rules::device_unit(&self.spec, ask.unit);
            let ask = Ask { unit: *unit, ..ask };
            lane = rules::lane_of(&self.spec, ask.unit);
            verdict = rules::verdict(&self.spec, &ask);
        }
        let mut post = Post::new(self);
        match verdict {
            Verdict::Send => self.enqueue(waiter, body, asked.intent, lane, now, &mut post),
            Verdict::Deny => post.refuse(&waiter, &body, Refusal::Denied),
            Verdict::Ignore => match modbus::success(&body) {
                Some(answer) => {
                    self.count(C::IgnoredWrites, 1);
                    post.answer(&waiter, &body, &answer);
                }
                None => post.refuse(&waiter, &body, Refusal::Denied),
            },
        }
        post.send();
    }

    fn enqueue(&self, waiter: Waiter, body: Box<[u8]>, intent: Intent, lane: usize, now: Instant, post: &mut Post<'_>) {
        let mut request = Request::new(body, intent, lane, self.protocol.is_modbus());
        // On a serial line, nobody answers what is for all. What nobody could confirm either would be waited for in vain.
        if request.unit == Some(0) && !self.protocol.is_tagged() && self.several && modbus::success(&request.body).is_none() {
            return post.refuse(&waiter, &request.body, Refusal::Silent);
        }
        request.charge = Charge::of(request.body.len(), &self.pool.budget);
        if request.charge.is_some() && self.pool.budget.is_spent() {
            return post.refuse(&waiter, &request.body, Refusal::Busy);
        }
        let mut guard = self.state();
        let state = &mut *guard;
        if self.is_retired() {
            // With several threads, that can have been just now. Nobody takes it from the queue any more.
            return post.refuse(&waiter, &request.body, Refusal::NoPath);
        }
        if request.unit.is_some() {
            state.note_unit(waiter.unit);
        }
        // Those who still wait are no more than these; what is beyond are requests of clients that have gone.
        let most = 64 + 2 * (self.counters.get(C::ActiveConnections as usize) + u64::from(self.spec.queue_size)) as usize;
        if let Some(key) = request.read {
            if let Some(answer) = state.cache.get(key, now) {
                self.count(C::CacheHits, 1);
                return post.answer(&waiter, &request.body, answer);
            }
            if self.spec.coalesce && state.join(key, &waiter, most) {
                return self.count(C::Coalesced, 1);
            }
        }
        if state.lanes.get(lane).is_some_and(|lane| lane.queue.len() > most) {
            let gone = state.sweep(lane);
            self.count(C::Abandoned, gone);
        }
        let Some(device) = state.lanes.get_mut(lane) else { return };
        if device.is_hopeless(now) {
            state.note_failed_of(waiter.unit);
            return post.refuse(&waiter, &request.body, Refusal::NoPath);
        }
        if self.spec.on_busy == OnBusy::Busy && device.queue.len() >= self.spec.queue_size as usize {
            return post.refuse(&waiter, &request.body, Refusal::Busy);
        }
        if state.push(request, waiter, now) {
            self.attention.notify_one();
        }
        self.show(state);
    }

    /// Sets the gauges.
    pub(super) fn show(&self, state: &State) {
        if !self.is_retired() {
            let waiting: usize = state.lanes.iter().map(|lane| lane.queue.len()).sum();
            self.counters.set(C::QueueDepth as usize, waiting as u64);
            self.counters.set(C::InFlight as usize, (state.requests.len() - waiting.min(state.requests.len())) as u64);
        }
    }

    /// What is so now, for the status of the flow.
    pub(super) fn describe(&self, desk: &Desk) -> Value {
        let state = self.state();
        let now = Instant::now();
        let devices: Vec<Value> = (0..)
            .zip(&state.lanes)
            .map(|(index, lane)| {
                let address = self.addresses(index).get(lane.in_use).map(ToString::to_string);
                json!({
                    "device": address.or_else(|| self.spec.serial.as_ref().map(|serial| serial.device.clone())),
                    "connected": lane.links.iter().filter(|link| link.state == LinkState::Up).count(),
                    "waiting": lane.queue.len(),
                    "retry_in_ms": lane.down_until.map(|at| at.saturating_duration_since(now).as_millis() as u64).filter(|ms| *ms > 0),
                })
            })
            .collect();
        let units = state.units.as_ref().map(|units| units.describe());
        json!({"devices": devices, "units": units, "clients": desk.some(SHOWN_CLIENTS)})
    }

    /// Whether so many requests wait that nobody may have a second one.
    pub(super) fn is_full(&self) -> bool {
        self.counters.get(C::QueueDepth as usize) >= u64::from(self.spec.queue_size)
    }

    /// A request in words.
    pub(super) fn summary(&self, body: &[u8]) -> String {
        match modbus::ask(body).filter(|_| self.protocol.is_modbus()) {
            Some(ask) => format!("unit {}, function {}", ask.unit, ask.function),
            None => format!("a request of {} bytes", body.len()),
        }
    }
}
