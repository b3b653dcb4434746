//! The multiplexer as a flow: opens its listening socket, starts what serves its devices, and a task for each client.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use super::counters::C;
use super::desk::Desk;
use super::hub::Hub;
use super::session::Session;
use super::spec::MultiplexerSpec;
use super::{keeper, link};
use crate::flow::{Flow, FlowContext, FlowError, Serve};
use crate::net::{AcceptPause, Lease};

/// A multiplexer that is not open yet.
#[derive(Debug)]
pub struct MultiplexerFlow {
    spec: MultiplexerSpec,
}

impl From<MultiplexerSpec> for MultiplexerFlow {
    fn from(spec: MultiplexerSpec) -> Self {
        Self { spec }
    }
}

impl Flow for MultiplexerFlow {
    fn open(self: Box<Self>, cx: FlowContext) -> BoxFuture<'static, Result<Serve, FlowError>> {
        async move {
            let lease = cx.listeners.lease(&cx.id, self.spec.listen, self.spec.keepalive)?;
            let desk = cx.kept.get::<Desk>().unwrap_or_else(|| {
                let desk = Arc::new(Desk::default());
                cx.kept.put(Arc::clone(&desk));
                desk
            });
            let hub = Hub::new(self.spec, &cx, desk.hub().map(|old| old.ended.clone()));
            start(&hub, &desk, &cx);
            let serve: Serve = Box::pin(serve(Serving { hub, desk }, lease, cx));
            Ok(serve)
        }
        .boxed()
    }
}

/// Starts the tasks of a hub. They are tasks of the flow's own, so that a stop waits for them, and a removal ends them.
fn start(hub: &Arc<Hub>, desk: &Arc<Desk>, cx: &FlowContext) {
    for lane in 0..=hub.spec.routes.len() {
        for place in 0..hub.spec.max_connections as usize {
            cx.connections.spawn_own(link::run(Arc::clone(hub), Arc::clone(desk), lane, place));
        }
    }
    cx.connections.spawn_own(keeper::run(Arc::clone(hub), Arc::clone(desk)));
    desk.put(hub);
    hub.show(&hub.state()); // not what the last one had
    let described = (Arc::downgrade(hub), Arc::downgrade(desk));
    cx.report.describe(move || {
        let (hub, desk) = (described.0.upgrade()?, described.1.upgrade()?);
        Some(hub.describe(&desk))
    });
}

/// A hub that serves, until this goes; even if it never came to serving.
struct Serving {
    hub: Arc<Hub>,
    desk: Arc<Desk>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.desk.retire(&self.hub);
    }
}

async fn serve(serving: Serving, lease: Lease, cx: FlowContext) -> Result<(), FlowError> {
    let Serving { hub, desk } = &serving;
    let mut pause = AcceptPause::default();
    loop {
        tokio::select! {
            biased;
            () = cx.draining() => return Ok(()),
            () = hub.broken.cancelled() => {
                return Err(FlowError::Internal { what: "a task of a connection to the device panicked".to_owned() });
            }
            (client, from) = lease.accept(&mut pause) => welcome(client, from, hub, desk, &cx),
        }
    }
}

/// Starts a client's task, or refuses the client.
fn welcome(client: TcpStream, from: SocketAddr, hub: &Arc<Hub>, desk: &Arc<Desk>, cx: &FlowContext) {
    let refuse = |why: &str| {
        hub.count(C::ClientRefused, 1);
        cx.report.refused(&format!("client {from} refused: {why}"));
    };
    if !hub.allows(from.ip()) {
        return refuse("its address is not in `allow`");
    }
    if hub.counters.get(C::ActiveConnections as usize) >= u64::from(hub.spec.max_clients) {
        return refuse("`max_clients` are connected");
    }
    hub.count(C::ClientConnections, 1);
    tracing::debug!(flow = hub.id, "client {from} is connected");
    cx.connections.spawn(Session::new(client, from, hub, desk));
}
