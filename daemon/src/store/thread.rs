//! The thread that owns the database.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// One change of the database.
pub(super) type Write = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

/// What the thread is to do.
pub(super) enum Work {
    Write(Write),
    /// Show that it goes on.
    Answer,
    /// Close the file, and end.
    Close,
}

/// Some work, and who waits for it; a change is on the disk when it is answered.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// How many waiting changes are committed together.
const GROUP: usize = 64;

/// Runs until all senders are gone.
pub(super) fn start(path: PathBuf, connection: Connection, mut queue: mpsc::Receiver<Job>) -> std::io::Result<()> {
    let work = move || {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            let closing = group.iter().any(|job| matches!(job.work, Work::Close));
            let answers = commit(&path, &connection, group);
            if closing {
                drop(connection); // which leaves nothing beside the file
                tell(answers);
                return;
            }
            tell(answers);
        }
    };
    std::thread::Builder::new().name("store".to_owned()).stack_size(256 << 10).spawn(work).map(drop)
}

type Answer = (oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>);

fn tell(answers: Vec<Answer>) {
    for (answer, result) in answers {
        let _ = answer.send(result);
    }
}

/// Makes the changes in one transaction. One that fails is undone by itself, the others stay.
fn commit(path: &Path, db: &Connection, group: Vec<Job>) -> Vec<Answer> {
    if group.iter().all(|job| matches!(job.work, Work::Answer)) {
        return group.into_iter().map(|job| (job.answer, Ok(()))).collect();
    }
    let failed = |reason: String| StoreError::Sqlite { path: path.to_owned(), reason };
    if let Err(error) = db.execute_batch("BEGIN IMMEDIATE") {
        return group.into_iter().map(|job| (job.answer, Err(failed(error.to_string())))).collect();
    }
    let one = |job: Job| {
        let Work::Write(write) = job.work else { return (job.answer, Ok(())) };
        let _ = db.execute_batch("SAVEPOINT one");
        let result = write(db);
        let _ = db.execute_batch(if result.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" });
        (job.answer, result.map_err(|e| failed(e.to_string())))
    };
    let done: Vec<Answer> = group.into_iter().map(one).collect();
    let Err(error) = db.execute_batch("COMMIT") else { return done };
    let _ = db.execute_batch("ROLLBACK");
    done.into_iter().map(|(answer, _)| (answer, Err(failed(error.to_string())))).collect()
}
