//! The thread that owns the database.

use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// One change of the database.
pub(super) type Write = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

/// A change, and who waits until it is on the disk.
pub(super) struct Job {
    pub(super) write: Write,
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
            commit(&path, &connection, group);
        }
    };
    std::thread::Builder::new().name("store".to_owned()).stack_size(256 << 10).spawn(work).map(drop)
}

/// Makes the changes in one transaction. One that fails is undone by itself, the others stay.
fn commit(path: &std::path::Path, db: &Connection, group: Vec<Job>) {
    let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
    if let Err(error) = db.execute_batch("BEGIN IMMEDIATE") {
        let text = error.to_string();
        for job in group {
            let source = rusqlite::Error::InvalidParameterName(text.clone());
            let _ = job.answer.send(Err(failed(source)));
        }
        return;
    }
    let mut done = Vec::with_capacity(group.len());
    for Job { write, answer } in group {
        let _ = db.execute_batch("SAVEPOINT one");
        let result = write(db);
        let _ = db.execute_batch(if result.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" });
        done.push((answer, result));
    }
    let committed = db.execute_batch("COMMIT");
    if committed.is_err() {
        let _ = db.execute_batch("ROLLBACK");
    }
    for (answer, result) in done {
        let result = match &committed {
            Ok(()) => result,
            Err(error) => Err(rusqlite::Error::InvalidParameterName(error.to_string())),
        };
        let _ = answer.send(result.map_err(failed));
    }
}
