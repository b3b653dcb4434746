//! What domoflux makes of a slow device: one answer for all who ask the same, and requests on several connections.

use crate::asking::Asking;
use crate::contestant::{Contestant, Flow, Program};
use crate::device;
use crate::options::Sizes;
use crate::place::Place;
use crate::stage::Stage;
use crate::table::{Figure, Table};

pub(crate) const COALESCING: [Figure; 1] = [Figure { key: "coalescing", title: "20 clients, one block, answers/s", relative: true }];
pub(crate) const POOL: [Figure; 1] = [Figure { key: "pool", title: "8 clients, answers/s", relative: true }];

const fn domoflux(name: &'static str, flow: Flow) -> Contestant {
    Contestant { name, program: Program::Domoflux(flow) }
}

/// The others are compared with the first.
pub(crate) const COALESCERS: [Contestant; 2] =
    [domoflux("not coalesced", Flow { coalesce: false, ..Flow::SERIAL }), domoflux("coalesced", Flow::SERIAL)];
pub(crate) const POOLS: [Contestant; 2] = [domoflux("pool of 1", Flow::SERIAL), domoflux("pool of 4", Flow { max_connections: 4, ..Flow::SERIAL })];

/// 20 clients that all read the same of a device that takes 10 ms for a request.
pub(crate) fn coalescing(table: &mut Table, round: usize, who: Contestant, sizes: &Sizes) -> Result<(), String> {
    let mut stage = Stage::set(who, device::ONE_AT_A_TIME, false)?;
    let mut clients = stage.clients(20, Asking::One, sizes.coalescing_ms, Place::Anywhere)?;
    let rate = stage.run(&mut clients)?.number("per_second");
    table.add("coalescing", who.name, round, rate);
    Ok(())
}

/// 8 clients, each reading something else of a device that takes 200 ms for a request and works on four at a time.
pub(crate) fn pool(table: &mut Table, round: usize, who: Contestant, sizes: &Sizes) -> Result<(), String> {
    let mut stage = Stage::set(who, device::FOUR, false)?;
    let mut clients = stage.clients(8, Asking::Anything, sizes.pool_ms, Place::Anywhere)?;
    let rate = stage.run(&mut clients)?.number("per_second");
    table.add("pool", who.name, round, rate);
    Ok(())
}
