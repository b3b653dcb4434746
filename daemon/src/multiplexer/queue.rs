//! Who is next: a queue in which each client has one turn a round, however many requests it has waiting.

use std::collections::VecDeque;

/// Requests that wait, by rounds. A client's next request goes into the round after its last one.
#[derive(Debug)]
pub(super) struct FairQueue {
    rounds: VecDeque<VecDeque<usize>>,
    /// The number of the first round. 0 is that of a client that has never asked.
    first: u64,
    len: usize,
}

impl Default for FairQueue {
    fn default() -> Self {
        Self { rounds: VecDeque::new(), first: 1, len: 0 }
    }
}

impl FairQueue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a request. `last` is the round of the client's last request, which becomes that of this one.
    pub(super) fn push(&mut self, request: usize, last: &mut u64) {
        let round = (*last + 1).max(self.first);
        let place = usize::try_from(round - self.first).unwrap_or(usize::MAX).min(self.rounds.len());
        *last = self.first + place as u64;
        if place == self.rounds.len() {
            self.rounds.push_back(VecDeque::new());
        }
        if let Some(round) = self.rounds.get_mut(place) {
            round.push_back(request);
        }
        self.len += 1;
    }

    /// Puts a request that was taken back before all others.
    pub(super) fn push_front(&mut self, request: usize) {
        if self.rounds.is_empty() {
            self.rounds.push_back(VecDeque::new());
        }
        if let Some(round) = self.rounds.front_mut() {
            round.push_front(request);
        }
        self.len += 1;
    }

    /// Takes the first request that may go.
    pub(super) fn pop(&mut self, may_go: impl Fn(usize) -> bool) -> Option<usize> {
        let mut found = None;
        for round in &mut self.rounds {
            if let Some(place) = round.iter().position(|request| may_go(*request)) {
                found = round.remove(place);
                break;
            }
        }
        if found.is_some() {
            self.len -= 1;
            self.end_rounds();
        }
        found
    }

    /// Takes all requests that `is_over` names.
    pub(super) fn take(&mut self, is_over: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut over = Vec::new();
        for round in &mut self.rounds {
            round.retain(|request| {
                let goes = is_over(*request);
                if goes {
                    over.push(*request);
                }
                !goes
            });
        }
        self.len -= over.len();
        self.end_rounds();
        over
    }

    /// A round that everybody had is over. The last one stays: its memory is used again.
    fn end_rounds(&mut self) {
        while self.rounds.len() > 1 && self.rounds.front().is_some_and(VecDeque::is_empty) {
            self.rounds.pop_front();
            self.first += 1;
        }
        if self.len == 0 {
            self.first += 1;
            if self.rounds.front().is_some_and(|round| round.capacity() > 256) {
                self.rounds.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut FairQueue) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop(|_| true)).collect()
    }

    #[test]
    fn whoever_has_many_requests_waits_a_round_for_each() {
        let mut queue = FairQueue::default();
        let (mut greedy, mut modest) = (0, 0);
        for request in 0..3 {
            queue.push(request, &mut greedy);
        }
        queue.push(10, &mut modest);
        assert_eq!(queue.pop(|_| true), Some(0));
        queue.push(3, &mut greedy);
        assert_eq!(queue.pop(|_| true), Some(10));
        queue.push(11, &mut modest);
        assert_eq!(all(&mut queue), [1, 11, 2, 3]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_may_not_go_stays_in_its_place() {
        let mut queue = FairQueue::default();
        for request in 0..6 {
            queue.push(request, &mut 0);
        }
        assert_eq!(queue.pop(|r| r % 2 == 1), Some(1));
        queue.push_front(9);
        assert_eq!(queue.take(|r| r == 2 || r == 5), [2, 5]);
        assert_eq!(queue.pop(|_| false), None);
        assert_eq!(all(&mut queue), [9, 0, 3, 4]);
        let mut newcomer = 0;
        queue.push(7, &mut newcomer);
        assert_eq!(all(&mut queue), [7]);
    }
}
