//! What all relays of the daemon share: the memory budget, the scratch buffers, and the pace of batched writes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::Budget;

/// How long small writes to a mirror are gathered.
const BATCH_WINDOW: Duration = Duration::from_millis(10);

/// How long a scratch buffer may lie unused before its memory is given back.
const SCRATCH_KEPT: Duration = Duration::from_secs(2);

/// The daemon's shared means of relaying.
#[derive(Debug)]
pub struct RelayPool {
    pub(crate) budget: Arc<Budget>,
    scratch: Mutex<Vec<Vec<u8>>>,
    scratch_used: AtomicBool,
    scratch_there: Notify,
    due: Mutex<Vec<Waker>>,
    due_there: Notify,
    tick: AtomicU32,
}

impl RelayPool {
    /// A pool with queues of at most `buffer_total` bytes in all, and its two housekeeping tasks, which end with it.
    pub fn start(buffer_total: usize) -> Arc<Self> {
        let pool = Arc::new(Self {
            budget: Arc::new(Budget::new(buffer_total)),
            scratch: Mutex::default(),
            scratch_used: AtomicBool::new(false),
            scratch_there: Notify::new(),
            due: Mutex::default(),
            due_there: Notify::new(),
            tick: AtomicU32::new(0),
        });
        tokio::spawn(Arc::clone(&pool).keep_pace());
        tokio::spawn(Arc::clone(&pool).give_back_scratch());
        pool
    }

    /// A buffer for the length of one poll. There are never more of them than threads that poll at the same time.
    pub(crate) fn take_scratch(&self) -> Vec<u8> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Puts the buffer back.
    pub(crate) fn put_scratch(&self, buffer: Vec<u8>) {
        if buffer.capacity() == 0 {
            return;
        }
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        if !self.scratch_used.swap(true, Ordering::Relaxed) {
            self.scratch_there.notify_one();
        }
    }

    /// Which round of [`Self::wake_later`] is being gathered. Whoever is in it need not ask again.
    pub(crate) fn round(&self) -> u32 {
        self.tick.load(Ordering::Relaxed)
    }

    /// Wakes the task within [`BATCH_WINDOW`] or a little more.
    pub(crate) fn wake_later(&self, waker: &Waker) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.push(waker.clone());
        if due.len() == 1 {
            self.due_there.notify_one();
        }
    }

    /// One timer for all batched writes; none while there are none.
    async fn keep_pace(self: Arc<Self>) {
        loop {
            self.due_there.notified().await;
            tokio::time::sleep(BATCH_WINDOW).await;
            let due = {
                let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
                self.tick.fetch_add(1, Ordering::Relaxed);
                std::mem::take(&mut *due)
            };
            due.into_iter().for_each(Waker::wake);
        }
    }

    async fn give_back_scratch(self: Arc<Self>) {
        loop {
            self.scratch_there.notified().await;
            while self.scratch_used.swap(false, Ordering::Relaxed) {
                tokio::time::sleep(SCRATCH_KEPT).await;
            }
            *self.scratch.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        }
    }
}
