//! What the connections of a mirror share, and what is counted of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::counters::C;
use super::spec::{MirrorLeg, MirrorSpec};
use super::spool::{Recorder, SpoolLease};
use crate::flow::{Counters, FlowContext, Report};
use crate::net::{Dialler, RelayPool};

/// How many ended connections may still wait for their mirrors, so that these can't use up the descriptors.
const MOST_LINGERING: usize = 4096;
/// From how many on nobody waits any more for the FIN of a mirror that has got everything.
const MANY_LINGERING: usize = 64;

/// What all connections of a mirror share.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) spec: MirrorSpec,
    pub(super) counters: Arc<Counters>,
    pub(super) report: Arc<Report>,
    pub(super) pool: Arc<RelayPool>,
    lingering: Arc<AtomicUsize>,
    /// One for each mirror.
    spools: Vec<Option<SpoolLease>>,
}

impl Shared {
    pub(super) fn new(spec: MirrorSpec, cx: &FlowContext, spools: Vec<Option<SpoolLease>>) -> Self {
        Self {
            id: cx.id.clone(),
            spec,
            counters: Arc::clone(&cx.counters),
            report: Arc::clone(&cx.report),
            pool: Arc::clone(&cx.pool),
            lingering: Arc::default(),
            spools,
        }
    }

    /// `keepalive`: whether the connection may live long enough to be probed.
    pub(super) fn dialler(&self, keepalive: bool) -> Dialler {
        Dialler { timeout: self.spec.connect_timeout.0, keepalive: keepalive && self.spec.keepalive }
    }

    pub(super) fn leg_spec(&self, index: u16) -> &MirrorLeg {
        #[expect(clippy::indexing_slicing, reason = "legs are made from the spec's mirrors, one each")]
        &self.spec.mirrors[usize::from(index)]
    }

    /// Begins to keep a connection for a mirror with a spool. The second answer is whether the mirror gets it at once, too.
    pub(super) fn record(&self, index: usize, seq: u64, client: SocketAddr) -> Option<(Recorder, bool)> {
        let spool = self.spools.get(index)?.as_ref()?;
        Some(spool.record(seq, client, self.leg_spec(index as u16).buffer.0))
    }

    /// Whether so many wait that those whose mirrors only have to close should not.
    pub(super) fn many_linger(&self) -> bool {
        self.lingering.load(Ordering::Relaxed) > MANY_LINGERING
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
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.add(C::ActiveConnections as usize, 1);
        Self(Arc::clone(counters))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.sub(C::ActiveConnections as usize, 1);
    }
}
