//! The `domoflux` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    domoflux::cli::main()
}
