//! What a contestant holds: memory at rest, memory a connection, connections at all, and memory under a flood.

use std::fs;

use crate::contestant::Contestant;
use crate::options::Sizes;
use crate::pattern::MESSAGE;
use crate::proxy::domoflux_binary;
use crate::stage::{Ends, Stage};
use crate::table::{Figure, Table};

pub(crate) const FIGURES: [Figure; 3] = [
    Figure { key: "connection", title: "an idle connection, KB", relative: false },
    Figure { key: "anonymous", title: "at rest, anonymous, MB", relative: false },
    Figure { key: "resident", title: "at rest, resident, MB", relative: false },
];

/// Client, target and mirror.
const DESCRIPTORS: u64 = 3;
/// What a daemon needs besides.
const SPARE: u64 = 100;

/// Memory at rest with one flow, and what `sizes.idle` connections add that have exchanged a message and now rest.
pub(crate) fn memory(table: &mut Table, round: usize, who: Contestant, sizes: &Sizes) -> Result<(), String> {
    let mut stage = Stage::set(who, Ends::ECHO)?;
    let Some(proxy) = &stage.proxy else { return Ok(()) };
    let anonymous = proxy.process.memory("RssAnon");
    let resident = proxy.process.memory("VmRSS");
    let (_, clients) = stage.client("hold", &[sizes.idle])?;
    let full = stage.proxy.as_ref().map_or(0, |p| p.process.memory("RssAnon"));
    drop(clients);
    let sent = (sizes.idle * MESSAGE) as u64;
    stage.check_target(sent)?;
    if who == Contestant::Domoflux {
        stage.check_mirror(sent)?;
    }
    table.add("connection", who.name(), round, (full as f64 - anonymous as f64) / 1024.0 / sizes.idle as f64);
    table.add("anonymous", who.name(), round, anonymous as f64 / 1e6);
    table.add("resident", who.name(), round, resident as f64 / 1e6);
    Ok(())
}

/// How many connections were held at once, and by how many daemons.
pub(crate) struct Held {
    pub(crate) connections: usize,
    /// The most that one of the daemons held.
    pub(crate) most: usize,
    pub(crate) daemons: usize,
    /// For a message there and back on all of them.
    pub(crate) seconds: f64,
}

/// Holds `count` connections and sends a message on each while all are open. Where a process may not have the
/// descriptors for so many, further daemons take the rest.
pub(crate) fn held(count: usize, descriptors: u64) -> Result<Held, String> {
    let most = (descriptors.saturating_sub(SPARE) / DESCRIPTORS) as usize;
    let mut stages = Vec::new();
    let mut left = count;
    while left > 0 {
        let mut stage = Stage::set(Contestant::Domoflux, Ends::ECHO)?;
        let part = left.min(most.max(1));
        let (_, clients) = stage.client("hold", &[part])?;
        stages.push((stage, clients, part));
        left -= part;
    }
    let mut seconds = 0.0;
    for (_, clients, _) in &mut stages {
        seconds += clients.ask()?["seconds"].as_f64().unwrap_or(f64::NAN);
    }
    let daemons = stages.len();
    for (mut stage, clients, part) in stages {
        drop(clients);
        let sent = (2 * part * MESSAGE) as u64;
        stage.check_target(sent)?;
        stage.check_mirror(sent)?;
    }
    Ok(Held { connections: count, most: most.min(count), daemons, seconds })
}

/// The most memory domoflux ever had while `clients` each sent 1 MB and the mirror never read, in bytes.
pub(crate) fn flood(clients: usize) -> Result<u64, String> {
    let mut stage = Stage::set(Contestant::Domoflux, Ends::FLOOD)?;
    let answer = stage.run("flood", &[clients])?;
    stage.check_target(answer["bytes"].as_u64().unwrap_or(0))?;
    Ok(stage.proxy.as_ref().map_or(0, |p| p.process.memory("VmHWM")))
}

/// Of the binary as it is installed, in bytes.
pub(crate) fn size() -> Result<u64, String> {
    let binary = domoflux_binary();
    fs::metadata(&binary).map(|m| m.len()).map_err(|e| format!("{binary}: {e}"))
}
