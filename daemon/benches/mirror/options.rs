//! The arguments of the benchmark.

use crate::arguments::Arguments;
use crate::contestant::Contestant;

pub(crate) const USAGE: &str = "\
usage: mirror [--quick] [--rounds N] [--only NAME[,NAME...]] [--json FILE] [--wait SECONDS]
  names: direct, domoflux, nginx, haproxy, socat (who takes part; direct always does)
         speed, memory, trouble, spool, held, flood, size (what is measured)";

/// What can be measured by itself.
pub(crate) const SECTIONS: [&str; 7] = ["speed", "memory", "trouble", "spool", "held", "flood", "size"];

pub(crate) struct Options {
    pub(crate) arguments: Arguments,
    pub(crate) sizes: Sizes,
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
        let arguments = Arguments::parse(args, &SECTIONS, &Contestant::ALL.map(Contestant::name))?;
        let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
        Ok(Self { arguments, sizes })
    }

    pub(crate) fn includes(&self, who: Contestant) -> bool {
        who == Contestant::Direct || self.arguments.includes(who.name())
    }
}
