//! The arguments of the benchmark.

use crate::arguments::Arguments;
use crate::contestant::{self, Contestant, Program};

pub(crate) const USAGE: &str = "\
usage: multiplexer [--quick] [--rounds N] [--only NAME[,NAME...]] [--json FILE] [--wait SECONDS]
  names: direct, domoflux, pipelined, serial, cached, modbus-proxy, modbus-proxy-rs, tcp-multiplexer, mbproxy
         (who takes part; direct always does, domoflux is its three settings)
         speed, coalescing, pool, memory (what is measured)
  TCP_MULTIPLEXER_BIN names tcp-multiplexer's binary, DOMOFLUX_BIN another one of domoflux.";

/// What can be measured by itself.
pub(crate) const SECTIONS: [&str; 4] = ["speed", "coalescing", "pool", "memory"];
const DOMOFLUX: &str = "domoflux";

pub(crate) struct Options {
    pub(crate) arguments: Arguments,
    pub(crate) sizes: Sizes,
}

/// How long each sample is.
pub(crate) struct Sizes {
    pub(crate) speed_ms: usize,
    pub(crate) coalescing_ms: usize,
    pub(crate) pool_ms: usize,
    /// Clients of the memory figure.
    pub(crate) idle: usize,
}

impl Sizes {
    const FULL: Self = Self { speed_ms: 1500, coalescing_ms: 2000, pool_ms: 3000, idle: 2000 };
    const QUICK: Self = Self { speed_ms: 500, coalescing_ms: 1000, pool_ms: 2000, ..Self::FULL };
}

impl Options {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut names = contestant::ALL.map(|c| c.name).to_vec();
        names.push(DOMOFLUX);
        let arguments = Arguments::parse(args, &SECTIONS, &names)?;
        let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
        Ok(Self { arguments, sizes })
    }

    pub(crate) fn includes(&self, who: Contestant) -> bool {
        who.program == Program::Direct || self.arguments.includes(who.name) || (who.is_domoflux() && self.arguments.includes(DOMOFLUX))
    }
}
