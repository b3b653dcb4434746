//! Which target is used. UDP tells little about the other end: the only sign that nobody is there is an ICMP error.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::health::Health;
use crate::net::Addresses;

/// For how long a target that failed is left alone, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a single session tries a target that had failed, before all take it for well again if it does not answer.
const TRIAL: Duration = Duration::from_secs(2);

/// The targets in the order in which they are preferred.
#[derive(Debug)]
pub(super) struct Targets {
    list: Vec<Health>,
    states: Mutex<Vec<State>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// It failed, and is left alone `until`.
    Down {
        until: Instant,
        pause: Duration,
    },
    /// One session tries it again.
    Tried {
        until: Instant,
        pause: Duration,
    },
}

impl Targets {
    pub(super) fn new(addresses: &Addresses) -> Self {
        let list: Vec<_> = addresses.all().iter().cloned().map(Health::new).collect();
        let states = Mutex::new(vec![State::Up; list.len()]);
        Self { list, states }
    }

    /// The target with this place.
    pub(super) fn get(&self, place: usize) -> Option<&Health> {
        self.list.get(place)
    }

    /// Whether there is another one to go to.
    pub(super) fn are_several(&self) -> bool {
        self.list.len() > 1
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    fn states(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target for the next datagram of a session that uses `current`: the first one that is not down. When all
    /// are, the one that was left alone longest.
    pub(super) fn choose(&self, current: Option<usize>, now: Instant) -> usize {
        if !self.are_several() {
            return 0;
        }
        let mut states = self.states();
        for (place, state) in states.iter_mut().enumerate() {
            match *state {
                State::Up => return place,
                State::Tried { until, .. } if now >= until => {
                    *state = State::Up;
                    return place;
                }
                State::Tried { .. } if current == Some(place) => return place,
                State::Down { until, pause } if now >= until => {
                    *state = State::Tried { until: now + TRIAL, pause };
                    return place;
                }
                State::Tried { .. } | State::Down { .. } => {}
            }
        }
        let since = |state: &State| match *state {
            State::Up => None,
            State::Down { until, pause } => until.checked_sub(pause),
            State::Tried { until, .. } => Some(until),
        };
        states.iter().enumerate().min_by_key(|(_, state)| since(state)).map_or(0, |(place, _)| place)
    }

    /// An error says that nobody is there.
    pub(super) fn failed(&self, place: usize, now: Instant) {
        if let (true, Some(state)) = (self.are_several(), self.states().get_mut(place)) {
            let pause = match *state {
                State::Up => FIRST_PAUSE,
                // The errors of several sessions are one failure.
                State::Down { pause, .. } => pause,
                State::Tried { pause, .. } => (pause * 2).min(LONGEST_PAUSE),
            };
            *state = State::Down { until: now + pause, pause };
        }
    }

    /// A datagram came from it.
    pub(super) fn answered(&self, place: usize) {
        if let (true, Some(state)) = (self.are_several(), self.states().get_mut(place)) {
            *state = State::Up;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn three() -> Targets {
        Targets::new(&serde_json::from_value(json!(["a.example:1", "b.example:1", "c.example:1"])).unwrap())
    }

    #[test]
    fn the_first_that_is_not_down_is_used() {
        let (targets, now) = (three(), Instant::now());
        assert_eq!(targets.choose(None, now), 0);
        targets.failed(0, now);
        assert_eq!(targets.choose(Some(0), now), 1);
        targets.failed(1, now);
        assert_eq!(targets.choose(Some(1), now), 2);
    }

    #[test]
    fn when_all_are_down_the_one_left_alone_longest_is_next() {
        let (targets, mut now) = (three(), Instant::now());
        let mut used = Vec::new();
        for _ in 0..7 {
            now += Duration::from_millis(10);
            let place = targets.choose(None, now);
            targets.failed(place, now);
            used.push(place);
        }
        assert_eq!(used, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn one_session_tries_a_target_that_was_down_and_the_others_follow() {
        let (targets, start) = (three(), Instant::now());
        targets.failed(0, start);
        let later = start + FIRST_PAUSE;
        assert_eq!(targets.choose(Some(1), later), 0, "the first to ask tries it");
        assert_eq!(targets.choose(Some(1), later), 1, "the others stay");
        assert_eq!(targets.choose(Some(0), later), 0, "and so does the one that tries");
        assert_eq!(targets.choose(Some(1), later + TRIAL), 0, "no error came");
        targets.failed(0, later);
        assert_eq!(targets.choose(None, later), 1);
        targets.answered(0);
        assert_eq!(targets.choose(Some(1), later), 0, "an answer is proof");
    }

    #[test]
    fn each_trial_that_fails_doubles_the_pause() {
        let (targets, mut now) = (three(), Instant::now());
        targets.failed(0, now);
        for pause in [5, 10, 20, 40, 60, 60] {
            targets.failed(0, now); // another session's error about the same failure
            now += Duration::from_secs(pause - 1);
            assert_eq!(targets.choose(Some(1), now), 1);
            now += Duration::from_secs(1);
            assert_eq!(targets.choose(Some(1), now), 0);
            targets.failed(0, now);
        }
    }
}
