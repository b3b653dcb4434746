//! Answers to reads that are kept for a while.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// The body of a plain read, which is all that it asks for: unit, function 1 to 4, address, count.
pub(super) type ReadKey = [u8; 6];

/// How many answers are kept. A device has far fewer blocks that anybody reads.
const MOST_KEPT: usize = 4096;

/// The answers of one device that are still good.
#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: HashMap<ReadKey, Kept>,
}

#[derive(Debug)]
struct Kept {
    answer: Box<[u8]>,
    until: Instant,
}

impl Cache {
    /// The answer to the same read, if it is still good.
    pub(super) fn get(&self, key: ReadKey, now: Instant) -> Option<&[u8]> {
        self.kept.get(&key).filter(|kept| now < kept.until).map(|kept| &*kept.answer)
    }

    pub(super) fn put(&mut self, key: ReadKey, answer: &[u8], ttl: Duration, now: Instant) {
        if self.kept.len() >= MOST_KEPT && !self.kept.contains_key(&key) {
            self.kept.retain(|_, kept| now < kept.until);
            if self.kept.len() >= MOST_KEPT {
                return; // who reads thousands of different blocks has no use for a cache
            }
        }
        self.kept.insert(key, Kept { answer: answer.into(), until: now + ttl });
    }

    /// Forgets what was read of a unit; of all, when the request was for all (0).
    pub(super) fn forget(&mut self, unit: u8) {
        if !self.kept.is_empty() {
            self.kept.retain(|[of, ..], _| unit != 0 && *of != unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_for_its_time_or_until_a_write_to_its_unit() {
        let (mut cache, now, second) = (Cache::default(), Instant::now(), Duration::from_secs(1));
        let (one, two) = ([1, 3, 0, 0, 0, 1], [2, 3, 0, 0, 0, 1]);
        cache.put(one, b"one", second, now);
        cache.put(two, b"two", second * 2, now);
        assert_eq!(cache.get(one, now), Some(&b"one"[..]));
        assert_eq!((cache.get(one, now + second), cache.get(two, now + second)), (None, Some(&b"two"[..])));
        cache.forget(1);
        assert_eq!((cache.get(one, now), cache.get(two, now)), (None, Some(&b"two"[..])));
        cache.forget(0);
        assert_eq!(cache.get(two, now), None);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for n in 0..10_000u32 {
            let [_, a, b, c] = n.to_be_bytes();
            cache.put([1, 3, a, b, c, 1], b"", Duration::from_secs(1), now);
        }
        assert_eq!(cache.kept.len(), MOST_KEPT);
        cache.put([9, 3, 0, 0, 0, 1], b"", Duration::from_secs(1), now + Duration::from_secs(5));
        assert_eq!(cache.kept.len(), 1);
    }
}
