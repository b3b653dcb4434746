//! What one poll of a connection works with, and what it counts.

use super::counters::{C, COUNT};
use crate::net::Tick;

/// Which end of the main stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Target,
}

/// What one poll adds to the flow's counters.
pub(super) struct Tally([u64; COUNT]);

impl Tally {
    pub(super) fn new() -> Self {
        Self([0; COUNT])
    }

    /// What is to be added, in the order of the counters.
    pub(super) fn row(&self) -> &[u64] {
        &self.0
    }

    pub(super) fn add(&mut self, counter: C, n: u64) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value += n;
        }
    }

    pub(super) fn received(&mut self, from: Side, bytes: usize) {
        let (packets, counter) = match from {
            Side::Client => (C::ClientRxPkts, C::ClientRxBytes),
            Side::Target => (C::TargetRxPkts, C::TargetRxBytes),
        };
        self.add(packets, 1);
        self.add(counter, bytes as u64);
    }

    pub(super) fn sent(&mut self, to: Side, (bytes, writes): (u64, u64)) {
        let (packets, counter) = match to {
            Side::Client => (C::ClientTxPkts, C::ClientTxBytes),
            Side::Target => (C::TargetTxPkts, C::TargetTxBytes),
        };
        self.add(packets, writes);
        self.add(counter, bytes);
    }
}

/// What one poll works with.
pub(super) struct Turn<'a> {
    pub(super) tally: &'a mut Tally,
    pub(super) scratch: &'a mut Vec<u8>,
    pub(super) now: Tick,
    /// The main stream has ended.
    pub(super) over: bool,
}
