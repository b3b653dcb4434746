//! Where clients find who serves them now: an edit of the flow puts another [`Hub`] there, and they stay connected.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio::time::Instant;

use super::client::Client;
use super::hub::Hub;

/// What the attempts of one flow share, as long as it is listed.
#[derive(Default)]
pub(super) struct Desk(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    hub: Option<Arc<Hub>>,
    /// When the last hub that has ended has closed its connections.
    ended: Option<Instant>,
    clients: Slab<Arc<Client>>,
}

impl Desk {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this hub serves. The answer is the one that did; it takes no new requests.
    pub(super) fn put(&self, hub: &Arc<Hub>) {
        let old = self.inside().hub.replace(Arc::clone(hub));
        if let Some(old) = old {
            old.retire();
            self.wake_all();
        }
    }

    /// The hub serves no more, and if no other does, its clients are told.
    pub(super) fn retire(&self, hub: &Arc<Hub>) {
        let mut inside = self.inside();
        if inside.hub.as_ref().is_some_and(|current| Arc::ptr_eq(current, hub)) {
            inside.hub = None;
        }
        drop(inside);
        hub.retire();
        self.wake_all();
    }

    /// Who serves now.
    pub(super) fn hub(&self) -> Option<Arc<Hub>> {
        self.inside().hub.clone()
    }

    /// A hub has closed its connections.
    pub(super) fn note_end(&self) {
        self.inside().ended = Some(Instant::now());
    }

    /// When that was last.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.inside().ended
    }

    pub(super) fn enter(&self, client: Arc<Client>) -> usize {
        self.inside().clients.insert(client)
    }

    pub(super) fn leave(&self, place: usize) {
        self.inside().clients.try_remove(place);
    }

    /// The addresses of some clients.
    pub(super) fn some(&self, most: usize) -> Vec<String> {
        self.inside().clients.iter().take(most).map(|(_, client)| client.from.to_string()).collect()
    }

    fn wake_all(&self) {
        self.inside().clients.iter().for_each(|(_, client)| client.wake());
    }
}
