//! The sessions of a flow, in the order in which they were last heard of.

use std::hash::Hash;
use std::time::{Duration, Instant};

use hashlink::LinkedHashMap;

/// At most so many sessions; the one that was silent longest comes first. Every operation takes the same time however
/// many there are, so that a flood of new clients costs the others nothing but its own datagrams.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: LinkedHashMap<K, Row<V>>,
    most: usize,
    /// What is possible now, when descriptors are short.
    possible: usize,
}

#[derive(Debug)]
struct Row<V> {
    value: V,
    heard: Instant,
}

impl<K: Hash + Eq, V> Table<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { rows: LinkedHashMap::new(), most, possible: most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The session, which is heard of `now`. Points in time must never go back.
    pub(super) fn hear(&mut self, key: &K, now: Instant) -> Option<&V> {
        let row = self.rows.to_back(key)?;
        row.heard = now;
        Some(&row.value)
    }

    /// Adds a session that is heard of `now`. The answer is the one that has to go for it.
    pub(super) fn insert(&mut self, key: K, value: V, now: Instant) -> Option<V> {
        let replaced = self.rows.insert(key, Row { value, heard: now }).map(|row| row.value);
        replaced.or_else(|| self.pop_excess())
    }

    /// Takes out the session that was silent longest, if there are too many.
    pub(super) fn pop_excess(&mut self) -> Option<V> {
        if self.rows.len() > self.possible { self.pop() } else { None }
    }

    /// There are more than the system has room for: some have to go, so that others, and not only sessions, find room.
    pub(super) fn shrink(&mut self) {
        let len = self.rows.len();
        self.possible = (len - len / 8).saturating_sub(4).max(1);
    }

    /// As many as were asked for may be there again.
    pub(super) fn recover(&mut self) {
        self.possible = self.most;
    }

    /// Takes out the session that was silent longest.
    pub(super) fn pop(&mut self) -> Option<V> {
        self.rows.pop_front().map(|(_, row)| row.value)
    }

    /// Takes out a session that was silent for as long as `timeout`, if there is one.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) -> Option<V> {
        (now.saturating_duration_since(self.silent_since()?) >= timeout).then(|| self.pop()).flatten()
    }

    /// Since when the session is silent that was silent longest.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.rows.front().map(|(_, row)| row.heard)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn when_short_of_room_those_silent_longest_go_until_it_recovers() {
        let (mut table, now) = (Table::new(100), Instant::now());
        (0..64).for_each(|key| assert_eq!(table.insert(key, key, now), None));
        table.shrink();
        let gone: Vec<_> = std::iter::from_fn(|| table.pop_excess()).collect();
        assert_eq!(gone, (0..12).collect::<Vec<_>>());
        assert_eq!(table.insert(64, 64, now), Some(12));
        table.recover();
        assert_eq!(table.insert(65, 65, now), None);
        let mut small = Table::new(3);
        assert_eq!(small.insert(1, 1, now), None);
        small.shrink();
        assert_eq!(small.insert(2, 2, now), Some(1), "one is always possible");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Hear(u8),
        Expire(u8),
        Pass(u8),
        Pop,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..20u8).prop_map(Step::Hear),
            2 => (0..60u8).prop_map(Step::Expire),
            4 => (0..20u8).prop_map(Step::Pass),
            1 => Just(Step::Pop),
        ];
        proptest::collection::vec(step, 0..200)
    }

    /// The same, slowly: a list with the session first that was silent longest.
    #[derive(Default)]
    struct Model(Vec<(u8, usize, Instant)>);

    impl Model {
        fn hear(&mut self, key: u8, fresh: usize, now: Instant, most: usize) -> (usize, Option<usize>) {
            let known = self.0.iter().position(|row| row.0 == key).map(|at| self.0.remove(at).1);
            self.0.push((key, known.unwrap_or(fresh), now));
            let gone = (self.0.len() > most).then(|| self.0.remove(0).1);
            (known.unwrap_or(fresh), gone)
        }

        fn expire(&mut self, now: Instant, timeout: Duration) -> Vec<usize> {
            let (gone, kept) = std::mem::take(&mut self.0).into_iter().partition(|row| now - row.2 >= timeout);
            self.0 = kept;
            let gone: Vec<(u8, usize, Instant)> = gone;
            gone.into_iter().map(|row| row.1).collect()
        }
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_would(steps in steps(), most in 1..8usize) {
            let mut table = Table::new(most);
            let mut model = Model::default();
            let mut now = Instant::now();
            for (fresh, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Hear(key) => {
                        let known = table.hear(&key, now).copied();
                        let gone = if known.is_none() { table.insert(key, fresh, now) } else { None };
                        prop_assert_eq!((known.unwrap_or(fresh), gone), model.hear(key, fresh, now, most));
                    }
                    Step::Expire(secs) => {
                        let timeout = Duration::from_secs(secs.into());
                        let gone: Vec<usize> = std::iter::from_fn(|| table.expire(now, timeout)).collect();
                        prop_assert_eq!(gone, model.expire(now, timeout));
                    }
                    Step::Pass(secs) => now += Duration::from_secs(secs.into()),
                    Step::Pop => prop_assert_eq!(table.pop(), (!model.0.is_empty()).then(|| model.0.remove(0).1)),
                }
                prop_assert_eq!(table.silent_since(), model.0.first().map(|row| row.2));
                prop_assert_eq!(table.is_empty(), model.0.is_empty());
                prop_assert!(table.rows.len() <= most);
            }
        }
    }
}
