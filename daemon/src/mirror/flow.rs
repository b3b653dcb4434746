//! The mirror as a flow: opens its listening socket, and starts a connection task for each client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use super::connection::Connection;
use super::counters::C;
use super::spec::{MirrorLeg, MirrorSpec};
use crate::flow::{Counters, Flow, FlowContext, FlowError, Report, Serve};
use crate::net::{AcceptPause, Dialler, Lease, RelayPool};

/// How many ended connections may still wait for their mirrors, so that these can't use up the descriptors.
const MOST_LINGERING: usize = 1024;

/// A mirror that is not open yet.
#[derive(Debug)]
pub struct MirrorFlow {
    spec: MirrorSpec,
}

impl From<MirrorSpec> for MirrorFlow {
    fn from(spec: MirrorSpec) -> Self {
        Self { spec }
    }
}

/// What all connections of a mirror share.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) spec: MirrorSpec,
    pub(super) counters: Arc<Counters>,
    pub(super) report: Arc<Report>,
    pub(super) pool: Arc<RelayPool>,
    lingering: Arc<AtomicUsize>,
}

impl Shared {
    /// `keepalive`: whether the connection may live long enough to be probed.
    pub(super) fn dialler(&self, keepalive: bool) -> Dialler {
        Dialler { timeout: self.spec.connect_timeout.0, keepalive: keepalive && self.spec.keepalive }
    }

    pub(super) fn leg_spec(&self, index: u16) -> &MirrorLeg {
        #[expect(clippy::indexing_slicing, reason = "legs are made from the spec's mirrors, one each")]
        &self.spec.mirrors[usize::from(index)]
    }

    /// Leave for an ended connection to wait for its mirrors, if not too many do.
    pub(super) fn linger(&self) -> Option<Lingering> {
        let lingering = Lingering(Arc::clone(&self.lingering));
        (self.lingering.fetch_add(1, Ordering::Relaxed) < MOST_LINGERING).then_some(lingering)
    }
}

/// One ended connection that waits for its mirrors.
pub(super) struct Lingering(Arc<AtomicUsize>);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client, as long as it is connected.
pub(super) struct Active(Arc<Counters>);

impl Active {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.add(C::ActiveConnections as usize, 1);
        Self(Arc::clone(counters))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.sub(C::ActiveConnections as usize, 1);
    }
}

impl Flow for MirrorFlow {
    fn open(self: Box<Self>, cx: FlowContext) -> BoxFuture<'static, Result<Serve, FlowError>> {
        async move {
            let lease = cx.listeners.lease(&cx.id, self.spec.listen, self.spec.keepalive)?;
            let serve: Serve = Box::pin(serve(self.spec, lease, cx));
            Ok(serve)
        }
        .boxed()
    }
}

async fn serve(spec: MirrorSpec, lease: Lease, cx: FlowContext) -> Result<(), FlowError> {
    let shared = Arc::new(Shared {
        id: cx.id.clone(),
        spec,
        counters: Arc::clone(&cx.counters),
        report: Arc::clone(&cx.report),
        pool: Arc::clone(&cx.pool),
        lingering: Arc::default(),
    });
    let mut pause = AcceptPause::default();
    loop {
        tokio::select! {
            biased;
            () = cx.draining() => return Ok(()),
            (client, from) = lease.accept(&mut pause) => welcome(client, from, &shared, &cx),
        }
    }
}

/// Starts the connection, or refuses the client.
fn welcome(client: TcpStream, from: SocketAddr, shared: &Arc<Shared>, cx: &FlowContext) {
    let refuse = |why: &str| {
        shared.counters.add(C::ClientRefused as usize, 1);
        cx.report.refused(&format!("client {from} refused: {why}"));
    };
    if !shared.spec.allows(from.ip()) {
        return refuse("its address is not in `allow`");
    }
    if shared.counters.get(C::ActiveConnections as usize) >= u64::from(shared.spec.max_connections) {
        return refuse("`max_connections` are connected");
    }
    shared.counters.add(C::ClientConnections as usize, 1);
    let active = Active::new(&shared.counters);
    cx.connections.spawn(Connection::new(client, from, Arc::clone(shared), active));
}
