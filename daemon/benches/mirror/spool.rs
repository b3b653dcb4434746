//! What a spool costs client and target, beside the same mirror without one.

use crate::contestant::Contestant;
use crate::options::Sizes;
use crate::report::Report;
use crate::speed::{self, Sample, VOICES};
use crate::stage::Ends;
use crate::table::{Figure, Table};

pub(crate) const FIGURES: [Figure; 6] = [
    Figure { key: "bulk", title: "one stream, GB/s", relative: true },
    Figure { key: "cpu", title: "  CPU, s/GB", relative: false },
    Figure { key: "p50", title: "64-byte echo, p50, us", relative: true },
    Figure { key: "p99", title: "  p99, us", relative: true },
    Figure { key: "chorus", title: "32 connections, messages/s", relative: true },
    Figure { key: "visits", title: "connections/s", relative: true },
];

/// Without a spool first: the others are compared with it.
pub(crate) const STATES: [&str; 3] = ["no spool", "spool", "spool, mirror away"];

type Measure = fn(Ends, &Sizes) -> Result<Sample, String>;

pub(crate) fn round(table: &mut Table, round: usize, sizes: &Sizes, report: &mut Report) {
    let who = Contestant::Domoflux;
    let measures: [(Ends, Measure); 4] = [
        (Ends::BULK, |ends, sizes| speed::bulk(Contestant::Domoflux, ends, sizes)),
        (Ends::LATENCY, |ends, sizes| speed::echo(Contestant::Domoflux, ends, sizes)),
        (Ends::ECHO, |ends, sizes| speed::rate("chorus", Contestant::Domoflux, ends, &[VOICES, sizes.chorus_ms])),
        (Ends::ECHO, |ends, sizes| speed::rate("visits", Contestant::Domoflux, ends, &[sizes.visits_ms])),
    ];
    for (ends, measure) in measures {
        for (state, spool, trouble) in [(STATES[0], false, None), (STATES[1], true, None), (STATES[2], true, Some("down"))] {
            match measure(ends.with(trouble).spooled(spool), sizes) {
                Ok(sample) => sample.into_iter().for_each(|(key, value)| table.add(key, state, round, value)),
                Err(fault) => report.fail(format!("{}, {state}: {fault}", who.name())),
            }
        }
    }
}
