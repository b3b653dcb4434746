//! One client's connection: dial the target and the mirrors, then relay.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::join_all;
use tokio::net::TcpStream;

use super::counters::C;
use super::leg::Leg;
use super::relay::Relay;
use super::shared::{Active, Shared};
use super::spec::MirrorLeg;
use super::spool::next_seq;
use crate::net::Peer;

/// One client's connection, from its first byte to its last. An enum of our own is half the size of the async block
/// that would say the same, and there may be thousands.
pub(super) enum Connection {
    /// Boxed, so that the memory that dialling takes is given back when the relay begins.
    Opening(Pin<Box<dyn Future<Output = Option<Relay>> + Send>>),
    Relaying(Relay),
}

impl Connection {
    pub(super) fn new(client: TcpStream, from: SocketAddr, shared: Arc<Shared>, active: Active) -> Self {
        // The number is given now, because dialling takes one longer than another.
        Self::Opening(Box::pin(open(client, from, next_seq(), shared, active)))
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Opening(opening) = &mut *self {
            match ready!(opening.as_mut().poll(cx)) {
                Some(relay) => *self = Self::Relaying(relay),
                None => return Poll::Ready(()),
            }
        }
        match &mut *self {
            Self::Relaying(relay) => Pin::new(relay).poll(cx),
            Self::Opening(_) => Poll::Pending,
        }
    }
}

/// A client that has no target yet: whatever ends it now ends it with a reset.
struct Unserved(Option<TcpStream>);

impl Unserved {
    fn serve(mut self) -> Option<TcpStream> {
        self.0.take()
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(client) = &self.0 {
            let _ = client.set_zero_linger();
        }
    }
}

async fn open(client: TcpStream, from: SocketAddr, seq: u64, shared: Arc<Shared>, active: Active) -> Option<Relay> {
    let client = Unserved(Some(client));
    #[expect(clippy::indexing_slicing, reason = "never empty")]
    let target_address = &shared.spec.target.all()[0];
    let target = match shared.dialler(false).dial(target_address).await {
        Ok(target) => target,
        Err(error) => {
            shared.counters.add(C::TargetErrConnect as usize, 1);
            shared.report.failed(target_address, &format!("target: {error}; client {from} is closed"));
            return None;
        }
    };
    shared.counters.add(C::TargetConnections as usize, 1);
    shared.report.mended(target_address);
    let Some(required) = dial_required(&shared).await else {
        shared.counters.add(C::ClientRefused as usize, 1);
        let _ = target.set_zero_linger();
        return None;
    };
    let legs = required.into_iter().enumerate().map(|(i, stream)| Leg::new(i, stream, shared.record(i, seq, from))).collect();
    let most_at_once = |gets: fn(&MirrorLeg) -> bool| {
        let buffers = shared.spec.mirrors.iter().filter(|leg| gets(leg)).map(|leg| {
            // What waits for the disk and the next read have to fit.
            if leg.spool.is_some() { leg.buffer.0 / 2 } else { leg.buffer.0 }
        });
        buffers.min().unwrap_or(u64::MAX)
    };
    tracing::debug!(flow = shared.id, "client {from} is connected to {target_address}");
    let client = Peer::new(client.serve()?, most_at_once(|leg| leg.from_client));
    let target = Peer::new(target, most_at_once(|leg| leg.from_target));
    Some(Relay::new(Arc::clone(&shared), client, target, active, legs))
}

/// Dials the mirrors without which the client is refused. The others are dialled while the stream runs.
async fn dial_required(shared: &Arc<Shared>) -> Option<Vec<Option<TcpStream>>> {
    let dials = shared.spec.mirrors.iter().map(|leg| async move {
        if !leg.required {
            return Ok(None);
        }
        let dialled = shared.dialler(true).dial(&leg.address).await;
        let counter = if dialled.is_ok() { C::MirrorConnections } else { C::MirrorErrConnect };
        shared.counters.add(counter as usize, 1);
        match dialled {
            Ok(stream) => {
                shared.report.mended(&leg.address);
                Ok(Some(stream))
            }
            Err(error) => {
                shared.report.failed(&leg.address, &format!("required mirror: {error}; the client is refused"));
                Err(error)
            }
        }
    });
    join_all(dials).await.into_iter().collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection costs is written in the documentation, and these are its largest parts of our own.
    #[test]
    fn a_connection_stays_small() {
        assert!(size_of::<Connection>() <= 160, "{}", size_of::<Connection>());
        assert!(size_of::<Leg>() <= 96, "{}", size_of::<Leg>());
    }
}
