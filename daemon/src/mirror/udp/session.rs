//! A session: one client's address and port, with sockets of its own to the target and to each mirror.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::leg::{Leg, Role, dropped};
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
        let shared = turn.shared;
        let mut rest = datagrams;
        for _ in 0..=shared.targets.count() {
            let place = shared.targets.choose(self.aim, turn.now);
            let Some(health) = shared.targets.get(place) else { return };
            if self.aim != Some(place) {
                self.target.leave();
                self.aim = Some(place);
                shared.counters.set(C::TargetInUse as usize, place as u64 + 1);
            }
            let left = self.target.send(turn, Role::Target, health, &self.head, rest, shared.targets.are_several());
            if left == 0 {
                return;
            }
            shared.targets.failed(place, turn.now);
            rest = rest.get(rest.len() - left..).unwrap_or_default();
        }
        for datagram in rest {
            dropped(turn, Role::Target, datagram.len());
        }
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
