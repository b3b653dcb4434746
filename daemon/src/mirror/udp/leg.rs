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
pub(super) const TRIED_AGAIN: Duration = Duration::from_secs(1);
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
    /// When the socket was last opened anew because it was at fault itself.
    reopened: Option<Instant>,
    /// It could not be opened, and another peer might be.
    pub(super) failed: bool,
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
        let mut rest = datagrams;
        let mut again = false;
        loop {
            let Some(socket) = &self.socket else {
                if self.failed && may_leave {
                    return rest.len();
                }
                self.wait(turn, role, rest);
                return 0;
            };
            let (to, (sent, error)) = (socket.to, socket.send(head, rest));
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
                    // It came for an earlier datagram, or from this machine: this one has not been sent.
                    if may_be_ours(&error) && !(may_leave && is_far(&error)) && self.open_anew(turn, role, to) {
                        continue;
                    }
                    refused(turn, role, health, &error);
                    self.refused = Some(to);
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

    /// The socket has met an error. The answer is whether that says that nobody is there; if not, the next datagram finds
    /// out what is wrong with the socket.
    pub(super) fn was_refused(&mut self, turn: &mut Turn<'_>, role: Role, health: &Health, error: &io::Error) -> bool {
        turn.tally.add(role.pick(C::TargetErrPkts, C::MirrorErrPkts), 1);
        if is_ours(error) {
            return false;
        }
        refused(turn, role, health, error);
        self.refused = self.socket.as_ref().map(|socket| socket.to);
        true
    }

    /// Opens another socket to the same address: a socket keeps the address of ours that it began with, even when it
    /// is not ours any more. At once the first time, and then not with every datagram. The old one stays if that fails: its
    /// address may come back. The answer is whether there is another one.
    fn open_anew(&mut self, turn: &mut Turn<'_>, role: Role, to: SocketAddr) -> bool {
        if self.reopened.is_some_and(|at| turn.now.saturating_duration_since(at) < TRIED_AGAIN) {
            return false;
        }
        self.reopened = Some(turn.now);
        match Connected::open(to) {
            Ok(socket) => {
                self.use_socket(turn, role, socket);
                true
            }
            Err(error) => {
                note_want(turn, &error);
                false
            }
        }
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
        self.failed = false;
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
            Err(why) if self.socket.is_none() => {
                self.failed = true;
                not_opened(turn, role, health, &why);
            }
            Err(_) => {}
        }
        true
    }

    fn open_one_of(&mut self, turn: &mut Turn<'_>, role: Role, health: &Health, addresses: &[SocketAddr]) {
        let mut last = "its name has no address".to_owned();
        let mut here = false;
        for &at in addresses {
            match Connected::open(at) {
                Ok(socket) => return self.use_socket(turn, role, socket),
                Err(error) => {
                    note_want(turn, &error);
                    here |= is_want(&error);
                    last = reason(&error);
                }
            }
        }
        self.failed = self.socket.is_none() && !here;
        not_opened(turn, role, health, &last);
    }

    fn use_socket(&mut self, turn: &mut Turn<'_>, role: Role, socket: Connected) {
        turn.tally.add(role.pick(C::TargetConnections, C::MirrorConnections), 1);
        self.socket = Some(socket);
        turn.wake = true;
    }

    /// Leaves this peer for another one. The answer is what waits, which has to go there first.
    pub(super) fn leave(&mut self, shared: &Shared) -> VecDeque<Vec<u8>> {
        let waiting = self.take_waiting(shared);
        *self = Self::default();
        waiting
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
        for datagram in self.leave(turn.shared) {
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

fn is_one_of(error: &io::Error, kinds: &[Errno]) -> bool {
    kinds.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// Whether the error says that this very datagram can't be sent: too long, or no room for it.
fn is_about_this_one(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::MSGSIZE, Errno::NOBUFS, Errno::NOMEM])
}

/// Whether the error says that the socket is of no use any more: its address is not ours now, its link is down, or
/// somebody has cut it. It says nothing about the peer.
fn is_ours(error: &io::Error) -> bool {
    is_one_of(
        error,
        &[Errno::INVAL, Errno::ADDRNOTAVAIL, Errno::DESTADDRREQ, Errno::NOTCONN, Errno::CONNABORTED, Errno::NETDOWN, Errno::NODEV],
    )
}

/// Whether another socket may do better: routes and rules are about our address as well.
fn may_be_ours(error: &io::Error) -> bool {
    is_ours(error) || is_far(error) || is_one_of(error, &[Errno::NETUNREACH, Errno::PERM])
}

/// Whether the peer's machine can't be reached, the usual word for one that is off.
fn is_far(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::HOSTUNREACH])
}

/// Whether a socket could not be opened for want of a descriptor, a port or memory: no other peer is better off then.
fn is_want(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOBUFS, Errno::NOMEM])
}

fn note_want(turn: &Turn<'_>, error: &io::Error) {
    if is_one_of(error, &[Errno::MFILE, Errno::NFILE]) {
        turn.shared.lacks_descriptors();
    }
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
