//! A session's way to one peer, the target or a mirror: its socket, and what waits for the peer's name.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::io::Errno;

use super::health::Health;
use super::shared::{Shared, Turn};
use crate::mirror::counters::C;
use crate::net::{Address, Connected, resolve};
use crate::text::reason;

/// A peer that could not be opened is tried again with a datagram after this time.
const TRIED_AGAIN: Duration = Duration::from_secs(1);
/// A name is asked for again with a datagram after this time: a session may last for months, an address may not.
const ASKED_AGAIN: Duration = Duration::from_secs(60);
/// How much may wait for a name, in datagrams, and in bytes for the target; a mirror has its `buffer`.
const MOST_WAITING: usize = 128;
const MOST_WAITING_BYTES: usize = 256 << 10;

/// Which peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Target,
    /// The place in the spec.
    Mirror(usize),
}

impl Role {
    fn name(self) -> &'static str {
        if self == Self::Target { "target" } else { "mirror" }
    }

    pub(super) fn pick(self, target: C, mirror: C) -> C {
        if self == Self::Target { target } else { mirror }
    }
}

/// The way to one peer.
#[derive(Default)]
pub(super) struct Leg {
    pub(super) socket: Option<Connected>,
    /// The name that is being resolved, beside the socket there may be.
    resolving: Option<BoxFuture<'static, Result<Vec<SocketAddr>, String>>>,
    /// When that began, or failed.
    tried: Option<Instant>,
    /// The address that an error came from: with several, another one is next.
    refused: Option<SocketAddr>,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
}

impl Leg {
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends, each datagram behind `head`. What can't be sent is dropped and counted. With `may_leave`, the first sign
    /// that nobody is there ends it; the answer is how many datagrams are left then.
    pub(super) fn send(&mut self, turn: &mut Turn<'_>, role: Role, health: &Health, head: &[u8], datagrams: &[&[u8]], may_leave: bool) -> usize {
        self.open_if_due(turn, role, health);
        let Some(socket) = &self.socket else {
            self.wait(turn, role, datagrams);
            return 0;
        };
        let mut rest = datagrams;
        let mut again = false;
        loop {
            let (sent, error) = socket.send(head, rest);
            let (gone, left) = rest.split_at(sent.min(rest.len()));
            turn.tally.add(role.pick(C::TargetTxPkts, C::MirrorTxPkts), gone.len() as u64);
            turn.tally
                .add(role.pick(C::TargetTxBytes, C::MirrorTxBytes), gone.iter().map(|d| (head.len() + d.len()) as u64).sum());
            again &= gone.is_empty();
            rest = left;
            let (Some(error), [first, behind @ ..]) = (error, rest) else { break };
            let is_lost = if error.kind() == io::ErrorKind::WouldBlock {
                true
            } else {
                turn.tally.add(role.pick(C::TargetErrPkts, C::MirrorErrPkts), 1);
                is_about_this_one(&error) || {
                    // It came for an earlier datagram, and this one has not been sent.
                    refused(turn, role, health, &error);
                    self.refused = Some(socket.to);
                    if may_leave {
                        return rest.len();
                    }
                    std::mem::replace(&mut again, true)
                }
            };
            if is_lost {
                dropped(turn, role, first.len());
                (rest, again) = (behind, false);
            }
        }
        health.sent(&turn.shared.report, turn.now);
        0
    }

    /// The socket has said that nobody is there.
    pub(super) fn was_refused(&mut self, turn: &mut Turn<'_>, role: Role, health: &Health, error: &io::Error) {
        turn.tally.add(role.pick(C::TargetErrPkts, C::MirrorErrPkts), 1);
        refused(turn, role, health, error);
        self.refused = self.socket.as_ref().map(|socket| socket.to);
    }

    fn open_if_due(&mut self, turn: &mut Turn<'_>, role: Role, health: &Health) {
        let address = &health.address;
        let due = match (&self.socket, self.tried) {
            _ if self.resolving.is_some() => false,
            (_, None) => true,
            (Some(_), Some(_)) if address.literal().is_some() => false,
            (Some(_), Some(tried)) if self.refused.is_none() => turn.now.saturating_duration_since(tried) >= ASKED_AGAIN,
            (_, Some(tried)) => turn.now.saturating_duration_since(tried) >= TRIED_AGAIN,
        };
        if !due {
            return;
        }
        self.tried = Some(turn.now);
        match address.literal() {
            Some(at) => self.open_one_of(turn, role, health, &[at]),
            None => {
                self.resolving = Some(look_up(address.clone(), turn.shared.spec.connect_timeout.0));
                turn.wake = true;
            }
        }
    }

    /// Goes on with resolving. The answer is whether that has just ended.
    pub(super) fn poll_resolving(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>, role: Role, health: &Health) -> bool {
        let Some(Poll::Ready(found)) = self.resolving.as_mut().map(|resolving| resolving.poll_unpin(cx)) else { return false };
        self.resolving = None;
        self.tried = Some(turn.now);
        match found {
            Ok(mut found) => {
                let current = self.socket.as_ref().map(|socket| socket.to);
                if let Some(bad) = self.refused.take().and_then(|bad| found.iter().position(|&at| at == bad)) {
                    found.rotate_left(bad + 1);
                } else if current.is_some_and(|at| found.contains(&at)) {
                    return true;
                }
                if current.is_none() || found.first() != current.as_ref() {
                    self.open_one_of(turn, role, health, &found);
                }
            }
            // With a socket, what was true a minute ago is the best that is known.
            Err(why) if self.socket.is_none() => not_opened(turn, role, health, &why),
            Err(_) => {}
        }
        true
    }

    fn open_one_of(&mut self, turn: &mut Turn<'_>, role: Role, health: &Health, addresses: &[SocketAddr]) {
        let mut last = "its name has no address".to_owned();
        for &at in addresses {
            match Connected::open(at) {
                Ok(socket) => {
                    turn.tally.add(role.pick(C::TargetConnections, C::MirrorConnections), 1);
                    self.socket = Some(socket);
                    turn.wake = true;
                    return;
                }
                Err(error) => {
                    if [Errno::MFILE, Errno::NFILE].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error())) {
                        turn.shared.lacks_descriptors();
                    }
                    last = reason(&error);
                }
            }
        }
        not_opened(turn, role, health, &last);
    }

    /// Leaves this peer for another one. What waits goes with it.
    pub(super) fn leave(&mut self) {
        (self.socket, self.resolving, self.tried, self.refused) = (None, None, None, None);
    }

    fn wait(&mut self, turn: &mut Turn<'_>, role: Role, datagrams: &[&[u8]]) {
        let budget = &turn.shared.pool.budget;
        let most = match role {
            Role::Target => MOST_WAITING_BYTES,
            Role::Mirror(place) => turn.shared.spec.mirrors.get(place).map_or(0, |leg| leg.buffer.0 as usize),
        };
        for datagram in datagrams {
            // Half of the memory that all queues share stays for streams, which can't be dropped.
            let fits = self.waiting_bytes + datagram.len() <= most && budget.used() + datagram.len() <= budget.total() / 2;
            if self.resolving.is_some() && self.waiting.len() < MOST_WAITING && fits {
                budget.charge(datagram.len(), true);
                self.waiting_bytes += datagram.len();
                self.waiting.push_back(datagram.to_vec());
            } else {
                dropped(turn, role, datagram.len());
            }
        }
    }

    /// Takes what waits, in order.
    pub(super) fn take_waiting(&mut self, shared: &Shared) -> VecDeque<Vec<u8>> {
        shared.pool.budget.release(std::mem::take(&mut self.waiting_bytes), true);
        std::mem::take(&mut self.waiting)
    }

    /// Closes the socket. What waits is dropped and counted.
    pub(super) fn close(&mut self, turn: &mut Turn<'_>, role: Role) {
        self.leave();
        for datagram in self.take_waiting(turn.shared) {
            dropped(turn, role, datagram.len());
        }
    }
}

fn look_up(address: Address, within: Duration) -> BoxFuture<'static, Result<Vec<SocketAddr>, String>> {
    async move {
        match tokio::time::timeout(within, resolve(address.host())).await {
            Ok(found) => found.map(|found| found.into_iter().map(|ip| SocketAddr::new(ip, address.port())).collect()),
            Err(_) => Err(format!("its name was not resolved within {} s", within.as_secs_f32())),
        }
    }
    .boxed()
}

/// Whether the error says that this very datagram can't be sent: too long, or no room for it.
fn is_about_this_one(error: &io::Error) -> bool {
    [Errno::MSGSIZE, Errno::NOBUFS, Errno::NOMEM].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// A datagram was not sent.
pub(super) fn dropped(turn: &mut Turn<'_>, role: Role, bytes: usize) {
    turn.tally.add(role.pick(C::DroppedDatagrams, C::MirrorDroppedDatagrams), 1);
    if role != Role::Target {
        turn.tally.add(C::MirrorDroppedBytes, bytes as u64);
    }
}

fn refused(turn: &Turn<'_>, role: Role, health: &Health, error: &io::Error) {
    let text = || {
        format!(
            "{}: cannot send to {}: {}; what was sent is lost, the next datagrams are tried",
            role.name(),
            health.address,
            reason(error)
        )
    };
    health.failed(&turn.shared.report, turn.now, text);
}

fn not_opened(turn: &mut Turn<'_>, role: Role, health: &Health, why: &str) {
    turn.tally.add(role.pick(C::TargetErrConnect, C::MirrorErrConnect), 1);
    let text = || {
        format!(
            "{}: cannot send to {}: {why}; datagrams for it are dropped until it can be reached",
            role.name(),
            health.address
        )
    };
    health.failed(&turn.shared.report, turn.now, text);
}
