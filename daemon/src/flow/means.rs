//! What all flows share.

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
}

impl Means {
    /// Means with relay queues of at most `buffer_total` bytes in all, on top of a store.
    pub fn new(buffer_total: usize, store: Store) -> Arc<Self> {
        Arc::new(Self { listeners: Arc::default(), pool: RelayPool::start(buffer_total), events: Arc::default(), store })
    }
}
