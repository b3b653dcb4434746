//! How much of the processors goes to others while something is measured: figures of a busy machine scatter, and a p99
//! then says how long others' time slices are.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::process::ticks_with_children;

/// Below this share of the processors, other work is no hindrance.
const QUIET: f64 = 0.1;

/// The counters of `/proc/stat` and of the benchmark with all its processes that have ended, in ticks.
pub(crate) struct Load {
    total: u64,
    used: u64,
    stolen: u64,
    own: u64,
}

/// Shares of the processors.
#[derive(Clone, Copy)]
pub(crate) struct Others {
    /// That other processes here used.
    pub(crate) here: f64,
    /// That the host did not give to this machine.
    pub(crate) stolen: f64,
}

impl Load {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let times: Vec<u64> = text.lines().next().unwrap_or("").split_whitespace().flat_map(str::parse).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two already.
        let at = |n: usize| times.get(n).copied().unwrap_or(0);
        let used = [0, 1, 2, 5, 6].into_iter().map(at).sum();
        Self { total: (0..8).map(at).sum(), used, stolen: at(7), own: ticks_with_children() }
    }

    /// Since then.
    pub(crate) fn others(&self) -> Others {
        let now = Self::now();
        let total = (now.total - self.total).max(1) as f64;
        let others = (now.used - self.used).saturating_sub(now.own - self.own);
        Others { here: others as f64 / total, stolen: (now.stolen - self.stolen) as f64 / total }
    }
}

impl Others {
    pub(crate) fn is_quiet(self) -> bool {
        self.here < QUIET
    }

    pub(crate) fn say(self) -> String {
        format!("other work took {:.0} % of the processors, the host {:.0} %", self.here * 100.0, self.stolen * 100.0)
    }
}

/// Waits until other work pauses, at most for `limit`.
pub(crate) fn wait_until_quiet(limit: Duration) {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        let load = Load::now();
        thread::sleep(Duration::from_secs(2));
        if load.others().is_quiet() {
            return;
        }
    }
}
