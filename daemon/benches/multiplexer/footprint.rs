//! What a contestant holds: memory at rest, and memory a client.

use crate::asking::Asking;
use crate::contestant::Contestant;
use crate::device;
use crate::options::Sizes;
use crate::place::Place;
use crate::stage::Stage;
use crate::table::{Figure, Table};

pub(crate) const FIGURES: [Figure; 3] = [
    Figure { key: "client", title: "an idle client, KB", relative: false },
    Figure { key: "anonymous", title: "at rest, anonymous, MB", relative: false },
    Figure { key: "resident", title: "at rest, resident, MB", relative: false },
];

/// Memory at rest with one flow, and what `sizes.idle` clients add that have made a request and now rest.
pub(crate) fn memory(table: &mut Table, round: usize, who: Contestant, sizes: &Sizes) -> Result<(), String> {
    let mut stage = Stage::set(who, device::INSTANT, false)?;
    let memory = |stage: &Stage, line| stage.proxy.as_ref().map_or(0, |p| p.process.memory(line)) as f64;
    let (anonymous, resident) = (memory(&stage, "RssAnon"), memory(&stage, "VmRSS"));
    let clients = stage.clients(sizes.idle, Asking::Anything, 0, Place::Anywhere)?;
    let full = memory(&stage, "RssAnon");
    drop(clients);
    table.add("client", who.name, round, (full - anonymous) / 1024.0 / sizes.idle as f64);
    table.add("anonymous", who.name, round, anonymous / 1e6);
    table.add("resident", who.name, round, resident / 1e6);
    Ok(())
}
