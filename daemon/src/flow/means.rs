//! What all flows share.

use std::path::PathBuf;
use std::sync::Arc;

use super::Events;
use crate::net::{Listeners, RelayPool};
use crate::store::Store;

/// What the daemon lends its flows.
pub struct Means {
    /// The listening sockets.
    pub listeners: Arc<Listeners>,
    /// The means of relaying.
    pub pool: Arc<RelayPool>,
    /// What happened lately.
    pub events: Arc<Events>,
    /// The store.
    pub store: Store,
    dir: Option<PathBuf>,
}

impl Means {
    /// Means with relay queues of at most `buffer_total` bytes in all, on top of a store. Flows keep files in `dir`.
    pub fn new(buffer_total: usize, store: Store, dir: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { listeners: Arc::default(), pool: RelayPool::start(buffer_total), events: Arc::default(), store, dir })
    }

    /// The directory of a flow's files. It need not exist.
    pub fn dir_of(&self, flow: &str) -> Option<PathBuf> {
        // The suffix keeps `..`, which is an id as good as any, from being a way out.
        self.dir.as_ref().map(|dir| dir.join(format!("{flow}.d")))
    }
}
