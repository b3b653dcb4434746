//! The memory that all relay queues of the daemon share (`buffer_total`).
//!
//! Queues of mirrors can be taken back: when the budget is spent, the largest of them goes first, and its mirror is
//! detached. Bytes of a main stream can't; when only those are left, everybody reads a little at a time, and blocking mirrors hold their own streams.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;

use super::Held;

/// The default of `buffer_total`, in bytes.
pub(crate) const DEFAULT_TOTAL: usize = 32 << 20;

/// The least of `buffer_total`, in bytes.
pub(crate) const LEAST_TOTAL: usize = 1 << 20;

/// Queues up to this size, in bytes, are left to their mirrors: taking them back would help nobody.
const CRUMB: usize = 16 << 10;

/// What a connection reads at once while the budget is spent, in bytes.
pub(crate) const SPARE: usize = 4 << 10;

/// How much relay queues hold, and how much they may.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    used: AtomicUsize,
    /// The part of `used` that can't be taken back.
    pinned: AtomicUsize,
    shelf: Mutex<Slab<Arc<Held>>>,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Self {
        Self { total, used: AtomicUsize::new(0), pinned: AtomicUsize::new(0), shelf: Mutex::default() }
    }

    /// Bytes that queues hold now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that queues may hold.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Makes a queue that the budget may take back.
    pub(crate) fn shelve(&self, can_go: bool) -> Arc<Held> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let place = shelf.vacant_entry();
        let held = Arc::new(Held::new(can_go, place.key()));
        place.insert(Arc::clone(&held));
        held
    }

    /// Forgets the queue, and gives its bytes back.
    pub(crate) fn unshelve(&self, held: &Held) {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).try_remove(held.place);
        self.release(held.clear(), held.can_go);
    }

    /// Accounts for `bytes` about to be held, taking the largest queues of mirrors back while that is too much.
    /// Those that `can_go` may be taken back later.
    ///
    /// The caller must not hold a queue's lock. Its own queue may be the one that goes.
    pub(crate) fn charge(&self, bytes: usize, can_go: bool) {
        if !can_go {
            self.pinned.fetch_add(bytes, Ordering::Relaxed);
        }
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > self.total {
            self.take_back();
        }
    }

    /// Gives `bytes` back.
    pub(crate) fn release(&self, bytes: usize, could_go: bool) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if !could_go {
            self.pinned.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether bytes that can't be taken back fill the budget. Whoever holds nothing goes on, a little at a time: the
    /// peers of one flow that are stuck must not stop another.
    pub(crate) fn is_spent(&self) -> bool {
        self.pinned.load(Ordering::Relaxed) >= self.total
    }

    /// Whether queues hold so much that who can wait should.
    pub(crate) fn is_half_full(&self) -> bool {
        self.used() >= self.total / 2
    }

    fn take_back(&self) {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        while self.used() > self.total {
            let Some((_, largest)) = shelf.iter().filter(|(_, h)| h.can_go && h.size() > CRUMB).max_by_key(|(_, h)| h.size()) else {
                return;
            };
            self.used.fetch_sub(largest.take_back(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(budget: &Budget, bytes: usize, can_go: bool) -> Arc<Held> {
        let held = budget.shelve(can_go);
        let _ = held.push(&vec![0; bytes], budget);
        held
    }

    #[test]
    fn the_largest_queue_goes_first() {
        let budget = Budget::new(100_000);
        let small = held(&budget, 20_000, true);
        let large = held(&budget, 60_000, true);
        let last = held(&budget, 50_000, true);
        assert!(large.is_taken() && !small.is_taken() && !last.is_taken());
        assert!(budget.used() <= 100_000, "{}", budget.used());
        budget.unshelve(&large);
        assert_eq!(budget.used(), small.size() + last.size());
    }

    #[test]
    fn a_queue_that_holds_the_main_stream_stays_and_the_budget_is_spent() {
        let budget = Budget::new(10_000);
        let blocking = held(&budget, 20_000, false);
        assert!(!blocking.is_taken());
        assert!(budget.is_spent());
        budget.unshelve(&blocking);
        assert!(!budget.is_spent());
        assert_eq!(budget.used(), 0);
    }
}
