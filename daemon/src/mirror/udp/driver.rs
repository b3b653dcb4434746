//! The task of a session: resolves its peers' names, and receives what comes back on its sockets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::leg::Role;
use super::session::{Phase, Session, State};
use super::shared::Turn;
use crate::mirror::counters::C;
use crate::mirror::relay::give_way;
use crate::mirror::turn::Side;
use crate::net::Batch;

/// Batches from one peer before others get their turn.
const BATCHES_A_TURN: usize = 4;

/// Runs until its session ends; the session ends with it.
pub(super) struct Driver {
    session: Arc<Session>,
    /// The end of a session that is retired.
    retired: Option<BoxFuture<'static, ()>>,
}

impl Driver {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session, retired: None }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.session.end();
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let session = Arc::clone(&self.session);
        let mut turn = Turn::new(&session.shared);
        let mut state = session.state();
        if state.phase == Phase::Ended {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        if let Phase::Retired(until) = state.phase {
            let closed = session.shared.way_back.closed.clone();
            let end = self
                .retired
                .get_or_insert_with(|| async move { drop(tokio::time::timeout_at(until.into(), closed.cancelled()).await) }.boxed());
            if end.poll_unpin(cx).is_ready() {
                state.phase = Phase::Finishing;
            }
        }
        resolve(&mut state, cx, &mut turn);
        let mut batch = Batch::new(session.shared.pool.take_scratch());
        let mut came = false;
        for role in std::iter::once(Role::Target).chain((0..state.mirrors.len()).map(Role::Mirror)) {
            came |= receive(&session, &mut state, role, cx, &mut turn, &mut batch);
        }
        session.shared.pool.put_scratch(batch.into_buffer());
        if std::mem::take(&mut turn.wake) {
            give_way(cx); // what was passed on may have begun to resolve a name
        }
        if state.phase == Phase::Finishing && !state.waits() {
            state.end(&mut turn);
            return Poll::Ready(());
        }
        let is_open = state.phase == Phase::Open;
        drop(state);
        if came && is_open {
            session.shared.hear(session.client, turn.now);
        }
        Poll::Pending
    }
}

fn resolve(state: &mut State, cx: &mut Context<'_>, turn: &mut Turn<'_>) {
    let shared = turn.shared;
    if let Some(health) = state.aim.and_then(|place| shared.targets.get(place))
        && state.target.poll_resolving(cx, turn, Role::Target, health)
    {
        if let (true, Some(place)) = (state.target.failed, state.aim) {
            state.target_failed(turn, place);
        }
        state.flush(turn, Role::Target);
    }
    for (place, health) in shared.mirrors.iter().enumerate() {
        let role = Role::Mirror(place);
        if state.mirrors.get_mut(place).is_some_and(|leg| leg.poll_resolving(cx, turn, role, health)) {
            state.flush(turn, role);
        }
    }
}

/// Receives from one peer, and passes on. The answer is whether the client got something.
fn receive(session: &Session, state: &mut State, role: Role, cx: &mut Context<'_>, turn: &mut Turn<'_>, batch: &mut Batch) -> bool {
    let shared = turn.shared;
    let mut came = false;
    for _ in 0..BATCHES_A_TURN {
        let (leg, health, to_client) = match role {
            Role::Target => (Some(&mut state.target), state.aim.and_then(|place| shared.targets.get(place)), true),
            Role::Mirror(place) => {
                let spec = shared.spec.mirrors.get(place);
                (state.mirrors.get_mut(place), shared.mirrors.get(place), spec.is_some_and(|spec| spec.to_client))
            }
        };
        let (Some(leg), Some(health)) = (leg, health) else { return came };
        let Some(socket) = &mut leg.socket else { return came };
        match socket.poll_receive(cx, batch) {
            Poll::Pending => return came,
            Poll::Ready(Err(error)) => {
                let is_away = leg.was_refused(turn, role, health, &error);
                if let (true, Role::Target, Some(place)) = (is_away, role, state.aim) {
                    shared.targets.failed(place, turn.now);
                }
                continue;
            }
            Poll::Ready(Ok(lost)) if to_client => turn.tally.add(C::DroppedDatagrams, lost.into()),
            Poll::Ready(Ok(_)) => {}
        }
        health.answered(&shared.report);
        let datagrams: Vec<&[u8]> = batch.datagrams().map(|(_, datagram)| datagram).collect();
        turn.tally.add(role.pick(C::TargetRxPkts, C::MirrorRxPkts), datagrams.len() as u64);
        turn.tally.add(role.pick(C::TargetRxBytes, C::MirrorRxBytes), datagrams.iter().map(|d| d.len() as u64).sum());
        if to_client {
            state.send_to_client(turn, session.client, &datagrams);
            came = true;
        }
        if let (Role::Target, Some(place)) = (role, state.aim) {
            shared.targets.answered(place);
            state.send_to_mirrors(turn, Side::Target, &datagrams);
        }
    }
    give_way(cx);
    came
}
