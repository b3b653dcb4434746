//! Which page is called back: set and removed by the API, kept in the store.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::deliver::{Delivery, Progress};
use super::{Key, PageUrl, WrongPlace};
use crate::flow::{EVENTS_KEPT, Events, LastError};
use crate::store::{Store, StoreError};
use crate::text::unix_ms;

/// Its name in the store.
const SETTING: &str = "callback";

/// How the callback is.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct CallbackStatus {
    /// Where events are posted to; null if no callback is set.
    pub url: Option<String>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: Option<u64>,
    /// How many events were taken since the daemon started, or since the callback was set.
    pub delivered: u64,
    /// How many wait.
    pub waiting: u64,
    /// Whether the last attempt failed.
    pub failing: bool,
    /// The last thing that went wrong, also when it is mended.
    pub last_error: Option<LastError>,
    /// When events were last taken, in milliseconds since the Unix epoch.
    pub last_success: Option<u64>,
}

/// The callback of a daemon: none, or one.
pub struct Callback {
    events: Arc<Events>,
    store: Store,
    boot_id: String,
    now: Mutex<Option<Running>>,
    /// One change at a time; `false` once the daemon stops.
    open: tokio::sync::Mutex<bool>,
}

/// A callback that is set. It ends when it is dropped.
struct Running {
    page: PageUrl,
    key: Key,
    since: u64,
    /// It is in the store.
    saved: bool,
    progress: Arc<Mutex<Progress>>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As it is in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    url: String,
    key: String,
    since: u64,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Callback {
    /// No callback yet, for a daemon with this boot id.
    pub fn new(events: Arc<Events>, store: Store, boot_id: String) -> Arc<Self> {
        Arc::new(Self { events, store, boot_id, now: Mutex::default(), open: tokio::sync::Mutex::new(true) })
    }

    /// Starts the one that the store has, with all that happened since the daemon started.
    pub fn start_stored(&self, settings: &std::collections::BTreeMap<String, String>) {
        let Some(text) = settings.get(SETTING) else { return };
        let stored: Option<Stored> = serde_json::from_str(text).ok();
        let place = stored.and_then(|s| Some((PageUrl::parse(&s.url).ok()?, Key::new(s.key).ok()?, s.since)));
        match place {
            Some((page, key, since)) => self.run(page, key, since, 0, true),
            // Its text has the key.
            None => tracing::error!("the callback in the store can't be read, and is not started: set it again"),
        }
    }

    /// Posts events there from now on. The same once more changes nothing.
    pub async fn set(&self, url: &str, key: String) -> Result<(), SetError> {
        let (page, key) = (PageUrl::parse(url)?, Key::new(key)?);
        if url.contains(key.reveal()) {
            return Err(WrongPlace { pointer: "/url", message: "must not have the key in it: the key goes in the body".to_owned() }.into());
        }
        let open = self.open.lock().await;
        if !*open {
            return Err(SetError::Stopping);
        }
        let same = self.now().as_ref().filter(|now| now.page == page && now.key == key).map(|now| (now.since, now.saved));
        let since = match same {
            Some((_, true)) => return Ok(()),
            Some((since, false)) => since,
            None => {
                let since = unix_ms();
                self.run(page, key.clone(), since, self.events.last_seq(), false);
                tracing::info!("Jeedom is told what happens, by {url}");
                since
            }
        };
        let stored = Stored { url: url.to_owned(), key: key.reveal().to_owned(), since };
        self.store.put_setting(SETTING, Some(serde_json::to_string(&stored).unwrap_or_default())).await?;
        if let Some(now) = &mut *self.now() {
            now.saved = true;
        }
        Ok(())
    }

    /// Posts no more, and forgets where to.
    pub async fn remove(&self) -> Result<(), SetError> {
        let open = self.open.lock().await;
        if !*open {
            return Err(SetError::Stopping);
        }
        if self.now().take().is_some() {
            tracing::info!("Jeedom is no longer told what happens");
        }
        Ok(self.store.put_setting(SETTING, None).await?)
    }

    /// Posts no more until the daemon starts again. It waits for nothing: a change that is under way ends with the process.
    pub fn stop(&self) {
        if let Ok(mut open) = self.open.try_lock() {
            *open = false;
        }
        self.now().take();
    }

    /// How it is.
    pub fn status(&self) -> CallbackStatus {
        let now = self.now();
        let Some(Running { page, since, progress, .. }) = now.as_ref() else { return CallbackStatus::default() };
        let progress = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let waiting = self.events.last_seq().saturating_sub(progress.cursor).min(EVENTS_KEPT as u64);
        CallbackStatus {
            url: Some(page.to_string()),
            since: Some(*since),
            delivered: progress.delivered,
            waiting: waiting + u64::from(!progress.introduced),
            failing: progress.failing,
            last_error: progress.last_error,
            last_success: progress.last_success,
        }
    }

    fn run(&self, page: PageUrl, key: Key, since: u64, cursor: u64, saved: bool) {
        let progress = Arc::new(Mutex::new(Progress { cursor, ..Progress::default() }));
        let delivery = Delivery {
            name: page.to_string(),
            receiver: page.clone(),
            key: key.clone(),
            boot_id: self.boot_id.clone(),
            events: Arc::clone(&self.events),
            progress: Arc::clone(&progress),
        };
        let task = tokio::spawn(delivery.run()).abort_handle();
        *self.now() = Some(Running { page, key, since, saved, progress, task });
    }

    fn now(&self) -> MutexGuard<'_, Option<Running>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a callback is not set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Its URL or its key is wrong.
    #[error(transparent)]
    Wrong(#[from] WrongPlace),
    /// The daemon is about to end.
    #[error("the daemon is stopping")]
    Stopping,
    /// It is set but not saved.
    #[error("the change is made, but could not be saved, and will be lost at the next start: {0}")]
    Store(#[from] StoreError),
}
