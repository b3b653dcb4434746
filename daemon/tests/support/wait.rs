//! The only place where a test waits by looking again.

use std::time::{Duration, Instant};

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Time for what must not take long, on a machine that is busy with other tests as well.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// Looks until there is an answer; without one in time, the test fails and says what was waited for.
#[track_caller]
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

/// The same with a deadline of its own.
#[track_caller]
pub(crate) fn until_within<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_or(limit, look).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// The same, for who says more when there is none.
pub(crate) fn until_or<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(4));
    }
}
