//! `domoflux daemon`

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{CONFIG, Failure};
use crate::app::{self, AppError, Settings};
use crate::config::{ConfigFile, DaemonTable};
use crate::log::{Format, Log, LogLevel};
use crate::units::{Bytes, Seconds};

/// Run the daemon in the foreground.
///
/// Flows that hosts have pushed start from its store, before any host speaks. With --config, those of the file run as
/// well. What the command line says comes before what the file says.
#[derive(clap::Args)]
pub(super) struct Args {
    /// TOML file with a [daemon] table and flows.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Instance: jeedom (API on port 55170), domoticz (55171), default (55172), or another name with --listen.
    #[arg(long, default_value = "default", env = "DOMOFLUX_INSTANCE")]
    instance: String,
    /// Loopback address and port of the API; port 0 takes a free one, which endpoint.json in the state directory tells.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Directory of the store and the token [default: $STATE_DIRECTORY, or the user's data directory].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// How much is logged [default: info].
    #[arg(long, value_enum)]
    log_level: Option<LogLevel>,
    /// How a log line looks [default: text].
    #[arg(long, value_enum)]
    log_format: Option<Format>,
    /// Memory that all relay queues share [default: 32 MiB].
    #[arg(long, value_name = "SIZE")]
    buffer_total: Option<Bytes>,
    /// How long connections may go on after a stop is asked for [default: 5 s].
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<Seconds>,
    /// Threads that relay; more than one pays on a machine with cores to spare and many busy connections [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Let /metrics be read without the token.
    #[arg(long)]
    metrics_public: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let file = match &args.config {
        Some(path) => Some(ConfigFile::read(path).map_err(|e| Failure::with_code(e.to_string(), CONFIG))?),
        None => None,
    };
    let table = file.as_ref().map_or_else(DaemonTable::default, |f| f.daemon.clone());
    let log = Log::start(
        args.log_level.or(table.log_level).unwrap_or_default(),
        args.log_format.or(table.log_format).unwrap_or_default(),
    );
    let state_dir = args.state_dir.or(table.state_dir).map_or_else(|| default_state_dir(&args.instance), Ok)?;
    let state_dir = std::path::absolute(state_dir)?;
    let mut settings = Settings::new(&args.instance, state_dir);
    if let Some(listen) = args.listen.or(table.listen) {
        settings.listen = listen;
    }
    if let Some(total) = args.buffer_total.or(table.buffer_total) {
        settings.buffer_total = super::buffer_total(total)?;
    }
    if let Some(Seconds(timeout)) = args.drain_timeout.or(table.drain_timeout) {
        settings.drain_timeout = timeout;
    }
    settings.metrics_public = args.metrics_public || table.metrics_public;
    let threads = usize::from(args.threads.or(table.threads).unwrap_or(1));
    settings.file_flows = file.map(|f| f.flows);
    super::run_to_end(threads, app::run(settings, log))?.map_err(|error| match error {
        AppError::NotLoopback { .. } | AppError::Token(_) => Failure::with_code(error.to_string(), CONFIG),
        AppError::Running { .. } | AppError::System { .. } => Failure::new(error.to_string()),
    })
}

/// `$STATE_DIRECTORY` under systemd, else the user's data directory, a subdirectory for each instance but the default.
pub(super) fn default_state_dir(instance: &str) -> Result<PathBuf, Failure> {
    if let Some(dir) = std::env::var_os("STATE_DIRECTORY") {
        return Ok(dir.into());
    }
    let dirs = directories::ProjectDirs::from("", "", "domoflux")
        .ok_or_else(|| Failure::with_code("there is no home directory to keep the state in: pass --state-dir", CONFIG))?;
    Ok(dirs.data_local_dir().join(instance))
}
