//! What the figures are held against: floors are what is promised; goals what the best of the others, or a prototype
//! that does nothing else, reached.

use crate::contestant::{CACHED, Contestant, PIPELINED, SERIAL};
use crate::table::{Table, digits};
use crate::verdict::Verdict;

pub(crate) fn speed(table: &Table, who: &[Contestant]) -> Vec<Verdict> {
    let ratio = |key, column| Some(table.ratio(key, column)?.median);
    let least = |what, column, key, floor, goal| {
        let verdict = Verdict::at_least(what, ratio(key, column)?, floor, Some(goal));
        Some(verdict.with_note(best(table, who, key)))
    };
    let cpu = table
        .absolute("cpu", PIPELINED)
        .map(|s| Verdict::at_most("pipelined, 100 clients: CPU, us a request", s.median, 10.0, Some(6.0)));
    let p50 = ratio("p50", SERIAL).map(|v| Verdict::at_most("serial, 1 client: p50, times direct", v, 1.4, Some(1.29)));
    let verdicts = [
        least("pipelined, 10 clients, of direct", PIPELINED, "ten", 0.45, 0.9),
        least("pipelined, 100 clients, of direct", PIPELINED, "hundred", 0.5, 0.8),
        cpu,
        least("serial, 1 client, of direct", SERIAL, "one", 0.70, 0.74),
        p50,
        least("serial, 10 clients, of direct", SERIAL, "ten", 0.27, 0.30),
        least("serial, 100 clients, of direct", SERIAL, "hundred", 0.20, 0.21),
        least("cached, 10 clients, of direct", CACHED, "ten", 0.9, 0.95),
        least("cached, 100 clients, of direct", CACHED, "hundred", 0.5, 0.95),
    ];
    verdicts.into_iter().flatten().collect()
}

/// Who of the others does most in this very run.
fn best(table: &Table, who: &[Contestant], key: &'static str) -> String {
    let peers = who.iter().filter(|c| c.is_peer());
    let ratios = peers.filter_map(|c| Some((c.name, table.ratio(key, c.name)?.median)));
    let best = ratios.max_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or(String::new(), |(name, value)| format!("the best other here: {name}, {}", digits(value)))
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
