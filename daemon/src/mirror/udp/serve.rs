//! Receives what clients send, and gives it to their sessions.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::Driver;
use super::session::Session;
use super::shared::{Shared, Turn};
use crate::flow::{FlowContext, FlowError, Serve};
use crate::mirror::counters::C;
use crate::mirror::spec::MirrorSpec;
use crate::mirror::turn::Side;
use crate::net::{Batch, Lease, UdpEnd, canonical};
use crate::text::reason;

/// Sessions are looked through for silent ones at most so often.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// The pause after a receive that failed for want of memory, say.
const PAUSE: Duration = Duration::from_millis(20);
/// When the socket is about to be closed: how many of its datagrams are still relayed, and how long their answers have.
const LAST_BATCHES: usize = 128;
const LAST_ANSWERS: Duration = Duration::from_millis(50);

/// Leases the socket that clients send to.
pub(in crate::mirror) fn open(spec: MirrorSpec, cx: FlowContext) -> Result<Serve, FlowError> {
    let lease = cx.listeners.lease_udp(&cx.id, spec.listen)?;
    let number = lease.number();
    Ok(Box::pin(serve(Arc::new(Shared::new(spec, &lease, &cx)), lease, number, cx)))
}

/// However serving ends, nobody counts the sessions' silence any more.
struct Sessions(Arc<Shared>);

impl Drop for Sessions {
    fn drop(&mut self) {
        self.0.retire();
    }
}

async fn serve(shared: Arc<Shared>, lease: Lease<UdpEnd>, number: u32, cx: FlowContext) -> Result<(), FlowError> {
    let sessions = Sessions(Arc::clone(&shared));
    shared.counters.set(C::TargetInUse as usize, 1); // until an error says otherwise
    lease.take_over(number);
    let mut housekeeping = pin!(tokio::time::sleep(Duration::ZERO));
    let mut keeps_house = false;
    loop {
        tokio::select! {
            biased;
            () = cx.draining() => break,
            () = &mut housekeeping, if keeps_house => {
                let now = Instant::now();
                let next = shared.expire(now);
                keeps_house = next.is_some();
                housekeeping.as_mut().reset(next.unwrap_or(now).max(now + HOUSEKEEPING).into());
            }
            readable = lease.readable() => {
                if !lease.reads(number) {
                    cx.draining().await;
                    break;
                }
                if let Err(error) = readable.and_then(|()| relay(&shared, &lease, &cx)) {
                    tokio::time::sleep(pause_after(&error, &shared)).await;
                }
                if !keeps_house && shared.has_sessions() {
                    keeps_house = true;
                    housekeeping.as_mut().reset((Instant::now() + shared.spec.udp_session_timeout.0.max(HOUSEKEEPING)).into());
                }
                tokio::task::yield_now().await;
            }
        }
    }
    if lease.is_last() {
        // Nobody goes on with the socket: what it has got is relayed, and answers that are about to come are, too.
        for _ in 0..LAST_BATCHES {
            if relay(&shared, &lease, &cx).is_err() {
                break;
            }
        }
        if shared.has_sessions() {
            tokio::time::sleep(LAST_ANSWERS).await;
        }
        shared.finish();
    }
    drop(sessions);
    Ok(())
}

fn pause_after(error: &io::Error, shared: &Shared) -> Duration {
    if error.kind() == io::ErrorKind::WouldBlock {
        return Duration::ZERO;
    }
    shared
        .report
        .happened(&shared.bound, &format!("cannot receive on {}: {}; pausing until that is over", shared.bound, reason(error)));
    PAUSE
}

/// Receives a batch and relays it: first all of it to the targets, then to the mirrors.
fn relay(shared: &Arc<Shared>, lease: &Lease<UdpEnd>, cx: &FlowContext) -> io::Result<()> {
    let mut batch = Batch::new(shared.pool.take_scratch());
    let received = lease.receive(&mut batch);
    if let Ok(lost) = received {
        let mut turn = Turn::new(shared);
        turn.tally.add(C::DroppedDatagrams, lost.into());
        // A sort that keeps equals in order: each client's datagrams stay in the order in which they came.
        let mut came: Vec<_> = batch.datagrams().map(|(about, datagram)| ((about.from, about.to), datagram)).collect();
        came.sort_by_key(|&((client, _), _)| client);
        let (who, datagrams): (Vec<_>, Vec<_>) = came.into_iter().unzip();
        let mut rest = datagrams.as_slice();
        let mut runs = Vec::new();
        for who in who.chunk_by(|a, b| a == b) {
            let (datagrams, others) = rest.split_at(who.len());
            rest = others;
            if let Some(&(client, to)) = who.first()
                && let Some(session) = session(shared, cx, &mut turn, client, datagrams)
            {
                session.to_target(&mut turn, to, datagrams);
                runs.push((session, datagrams));
            }
        }
        for (session, datagrams) in runs {
            session.to_mirrors(&mut turn, datagrams);
        }
        shared.make_room();
    }
    shared.pool.put_scratch(batch.into_buffer());
    received.map(drop)
}

/// The session of this client, a new one if need be, unless the client is refused.
fn session(shared: &Arc<Shared>, cx: &FlowContext, turn: &mut Turn<'_>, client: SocketAddr, datagrams: &[&[u8]]) -> Option<Arc<Session>> {
    let known = shared.hear(client, turn.now).filter(|session| !session.has_ended());
    let from = canonical(client);
    if known.is_none() && !shared.spec.allows(from.ip()) {
        turn.tally.add(C::ClientRefused, datagrams.len() as u64);
        shared.report.refused(&format!("client {from} refused: its address is not in `allow`"));
        return None;
    }
    for datagram in datagrams {
        turn.tally.received(Side::Client, datagram.len());
    }
    Some(known.unwrap_or_else(|| {
        let session = Session::new(shared, client);
        shared.add(&session, turn.now);
        cx.connections.spawn(Driver::new(Arc::clone(&session)));
        session
    }))
}
