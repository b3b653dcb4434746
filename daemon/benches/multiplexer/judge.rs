//! What the figures are held against: floors are what is promised; goals are what a prototype that does nothing else
//! reached, and for one request at a time, where all can be compared, the best of the others in this very run.

use crate::contestant::{CACHED, Contestant, PIPELINED, SERIAL};
use crate::table::{Table, digits};
use crate::verdict::Verdict;

pub(crate) fn speed(table: &Table, who: &[Contestant]) -> Vec<Verdict> {
    let ratio = |key, column| Some(table.ratio(key, column)?.median);
    let of_direct = |what, key, column, floor, goal| Some(Verdict::at_least(what, ratio(key, column)?, floor, Some(goal)));
    let serial = |what, key, floor, goal| {
        let (peer, note) = best(table, who, key, f64::max);
        Some(Verdict::at_least(what, ratio(key, SERIAL)?, floor, Some(peer.unwrap_or(goal))).with_note(note))
    };
    let cpu = table.absolute("cpu", PIPELINED);
    let p50 = ratio("p50", SERIAL).map(|value| {
        let (peer, note) = best(table, who, "p50", f64::min);
        Verdict::at_most("serial, 1 client: p50, times direct", value, 1.4, Some(peer.unwrap_or(1.29))).with_note(note)
    });
    let verdicts = [
        of_direct("pipelined, 10 clients, of direct", "ten", PIPELINED, 0.45, 0.9),
        of_direct("pipelined, 100 clients, of direct", "hundred", PIPELINED, 0.5, 0.8),
        cpu.map(|s| Verdict::at_most("pipelined, 100 clients: CPU, us a request", s.median, 10.0, Some(6.0))),
        serial("serial, 1 client, of direct", "one", 0.70, 0.74),
        p50,
        serial("serial, 10 clients, of direct", "ten", 0.27, 0.30),
        serial("serial, 100 clients, of direct", "hundred", 0.20, 0.21),
        of_direct("cached, 10 clients, of direct", "ten", CACHED, 0.9, 0.95),
        of_direct("cached, 100 clients, of direct", "hundred", CACHED, 0.5, 0.95),
    ];
    verdicts.into_iter().flatten().collect()
}

/// The best ratio among the others in this run, and whose it is.
fn best(table: &Table, who: &[Contestant], key: &'static str, better: fn(f64, f64) -> f64) -> (Option<f64>, String) {
    let peers = who.iter().filter(|c| c.is_peer());
    let ratios = peers.filter_map(|c| Some((c.name, table.ratio(key, c.name)?.median)));
    match ratios.reduce(|a, b| if better(a.1, b.1).total_cmp(&a.1).is_eq() { a } else { b }) {
        Some((name, value)) => (Some(value), format!("the best other here: {name}, {}", digits(value))),
        None => (None, String::new()),
    }
}

pub(crate) fn coalescing(table: &Table) -> Option<Verdict> {
    table
        .ratio("coalescing", "coalesced")
        .map(|s| Verdict::at_least("coalesced, times not coalesced", s.median, 19.0, None))
}

pub(crate) fn pool(table: &Table) -> Option<Verdict> {
    table
        .ratio("pool", "pool of 4")
        .map(|s| Verdict::at_least("a pool of 4, times one of 1", s.median, 3.6, None))
}

pub(crate) fn memory(table: &Table) -> Vec<Verdict> {
    let own = |key| Some(table.absolute(key, PIPELINED)?.median);
    let client = own("client").map(|v| Verdict::at_most("an idle client, KB", v, 1.0, None));
    let resident = own("resident").map(|v| Verdict::at_most("at rest, resident, MB", v, 6.0, None));
    [client, resident].into_iter().flatten().collect()
}
