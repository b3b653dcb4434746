//! The mirror as a flow: opens its listening socket, and starts a connection task for each client.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use super::connection::Connection;
use super::counters::C;
use super::shared::{Active, Shared};
use super::spec::MirrorSpec;
use super::spool::{self, SpoolLease};
use crate::flow::{Flow, FlowContext, FlowError, Serve};
use crate::net::{AcceptPause, Lease};

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

impl Flow for MirrorFlow {
    fn open(self: Box<Self>, cx: FlowContext) -> BoxFuture<'static, Result<Serve, FlowError>> {
        async move {
            let lease = cx.listeners.lease(&cx.id, self.spec.listen, self.spec.keepalive)?;
            let spools = spool::open(&self.spec, &cx).await?;
            let serve: Serve = Box::pin(serve(self.spec, lease, spools, cx));
            Ok(serve)
        }
        .boxed()
    }
}

async fn serve(spec: MirrorSpec, lease: Lease, spools: Vec<Option<SpoolLease>>, cx: FlowContext) -> Result<(), FlowError> {
    let shared = Arc::new(Shared::new(spec, &cx, spools));
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
