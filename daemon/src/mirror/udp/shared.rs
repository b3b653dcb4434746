//! What the sessions of a flow share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use std::net::SocketAddr;

use super::health::Health;
use super::session::Session;
use super::table::Table;
use super::targets::Targets;
use crate::flow::{Counters, FlowContext, Report};
use crate::mirror::spec::MirrorSpec;
use crate::mirror::turn::Tally;
use crate::net::{Lease, RelayPool, UdpEnd, WayBack};

/// For how long answers to what was sent before an edit still reach the client.
const ANSWERS_AFTER_EDIT: Duration = Duration::from_secs(10);

/// What all sessions of a mirror share.
pub(super) struct Shared {
    pub(super) spec: MirrorSpec,
    pub(super) counters: Arc<Counters>,
    pub(super) report: Arc<Report>,
    pub(super) pool: Arc<RelayPool>,
    pub(super) way_back: WayBack,
    /// Where clients send to.
    pub(super) bound: SocketAddr,
    pub(super) targets: Targets,
    /// In the order of the spec.
    pub(super) mirrors: Vec<Health>,
    table: Mutex<Table<SocketAddr, Arc<Session>>>,
    short_of_descriptors: AtomicBool,
}

impl Shared {
    pub(super) fn new(spec: MirrorSpec, lease: &Lease<UdpEnd>, cx: &FlowContext) -> Self {
        Self {
            counters: Arc::clone(&cx.counters),
            report: Arc::clone(&cx.report),
            pool: Arc::clone(&cx.pool),
            way_back: lease.way_back(),
            bound: lease.bound(),
            targets: Targets::new(&spec.target),
            mirrors: spec.mirrors.iter().map(|leg| Health::new(leg.address.clone())).collect(),
            table: Mutex::new(Table::new(spec.udp_sessions as usize)),
            short_of_descriptors: AtomicBool::new(false),
            spec,
        }
    }

    /// No session is locked or ended while this is held.
    fn table(&self) -> MutexGuard<'_, Table<SocketAddr, Arc<Session>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_sessions(&self) -> bool {
        !self.table().is_empty()
    }

    /// The session of this client, which is heard of `now`.
    pub(super) fn hear(&self, client: SocketAddr, now: Instant) -> Option<Arc<Session>> {
        self.table().hear(&client, now).cloned()
    }

    /// Adds a session. If there are too many, the one that was silent longest ends.
    pub(super) fn add(&self, session: &Arc<Session>, now: Instant) {
        let gone = self.table().insert(session.client, Arc::clone(session), now);
        if let Some(gone) = gone {
            gone.end();
        }
    }

    /// Somebody could not open a socket.
    pub(super) fn lacks_descriptors(&self) {
        self.short_of_descriptors.store(true, Ordering::Relaxed);
    }

    /// If somebody could not open a socket, ends some of the sessions that were silent longest. What they leave free stays
    /// so for a while: not only sessions need descriptors.
    pub(super) fn make_room(&self) {
        if self.short_of_descriptors.load(Ordering::Relaxed) {
            self.short_of_descriptors.store(false, Ordering::Relaxed);
            self.table().shrink();
            loop {
                let gone = self.table().pop_excess();
                let Some(gone) = gone else { return };
                gone.end();
            }
        }
    }

    /// Ends the sessions that were silent for too long. The answer is when the next one will have been, if there is one.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let timeout = self.spec.udp_session_timeout.0;
        self.table().recover();
        loop {
            let gone = self.table().expire(now, timeout);
            match gone {
                Some(gone) => gone.end(),
                None => return self.table().silent_since().map(|since| since + timeout),
            }
        }
    }

    /// Ends all sessions, except that what waits for a name is still sent.
    pub(super) fn finish(&self) {
        self.take_each(Session::finish);
    }

    /// Another spec serves the clients from now on: the sessions only pass on what still comes back.
    pub(super) fn retire(&self) {
        let until = Instant::now() + ANSWERS_AFTER_EDIT.min(self.spec.udp_session_timeout.0);
        self.take_each(|session| session.retire(until));
    }

    fn take_each(&self, end: impl Fn(&Session)) {
        loop {
            let next = self.table().pop();
            match next {
                Some(session) => end(&session),
                None => return,
            }
        }
    }
}

/// What one turn of work needs, and what it counts.
pub(super) struct Turn<'a> {
    pub(super) shared: &'a Shared,
    pub(super) tally: Tally,
    pub(super) now: Instant,
    /// A session's task has another socket or name to look at.
    pub(super) wake: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, tally: Tally::new(), now: Instant::now(), wake: false }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.counters.add_all(self.tally.row());
    }
}
