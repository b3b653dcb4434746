//! One flow from the daemon's side: its attempts, its edits, its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::means::Means;
use super::{Backoff, Connections, Counters, Event, EventKind, Flow, FlowContext, FlowError, FlowKind, FlowStatus, Kept, Report, Serve, State};
use crate::text::unix_ms;

/// How long opening a flow may take.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long the start of the daemon waits for a flow. One that takes longer is opened beside it.
const FIRST_OPEN_WITHIN: Duration = Duration::from_millis(500);
/// How long a flow may take to stop accepting.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// The pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One flow, as long as it is listed.
pub(super) struct Supervisor {
    pub(super) id: String,
    pub(super) kind: &'static dyn FlowKind,
    pub(super) counters: Arc<Counters>,
    pub(super) connections: Arc<Connections>,
    report: Arc<Report>,
    kept: Arc<Kept>,
    means: Arc<Means>,
    view: Mutex<View>,
    /// The attempt that runs. Whoever changes the flow holds this lock until the change is done.
    run: tokio::sync::Mutex<Option<Run>>,
}

/// What is wanted and what is.
#[derive(Clone)]
pub(super) struct View {
    pub(super) owner: String,
    pub(super) spec: Value,
    pub(super) enabled: bool,
    state: State,
    since: u64,
    error: Option<FlowError>,
    retry_at: Option<Instant>,
    attempts: u64,
}

struct Run {
    drain: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisor {
    pub(super) fn new(id: &str, owner: &str, kind: &'static dyn FlowKind, means: Arc<Means>) -> Arc<Self> {
        Arc::new(Self {
            id: id.to_owned(),
            kind,
            counters: Arc::new(Counters::new(kind.counters())),
            connections: Arc::default(),
            report: Arc::new(Report::new(id, Arc::clone(&means.events))),
            kept: Arc::default(),
            means,
            view: Mutex::new(View {
                owner: owner.to_owned(),
                spec: Value::Null,
                enabled: false,
                state: State::Disabled,
                since: unix_ms(),
                error: None,
                retry_at: None,
                attempts: 0,
            }),
            run: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn view(&self) -> View {
        self.look().clone()
    }

    fn look(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what the store had. Errors show in the status.
    pub(super) async fn start_stored(self: &Arc<Self>, spec: Value, enabled: bool) {
        let mut run = self.run.lock().await;
        self.want(spec, enabled);
        if enabled {
            self.set_state(State::Starting, None, None);
            let drain = CancellationToken::new();
            let first = tokio::time::timeout(FIRST_OPEN_WITHIN, self.build_and_open(&drain)).await.ok();
            *run = Some(self.run(drain, first));
        }
    }

    /// Makes the flow what its owner wants. An error that leaves the old spec serving is [`Refused::Kept`].
    pub(super) async fn change(self: &Arc<Self>, owner: &str, spec: &Value, enabled: bool) -> Result<(), Refused> {
        let flow = self.kind.build(spec).map_err(|problems| Refused::Kept(FlowError::Config { problems }))?;
        let mut run = self.run.lock().await;
        if !enabled {
            self.stop(&mut run, true).await;
            owner.clone_into(&mut self.look().owner);
            self.want(spec.clone(), false);
            self.set_state(State::Disabled, None, None);
            return Ok(());
        }
        let drain = CancellationToken::new();
        let serving = run.is_some() && self.look().state == State::Serving;
        let mut opened = self.open(flow, drain.clone()).await;
        if let (true, Err(FlowError::Listen { address, .. })) = (serving, &opened)
            && self.means.listeners.bound(&self.id).iter().any(|bound| bound.port() == address.port())
        {
            opened = self.move_over(&mut run, spec, &drain).await?;
        }
        match opened {
            Ok(serve) => {
                let old = run.take();
                owner.clone_into(&mut self.look().owner);
                self.want(spec.clone(), true);
                *run = Some(self.run(drain, Some(Ok(serve))));
                if let Some(old) = old {
                    old.end().await;
                }
                self.means.listeners.sweep(&self.id);
                Ok(())
            }
            Err(error) if serving => Err(Refused::Kept(error)),
            Err(error) => {
                self.stop(&mut run, false).await;
                owner.clone_into(&mut self.look().owner);
                self.want(spec.clone(), true);
                *run = Some(self.run(drain, Some(Err(error.clone()))));
                Err(Refused::Listed(error))
            }
        }
    }

    /// The new address overlaps the old one, `0.0.0.0:5000` and `127.0.0.1:5000` say: the old has to be closed first.
    async fn move_over(
        self: &Arc<Self>,
        run: &mut Option<Run>,
        spec: &Value,
        drain: &CancellationToken,
    ) -> Result<Result<Serve, FlowError>, Refused> {
        let old_spec = self.look().spec.clone();
        self.stop(run, false).await;
        let flow = self.kind.build(spec).map_err(|problems| Refused::Kept(FlowError::Config { problems }))?;
        match self.open(flow, drain.clone()).await {
            Ok(serve) => Ok(Ok(serve)),
            Err(error) => {
                self.want(old_spec, true);
                *run = Some(self.run(CancellationToken::new(), None));
                Err(Refused::Kept(error))
            }
        }
    }

    /// Starts the same spec anew, cutting its connections.
    pub(super) async fn restart(self: &Arc<Self>) -> bool {
        let mut run = self.run.lock().await;
        if !self.look().enabled {
            return false;
        }
        // The socket stays: whoever waits in its backlog is served by the new start.
        if let Some(run) = run.take() {
            run.end().await;
        }
        self.connections.cut();
        self.set_state(State::Starting, None, None);
        *run = Some(self.run(CancellationToken::new(), None));
        true
    }

    /// Ends the flow for good; the answer is the number of connections that were cut.
    pub(super) async fn end(&self) -> usize {
        let mut run = self.run.lock().await;
        self.look().enabled = false;
        self.stop(&mut run, true).await
    }

    /// Accepts no more, and leaves the connections to end by themselves.
    pub(super) async fn drain(&self) {
        if let Some(run) = self.run.lock().await.take() {
            run.end().await;
        }
        self.means.listeners.sweep(&self.id);
    }

    async fn stop(&self, run: &mut Option<Run>, cut: bool) -> usize {
        if let Some(run) = run.take() {
            run.end().await;
        }
        self.means.listeners.sweep(&self.id);
        if cut { self.connections.cut() } else { 0 }
    }

    fn want(&self, spec: Value, enabled: bool) {
        self.report.renew();
        let mut view = self.look();
        view.spec = spec;
        view.enabled = enabled;
    }

    fn run(self: &Arc<Self>, drain: CancellationToken, first: Option<Result<Serve, FlowError>>) -> Run {
        if matches!(first, Some(Ok(_))) {
            // Not only when the task comes to it: whoever asked for this is told the state at once.
            self.set_state(State::Serving, None, None);
        }
        let task = tokio::spawn(Arc::clone(self).supervise(drain.clone(), first));
        Run { drain, task }
    }

    async fn supervise(self: Arc<Self>, drain: CancellationToken, first: Option<Result<Serve, FlowError>>) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut said = None; // the same trouble is said once, not at every attempt
        let mut next = match first {
            Some(opened) => opened,
            None => self.build_and_open(&drain).await,
        };
        loop {
            let error = match next {
                Ok(serve) => {
                    self.set_state(State::Serving, None, None);
                    let started = Instant::now();
                    let ended = contain(serve).await;
                    if drain.is_cancelled() {
                        return;
                    }
                    if started.elapsed() > LONGEST_PAUSE {
                        backoff.reset();
                        said = None;
                    }
                    ended.err().unwrap_or_else(|| FlowError::Internal { what: "it stopped serving by itself".to_owned() })
                }
                Err(error) => error,
            };
            let text = error.to_string();
            if said.as_ref() == Some(&text) {
                tracing::debug!(flow = self.id, "{text}");
            } else {
                tracing::error!(flow = self.id, "{text}");
                self.report.note(&text);
                said = Some(text);
            }
            if !error.can_retry() {
                self.set_state(State::Failed, Some(error), None);
                return drain.cancelled().await;
            }
            let pause = backoff.pause();
            self.set_state(State::Backoff, Some(error), Some(Instant::now() + pause));
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            next = self.build_and_open(&drain).await;
        }
    }

    async fn build_and_open(self: &Arc<Self>, drain: &CancellationToken) -> Result<Serve, FlowError> {
        let spec = self.look().spec.clone();
        let flow = self.kind.build(&spec).map_err(|problems| FlowError::Config { problems })?;
        self.open(flow, drain.clone()).await
    }

    async fn open(self: &Arc<Self>, flow: Box<dyn Flow>, drain: CancellationToken) -> Result<Serve, FlowError> {
        self.look().attempts += 1;
        let cx = FlowContext {
            id: self.id.clone(),
            listeners: Arc::clone(&self.means.listeners),
            connections: Arc::clone(&self.connections),
            counters: Arc::clone(&self.counters),
            report: Arc::clone(&self.report),
            pool: Arc::clone(&self.means.pool),
            kept: Arc::clone(&self.kept),
            dir: self.means.dir_of(&self.id),
            drain,
        };
        let opening = contain(Box::pin(async move { flow.open(cx).await }));
        let slow = FlowError::Slow { seconds: OPEN_WITHIN.as_secs() };
        tokio::time::timeout(OPEN_WITHIN, opening).await.unwrap_or(Err(slow))
    }

    fn set_state(&self, state: State, error: Option<FlowError>, retry_at: Option<Instant>) {
        let changed = {
            let mut view = self.look();
            view.error = error;
            view.retry_at = retry_at;
            std::mem::replace(&mut view.state, state) != state
        };
        if !changed {
            return;
        }
        self.look().since = unix_ms();
        if state == State::Serving {
            let listening: Vec<_> = self.means.listeners.bound(&self.id).iter().map(ToString::to_string).collect();
            tracing::info!(flow = self.id, "serving, listening on {}", listening.join(", "));
        } else {
            tracing::debug!(flow = self.id, "is {}", state.name());
        }
        self.means.events.push(Event::new(EventKind::Status, &self.id, Some(state.name().to_owned())));
    }

    pub(super) fn status(&self) -> FlowStatus {
        let view = self.view();
        let listening = self.means.listeners.bound(&self.id);
        FlowStatus {
            id: self.id.clone(),
            owner: view.owner,
            kind: self.kind.name().to_owned(),
            enabled: view.enabled,
            state: view.state,
            since: view.since,
            is_listening: view.state == State::Serving && !listening.is_empty(),
            listening,
            fault: view.error.as_ref().map(FlowError::fault),
            error: view.error.map(|e| e.to_string()),
            retry_in_ms: view.retry_at.map(|at| at.saturating_duration_since(Instant::now()).as_millis() as u64),
            attempts: view.attempts,
            troubles: self.report.wrong(),
            last_error: self.report.last(),
            connections: self.connections.count(),
            details: self.report.details(),
            spec: view.spec,
        }
    }

    pub(super) fn reset(&self) {
        self.counters.reset();
        self.report.clear();
    }
}

/// Why a change was not made.
pub(super) enum Refused {
    /// Nothing changed.
    Kept(FlowError),
    /// The flow is listed with the new spec, and it is tried again.
    Listed(FlowError),
}

impl Run {
    /// Asks the attempt to end, and waits until it has.
    async fn end(mut self) {
        self.drain.cancel();
        if tokio::time::timeout(DRAIN_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Runs a flow's own code in a task of its own, so that a panic in it is an error of that flow alone.
async fn contain<T: Send + 'static>(work: std::pin::Pin<Box<dyn Future<Output = Result<T, FlowError>> + Send>>) -> Result<T, FlowError> {
    struct AbortOnDrop<T>(JoinHandle<T>);
    impl<T> Drop for AbortOnDrop<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = AbortOnDrop(tokio::spawn(work));
    (&mut task.0).await.unwrap_or_else(|error| Err(FlowError::Internal { what: panic_text(error) }))
}

fn panic_text(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "its task was cancelled".to_owned() };
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}
