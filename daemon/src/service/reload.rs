//! Reading the configuration file again while the daemon runs.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::watch;

use super::{Notify, StopTimes};
use crate::app::FILE_OWNER;
use crate::config::{ConfigFile, DaemonTable, FileError};
use crate::flow::{Flows, RegistryError, Synced};
use crate::log::Log;

/// Where the configuration is from.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file.
    pub path: Option<PathBuf>,
    /// Whether it need not be there: it was looked for, not asked for.
    pub optional: bool,
    /// What the command line says, which comes before what the file says.
    pub said: DaemonTable,
}

impl ConfigSource {
    /// Reads the file, if there is one.
    pub fn read(&self) -> Result<Option<ConfigFile>, FileError> {
        match &self.path {
            // Where one can't be seen there may be one: reading it says why.
            Some(path) if self.optional && matches!(path.try_exists(), Ok(false)) => Ok(None),
            Some(path) => ConfigFile::read(path).map(Some),
            None => Ok(None),
        }
    }
}

/// Reads the file at each SIGHUP.
pub struct Reload {
    /// Where from.
    pub source: ConfigSource,
    /// Command line and file as they were last taken.
    pub table: DaemonTable,
    /// The flows.
    pub flows: Arc<Flows>,
    /// The log, for its level.
    pub log: Log,
    /// Where the times of a stop are set.
    pub times: watch::Sender<StopTimes>,
    /// Who is told.
    pub notify: Notify,
}

impl Reload {
    /// Waits for SIGHUPs, for ever.
    pub async fn at_each(mut self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            self.notify.reloading().await;
            let status = self
                .once()
                .await
                .err()
                .map_or_else(String::new, |why| format!("\nSTATUS=not reloaded: {why}; the log has more"));
            self.notify.say(&format!("READY=1{status}")).await;
        }
    }

    async fn once(&mut self) -> Result<(), &'static str> {
        let Some(path) = self.source.path.clone() else {
            tracing::warn!("SIGHUP: there is no file to read again, as the daemon was started without --config");
            return Err("there is no file");
        };
        let source = self.source.clone();
        // A file on a network that is down must not hold the flows.
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let file = match read {
            Ok(Ok(Some(file))) => file,
            Ok(Ok(None)) => {
                tracing::warn!("SIGHUP: there is no {}; nothing is changed", path.display());
                return Err("there is no file");
            }
            Ok(Err(error)) => {
                error.lines().for_each(|line| tracing::error!("{line}"));
                tracing::error!("{} is not taken: nothing is changed", path.display());
                return Err("the file is wrong");
            }
            Err(_) => return Err("reading the file failed"),
        };
        let synced = self.flows.sync(FILE_OWNER, &file.flows, false).await.map_err(|error| {
            match error {
                // Half a file that somebody is about to write must not unplug an alarm.
                RegistryError::WouldEmpty { count, .. } => tracing::error!(
                    "{} names no flow, and would remove {count}: nothing is changed; restart the daemon if that is meant",
                    path.display()
                ),
                error => tracing::error!("{} is not taken: {error}", path.display()),
            }
            "the flows are refused"
        })?;
        self.take(self.source.said.clone().over(file.daemon));
        let Synced { created, changed, unchanged, removed, failed } = &synced;
        tracing::info!(
            "{} read again: {} flows created, {} changed, {} removed, {} as they were",
            path.display(),
            created.len(),
            changed.len(),
            removed.len(),
            unchanged.len()
        );
        for failure in failed {
            tracing::error!(flow = failure.id, "{}", failure.error);
        }
        if failed.is_empty() { Ok(()) } else { Err("some flows can't be changed") }
    }

    /// Takes what may change while the daemon runs, and names what may not.
    fn take(&mut self, new: DaemonTable) {
        let old = std::mem::replace(&mut self.table, new);
        let new = &self.table;
        if old.log_level != new.log_level {
            self.log.set_level(new.log_level.unwrap_or_default());
        }
        if old.drain_timeout != new.drain_timeout {
            self.times.send_replace(StopTimes::new(new.drain_timeout()));
        }
        for name in old.differing(new) {
            tracing::warn!("{name} is another one in the file now: that takes effect at the next start");
        }
    }
}
