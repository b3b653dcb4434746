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
use contestant::Contestant;
use options::{Options, Sizes};
use report::Report;
use table::Table;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if role::is_played(&args, part::play) {
        return ExitCode::SUCCESS;
    }
    match Options::parse(args.into_iter()) {
        Ok(options) => Run::new(options).all(),
        Err(error) => {
            eprintln!("{error}\n{}", options::USAGE);
            ExitCode::from(2)
        }
    }
}

type Step = fn(&mut Run);
type Measure = fn(&mut Table, usize, Contestant, &Sizes) -> Result<(), String>;

struct Run {
    options: Options,
    /// Those who take part and are there.
    who: Vec<Contestant>,
    report: Report,
}

impl Run {
    fn new(options: Options) -> Self {
        process::raise_descriptors();
        let mut report = Report::default();
        let mut who: Vec<Contestant> = contestant::ALL.into_iter().filter(|&c| options.includes(c)).collect();
        who.retain(|&c| match c.absent() {
            // Without its subject a benchmark has nothing to say; the others are there to compare with.
            Some(why) if c.is_domoflux() => {
                report.fail(why);
                false
            }
            Some(why) => {
                eprintln!("left out: {why}");
                false
            }
            None => true,
        });
        Self { options, who, report }
    }

    fn all(mut self) -> ExitCode {
        let steps: [(&str, Step); 4] = [("speed", Self::speed), ("coalescing", Self::coalescing), ("pool", Self::pool), ("memory", Self::memory)];
        for (section, step) in steps {
            let has_subject = matches!(section, "speed" | "memory") || self.who.iter().any(|c| c.is_domoflux());
            if self.options.arguments.measures(section) && has_subject {
                step(&mut self);
            }
        }
        self.report.conclude(self.options.arguments.json.as_deref())
    }

    fn speed(&mut self) {
        let title = "Speed: direct as it is, the others as a ratio to it (CPU and below as they are); median of the rounds [least–most]";
        let mut table = Table::new(title, &speed::FIGURES, names(&self.who));
        let Self { options, who, report } = self;
        report.each_round("speed", options.arguments.rounds(), &options.arguments, |report, round| {
            speed::round(&mut table, round, who, &options.sizes, report);
        });
        report.print("speed", &table);
        report.verdicts.extend(judge::speed(&table, who));
    }

    fn coalescing(&mut self) {
        let title = "A device that takes 10 ms, one request at a time: not coalesced as it is, the others as a ratio to it";
        let others = self.who.iter().copied().filter(|c| !c.is_domoflux());
        let who: Vec<Contestant> = sharing::COALESCERS.into_iter().chain(others).collect();
        let table = self.section("coalescing", Table::new(title, &sharing::COALESCING, names(&who)), &who, sharing::coalescing);
        self.report.verdicts.extend(judge::coalescing(&table));
    }

    fn pool(&mut self) {
        let title = "A device that takes 200 ms, on four connections: a pool of 1 as it is, of 4 as a ratio to it";
        let table = self.section("pool", Table::new(title, &sharing::POOL, names(&sharing::POOLS)), &sharing::POOLS, sharing::pool);
        self.report.verdicts.extend(judge::pool(&table));
    }

    fn memory(&mut self) {
        let who: Vec<Contestant> = self.who.iter().copied().filter(|c| c.name == contestant::PIPELINED || c.is_peer()).collect();
        let title = "Memory; median [least–most]";
        let table = self.section("memory", Table::new(title, &footprint::FIGURES, names(&who)), &who, footprint::memory);
        self.report.verdicts.extend(judge::memory(&table));
    }

    /// A few rounds of what scatters little.
    fn section(&mut self, name: &str, mut table: Table, who: &[Contestant], measure: Measure) -> Table {
        let Self { options, report, .. } = self;
        report.each_round(name, options.arguments.rounds().min(3), &options.arguments, |report, round| {
            for &who in who {
                if let Err(fault) = measure(&mut table, round, who, &options.sizes) {
                    report.fail(format!("{name}, {}: {fault}", who.name));
                }
            }
        });
        report.print(name, &table);
        table
    }
}

fn names(who: &[Contestant]) -> Vec<&'static str> {
    who.iter().map(|c| c.name).collect()
}
