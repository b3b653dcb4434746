//! How long the main stream waits for those that it need not wait for.

use std::time::Duration;

use crate::net::Tick;

/// A mirror gets this long without its being counted. One that is done by then takes its copy at more than 250 MB/s (the
/// kernel calls a socket writable when a third of its buffer, over a megabyte here, is free), so only a stream that is
/// faster than any network of a home is slowed down by this.
const MIRROR_FREE: Duration = Duration::from_millis(5);
/// How long a mirror gets beyond that at once.
const MIRROR_AT_ONCE: Duration = Duration::from_millis(20);
/// How long the disk gets at once, for all connections of a spool together.
const DISK_AT_ONCE: Duration = Duration::from_millis(250);
/// In the long run, this part of the time.
const PART: u32 = 20;

/// How long was waited. Waits are forgotten at the rate at which they are allowed, so that an old connection can't be
/// held longer than a young one.
#[derive(Debug)]
pub(super) struct Patience {
    /// In microseconds.
    waited: u32,
    as_of: Tick,
    since: Option<Tick>,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { waited: 0, as_of: Tick::now(), since: None }
    }

    /// Whether a connection waits for its mirror, which is behind.
    pub(super) fn has_more(&mut self, now: Tick) -> bool {
        let this_time = now.since(*self.since.get_or_insert(now));
        self.remembered(now) + this_time.saturating_sub(MIRROR_FREE) < MIRROR_AT_ONCE
    }

    /// The mirror has caught up.
    pub(super) fn end(&mut self, now: Tick) {
        if let Some(since) = self.since.take() {
            self.add(now, now.since(since).saturating_sub(MIRROR_FREE));
        }
    }

    /// Whether connections wait for the disk.
    pub(super) fn disk_has_more(&self, now: Tick) -> bool {
        self.remembered(now) < DISK_AT_ONCE
    }

    /// A connection has waited since then. What others have waited at the same time is not counted again.
    pub(super) fn add_since(&mut self, since: Tick, now: Tick) {
        let waited = now.since(since).min(now.since(self.as_of));
        self.add(now, waited);
    }

    fn add(&mut self, now: Tick, waited: Duration) {
        let waited = self.remembered(now) + waited;
        self.waited = waited.as_micros().try_into().unwrap_or(u32::MAX);
        self.as_of = now;
    }

    fn remembered(&self, now: Tick) -> Duration {
        Duration::from_micros(self.waited.into()).saturating_sub(now.since(self.as_of) / PART)
    }
}
