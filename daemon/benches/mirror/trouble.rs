//! What the client and the target notice of a mirror in trouble: nothing, is the promise.

use crate::contestant::Contestant;
use crate::options::Sizes;
use crate::report::Report;
use crate::speed::{self, Sample};
use crate::stage::Ends;
use crate::table::{Figure, Table};

pub(crate) const FIGURES: [Figure; 3] = [
    Figure { key: "bulk", title: "one stream, GB/s", relative: true },
    Figure { key: "p50", title: "64-byte echo, p50, us", relative: true },
    Figure { key: "p99", title: "  p99, us", relative: true },
];

/// `healthy` first: the others are compared with it. The names are those of `server::serve`.
pub(crate) const STATES: [&str; 6] = [HEALTHY, "down", "slow", "stuck", "reset", "swallow"];
const HEALTHY: &str = "healthy";

pub(crate) fn round(table: &mut Table, round: usize, sizes: &Sizes, report: &mut Report) {
    for measure in [bulk, echo] {
        for state in STATES {
            let trouble = (state != HEALTHY).then_some(state);
            match measure(trouble, sizes) {
                Ok(sample) => sample.into_iter().for_each(|(key, value)| table.add(key, state, round, value)),
                Err(fault) => report.fail(format!("domoflux with the mirror {state}: {fault}")),
            }
        }
    }
}

fn bulk(trouble: Option<&'static str>, sizes: &Sizes) -> Result<Sample, String> {
    speed::bulk(Contestant::Domoflux, Ends::BULK.with(trouble), sizes)
}

fn echo(trouble: Option<&'static str>, sizes: &Sizes) -> Result<Sample, String> {
    speed::echo(Contestant::Domoflux, Ends::LATENCY.with(trouble), sizes)
}
