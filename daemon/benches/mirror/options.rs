//! The arguments of the benchmark.

use std::path::PathBuf;
use std::time::Duration;

use crate::contestant::Contestant;

pub(crate) const USAGE: &str = "\
usage: mirror [--quick] [--rounds N] [--only NAME[,NAME...]] [--json FILE] [--wait SECONDS]
  names: direct, domoflux, nginx, haproxy, socat (who takes part; direct always does)
         speed, memory, trouble, spool, held, flood, size (what is measured)";

/// What can be measured by itself.
pub(crate) const SECTIONS: [&str; 7] = ["speed", "memory", "trouble", "spool", "held", "flood", "size"];

pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) sizes: Sizes,
    pub(crate) json: Option<PathBuf>,
    /// For how long a round may wait for other work on the machine to end.
    pub(crate) wait: Duration,
    only: Vec<String>,
}

/// How long each sample is.
pub(crate) struct Sizes {
    pub(crate) bulk_ms: usize,
    pub(crate) trips: usize,
    pub(crate) chorus_ms: usize,
    pub(crate) visits_ms: usize,
    /// Connections of the memory figure.
    pub(crate) idle: usize,
    /// Connections held at once.
    pub(crate) held: usize,
    /// Clients at once while the mirror never reads.
    pub(crate) flood: usize,
}

impl Sizes {
    const FULL: Self = Self { bulk_ms: 1200, trips: 20_000, chorus_ms: 1500, visits_ms: 1500, idle: 2000, held: 10_000, flood: 1000 };
    const QUICK: Self = Self { bulk_ms: 500, trips: 5000, chorus_ms: 500, visits_ms: 500, ..Self::FULL };
}

impl Options {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { rounds: 5, sizes: Sizes::FULL, json: None, wait: Duration::ZERO, only: Vec::new() };
        let mut rounds = None;
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                // Cargo's own, to say that this is no test.
                "--bench" => {}
                "--quick" => (options.sizes, options.rounds) = (Sizes::QUICK, 2),
                "--rounds" => rounds = Some(value()?.parse::<usize>().map_err(|e| format!("--rounds: {e}"))?),
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--wait" => options.wait = Duration::from_secs(value()?.parse().map_err(|e| format!("--wait: {e}"))?),
                "--json" => options.json = Some(value()?.into()),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        options.rounds = rounds.unwrap_or(options.rounds).max(1);
        let known = |name: &String| SECTIONS.contains(&name.as_str()) || Contestant::ALL.iter().any(|c| c.name() == name);
        match options.only.iter().find(|name| !known(name)) {
            Some(name) => Err(format!("--only: there is no {name}")),
            None => Ok(options),
        }
    }

    /// No name of a section given, all of them are meant.
    pub(crate) fn measures(&self, section: &str) -> bool {
        let named = self.only.iter().any(|name| SECTIONS.contains(&name.as_str()));
        !named || self.only.iter().any(|name| name == section)
    }

    /// No contestant named, all of them are meant.
    pub(crate) fn includes(&self, who: Contestant) -> bool {
        let named = self.only.iter().any(|name| !SECTIONS.contains(&name.as_str()));
        who == Contestant::Direct || !named || self.only.iter().any(|name| name == who.name())
    }
}
