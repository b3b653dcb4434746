//! `domoflux check`

use std::path::PathBuf;

use super::{CONFIG, Failure, say};
use crate::config::ConfigFile;

/// Say everything that is wrong with a configuration file; start nothing.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The file.
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let file = ConfigFile::read(&args.file).map_err(|e| Failure::with_code(e.to_string(), CONFIG))?;
    let flows = file.flows.len();
    say(&format!("{}: good, {flows} {}", args.file.display(), if flows == 1 { "flow" } else { "flows" }))
}
