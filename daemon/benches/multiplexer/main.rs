//! The benchmark of the multiplexer: domoflux beside other Modbus proxies, each compared with clients that talk to the
//! device themselves in the same round. Every answer is checked, with its transaction id; only a lost or wrong one fails
//! it, speed never does. See `USAGE` in `options.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops where something it relies on is missing; nothing depends on it"
)]

#[path = "../common/mod.rs"]
mod common;

mod asking;
mod client;
mod contestant;
mod crowd;
mod device;
mod footprint;
mod instant;
mod judge;
mod modbus;
mod options;
mod part;
mod poll;
mod sharing;
mod speed;
mod stage;

use std::process::ExitCode;

use common::{arguments, place, process, proxy, report, role, table, verdict};
use contestant::{Contestant, Program};
use options::{Options, Sizes};
use report::Report;
use table::{Figure, Table};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if role::is_played(&args, part::play) {
        return ExitCode::SUCCESS;
    }
    match Options::parse(args.into_iter()) {
        Ok(options) => all(&options),
        Err(error) => {
            eprintln!("{error}\n{}", options::USAGE);
            ExitCode::from(2)
        }
    }
}

fn all(options: &Options) -> ExitCode {
    process::raise_descriptors();
    let mut report = Report::default();
    let who = present(options, &mut report);
    let measures = |section: &str| options.arguments.measures(section);
    if measures("speed") {
        let title = "Speed: direct as it is, the others as a ratio to it (CPU and below as they are); median of the rounds [least–most]";
        let mut table = Table::new(title, &speed::FIGURES, names(&who));
        report.each_round("speed", options.arguments.rounds(), &options.arguments, |report, round| {
            speed::round(&mut table, round, &who, &options.sizes, report);
        });
        report.print("speed", &table);
        report.verdicts.extend(judge::speed(&table, &who));
    }
    let others: Vec<Contestant> = who.iter().copied().filter(|c| !c.is_domoflux()).collect();
    let has_subject = who.len() > others.len();
    let peers = others.iter().copied().filter(|c| c.is_peer());
    if measures("coalescing") && has_subject {
        let title = "A device that takes 10 ms, one request at a time: not coalesced as it is, the others as a ratio to it";
        let who = [&sharing::COALESCERS, &others[..]].concat();
        let table = section(&mut report, options, title, &sharing::COALESCING, &who, sharing::coalescing);
        report.print("coalescing", &table);
        report.verdicts.extend(judge::coalescing(&table));
    }
    if measures("pool") && has_subject {
        let title = "A device that takes 200 ms, on four connections: a pool of 1 as it is, of 4 as a ratio to it";
        let table = section(&mut report, options, title, &sharing::POOL, &sharing::POOLS, sharing::pool);
        report.print("pool", &table);
        report.verdicts.extend(judge::pool(&table));
    }
    if measures("memory") {
        let pipelined = who.iter().copied().filter(|c| c.name == contestant::PIPELINED);
        let who: Vec<Contestant> = pipelined.chain(peers).collect();
        let table = section(&mut report, options, "Memory; median [least–most]", &footprint::FIGURES, &who, footprint::memory);
        report.print("memory", &table);
        report.verdicts.extend(judge::memory(&table));
    }
    report.conclude(options.arguments.json.as_deref())
}

/// Those who take part and are there.
fn present(options: &Options, report: &mut Report) -> Vec<Contestant> {
    let mut who: Vec<Contestant> = contestant::ALL.into_iter().filter(|&c| options.includes(c)).collect();
    who.retain(|&c| match c.absent() {
        // Without its subject a benchmark has nothing to say; the others are there to compare with.
        Some(why) if matches!(c.program, Program::Domoflux(_)) => {
            report.fail(why);
            false
        }
        Some(why) => {
            eprintln!("left out: {why}");
            false
        }
        None => true,
    });
    who
}

fn names(who: &[Contestant]) -> Vec<&'static str> {
    who.iter().map(|c| c.name).collect()
}

type Measure = fn(&mut Table, usize, Contestant, &Sizes) -> Result<(), String>;

/// A few rounds of what scatters little.
fn section(report: &mut Report, options: &Options, title: &'static str, figures: &'static [Figure], who: &[Contestant], measure: Measure) -> Table {
    let mut table = Table::new(title, figures, names(who));
    report.each_round(figures[0].key, options.arguments.rounds().min(3), &options.arguments, |report, round| {
        for &who in who {
            if let Err(fault) = measure(&mut table, round, who, &options.sizes) {
                report.fail(format!("{}, {}: {fault}", figures[0].key, who.name));
            }
        }
    });
    table
}
