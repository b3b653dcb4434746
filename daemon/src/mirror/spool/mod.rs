//! The spool: connections kept on disk for a mirror that is away, and played back in the order they were accepted.
//!
//! While the mirror takes its copies at once, a connection's record is only for the case that this fails: it stays in
//! memory for a second, and most are delivered before it is over, so that a healthy mirror costs the disk nothing.
//! As soon as one copy fails, all that come later wait behind it ([`index`]). `player` plays them back one after the
//! other. A connection that is still going on when its turn comes is played as far as it is, then followed, and the
//! next one's turn begins.
//!
//! A record is a file of its own (`record`), named by its number and removed once it is delivered. Only the thread in
//! `disk` writes. Nothing here is ever waited for by client or target, but for the moment that any mirror may have.

mod disk;
mod index;
mod player;
mod reader;
pub(crate) mod record;
mod recording;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::counters::C;
use super::patience::Patience;
use super::spec::{MirrorSpec, SpoolSpec};
use crate::flow::{Counters, FlowContext, FlowError, Problem, Problems, Report};
use crate::net::{Address, Budget, Dialler};
use crate::text::{reason, unix_ms};

use disk::Job;
pub(crate) use disk::flush;
use index::{Index, Level, Place};
#[cfg(fuzzing)]
pub(crate) use reader::read_whole;
pub(super) use record::End;
pub(super) use recording::Recorder;
use recording::Recording;

/// How long the record of a connection whose mirror is healthy stays in memory.
const STAYS_IN_MEMORY: Duration = Duration::from_secs(1);

/// How long the player goes on when nobody uses the spool any more.
const STAYS_AFTER_LEASE: Duration = Duration::from_secs(1);

/// How long a flow waits for the directory of its spool, which may be on a disk that does not answer.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// The place of a connection in the order of all that were accepted.
pub(super) fn next_seq() -> u64 {
    LAST_SEQ.fetch_add(1, Ordering::Relaxed) + 1
}

/// The last number given. Records of earlier runs that are found raise it.
static LAST_SEQ: AtomicU64 = AtomicU64::new(0);

fn record_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:016x}.rec"))
}

/// What a spool works with. An edit of the flow changes it.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) spec: SpoolSpec,
    pub(super) address: Address,
    pub(super) dialler: Dialler,
}

/// The connections that are kept for one mirror of one flow.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    settings: Mutex<Settings>,
    index: Mutex<Index<Arc<Recording>>>,
    counters: Arc<Counters>,
    report: Arc<Report>,
    budget: Arc<Budget>,
    /// Something waits to be played back.
    waiting: Notify,
    later: Mutex<Vec<Arc<Recording>>>,
    use_: Mutex<Use>,
    /// How long connections have waited for the disk.
    patience: Mutex<Patience>,
}

/// Who uses a spool.
#[derive(Debug, Default)]
struct Use {
    leases: usize,
    player: Option<AbortHandle>,
    /// What the flow's gauges have of it.
    shown: Level,
}

/// The spools that are open, by directory. An edit of a flow finds its spool here, and the connections of the old spec
/// go on with it.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Spool>>>> = LazyLock::new(Mutex::default);

/// The right to use a spool. While there is one, its records are played back.
#[derive(Debug)]
pub(super) struct SpoolLease(Arc<Spool>);

impl SpoolLease {
    /// Opens the spool in `dir`, creating the directory if need be. It may take as long as reading a directory does.
    pub(super) fn open(dir: &Path, settings: &Settings, counters: &Arc<Counters>, report: &Arc<Report>, budget: &Arc<Budget>) -> io::Result<Self> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, spool| spool.strong_count() > 0);
        let known = open.get(dir).and_then(Weak::upgrade);
        if !disk::is_there() {
            return Err(io::Error::other("the thread that writes to the disk is not there"));
        }
        std::fs::create_dir_all(dir)?; // also for a known one: its flow may have been removed and made again
        let spool = match known {
            Some(spool) => spool,
            None => {
                let spool = Arc::new(Spool {
                    dir: dir.to_owned(),
                    settings: Mutex::new(settings.clone()),
                    index: Mutex::new(scan(dir)?),
                    counters: Arc::clone(counters),
                    report: Arc::clone(report),
                    budget: Arc::clone(budget),
                    waiting: Notify::new(),
                    later: Mutex::default(),
                    use_: Mutex::default(),
                    patience: Mutex::new(Patience::new()),
                });
                open.insert(dir.to_owned(), Arc::downgrade(&spool));
                spool
            }
        };
        *spool.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        Ok(Self::take(spool))
    }

    fn take(spool: Arc<Spool>) -> Self {
        {
            let mut use_ = spool.use_.lock().unwrap_or_else(PoisonError::into_inner);
            use_.leases += 1;
            if use_.player.is_none() {
                spool.index().interrupt();
                use_.player = Some(tokio::spawn(player::keep_playing(Arc::downgrade(&spool))).abort_handle());
            }
        }
        spool.show();
        Self(spool)
    }

    /// Begins to record a connection. The second answer is whether its mirror is to get it at once; otherwise others wait.
    pub(super) fn record(&self, seq: u64, client: SocketAddr, buffer: u64) -> (Recorder, bool) {
        let spool = &self.0;
        let recording = Recording::new(seq, unix_ms(), client.to_string(), buffer, spool);
        let place = spool.index().admit(seq, unix_ms(), Arc::clone(&recording));
        if place == Place::Waiting {
            spool.show();
            spool.waiting.notify_one();
        }
        (Recorder::new(recording), place == Place::Live)
    }
}

impl Drop for SpoolLease {
    fn drop(&mut self) {
        self.0.use_.lock().unwrap_or_else(PoisonError::into_inner).leases -= 1;
        self.0.show();
        let spool = Arc::clone(&self.0);
        // A restart takes a new lease at once, and what is on its way need not be played back a second time.
        let later = async move {
            tokio::time::sleep(STAYS_AFTER_LEASE).await;
            let mut use_ = spool.use_.lock().unwrap_or_else(PoisonError::into_inner);
            if use_.leases == 0
                && let Some(player) = use_.player.take()
            {
                player.abort();
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(later);
        }
    }
}

/// Opens the spools of a flow's mirrors. One that can't be opened is said, and the flow serves without it.
pub(super) async fn open(spec: &MirrorSpec, cx: &FlowContext) -> Result<Vec<Option<SpoolLease>>, FlowError> {
    let mut spools = Vec::new();
    let mut used = Vec::new();
    for (i, leg) in spec.mirrors.iter().enumerate() {
        let Some(wanted) = &leg.spool else {
            spools.push(None);
            continue;
        };
        let Some(dir) = &cx.dir else {
            let problem = Problem::new(format!("/mirrors/{i}/spool"), "there is no directory for it: name one with --spool-dir");
            return Err(FlowError::Config { problems: Problems(vec![problem]) });
        };
        let twins = spec.mirrors.iter().take(i).filter(|other| other.address == leg.address).count();
        let twin = if twins > 0 { format!("+{twins}") } else { String::new() };
        let dir = dir.join("spool").join(format!("{}{twin}", leg.address.to_string().replace(['[', ']', ':'], "_")));
        let dialler = Dialler { timeout: spec.connect_timeout.0, keepalive: spec.keepalive };
        used.push(dir.clone());
        let settings = Settings { spec: wanted.clone(), address: leg.address.clone(), dialler };
        let (counters, report, budget) = (Arc::clone(&cx.counters), Arc::clone(&cx.report), Arc::clone(&cx.pool.budget));
        let opening = tokio::task::spawn_blocking({
            let dir = dir.clone();
            move || SpoolLease::open(&dir, &settings, &counters, &report, &budget)
        });
        let late = || {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the disk has not answered within {} s", OPEN_WITHIN.as_secs()),
            ))
        };
        let opened = tokio::time::timeout(OPEN_WITHIN, opening).await;
        spools.push(match opened.map_or_else(|_| late(), |opened| opened.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))) {
            Ok(lease) => Some(lease),
            Err(error) => {
                let text = format!("spool for mirror {}: cannot use {}: {}; nothing is kept", leg.address, dir.display(), reason(&error));
                cx.report.happened(&dir.display(), &text);
                None
            }
        });
    }
    if let Some(dir) = &cx.dir {
        let (dir, report) = (dir.join("spool"), Arc::clone(&cx.report));
        tokio::task::spawn_blocking(move || name_unused(&dir, &used, &report));
    }
    Ok(spools)
}

/// Says what is kept for mirrors that the flow no longer has, or that no longer have a spool.
fn name_unused(dir: &Path, used: &[PathBuf], report: &Report) {
    let Ok(spools) = std::fs::read_dir(dir) else { return };
    for spool in spools.flatten().map(|entry| entry.path()).filter(|path| !used.contains(path)) {
        let records = std::fs::read_dir(&spool).map_or(0, Iterator::count);
        if records > 0 {
            let place = spool.display();
            let text =
                format!("{records} connections in {place} are not played back: no mirror of this flow has that spool; delete them, or put it back");
            report.happened(&place, &text);
        }
    }
}

/// What earlier runs left in `dir`.
fn scan(dir: &Path) -> io::Result<Index<Arc<Recording>>> {
    let mut index = Index::default();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(seq) = name.to_str().and_then(|n| n.strip_suffix(".rec")).and_then(|n| u64::from_str_radix(n, 16).ok()) else { continue };
        let meta = entry.metadata()?;
        if !meta.is_file() {
            continue; // reading a pipe, say, would never end
        }
        let at = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_millis() as u64);
        index.found(seq, at, meta.len());
        LAST_SEQ.fetch_max(seq, Ordering::Relaxed);
    }
    // A spool that can't be written is better known now than when it is needed.
    let probe = dir.join("probe");
    std::fs::write(&probe, [])?;
    std::fs::remove_file(probe)?;
    Ok(index)
}

impl Spool {
    fn index(&self) -> MutexGuard<'_, Index<Arc<Recording>>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn patience(&self) -> MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings the flow's gauges up to date. A spool that nobody uses shows nothing.
    fn show(&self) {
        let mut use_ = self.use_.lock().unwrap_or_else(PoisonError::into_inner);
        let level = if use_.leases > 0 { self.index().level() } else { Level::default() };
        let shown = std::mem::replace(&mut use_.shown, level);
        let change = |counter: C, old: u64, new: u64| {
            if new >= old { self.counters.add(counter as usize, new - old) } else { self.counters.sub(counter as usize, old - new) }
        };
        change(C::SpooledConnections, shown.connections, level.connections);
        change(C::SpooledBytes, shown.bytes, level.bytes);
    }

    /// A copy that was given at once failed: it is played back, and all that come now wait behind it.
    /// The answer is whether that is news.
    fn failed(&self, seq: u64) -> bool {
        {
            let mut index = self.index();
            if index.get(seq).is_none_or(|entry| entry.place != Place::Live) {
                return false;
            }
            index.put(seq, Place::Waiting);
            if index.get(seq).is_some_and(|entry| entry.recording.is_none()) {
                disk::sync_soon(record_path(&self.dir, seq)); // it is whole already
            }
        }
        self.show();
        self.waiting.notify_one();
        true
    }

    /// Bytes of a record were written. At the limit the oldest whole record goes; where there is none, this one.
    fn grown(&self, seq: u64, bytes: u64, ended: bool) {
        let most = self.settings().spec.max_bytes.0;
        let (there, must_sync, over) = {
            let mut index = self.index();
            let there = index.grow(seq, bytes);
            let entry = index.get_mut(seq);
            let waits = entry.as_ref().is_some_and(|e| e.place == Place::Waiting);
            if let (true, Some(entry)) = (ended, entry) {
                entry.recording = None;
            }
            let mut over = Vec::new();
            let mut excess = index.level().bytes.saturating_sub(most);
            let mut victims = index.oldest_to_go();
            while let (true, Some(victim)) = (excess > 0, victims) {
                excess = excess.saturating_sub(index.get(victim).map_or(0, |e| e.bytes));
                over.push((victim, index.remove(victim)));
                victims = index.oldest_to_go();
            }
            if excess > 0 && index.get(seq).is_some() {
                over.push((seq, index.remove(seq)));
            }
            (there, ended && waits, over)
        };
        if !there {
            disk::send(Job::Remove(record_path(&self.dir, seq)));
        } else if must_sync {
            disk::sync_soon(record_path(&self.dir, seq));
        }
        for (victim, entry) in over {
            let Some(entry) = entry else { continue };
            if let Some(recording) = entry.recording {
                recording.lose();
            }
            disk::send(Job::Remove(record_path(&self.dir, victim)));
            self.count_dropped(&format!("its max_bytes ({most} bytes) are reached"));
        }
        self.show();
    }

    /// Forgets a record, delivered or not.
    fn remove(&self, seq: u64) -> bool {
        let Some(entry) = self.index().remove(seq) else { return false };
        let has_file = entry.recording.is_none_or(|recording| {
            recording.close();
            recording.has_file()
        });
        if has_file {
            disk::send(Job::Remove(record_path(&self.dir, seq)));
            self.show();
        } else if entry.place != Place::Live {
            self.show();
        }
        true
    }

    /// Gives a record up.
    fn drop_record(&self, seq: u64, why: &str) {
        if self.remove(seq) {
            self.count_dropped(why);
        }
    }

    fn count_dropped(&self, why: &str) {
        self.counters.add(C::SpoolDropped as usize, 1);
        let address = self.settings().address;
        self.report
            .happened(&format_args!("spool for {address}"), &format!("spool for mirror {address}: {why}; a connection is not kept"));
    }

    /// Has what the recording holds written in a moment, unless it is delivered by then.
    fn write_later(self: &Arc<Self>, recording: &Arc<Recording>) {
        if recording.later.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        later.push(Arc::clone(recording));
        if later.len() > 1 {
            return;
        }
        let spool = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(STAYS_IN_MEMORY).await;
            let due = std::mem::take(&mut *spool.later.lock().unwrap_or_else(PoisonError::into_inner));
            for recording in due {
                recording.later.store(false, Ordering::Release);
                if !recording.written().1 {
                    recording.hand_over();
                }
            }
        });
    }
}
