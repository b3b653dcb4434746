//! The thread that writes records. Whatever the disk does, no connection waits for it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::recording::Recording;
use crate::text::reason;

/// What the thread is to do. There is at most one job a connection, so the queue needs no bound of its own.
pub(super) enum Job {
    Write(Arc<Recording>),
    Remove(PathBuf),
    /// Everything before it is done when the other end is dropped.
    Flush(SyncSender<()>),
}

/// How long whole records are gathered before they are put on the disk for good.
const SYNC_AFTER: Duration = Duration::from_secs(1);
/// From how many on the whole file system is put there, which costs less then.
const SYNC_ALL_FROM: usize = 32;

/// Without the thread, its end of the channel is gone, and whoever sends something to it learns that.
fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10).spawn(work) {
        tracing::error!("the thread {name:?} can't be started: {}", reason(&error));
    }
}

fn jobs() -> &'static Sender<Job> {
    static JOBS: OnceLock<Sender<Job>> = OnceLock::new();
    JOBS.get_or_init(|| {
        let (jobs, queue) = channel();
        thread("spool", move || {
            for job in queue {
                match job {
                    Job::Write(recording) => recording.write(),
                    Job::Remove(path) => drop(std::fs::remove_file(path)),
                    Job::Flush(done) => drop(done),
                }
            }
        });
        jobs
    })
}

/// Has the thread do something; `false` if it is not there.
pub(super) fn send(job: Job) -> bool {
    jobs().send(job).is_ok()
}

/// Whether the thread is there. It is started by the first who asks.
pub(super) fn is_there() -> bool {
    send(Job::Flush(sync_channel(0).0))
}

/// Waits until everything that was recorded is written, or for `within`. The answer is whether it is.
pub(crate) fn flush(within: Duration) -> bool {
    let (done, wait) = sync_channel(0);
    send(Job::Flush(done));
    wait.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
}

/// Puts a whole record that waits on the disk for good, so that it outlives a power cut. That takes its time, so it
/// happens in another thread, and many share it.
pub(super) fn sync_soon(path: PathBuf) {
    static PATHS: OnceLock<Sender<PathBuf>> = OnceLock::new();
    let paths = PATHS.get_or_init(|| {
        let (paths, queue) = channel();
        thread("spool-sync", move || sync_all(&queue));
        paths
    });
    let _ = paths.send(path);
}

fn sync_all(queue: &Receiver<PathBuf>) {
    while let Ok(first) = queue.recv() {
        std::thread::sleep(SYNC_AFTER);
        let mut paths = vec![first];
        paths.extend(queue.try_iter());
        let many = paths.len() >= SYNC_ALL_FROM;
        let dirs: BTreeSet<PathBuf> = paths.iter().filter_map(|path| path.parent()).map(PathBuf::from).collect();
        for path in paths {
            // One that was played back meanwhile is not there.
            if let Ok(file) = File::open(path) {
                if many {
                    let _ = rustix::fs::syncfs(&file);
                    break;
                }
                let _ = file.sync_data();
            }
        }
        dirs.iter().filter_map(|dir| File::open(dir).ok()).for_each(|dir| drop(dir.sync_all()));
    }
}
