//! The targets of a flow, in order, and which of them answer.
//!
//! A client gets the first that is not known to be down. One that fails is down for everybody at once: those who wait
//! for it move on (`search`), those who come pass it over, and a probe finds out when it is back. A single target is
//! never passed over and never probed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::counters::C;
use super::proxy;
use super::search::Search;
use super::spec::{MirrorSpec, ProxyProtocol};
use crate::flow::{Backoff, Counters, FlowContext, Report};
use crate::net::{Address, Addresses, DialError, Dialler};

/// The pauses between probes of a target that is down.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The targets of one attempt of a flow.
pub(super) struct Targets {
    addresses: Addresses,
    /// How long the search for one that answers may take in all.
    pub(super) timeout: Duration,
    proxy_protocol: ProxyProtocol,
    counters: Arc<Counters>,
    pub(super) report: Arc<Report>,
    known: Mutex<Known>,
    changed: Notify,
}

/// What is known of the targets.
pub(super) struct Known {
    pub(super) targets: Box<[Target]>,
    /// How often one came up.
    pub(super) ups: u32,
    /// The attempt is over: what it finds out now is no news of the flow.
    retired: bool,
}

/// What is known of one target.
#[derive(Clone, Copy, Default)]
pub(super) struct Target {
    pub(super) down: bool,
    /// How often that changed.
    pub(super) turns: u32,
    answered: Option<Instant>,
}

/// As long as this lives, the flow's counter says which target is in use.
pub(super) struct InUse(Arc<Targets>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.known().retired = true;
    }
}

/// How targets are dialled. They are probed for silence later, when a connection turns out to last.
pub(super) fn dialler(timeout: Duration) -> Dialler {
    Dialler { timeout, keepalive: false }
}

impl Targets {
    /// The targets of a spec, with what an earlier attempt of the flow has found out about them.
    pub(super) fn new(spec: &MirrorSpec, cx: &FlowContext) -> Arc<Self> {
        let earlier = cx.kept.get::<Self>().filter(|_| spec.target.all().len() > 1);
        let known_down = |address: &Address| earlier.as_ref().is_some_and(|earlier| earlier.knows_down(address));
        let target = |address| Target { down: known_down(address), ..Target::default() };
        let targets = Arc::new(Self {
            timeout: spec.connect_timeout.0,
            proxy_protocol: spec.proxy_protocol,
            counters: Arc::clone(&cx.counters),
            report: Arc::clone(&cx.report),
            known: Mutex::new(Known { targets: spec.target.all().iter().map(target).collect(), ups: 0, retired: false }),
            changed: Notify::new(),
            addresses: spec.target.clone(),
        });
        cx.kept.put(Arc::clone(&targets));
        targets
    }

    /// Begins to show which target is in use.
    pub(super) fn in_use(self: &Arc<Self>) -> InUse {
        self.show(&self.known());
        InUse(Arc::clone(self))
    }

    pub(super) fn all(&self) -> &[Address] {
        self.addresses.all()
    }

    /// Whether there are several.
    pub(super) fn is_list(&self) -> bool {
        self.all().len() > 1
    }

    /// A connection for this client, and where it leads. What fails is counted and reported.
    pub(super) async fn dial(&self, client: SocketAddr) -> Option<(TcpStream, &Address)> {
        let [only] = self.all() else { return Box::pin(Search::new(self).run(client)).await };
        let began = Instant::now();
        match dialler(self.timeout).dial(only).await {
            Ok(stream) => {
                self.answers(0);
                Some((stream, only))
            }
            Err(error) => {
                self.fails(0, began, &error, &format!("client {client} is closed"));
                None
            }
        }
    }

    /// Says that no target has answered this client.
    pub(super) fn none_answers(&self, client: SocketAddr, why: &str) {
        self.report.failed(&self.addresses, &format!("no target answers, client {client} is closed: {why}"));
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows_down(&self, address: &Address) -> bool {
        self.all().iter().zip(&self.known().targets).any(|(at, target)| at == address && target.down)
    }

    /// What is known of the target now.
    pub(super) fn target(&self, index: usize) -> Target {
        self.known().targets.get(index).copied().unwrap_or_default()
    }

    /// The target has answered.
    pub(super) fn answers(&self, index: usize) {
        self.learn(index, |target| *target = Target { down: false, answered: Some(Instant::now()), ..*target });
        if let Some(address) = self.all().get(index) {
            self.report.mended(address);
        }
        if self.is_list() {
            self.report.mended(&self.addresses);
        }
    }

    /// A client's dial to the target, which `began` then, has failed.
    pub(super) fn fails(&self, index: usize, began: Instant, error: &DialError, so: &str) {
        self.counters.add(C::TargetErrConnect as usize, 1);
        // Whoever has answered somebody since is there, and has lost this client's packets only.
        self.learn(index, |target| target.down |= !error.is_ours() && target.answered.is_none_or(|at| at < began));
        if let Some(address) = self.all().get(index) {
            self.report.failed(address, &format!("target: {error}; {so}"));
        }
    }

    /// Changes what is known of a target, and tells those who wait for that.
    fn learn(&self, index: usize, change: impl FnOnce(&mut Target)) {
        let mut known = self.known();
        let Some(target) = known.targets.get_mut(index) else { return };
        let was_down = target.down;
        change(target);
        if target.down != was_down {
            target.turns += 1;
            known.ups += u32::from(was_down);
            self.changed.notify_waiters();
        }
        self.show(&known);
    }

    /// The first that is not down is in use. What a retired attempt still finds out would be shown for ever.
    fn show(&self, known: &Known) {
        if !known.retired {
            let first = known.targets.iter().position(|target| !target.down);
            self.counters.set(C::TargetInUse as usize, first.map_or(0, |index| index as u64 + 1));
        }
    }

    /// Completes when what is known is so.
    pub(super) async fn until(&self, is_so: impl Fn(&Known) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so(&self.known()) {
                return;
            }
            changed.await;
        }
    }

    /// Probes those that are down, for as long as it is polled.
    pub(super) async fn probe(&self) {
        join_all((0..self.all().len()).map(|index| self.probe_one(index))).await;
    }

    async fn probe_one(&self, index: usize) {
        let Some(address) = self.all().get(index) else { return };
        let is_down = |known: &Known| known.targets.get(index).is_some_and(|target| target.down);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        // What an earlier attempt has found out may be over.
        let mut pause = if is_down(&self.known()) { Duration::ZERO } else { backoff.pause() };
        loop {
            self.until(is_down).await;
            let ups = self.known().ups;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // When another comes up, it may have been the network, and this one is back as well.
                () = self.until(|known| !is_down(known) || known.ups != ups) => backoff.reset(),
            }
            if is_down(&self.known()) {
                match dialler(self.timeout).dial(address).await {
                    Ok(stream) => {
                        proxy::say_it_is_a_probe(&stream, self.proxy_protocol);
                        self.answers(index);
                        backoff.reset();
                    }
                    Err(error) => self.report.failed(address, &format!("target: {error}; it is probed until it answers")),
                }
            }
            pause = backoff.pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::counters::COUNTERS;

    fn targets(list: &serde_json::Value) -> Arc<Targets> {
        let addresses: Addresses = serde_json::from_value(list.clone()).unwrap();
        let known = Known { targets: addresses.all().iter().map(|_| Target::default()).collect(), ups: 0, retired: false };
        Arc::new(Targets {
            addresses,
            timeout: Duration::from_secs(1),
            proxy_protocol: ProxyProtocol::None,
            counters: Arc::new(Counters::new(COUNTERS)),
            report: Arc::new(Report::new("panel", Arc::default())),
            known: Mutex::new(known),
            changed: Notify::new(),
        })
    }

    async fn refusal() -> DialError {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        dialler(Duration::from_secs(1)).dial(&nobody.to_string().parse().unwrap()).await.unwrap_err()
    }

    fn in_use(targets: &Targets) -> u64 {
        targets.counters.get(C::TargetInUse as usize)
    }

    #[tokio::test]
    async fn the_first_that_is_not_down_is_in_use_until_a_later_attempt_says_so() {
        let targets = targets(&serde_json::json!(["a.example:1", "b.example:1"]));
        let guard = targets.in_use();
        let mut seen = vec![in_use(&targets)];
        let (began, error) = (Instant::now(), refusal().await);
        targets.fails(0, began, &error, "");
        seen.push(in_use(&targets));
        targets.fails(1, began, &error, "");
        seen.push(in_use(&targets));
        targets.answers(1);
        seen.push(in_use(&targets));
        targets.answers(0);
        seen.push(in_use(&targets));
        assert_eq!(seen, [1, 2, 0, 2, 1]);
        drop(guard);
        targets.fails(0, Instant::now(), &error, "");
        assert_eq!((in_use(&targets), targets.target(0).down), (1, true));
    }

    #[tokio::test]
    async fn one_that_has_answered_somebody_since_is_not_down() {
        let targets = targets(&serde_json::json!(["a.example:1", "b.example:1"]));
        let (began, error) = (Instant::now(), refusal().await);
        targets.answers(0);
        targets.fails(0, began, &error, "");
        assert!(!targets.target(0).down);
        targets.fails(0, Instant::now(), &error, "");
        assert!(targets.target(0).down);
        assert_eq!(targets.counters.get(C::TargetErrConnect as usize), 2);
    }
}
