//! How long answers took in the last five minutes: counts in bins whose width is a fifth of what they hold, for a minute each.

use std::time::Duration;

use tokio::time::Instant;

/// Bins for each doubling, and doublings: up to 2^28 us, four and a half minutes.
const SUB: usize = 4;
const BINS: usize = 28 * SUB;
/// Pieces of time that are forgotten one after the other.
const PIECES: usize = 5;
const PIECE: Duration = Duration::from_secs(60);

/// The times of the last five minutes.
#[derive(Debug)]
pub(super) struct Latency {
    began: Instant,
    /// Something was noted since they were last asked for.
    is_new: bool,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    /// Which piece since the beginning.
    number: u64,
    counts: Box<[u32; BINS]>,
}

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, is_new: false, pieces: Vec::new() }
    }

    /// Notes an answer.
    pub(super) fn add(&mut self, took: Duration, now: Instant) {
        self.is_new = true;
        let number = self.number(now);
        if self.pieces.last().is_none_or(|piece| piece.number != number) {
            self.forget(now);
            self.pieces.push(Piece { number, counts: Box::new([0; BINS]) });
        }
        let bin = bin_of(took.as_micros() as u64);
        if let Some(count) = self.pieces.last_mut().and_then(|piece| piece.counts.get_mut(bin)) {
            *count += 1;
        }
    }

    /// The times, in microseconds, that half and 99 % of the answers did not exceed; 0 without an answer.
    pub(super) fn p50_p99(&mut self, now: Instant) -> (u64, u64) {
        self.is_new = false;
        self.forget(now);
        let total: u64 = self.pieces.iter().flat_map(|piece| piece.counts.iter()).map(|n| u64::from(*n)).sum();
        let at = |share: u64| {
            let mut left = (total * share).div_ceil(100);
            for bin in 0..BINS {
                let here: u64 = self.pieces.iter().filter_map(|piece| piece.counts.get(bin)).map(|n| u64::from(*n)).sum();
                if here >= left && left > 0 {
                    return middle_of(bin);
                }
                left -= here.min(left);
            }
            0
        };
        (at(50), at(99))
    }

    /// Whether something was noted since they were last asked for.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / PIECE.as_secs()
    }

    fn forget(&mut self, now: Instant) {
        let number = self.number(now);
        self.pieces.retain(|piece| piece.number + PIECES as u64 > number);
    }
}

/// `SUB` bins of the same width between a power of two and the next.
fn bin_of(us: u64) -> usize {
    let us = us.max(SUB as u64);
    let power = us.ilog2() as usize;
    let within = (us >> (power - SUB.ilog2() as usize)) as usize - SUB;
    ((power - SUB.ilog2() as usize) * SUB + within).min(BINS - 1)
}

fn middle_of(bin: usize) -> u64 {
    let (power, within) = (bin / SUB, (bin % SUB) as u64);
    let width = 1u64 << power;
    (SUB as u64 + within) * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_known_to_a_fifth_and_forgotten_after_five_minutes() {
        let now = Instant::now();
        let mut latency = Latency::new(now);
        assert_eq!(latency.p50_p99(now), (0, 0));
        for us in 1..=1000u64 {
            latency.add(Duration::from_micros(us * 100), now);
        }
        let (p50, p99) = latency.p50_p99(now + Duration::from_secs(200));
        assert!((40_000..=60_000).contains(&p50) && (80_000..=119_000).contains(&p99), "{p50} {p99}");
        latency.add(Duration::from_secs(9999), now + Duration::from_secs(250));
        assert!(latency.p50_p99(now + Duration::from_secs(299)).0 < 60_000);
        assert!(latency.p50_p99(now + Duration::from_secs(301)).0 > 100_000_000);
        assert_eq!(latency.p50_p99(now + Duration::from_secs(600)), (0, 0));
        assert!(latency.is_empty());
    }

    #[test]
    fn every_bin_holds_its_middle() {
        for bin in 0..BINS {
            assert_eq!(bin_of(middle_of(bin)), bin);
        }
        assert_eq!(bin_of(0), 0);
        assert_eq!(bin_of(u64::MAX), BINS - 1);
    }
}
