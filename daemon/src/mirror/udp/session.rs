//! A session: one client's address and port, with sockets of its own to the target and to each mirror.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::leg::{Leg, Role, TRIED_AGAIN, dropped};
use super::shared::{Shared, Turn};
use crate::mirror::counters::C;
use crate::mirror::shared::Active;
use crate::mirror::spec::ProxyProtocol;
use crate::mirror::turn::Side;
use crate::net::canonical;
use crate::net::proxy::{self, Header};

/// One client.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    /// As the listening socket has it: an IPv4 client of a dual-stack one is `::ffff:a.b.c.d`.
    pub(super) client: SocketAddr,
    state: Mutex<State>,
}

/// What is behind the session's lock.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) target: Leg,
    pub(super) mirrors: Vec<Leg>,
    /// Which of the targets the target's leg leads to.
    pub(super) aim: Option<usize>,
    /// How many targets could not be opened, one after another, and when that was last.
    unopened: usize,
    unopened_at: Option<Instant>,
    /// Our address that the client sends to, where the socket has several.
    to: Option<IpAddr>,
    /// What is put before each datagram to target and mirrors.
    head: Vec<u8>,
    /// Of the task that receives what comes back.
    pub(super) waker: Option<Waker>,
    active: Option<Active>,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// It only passes on what comes back, and ends then.
    Retired(Instant),
    /// It ends when what waits for a name is sent.
    Finishing,
    Ended,
}

impl Session {
    pub(super) fn new(shared: &Arc<Shared>, client: SocketAddr) -> Arc<Self> {
        shared.counters.add(C::ClientConnections as usize, 1);
        let state = State {
            phase: Phase::Open,
            target: Leg::default(),
            mirrors: shared.spec.mirrors.iter().map(|_| Leg::default()).collect(),
            aim: None,
            unopened: 0,
            unopened_at: None,
            to: None,
            head: Vec::new(),
            waker: None,
            active: Some(Active::new(&shared.counters)),
        };
        Arc::new(Self { shared: Arc::clone(shared), client, state: Mutex::new(state) })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().phase == Phase::Ended
    }

    /// The client has sent these to our address `to`.
    pub(super) fn to_target(&self, turn: &mut Turn<'_>, to: Option<IpAddr>, datagrams: &[&[u8]]) {
        let mut state = self.state();
        if self.shared.spec.proxy_protocol == ProxyProtocol::V2 && (state.head.is_empty() || state.to != to) {
            let bound = self.shared.bound;
            let server = SocketAddr::new(to.unwrap_or(bound.ip()), bound.port());
            state.head = proxy::encode_datagram(Header::Relayed { client: canonical(self.client), server });
        }
        state.to = to;
        state.send_to_target(turn, datagrams);
        state.wake_for(turn);
    }

    /// Gives them to the mirrors that get what the client sends.
    pub(super) fn to_mirrors(&self, turn: &mut Turn<'_>, datagrams: &[&[u8]]) {
        let mut state = self.state();
        state.send_to_mirrors(turn, Side::Client, datagrams);
        state.wake_for(turn);
    }

    /// Ends it now.
    pub(super) fn end(&self) {
        self.state().end(&mut Turn::new(&self.shared));
    }

    /// Ends it when what waits for a name is sent.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        if state.waits() {
            state.go(Phase::Finishing);
        } else {
            state.end(&mut Turn::new(&self.shared));
        }
    }

    /// Only passes on what comes back, until then.
    pub(super) fn retire(&self, until: Instant) {
        self.state().go(Phase::Retired(until));
    }
}

impl State {
    /// Whether something waits for a name.
    pub(super) fn waits(&self) -> bool {
        self.target.waits() || self.mirrors.iter().any(Leg::waits)
    }

    fn go(&mut self, phase: Phase) {
        if self.phase == Phase::Open {
            self.phase = phase;
        }
        self.wake();
    }

    fn wake_for(&mut self, turn: &mut Turn<'_>) {
        if std::mem::take(&mut turn.wake) {
            self.wake();
        }
    }

    /// The task looks at every socket again.
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Closes the sockets. The task ends when it is woken.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Ended;
        self.target.close(turn, Role::Target);
        for (place, leg) in self.mirrors.iter_mut().enumerate() {
            leg.close(turn, Role::Mirror(place));
        }
        self.active = None;
        self.wake();
    }

    pub(super) fn send_to_target(&mut self, turn: &mut Turn<'_>, datagrams: &[&[u8]]) {
        let place = turn.shared.targets.choose(self.aim, turn.now);
        let waited = self.aim_at(turn, place);
        if waited.is_empty() {
            return self.send_to_targets(turn, place, datagrams);
        }
        let all: Vec<&[u8]> = waited.iter().map(Vec::as_slice).chain(datagrams.iter().copied()).collect();
        self.send_to_targets(turn, place, &all);
    }

    /// Sends to this target, and what is left when it fails to the next ones.
    fn send_to_targets(&mut self, turn: &mut Turn<'_>, mut place: usize, datagrams: &[&[u8]]) {
        let targets = &turn.shared.targets;
        let mut rest = datagrams;
        for _ in 0..=targets.count() {
            let Some(health) = targets.get(place) else { return };
            if self.no_target_opens(targets.count(), turn.now) {
                break;
            }
            let left = self.target.send(turn, Role::Target, health, &self.head, rest, targets.are_several());
            if self.target.socket.is_some() {
                self.unopened = 0;
            }
            if left == 0 {
                return;
            }
            rest = rest.get(rest.len() - left..).unwrap_or_default();
            self.target_failed(turn, place);
            place = targets.choose(self.aim, turn.now);
            // Nothing waits for a target that has just failed.
            self.aim_at(turn, place);
        }
        for datagram in rest {
            dropped(turn, Role::Target, datagram.len());
        }
    }

    /// Turns to a target. The answer is what waited for the name of the one before.
    fn aim_at(&mut self, turn: &Turn<'_>, place: usize) -> VecDeque<Vec<u8>> {
        if self.aim == Some(place) {
            return VecDeque::new();
        }
        self.aim = Some(place);
        turn.shared.counters.set(C::TargetInUse as usize, place as u64 + 1);
        self.target.leave(turn.shared)
    }

    /// The target in use has failed.
    pub(super) fn target_failed(&mut self, turn: &Turn<'_>, place: usize) {
        turn.shared.targets.failed(place, turn.now);
        if self.target.socket.is_none() {
            self.unopened += 1;
            self.unopened_at = Some(turn.now);
        }
    }

    /// Whether none could be opened just now. Otherwise what waits for names would go round for ever.
    fn no_target_opens(&mut self, count: usize, now: Instant) -> bool {
        if self.unopened < count {
            return false;
        }
        let rests = self.unopened_at.is_some_and(|at| now.saturating_duration_since(at) < TRIED_AGAIN);
        if !rests {
            self.unopened = 0;
        }
        rests
    }

    /// Gives the mirrors what came from one end.
    pub(super) fn send_to_mirrors(&mut self, turn: &mut Turn<'_>, from: Side, datagrams: &[&[u8]]) {
        let shared = turn.shared;
        for ((place, leg), (spec, health)) in self.mirrors.iter_mut().enumerate().zip(shared.spec.mirrors.iter().zip(&shared.mirrors)) {
            let wanted = if from == Side::Client { spec.from_client } else { spec.from_target };
            if wanted {
                leg.send(turn, Role::Mirror(place), health, &self.head, datagrams, false);
            }
        }
    }

    /// Gives them to the client.
    pub(super) fn send_to_client(&self, turn: &mut Turn<'_>, client: SocketAddr, datagrams: &[&[u8]]) {
        let mut rest = datagrams;
        while !rest.is_empty() {
            let (sent, error) = turn.shared.way_back.send(self.to, client, rest);
            let (gone, left) = rest.split_at(sent.min(rest.len()));
            turn.tally.add(C::ClientTxPkts, gone.len() as u64);
            turn.tally.add(C::ClientTxBytes, gone.iter().map(|d| d.len() as u64).sum());
            rest = left;
            let lost = error.is_some() || sent == 0;
            if error.is_some_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
                turn.tally.add(C::ClientErrPkts, 1);
            }
            if let ([_, behind @ ..], true) = (rest, lost) {
                turn.tally.add(C::DroppedDatagrams, 1);
                rest = behind;
            }
        }
    }

    /// Sends what waited for this peer's name.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>, role: Role) {
        let leg = match role {
            Role::Target => Some(&mut self.target),
            Role::Mirror(place) => self.mirrors.get_mut(place),
        };
        let Some(leg) = leg else { return };
        let waited = leg.take_waiting(turn.shared);
        if waited.is_empty() {
            return;
        }
        let waited: Vec<&[u8]> = waited.iter().map(Vec::as_slice).collect();
        match role {
            Role::Target => self.send_to_target(turn, &waited),
            Role::Mirror(place) => {
                if let Some(health) = turn.shared.mirrors.get(place) {
                    leg.send(turn, role, health, &self.head, &waited, false);
                }
            }
        }
    }
}
