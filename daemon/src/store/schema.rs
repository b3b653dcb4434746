//! The database's tables, how they came to be, and what to do with a file that can't be read.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::{FlowRow, Stored};
use crate::flow::CounterValues;
use crate::text::unix_ms;

/// What leads from each version of the schema to the next. Never change one that was released: add another.
const MIGRATIONS: &[&str] = &[
    // 0 → 1
    "CREATE TABLE flow (
         id      TEXT PRIMARY KEY,
         owner   TEXT NOT NULL,
         kind    TEXT NOT NULL,
         spec    TEXT NOT NULL,
         enabled INTEGER NOT NULL
     ) WITHOUT ROWID;
     CREATE TABLE counter (
         flow  TEXT NOT NULL,
         name  TEXT NOT NULL,
         value INTEGER NOT NULL,
         PRIMARY KEY (flow, name)
     ) WITHOUT ROWID;",
    // 1 → 2
    "CREATE TABLE setting (
         name  TEXT PRIMARY KEY,
         value TEXT NOT NULL
     ) WITHOUT ROWID;",
];

/// Opens the file, brings it up to date, and reads what it has.
pub(super) fn open(path: &Path) -> rusqlite::Result<(Connection, Stored)> {
    let db = connect(path)?;
    let damage: Option<String> = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).optional()?;
    if damage.as_deref() != Some("ok") {
        return Err(corrupt(damage.unwrap_or_default()));
    }
    migrate(&db)?;
    let stored = Stored { flows: flows(&db)?, counters: counters(&db)?, settings: settings(&db)? };
    Ok((db, stored))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -256; PRAGMA journal_size_limit = 1048576;")?;
    Ok(db)
}

/// Reads what a file has that can't be written, on a disk that has become read-only, say.
pub(super) fn read_only(path: &Path) -> rusqlite::Result<Stored> {
    // Without `immutable`, SQLite wants to write a log beside the file to read it.
    let uri = format!("file:{}?immutable=1", path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23"));
    let db = Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?;
    // An older daemon's file, which can't be brought up to date, has none.
    Ok(Stored { flows: flows(&db)?, counters: counters(&db)?, settings: settings(&db).unwrap_or_default() })
}

/// Brings a database to this version's schema.
pub(super) fn migrate(db: &Connection) -> rusqlite::Result<()> {
    let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = version as usize;
    if version > MIGRATIONS.len() {
        return Err(corrupt(format!(
            "its schema is version {version}, this daemon knows {}: it was written by a newer domoflux",
            MIGRATIONS.len()
        )));
    }
    for (from, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        db.execute_batch(&format!("BEGIN; {migration} PRAGMA user_version = {}; COMMIT;", from + 1))?;
    }
    Ok(())
}

/// Whether the file itself is what is wrong, and not the disk or a permission.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..))
}

/// Renames the file and begins a new one; says what was done.
pub(super) fn set_aside(path: &Path, why: &rusqlite::Error) -> Result<(Connection, String), String> {
    let aside = path.with_extension(format!("damaged-{}", unix_ms()));
    let fail = |e: &dyn std::fmt::Display| {
        format!(
            "{} is damaged ({why}) and can't be set aside: {e}; flows are kept in memory only and are lost when the daemon stops",
            path.display()
        )
    };
    std::fs::rename(path, &aside).map_err(|e| fail(&e))?;
    for suffix in ["-wal", "-shm"] {
        let beside = |p: &Path| {
            let mut name = p.as_os_str().to_owned();
            name.push(suffix);
            name
        };
        let _ = std::fs::rename(beside(path), beside(&aside));
    }
    let said = format!(
        "{} was damaged ({why}); it is now {}, and the daemon started without flows: push them again",
        path.display(),
        aside.display()
    );
    connect(path).map(|db| (db, said)).map_err(|e| fail(&e))
}

fn flows(db: &Connection) -> rusqlite::Result<Vec<FlowRow>> {
    let mut query = db.prepare("SELECT id, owner, kind, spec, enabled FROM flow ORDER BY id")?;
    let rows = query.query_map([], |row| {
        let spec: String = row.get(3)?;
        let spec = serde_json::from_str(&spec).map_err(|e| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, e.into()))?;
        Ok(FlowRow { id: row.get(0)?, owner: row.get(1)?, kind: row.get(2)?, spec, enabled: row.get(4)? })
    })?;
    rows.collect()
}

fn counters(db: &Connection) -> rusqlite::Result<std::collections::HashMap<String, CounterValues>> {
    let mut all: std::collections::HashMap<String, CounterValues> = std::collections::HashMap::new();
    let mut query = db.prepare("SELECT flow, name, value FROM counter")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)))?;
    for row in rows {
        let (flow, name, value): (String, String, i64) = row?;
        all.entry(flow).or_default().insert(name, u64::try_from(value).unwrap_or(0));
    }
    Ok(all)
}

fn settings(db: &Connection) -> rusqlite::Result<std::collections::BTreeMap<String, String>> {
    let mut query = db.prepare("SELECT name, value FROM setting")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn corrupt(text: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(text))
}
