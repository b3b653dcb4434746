//! Which connections a spool has, in the order in which they were accepted. It knows nothing of files.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// Where a recorded connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its mirror gets it at once; the record is for the case that this fails.
    Live,
    /// Waits to be played back.
    Waiting,
    /// Is being played back, and whoever came later waits.
    Playing,
    /// Is being played back, has caught up with its client, and nobody waits for it.
    Following,
}

/// One recorded connection.
#[derive(Debug)]
pub(super) struct Entry<R> {
    pub(super) place: Place,
    /// Its bytes on disk.
    pub(super) bytes: u64,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// Its client is still connected, or its last bytes are not on disk yet.
    pub(super) recording: Option<R>,
    pub(super) tries: Tries,
    /// Whether it may have arrived before; `None` for one of an earlier run that nobody has looked at yet.
    pub(super) doubtful: Option<bool>,
}

/// How often a record was played back without being delivered, although the mirror could be reached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    pub(super) begun: u32,
    /// Those in which the mirror got everything and did not close.
    pub(super) whole: u32,
    pub(super) since: Option<Instant>,
}

/// What the gauges say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    /// Connections that wait to be played back, or are being played back.
    pub(super) connections: u64,
    /// Bytes on disk.
    pub(super) bytes: u64,
}

/// The connections, with an `R` for each that is still being recorded.
#[derive(Debug)]
pub(super) struct Index<R> {
    entries: BTreeMap<u64, Entry<R>>,
    waiting: BTreeSet<u64>,
    playing: usize,
    level: Level,
}

impl<R> Default for Index<R> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), waiting: BTreeSet::new(), playing: 0, level: Level::default() }
    }
}

impl<R> Index<R> {
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Adds a connection. It is live, unless others wait.
    pub(super) fn admit(&mut self, seq: u64, at: u64, recording: R) -> Place {
        let place = if self.has_backlog() { Place::Waiting } else { Place::Live };
        self.insert(seq, Entry { place, bytes: 0, at, recording: Some(recording), tries: Tries::default(), doubtful: Some(false) });
        place
    }

    /// Adds a record of an earlier run.
    pub(super) fn found(&mut self, seq: u64, at: u64, bytes: u64) {
        self.insert(seq, Entry { place: Place::Waiting, bytes, at, recording: None, tries: Tries::default(), doubtful: None });
    }

    fn insert(&mut self, seq: u64, entry: Entry<R>) {
        if entry.place == Place::Waiting {
            self.waiting.insert(seq);
            self.level.connections += 1;
        }
        self.level.bytes += entry.bytes;
        self.entries.insert(seq, entry);
    }

    /// Whether whoever comes now has to wait.
    pub(super) fn has_backlog(&self) -> bool {
        self.playing > 0 || !self.waiting.is_empty()
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Entry<R>> {
        self.entries.get(&seq)
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Entry<R>> {
        self.entries.get_mut(&seq)
    }

    /// The one that is to be played back next.
    pub(super) fn first_waiting(&self) -> Option<u64> {
        self.waiting.first().copied()
    }

    /// Moves an entry; `false` if it is gone.
    pub(super) fn put(&mut self, seq: u64, place: Place) -> bool {
        let Some(entry) = self.entries.get_mut(&seq) else { return false };
        let old = std::mem::replace(&mut entry.place, place);
        self.left(seq, old);
        self.level.connections += u64::from(place != Place::Live);
        match place {
            Place::Waiting => drop(self.waiting.insert(seq)),
            Place::Playing => self.playing += 1,
            Place::Live | Place::Following => {}
        }
        true
    }

    fn left(&mut self, seq: u64, old: Place) {
        self.level.connections -= u64::from(old != Place::Live);
        match old {
            Place::Waiting => drop(self.waiting.remove(&seq)),
            Place::Playing => self.playing -= 1,
            Place::Live | Place::Following => {}
        }
    }

    /// Counts bytes that are on disk now; `false` if the entry is gone.
    pub(super) fn grow(&mut self, seq: u64, bytes: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&seq) else { return false };
        entry.bytes += bytes;
        self.level.bytes += bytes;
        true
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry<R>> {
        let entry = self.entries.remove(&seq)?;
        self.left(seq, entry.place);
        self.level.bytes -= entry.bytes;
        Some(entry)
    }

    /// The oldest one that is whole and waits, and so may go.
    pub(super) fn oldest_to_go(&self) -> Option<u64> {
        self.waiting.iter().copied().find(|seq| self.entries.get(seq).is_some_and(|e| e.recording.is_none()))
    }

    /// Those that wait and were accepted before `limit`.
    pub(super) fn older_than(&self, limit: u64) -> Vec<u64> {
        let entries = self.waiting.iter().filter_map(|seq| Some((*seq, self.entries.get(seq)?)));
        entries.take_while(|(_, e)| e.at < limit).filter(|(_, e)| e.recording.is_none()).map(|(seq, _)| seq).collect()
    }

    /// Makes those that were being played back wait again: whoever played them is gone.
    pub(super) fn interrupt(&mut self) {
        let interrupted = |e: &Entry<R>| matches!(e.place, Place::Playing | Place::Following);
        let seqs: Vec<u64> = self.entries.iter().filter(|(_, e)| interrupted(e)).map(|(seq, _)| *seq).collect();
        for seq in seqs {
            self.put(seq, Place::Waiting);
            if let Some(entry) = self.entries.get_mut(&seq) {
                entry.doubtful = Some(true); // it may have arrived all the same
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ones_wait_until_nobody_waits_or_plays() {
        let mut index = Index::default();
        assert_eq!(index.admit(1, 0, ()), Place::Live);
        index.put(1, Place::Waiting);
        assert_eq!(index.admit(2, 0, ()), Place::Waiting);
        assert_eq!(index.first_waiting(), Some(1));
        index.put(1, Place::Playing);
        index.remove(1);
        index.put(2, Place::Playing);
        assert_eq!(index.admit(3, 0, ()), Place::Waiting);
        index.put(2, Place::Following);
        index.put(3, Place::Playing);
        index.remove(3);
        assert_eq!(index.admit(4, 0, ()), Place::Live);
        assert_eq!(index.level(), Level { connections: 1, bytes: 0 });
        index.interrupt();
        assert_eq!(index.first_waiting(), Some(2));
    }

    #[test]
    fn only_whole_ones_go_oldest_first_and_the_level_adds_up() {
        let mut index = Index::default();
        index.admit(5, 0, ());
        index.put(5, Place::Waiting);
        index.grow(5, 70);
        index.found(3, 10, 100);
        index.found(4, 20, 50);
        assert_eq!(index.level(), Level { connections: 3, bytes: 220 });
        assert_eq!((index.oldest_to_go(), index.older_than(15)), (Some(3), vec![3]));
        index.remove(3);
        index.remove(4);
        assert_eq!((index.oldest_to_go(), index.level()), (None, Level { connections: 1, bytes: 70 }));
        assert!(!index.grow(4, 1));
    }
}
