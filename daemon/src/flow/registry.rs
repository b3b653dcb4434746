//! All flows of the daemon: who owns them, what is stored of them, and what may be done to them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::means::Means;
use super::probe::PROBE_WITHIN;
use super::registry_error::RegistryError;
use super::supervisor::{Refused, Supervisor};
use super::{CounterValues, Counters, Event, EventKind, Finding, FlowError, FlowKind, FlowStatus, KINDS, Prober, Problem, Problems, find_kind};
use crate::store::{FlowRow, StoreError};

/// How many flows one daemon takes.
pub(super) const MOST_FLOWS: usize = 1000;

/// How many specs are tried out at the same time.
pub(super) const MOST_PROBES: usize = 4;

/// How long connections that are cut may take to be gone.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// How long a stop waits for a change that is under way, for a flow that does not stop accepting, and for the store.
/// With the time that connections have, all of it has to be less than [`crate::service::StopTimes::all`].
const CHANGE_ENDS_WITHIN: Duration = Duration::from_secs(1);
const FLOW_ENDS_WITHIN: Duration = Duration::from_secs(3);
const SAVED_WITHIN: Duration = Duration::from_secs(1);

/// The daemon's flows.
pub struct Flows {
    means: Arc<Means>,
    listed: Mutex<BTreeMap<String, Arc<Supervisor>>>,
    /// One change of the list at a time: two at once on one id could both find it free.
    changing: tokio::sync::Mutex<()>,
    saved: Mutex<HashMap<String, CounterValues>>,
    /// Flows whose last change is not in the store.
    unsaved: Mutex<HashSet<String>>,
    /// Set once everything is drained: nothing starts after that.
    closed: AtomicBool,
    probing: Semaphore,
}

/// A flow as its owner wants it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowSpec {
    /// Its id: letters, digits, `.`, `_` and `-`, at most 64.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its spec; the kind's schema describes it.
    pub spec: Value,
    /// Whether it is to run.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// There was no flow with this id.
    Created,
    /// The flow has the new spec.
    Changed,
    /// It was so already; nothing was touched.
    Unchanged,
}

/// What `flow.sync` did.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Synced {
    /// Ids that are new.
    pub created: Vec<String>,
    /// Ids with a new spec.
    pub changed: Vec<String>,
    /// Ids that were so already.
    pub unchanged: Vec<String>,
    /// Ids that are gone.
    pub removed: Vec<String>,
    /// What could not be done; the other flows are not affected by it.
    pub failed: Vec<SyncFailure>,
}

/// One flow that could not be made what its owner wants.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SyncFailure {
    /// The flow's id.
    pub id: String,
    /// Why.
    pub error: String,
    /// All that is wrong with its spec, if that is why.
    pub problems: Vec<Problem>,
}

impl Flows {
    /// No flows yet.
    pub fn new(means: Arc<Means>) -> Arc<Self> {
        Arc::new(Self {
            means,
            listed: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            saved: Mutex::default(),
            unsaved: Mutex::default(),
            closed: AtomicBool::new(false),
            probing: Semaphore::new(MOST_PROBES),
        })
    }

    /// What all flows share.
    pub fn means(&self) -> &Arc<Means> {
        &self.means
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Supervisor>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsaved(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn to change the list.
    async fn change(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, RegistryError> {
        let changing = self.changing.lock().await;
        if self.closed.load(Ordering::Relaxed) { Err(RegistryError::Stopping) } else { Ok(changing) }
    }

    fn find(&self, id: &str) -> Result<Arc<Supervisor>, RegistryError> {
        self.listed().get(id).cloned().ok_or_else(|| RegistryError::Unknown { id: crate::text::printable(id, 80) })
    }

    fn all(&self) -> Vec<Arc<Supervisor>> {
        self.listed().values().cloned().collect()
    }

    /// Starts the flows that the store has. What can't be started is listed with its error.
    pub async fn start_stored(&self, rows: Vec<FlowRow>, counters: HashMap<String, CounterValues>) {
        let _changing = self.changing.lock().await;
        let mut starting = Vec::new();
        for row in rows {
            let Some(kind) = find_kind(&row.kind) else {
                tracing::error!(flow = row.id, "its kind {:?} is not known to this version; it is kept in the store and not started", row.kind);
                continue;
            };
            let flow = Supervisor::new(&row.id, &row.owner, kind, Arc::clone(&self.means));
            if let Some(stored) = counters.get(&row.id) {
                flow.counters.restore(stored);
            }
            self.listed().insert(row.id, Arc::clone(&flow));
            starting.push(async move { flow.start_stored(row.spec, row.enabled).await });
        }
        join_all(starting).await;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// All that is wrong with a flow's spec; nothing is started.
    pub fn check(&self, id: Option<&str>, kind: &str, spec: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(id) = id {
            problems.extend(name_problem("/id", id));
        }
        match known_kind(kind) {
            Ok(kind) => {
                let found = kind.build(spec).err().map(|p| p.0).unwrap_or_default();
                problems.extend(found.into_iter().map(|p| Problem { pointer: format!("/spec{}", p.pointer), ..p }));
            }
            Err(problem) => problems.push(problem),
        }
        problems
    }

    /// What keeps a spec that is not wrong from running as flow `id`: other flows that listen where it would.
    pub fn clashes(&self, id: Option<&str>, kind: &str, spec: &Value) -> Vec<Problem> {
        let listens = known_kind(kind).map(|kind| kind.listens(spec)).unwrap_or_default();
        let clash = |(pointer, address, udp): (&str, _, _)| {
            let error = self.means.listeners.clash(id, address, udp)?;
            Some(Problem::new(format!("/spec{pointer}"), &error.to_string()))
        };
        listens.into_iter().filter_map(clash).collect()
    }

    /// Tries out the addresses of a spec that is, or would be, that of flow `id`; nothing is started.
    pub async fn probe(&self, id: Option<&str>, kind: &str, spec: &Value) -> Result<Vec<Finding>, RegistryError> {
        let problems = self.check(id, kind, spec);
        if !problems.is_empty() {
            return Err(RegistryError::Request { problems: Problems(problems) });
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(RegistryError::Stopping);
        }
        let Ok(Ok(_place)) = timeout(PROBE_WITHIN, self.probing.acquire()).await else { return Err(RegistryError::Busy) };
        let prober = Prober::new(Arc::clone(&self.means.listeners), id);
        let probing = known_kind(kind).map_err(|problem| Problems(vec![problem])).and_then(|kind| kind.probe(spec, prober));
        let probing = probing.map_err(|problems| RegistryError::Request { problems })?;
        timeout(PROBE_WITHIN, probing).await.map_err(|_| RegistryError::Slow { seconds: PROBE_WITHIN.as_secs() })
    }

    /// Creates or changes a flow.
    pub async fn apply(&self, owner: &str, wanted: &FlowSpec) -> Result<Applied, RegistryError> {
        let _changing = self.change().await?;
        let change = self.apply_one(owner, wanted).await?;
        if change.applied != Applied::Unchanged {
            self.save(owner, wanted).await?;
        }
        change.result()
    }

    async fn apply_one(&self, owner: &str, wanted: &FlowSpec) -> Result<Change, RegistryError> {
        let mut problems: Vec<Problem> = name_problem("/owner", owner).into_iter().collect();
        problems.extend(self.check(Some(&wanted.id), &wanted.kind, &wanted.spec));
        if !problems.is_empty() {
            return Err(RegistryError::Request { problems: Problems(problems) });
        }
        let Some(kind) = find_kind(&wanted.kind) else { return Err(RegistryError::Unknown { id: wanted.kind.clone() }) };
        let known = self.listed().get(&wanted.id).cloned();
        let (flow, applied) = match known {
            Some(flow) => {
                let view = flow.view();
                if view.owner != owner {
                    return Err(RegistryError::Foreign { id: wanted.id.clone(), owner: view.owner });
                }
                if flow.kind.name() == kind.name() {
                    let unsaved = self.unsaved().contains(&wanted.id);
                    if view.spec == wanted.spec && view.enabled == wanted.enabled && !unsaved {
                        return Ok(Change { applied: Applied::Unchanged, refused: None });
                    }
                    (flow, Applied::Changed)
                } else {
                    flow.end().await;
                    (self.list_new(owner, wanted, kind), Applied::Changed)
                }
            }
            None if self.listed().len() >= MOST_FLOWS => return Err(RegistryError::Full),
            None => (self.list_new(owner, wanted, kind), Applied::Created),
        };
        let refused = match flow.change(owner, &wanted.spec, wanted.enabled).await {
            Ok(()) => None,
            Err(Refused::Listed(error)) => Some(RegistryError::Open { error, listed: true }),
            Err(Refused::Kept(error)) => return Err(RegistryError::Open { error, listed: false }),
        };
        self.unsaved().insert(wanted.id.clone());
        Ok(Change { applied, refused })
    }

    async fn save(&self, owner: &str, wanted: &FlowSpec) -> Result<(), RegistryError> {
        self.means.store.put_flow(row(owner, wanted)).await?;
        self.unsaved().remove(&wanted.id);
        Ok(())
    }

    fn list_new(&self, owner: &str, wanted: &FlowSpec, kind: &'static dyn FlowKind) -> Arc<Supervisor> {
        let flow = Supervisor::new(&wanted.id, owner, kind, Arc::clone(&self.means));
        self.listed().insert(wanted.id.clone(), Arc::clone(&flow));
        flow
    }

    /// Ends a flow and forgets it.
    pub async fn remove(&self, id: &str) -> Result<(), RegistryError> {
        let _changing = self.change().await?;
        self.remove_one(id).await
    }

    async fn remove_one(&self, id: &str) -> Result<(), RegistryError> {
        let flow = self.find(id)?;
        let cut = flow.end().await;
        self.listed().remove(id);
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        tracing::info!(flow = id, "removed, {cut} connections cut");
        self.means.events.push(Event::new(EventKind::Removed, id, None));
        self.means.store.remove_flow(id.to_owned()).await?;
        self.remove_files(id).await;
        Ok(())
    }

    async fn remove_files(&self, id: &str) {
        let Some(dir) = self.means.dir_of(id) else { return };
        let removed = tokio::task::spawn_blocking({
            let dir = dir.clone();
            move || std::fs::remove_dir_all(dir)
        });
        match removed.await {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(flow = id, "cannot remove {}: {}", dir.display(), crate::text::reason(&error));
            }
            _ => {}
        }
    }

    /// Makes an owner's flows what it wants, leaving unchanged ones and their connections alone.
    pub async fn sync(&self, owner: &str, wanted: &[FlowSpec], allow_empty: bool) -> Result<Synced, RegistryError> {
        let _changing = self.change().await?;
        let mut problems: Vec<Problem> = name_problem("/owner", owner).into_iter().collect();
        if wanted.len() > MOST_FLOWS {
            return Err(RegistryError::Full);
        }
        let mut seen = HashSet::new();
        for (i, flow) in wanted.iter().enumerate() {
            if !seen.insert(&flow.id) {
                problems.push(Problem::new(format!("/flows/{i}/id"), "is in the list twice: ids are unique"));
            }
        }
        if !problems.is_empty() {
            return Err(RegistryError::Request { problems: Problems(problems) });
        }
        let owned: Vec<String> = self.all().iter().filter(|f| f.view().owner == owner).map(|f| f.id.clone()).collect();
        if wanted.is_empty() && !owned.is_empty() && !allow_empty {
            return Err(RegistryError::WouldEmpty { owner: owner.to_owned(), count: owned.len() });
        }
        let mut synced = Synced::default();
        // First those that go: another may want their port.
        for id in owned.into_iter().filter(|id| wanted.iter().all(|flow| flow.id != *id)) {
            match self.remove_one(&id).await {
                Ok(()) => synced.removed.push(id),
                Err(error) => synced.failed.push(failure(id, &error)),
            }
        }
        let mut changes = Vec::new();
        for flow in wanted {
            changes.push((flow, self.apply_one(owner, flow).await));
        }
        // Saved together: a commit for each would take seconds on a memory card.
        let saved = join_all(changes.into_iter().map(|(flow, change)| async move {
            let change = match change {
                Ok(change) if change.applied != Applied::Unchanged => self.save(owner, flow).await.map(|()| change),
                change => change,
            };
            (flow.id.clone(), change.and_then(Change::result))
        }));
        for (id, applied) in saved.await {
            match applied {
                Ok(Applied::Created) => synced.created.push(id),
                Ok(Applied::Changed) => synced.changed.push(id),
                Ok(Applied::Unchanged) => synced.unchanged.push(id),
                Err(error) => synced.failed.push(failure(id, &error)),
            }
        }
        Ok(synced)
    }

    /// Starts a flow anew, cutting its connections.
    pub async fn restart(&self, id: &str) -> Result<(), RegistryError> {
        let _changing = self.change().await?;
        let flow = self.find(id)?;
        if flow.restart().await { Ok(()) } else { Err(RegistryError::Disabled { id: id.to_owned() }) }
    }

    /// The status of all flows, or of one owner's.
    pub fn list(&self, owner: Option<&str>) -> Vec<FlowStatus> {
        let statuses = self.all().into_iter().map(|f| f.status());
        statuses.filter(|s| owner.is_none_or(|owner| s.owner == owner)).collect()
    }

    /// The status of one flow.
    pub fn status(&self, id: &str) -> Result<FlowStatus, RegistryError> {
        Ok(self.find(id)?.status())
    }

    /// The counters of some flows, or of all.
    pub fn counters(&self, ids: Option<&[String]>) -> Result<BTreeMap<String, Arc<Counters>>, RegistryError> {
        match ids {
            Some(ids) => ids.iter().map(|id| Ok((id.clone(), Arc::clone(&self.find(id)?.counters)))).collect(),
            None => Ok(self.all().into_iter().map(|f| (f.id.clone(), Arc::clone(&f.counters))).collect()),
        }
    }

    /// Sets a flow's counters to zero and forgets its last error.
    pub async fn reset_counters(&self, id: &str) -> Result<(), RegistryError> {
        self.find(id)?.reset();
        Ok(self.save_counters().await?)
    }

    /// Sets some of a flow's counters, as a backup has them, and saves them. Gauges stay as they are.
    pub async fn set_counters(&self, id: &str, wanted: &CounterValues) -> Result<(), RegistryError> {
        let flow = self.find(id)?;
        flow.counters.overwrite(wanted).map_err(|name| RegistryError::UnknownCounter { id: id.to_owned(), name })?;
        Ok(self.save_counters().await?)
    }

    /// Writes the counters that changed since they were last written.
    pub async fn save_counters(&self) -> Result<(), StoreError> {
        let now: HashMap<_, _> = self.all().iter().map(|f| (f.id.clone(), f.counters.lasting())).collect();
        let changed: Vec<_> = {
            let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
            let zero = |values: &CounterValues| values.values().all(|v| *v == 0);
            let is_new = |id: &String, values: &CounterValues| saved.get(id).map_or(!zero(values), |old| old != values);
            now.iter()
                .filter(|(id, values)| is_new(id, values))
                .map(|(id, values)| (id.clone(), values.clone()))
                .collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        self.means.store.put_counters(changed).await?;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    /// Ends all flows: no more clients, then those there are go on until `enough`. The answer is how many were cut.
    pub async fn shut_down(&self, enough: impl Future<Output = ()>) -> usize {
        self.closed.store(true, Ordering::Relaxed);
        // A change may have a flow to open, which takes as long as it takes.
        let changing = timeout(CHANGE_ENDS_WITHIN, self.changing.lock()).await;
        if changing.is_err() {
            tracing::warn!("a change of the flows is under way, and is left unfinished");
        }
        let flows = self.all();
        let drain = |f: Arc<Supervisor>| async move {
            if timeout(FLOW_ENDS_WITHIN, f.drain()).await.is_err() {
                tracing::warn!(flow = f.id, "does not stop accepting, and is left to end with the process");
            }
        };
        join_all(flows.iter().map(|f| drain(Arc::clone(f)))).await;
        let ended = || join_all(flows.iter().map(|f| f.connections.ended()));
        tokio::select! {
            _ = ended() => {}
            () = enough => {}
        }
        let cut = flows.iter().map(|f| f.connections.cut()).sum();
        // What is cut is counted when its task is gone.
        let _ = timeout(CUT_WITHIN, ended()).await;
        match timeout(SAVED_WITHIN, self.save_counters()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the counters are not saved: {error}"),
            Err(_) => tracing::error!("the counters are not saved: the store does not answer"),
        }
        cut
    }
}

/// What a change came to in memory.
struct Change {
    applied: Applied,
    /// Why the flow does not serve although it is listed.
    refused: Option<RegistryError>,
}

impl Change {
    fn result(self) -> Result<Applied, RegistryError> {
        self.refused.map_or(Ok(self.applied), Err)
    }
}

fn row(owner: &str, wanted: &FlowSpec) -> FlowRow {
    FlowRow { id: wanted.id.clone(), owner: owner.to_owned(), kind: wanted.kind.clone(), spec: wanted.spec.clone(), enabled: wanted.enabled }
}

fn failure(id: String, error: &RegistryError) -> SyncFailure {
    let problems = match error {
        RegistryError::Request { problems } | RegistryError::Open { error: FlowError::Config { problems }, .. } => problems.0.clone(),
        _ => Vec::new(),
    };
    SyncFailure { id, error: error.to_string(), problems }
}

fn known_kind(name: &str) -> Result<&'static dyn FlowKind, Problem> {
    find_kind(name).ok_or_else(|| {
        let known: Vec<_> = KINDS.iter().map(|k| k.name()).collect();
        Problem::new("/kind", &format!("{name:?} is not a kind of flow; these are: {}", known.join(", ")))
    })
}

/// What is wrong with an id or an owner. They go into URLs, file names, log lines and labels.
pub(crate) fn name_problem(pointer: &str, name: &str) -> Option<Problem> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = !name.is_empty() && name.len() <= 64 && name.chars().all(fine);
    (!good).then(|| Problem::new(pointer, "must be 1 to 64 letters, digits, '.', '_' or '-'"))
}
