//! What outlives the daemon: flows as last pushed, and counters. One SQLite file, one thread that owns it.
//!
//! What a caller is told is accepted was committed before, with `synchronous=FULL`. Writes that wait together are
//! committed together.

mod schema;
mod thread;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::flow::CounterValues;
use thread::{Job, Work, Write};

/// Writes that may wait for the thread.
const QUEUE: usize = 256;

/// A flow as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    /// Its id.
    pub id: String,
    /// Who pushed it.
    pub owner: String,
    /// Its kind.
    pub kind: String,
    /// Its spec, as pushed.
    pub spec: Value,
    /// Whether it is to run.
    pub enabled: bool,
}

/// What the store had when it was opened.
#[derive(Debug, Default)]
pub struct Stored {
    /// The flows.
    pub flows: Vec<FlowRow>,
    /// Their counters, by id.
    pub counters: HashMap<String, CounterValues>,
    /// What was set besides flows, by name.
    pub settings: BTreeMap<String, String>,
}

/// Why something is not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refuses.
    #[error("{path}: {reason}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The thread has ended.
    #[error("the store is closed")]
    Closed,
}

/// The daemon's store. Cloning it shares it; the file is closed when the last one goes.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    degraded: Option<String>,
}

impl Store {
    /// Opens `<state_dir>/domoflux.db`. A damaged file is set aside; without a usable directory the store is kept in
    /// memory. Both are said in [`Store::degraded`], and the daemon runs.
    pub fn open(state_dir: &Path) -> (Self, Stored) {
        let path = state_dir.join("domoflux.db");
        let (connection, stored, degraded) = match schema::open(&path) {
            Ok((connection, stored)) => (Ok(connection), stored, None),
            Err(error) if schema::is_damage(&error) => match schema::set_aside(&path, &error) {
                Ok((connection, said)) => (Ok(connection), Stored::default(), Some(said)),
                Err(said) => (Connection::open_in_memory(), Stored::default(), Some(said)),
            },
            Err(error) => {
                let (stored, what) = match schema::read_only(&path) {
                    Ok(stored) => (stored, "the flows that it has are started, and changes"),
                    Err(_) => (Stored::default(), "flows are kept in memory only and"),
                };
                let said = format!("cannot write {}: {error}; {what} are lost when the daemon stops", path.display());
                (Connection::open_in_memory(), stored, Some(said))
            }
        };
        if let Some(said) = &degraded {
            tracing::error!("{said}");
        }
        (Self::start(path, connection, degraded), stored)
    }

    /// A store in memory, for a daemon that is to leave nothing behind.
    pub fn in_memory() -> Self {
        Self::start(PathBuf::from(":memory:"), Connection::open_in_memory(), None)
    }

    fn start(path: PathBuf, connection: rusqlite::Result<Connection>, degraded: Option<String>) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let started = connection.map_err(|e| e.to_string()).and_then(|connection| {
            let _ = schema::migrate(&connection);
            thread::start(path, connection, queue).map_err(|e| e.to_string())
        });
        if let Err(error) = started {
            tracing::error!("the store has no thread: {error}; nothing is saved");
        }
        Self { jobs, degraded }
    }

    /// Why the store is not what it should be.
    pub fn degraded(&self) -> Option<&str> {
        self.degraded.as_deref()
    }

    /// Stores a flow. It is on the disk when this completes.
    pub async fn put_flow(&self, row: FlowRow) -> Result<(), StoreError> {
        self.write(Box::new(move |db| {
            let sql = "INSERT INTO flow (id, owner, kind, spec, enabled) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (id) DO UPDATE SET owner = ?2, kind = ?3, spec = ?4, enabled = ?5";
            db.prepare_cached(sql)?
                .execute(params![row.id, row.owner, row.kind, row.spec.to_string(), row.enabled])
                .map(drop)
        }))
        .await
    }

    /// Forgets a flow and its counters.
    pub async fn remove_flow(&self, id: String) -> Result<(), StoreError> {
        self.write(Box::new(move |db| {
            db.execute("DELETE FROM counter WHERE flow = ?1", [&id])?;
            db.execute("DELETE FROM flow WHERE id = ?1", [&id]).map(drop)
        }))
        .await
    }

    /// Stores counters.
    pub async fn put_counters(&self, rows: Vec<(String, CounterValues)>) -> Result<(), StoreError> {
        self.write(Box::new(move |db| {
            let mut put = db.prepare_cached("INSERT INTO counter (flow, name, value) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = ?3")?;
            for (flow, values) in &rows {
                for (name, value) in values {
                    put.execute(params![flow, name, i64::try_from(*value).unwrap_or(i64::MAX)])?;
                }
            }
            Ok(())
        }))
        .await
    }

    /// Stores a setting, or forgets it. It is on the disk when this completes.
    pub async fn put_setting(&self, name: &'static str, value: Option<String>) -> Result<(), StoreError> {
        self.write(Box::new(move |db| match value {
            Some(value) => db
                .execute(
                    "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
                    params![name, value],
                )
                .map(drop),
            None => db.execute("DELETE FROM setting WHERE name = ?1", [name]).map(drop),
        }))
        .await
    }

    /// Closes the file. Nothing can be written after it.
    pub async fn close(&self) {
        let _ = self.job(Work::Close).await;
    }

    /// Completes when the thread has done what waits for it.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.job(Work::Answer).await
    }

    /// One whose thread never answers.
    #[cfg(test)]
    pub(crate) fn hung() -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::mem::forget(queue);
        Self { jobs, degraded: None }
    }

    /// What a daemon that does not run has left, as far as that can be read without touching it.
    pub fn left_in(state_dir: &Path) -> Result<Vec<FlowRow>, StoreError> {
        let path = state_dir.join("domoflux.db");
        schema::read_only(&path)
            .map(|stored| stored.flows)
            .map_err(|e| StoreError::Sqlite { path, reason: e.to_string() })
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.job(Work::Write(write)).await
    }

    async fn job(&self, work: Work) -> Result<(), StoreError> {
        let (answer, done) = oneshot::channel();
        self.jobs.send(Job { work, answer }).await.map_err(|_| StoreError::Closed)?;
        done.await.map_err(|_| StoreError::Closed)?
    }
}

#[cfg(test)]
mod tests;
