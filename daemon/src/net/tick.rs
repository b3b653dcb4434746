//! A coarse, small clock: a connection keeps several points in time, and there are many connections.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The length of a tick.
const TICK: Duration = Duration::from_micros(100);

/// A point in time in ticks since the first one that was taken. It wraps after five days, so only points that are
/// nearer than that can be compared; what is measured with it is a matter of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(u32);

impl Tick {
    pub(crate) fn now() -> Self {
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        Self((FIRST.elapsed().as_micros() / TICK.as_micros()) as u32)
    }

    /// The time from `earlier` until this point.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        TICK * self.0.wrapping_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_across_its_wrap() {
        assert_eq!(Tick(5).since(Tick(u32::MAX - 4)), TICK * 10);
        assert!(Tick::now().since(Tick::now()) < Duration::from_secs(1));
    }
}
