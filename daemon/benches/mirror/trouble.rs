//! What the client and the target notice of a mirror in trouble: nothing, is the promise.

use crate::contestant::Contestant;
use crate::options::Sizes;
use crate::stage::{Ends, Stage, number};
use crate::table::{Figure, Table};

pub(crate) const FIGURES: [Figure; 3] = [
    Figure { key: "bulk", title: "one stream, GB/s", relative: true },
    Figure { key: "p50", title: "64-byte echo, p50, us", relative: true },
    Figure { key: "p99", title: "  p99, us", relative: true },
];

/// `healthy` first: the others are compared with it. The names are those of `server::serve`.
pub(crate) const STATES: [&str; 6] = [HEALTHY, "down", "slow", "stuck", "reset", "swallow"];
const HEALTHY: &str = "healthy";

pub(crate) fn round(table: &mut Table, round: usize, sizes: &Sizes, faults: &mut Vec<String>) {
    for (name, ends) in [("bulk", Ends::BULK), ("echo", Ends::ECHO)] {
        for state in STATES {
            let mirror = if state == HEALTHY { ends.mirror } else { state };
            match sample(Ends { mirror, ..ends }, name, sizes) {
                Ok(sample) => sample.into_iter().for_each(|(key, value)| table.add(key, state, round, value)),
                Err(fault) => crate::fail(faults, format!("{name} with the mirror {state}: {fault}")),
            }
        }
    }
}

fn sample(ends: Ends, name: &str, sizes: &Sizes) -> Result<Vec<(&'static str, f64)>, String> {
    let mut stage = Stage::set(Contestant::Domoflux, ends)?;
    let answer = stage.run(name, &[if name == "bulk" { sizes.bulk_ms } else { sizes.trips }])?;
    let sent = answer["bytes"].as_u64().unwrap_or(0);
    stage.check_target(sent)?;
    if ends.mirror.ends_with("mirror") {
        stage.check_mirror(sent)?;
    }
    Ok(if name == "bulk" {
        vec![("bulk", number(&answer, "bytes") / 1e9 / number(&answer, "seconds"))]
    } else {
        vec![("p50", number(&answer, "p50_us")), ("p99", number(&answer, "p99_us"))]
    })
}
