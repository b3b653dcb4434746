//! The benchmark of the mirror: domoflux with a mirror attached beside proxies without one, each compared with a direct
//! connection in the same round. Every byte is counted and contents are checked; only a lost or wrong byte fails it,
//! speed never does. See `USAGE` in `options.rs`.
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

mod async_server;
mod client;
mod contestant;
mod crowd;
mod footprint;
mod options;
mod part;
mod pattern;
mod server;
mod speed;
mod spool;
mod stage;
mod trouble;

use std::process::ExitCode;

use common::{arguments, place, process, proxy, report, role, table, verdict};
use contestant::Contestant;
use options::Options;
use report::Report;
use table::{Table, digits};
use verdict::Verdict;

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

struct Run {
    options: Options,
    who: Vec<Contestant>,
    /// Descriptors that a process may have.
    descriptors: u64,
    report: Report,
}

impl Run {
    fn new(options: Options) -> Self {
        let mut who: Vec<Contestant> = Contestant::ALL.into_iter().filter(|&c| options.includes(c)).collect();
        let mut report = Report::default();
        who.retain(|&c| match c.absent() {
            // Without its subject a benchmark has nothing to say; the others are there to compare with.
            Some(why) if c == Contestant::Domoflux => {
                report.fail(why);
                false
            }
            Some(why) => {
                eprintln!("left out: {why}");
                false
            }
            None => true,
        });
        let descriptors = process::raise_descriptors();
        Self { options, who, descriptors, report }
    }

    fn all(mut self) -> ExitCode {
        let steps: [(&str, Step); 7] = [
            ("speed", Self::speed),
            ("memory", Self::memory),
            ("trouble", Self::trouble),
            ("spool", Self::spool),
            ("held", Self::held),
            ("flood", Self::flood),
            ("size", Self::size),
        ];
        for (section, step) in steps {
            let has_subject = section == "speed" || section == "memory" || self.who.contains(&Contestant::Domoflux);
            if self.options.arguments.measures(section) && has_subject {
                step(&mut self);
            }
        }
        self.report.conclude(self.options.arguments.json.as_deref())
    }

    fn columns(&self) -> Vec<&'static str> {
        self.who.iter().map(|c| c.name()).collect()
    }

    fn speed(&mut self) {
        let title = "Speed: direct as it is, the others as a ratio to it (CPU as it is); median of the rounds [least–most]";
        let mut table = Table::new(title, &speed::FIGURES, self.columns());
        let options = &self.options;
        let arguments = &options.arguments;
        self.report.each_round("speed", arguments.rounds(), arguments, |report, round| {
            speed::round(&mut table, round, &self.who, &options.sizes, report);
        });
        self.report.print("speed", &table);
        self.judge_speed(&table);
    }

    fn judge_speed(&mut self, table: &Table) {
        let ratio = |key| Some(table.ratio(key, "domoflux")?.median);
        // The goal in bulk is the fastest proxy there is, in this very run.
        let best = table.ratio("bulk", "haproxy").map(|s| s.median);
        let cpu = table.absolute("cpu", "domoflux").map(|s| s.median);
        self.report.verdicts.extend(
            [
                ratio("bulk").map(|v| Verdict::at_least("one stream, of direct", v, 0.45, best)),
                cpu.map(|v| Verdict::at_most("CPU, s/GB", v, 0.40, Some(0.31))),
                ratio("p50").map(|v| Verdict::at_most("64-byte echo, p50, times direct", v, 1.5, Some(1.33))),
                ratio("p99").map(|v| Verdict::at_most("64-byte echo, p99, times direct", v, 2.0, None)),
                ratio("chorus").map(|v| Verdict::at_least("messages/s on 32 connections, of direct", v, 0.27, Some(0.35))),
                ratio("visits").map(|v| Verdict::at_least("connections/s, of direct", v, 0.30, Some(0.40))),
            ]
            .into_iter()
            .flatten(),
        );
    }

    fn memory(&mut self) {
        // A process a connection has no figure that could be compared.
        let who: Vec<Contestant> = self.who.iter().copied().filter(|c| !matches!(c, Contestant::Direct | Contestant::Socat)).collect();
        let columns = who.iter().map(|c| c.name()).collect();
        let mut table = Table::new("Memory; median [least–most]", &footprint::FIGURES, columns);
        let options = &self.options;
        let arguments = &options.arguments;
        self.report.each_round("memory", arguments.rounds().min(3), arguments, |report, round| {
            for &who in &who {
                if let Err(fault) = footprint::memory(&mut table, round, who, &options.sizes) {
                    report.fail(format!("{} in memory: {fault}", who.name()));
                }
            }
        });
        self.report.print("memory", &table);
        let own = |key| Some(table.absolute(key, "domoflux")?.median);
        self.report.verdicts.extend(
            [
                own("connection").map(|v| Verdict::at_most("an idle connection, KB", v, 2.0, Some(1.0))),
                own("anonymous").map(|v| Verdict::at_most("at rest, anonymous, MB", v, 2.0, None)),
                own("resident").map(|v| Verdict::at_most("at rest, resident, MB", v, 8.0, None)),
            ]
            .into_iter()
            .flatten(),
        );
    }

    fn trouble(&mut self) {
        let title = "A mirror in trouble: healthy as it is, the others as a ratio to it; median of the rounds [least–most]";
        let mut table = Table::new(title, &trouble::FIGURES, trouble::STATES.to_vec());
        let options = &self.options;
        let arguments = &options.arguments;
        self.report.each_round("trouble", arguments.rounds(), arguments, |report, round| {
            trouble::round(&mut table, round, &options.sizes, report);
        });
        self.report.print("trouble", &table);
        let table = &table;
        let medians = |key| trouble::STATES[1..].iter().filter_map(move |s| Some((table.ratio(key, s)?.median, *s)));
        let slowest = medians("bulk").min_by(|a, b| a.0.total_cmp(&b.0));
        let latest = medians("p99").max_by(|a, b| a.0.total_cmp(&b.0));
        let worst = |state: &str| format!("the worst: {state}");
        self.report.verdicts.extend(
            slowest.map(|(v, state)| Verdict::at_least("one stream with a mirror in trouble, of healthy", v, 0.95, None).with_note(worst(state))),
        );
        self.report
            .verdicts
            .extend(latest.map(|(v, state)| Verdict::at_most("p99 with a mirror in trouble, times healthy", v, 1.25, None).with_note(worst(state))));
    }

    fn spool(&mut self) {
        let title = "A spool: without one as it is, the others as a ratio to it; median of the rounds [least–most]";
        let mut table = Table::new(title, &spool::FIGURES, spool::STATES.to_vec());
        let options = &self.options;
        let arguments = &options.arguments;
        self.report.each_round("spool", arguments.rounds(), arguments, |report, round| {
            spool::round(&mut table, round, &options.sizes, report);
        });
        self.report.print("spool", &table);
        for (state, what) in spool::STATES[1..].iter().zip(["one stream with a spool, of without", "the same with the mirror away"]) {
            self.report.verdicts.extend(table.ratio("bulk", state).map(|s| Verdict::at_least(what, s.median, 0.95, None)));
        }
    }

    fn held(&mut self) {
        eprintln!("held");
        match footprint::held(self.options.sizes.held, self.descriptors) {
            Ok(held) => {
                let daemons = format!(
                    "by {} daemons, as {} descriptors are allowed to each; the first held {}",
                    held.daemons, self.descriptors, held.most
                );
                let by = if held.daemons > 1 { daemons } else { "by one daemon".to_owned() };
                let note = format!("{by}; a message on each took {} s", digits(held.seconds));
                let verdict = Verdict::at_least("connections held at once", held.connections as f64, 10_000.0, None);
                self.report.verdicts.push(verdict.with_note(note));
            }
            Err(fault) => self.report.fail(format!("domoflux holding connections: {fault}")),
        }
    }

    fn flood(&mut self) {
        eprintln!("flood");
        let clients = self.options.sizes.flood;
        match footprint::flood(clients) {
            Ok(peak) => {
                // The 32 MiB that all queues share, 8 at rest, and what 1000 connections and an allocator that was just
                // asked for all sizes of blocks take on top.
                let verdict = Verdict::at_most("peak memory, MiB, while a mirror never reads", peak as f64 / 1_048_576.0, 56.0, None);
                self.report.verdicts.push(verdict.with_note(format!("{clients} clients sent 1 MB each")));
            }
            Err(fault) => self.report.fail(format!("domoflux in the flood: {fault}")),
        }
    }

    fn size(&mut self) {
        match footprint::size() {
            Ok(bytes) => self.report.verdicts.push(Verdict::at_most("the binary, MB", bytes as f64 / 1e6, 8.0, None)),
            Err(fault) => self.report.fail(fault),
        }
    }
}
