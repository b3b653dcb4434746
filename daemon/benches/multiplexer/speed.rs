//! What passes, with a device that answers at once. All contestants take their turns within each round, so that whatever
//! else the machine does hits all of them.

use crate::asking::Asking;
use crate::contestant::{Contestant, Flow, Program};
use crate::device;
use crate::options::Sizes;
use crate::place::Place;
use crate::report::Report;
use crate::stage::{Sample, Stage};
use crate::table::{Figure, Table};

pub(crate) const FIGURES: [Figure; 8] = [
    Figure { key: "one", title: "1 client, requests/s", relative: true },
    Figure { key: "p50", title: "  p50, us", relative: true },
    Figure { key: "p99", title: "  p99, us", relative: true },
    Figure { key: "ten", title: "10 clients, requests/s", relative: true },
    Figure { key: "hundred", title: "100 clients, requests/s", relative: true },
    Figure { key: "cpu", title: "  CPU, us a request", relative: false },
    Figure { key: "passed", title: "  requests at the device, an answer", relative: false },
    Figure { key: "slowest", title: "  slowest client, of the average", relative: false },
];

/// Adds a round's samples to `table`, and what went wrong to `report`.
pub(crate) fn round(table: &mut Table, round: usize, who: &[Contestant], sizes: &Sizes, report: &mut Report) {
    for clients in [1, 10, 100] {
        for &who in who {
            match sample(who, clients, sizes) {
                Ok(sample) => figures(clients, &sample).into_iter().for_each(|(key, value)| table.add(key, who.name, round, value)),
                Err(fault) => report.fail(format!("{} with {clients} clients: {fault}", who.name)),
            }
        }
    }
}

fn sample(who: Contestant, clients: usize, sizes: &Sizes) -> Result<Sample, String> {
    let asking = match who.program {
        Program::Domoflux(Flow { cache: true, .. }) => Asking::Blocks,
        _ => Asking::Anything,
    };
    // One message that goes to and fro: see `place.rs`.
    let apart = clients == 1;
    let mut stage = Stage::set(who, device::INSTANT, apart)?;
    let mut role = stage.clients(clients, asking, sizes.speed_ms, if apart { Place::First } else { Place::Anywhere })?;
    stage.run(&mut role)
}

fn figures(clients: usize, sample: &Sample) -> Vec<(&'static str, f64)> {
    let rate = sample.number("per_second");
    match clients {
        1 => vec![("one", rate), ("p50", sample.number("p50_us")), ("p99", sample.number("p99_us"))],
        10 => vec![("ten", rate)],
        _ => {
            let mut all = vec![("hundred", rate), ("passed", sample.passed), ("slowest", sample.number("slowest"))];
            all.extend(sample.cpu.map(|seconds| ("cpu", seconds * 1e6 / sample.number("answers"))));
            all
        }
    }
}
