//! `domoflux probe`

use std::time::{Duration, Instant};

use clap::Subcommand;

use super::{Failure, UNAVAILABLE, runtime, say};
use crate::net::{Address, Dialler};
use crate::units::Seconds;

/// Ask whether somebody answers at an address.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Connect by TCP and say how long it took. Exit code 0: somebody answers, 69: nobody does.
    Tcp {
        /// Host and port.
        address: Address,
        /// How long to wait.
        #[arg(long, default_value = "5s", value_name = "DURATION")]
        timeout: Seconds,
    },
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let What::Tcp { address, timeout } = &args.what;
    let dialler = Dialler { timeout: timeout.0.max(Duration::from_millis(1)), keepalive: false };
    let started = Instant::now();
    let stream = runtime(1)?.block_on(dialler.dial(address)).map_err(|e| Failure::with_code(e.to_string(), UNAVAILABLE))?;
    let peer = stream.peer_addr()?;
    say(&format!("{address}: {peer} answers after {:.1} ms", started.elapsed().as_secs_f64() * 1000.0))
}
