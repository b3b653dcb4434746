//! `domoflux daemon`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{CONFIG, Failure, USAGE};
use crate::app::{self, AppError, Settings};
use crate::config::DaemonTable;
use crate::log::{Format, Log, LogLevel};
use crate::service::supervise::{self, Supervisor};
use crate::service::{ConfigSource, Wrong, endpoint};
use crate::units::{Bytes, Seconds};

/// Run the daemon in the foreground.
///
/// Flows that hosts have pushed start from its store, before any host speaks. With --config, those of the file run as
/// well. What the command line says comes before the environment, and both before what the file says. An empty variable
/// counts as none. SIGHUP reads the file again, SIGTERM stops.
#[derive(clap::Args)]
pub(super) struct Args {
    /// TOML file with a [daemon] table and flows [default: $CONFIGURATION_DIRECTORY/<instance>.toml, if systemd sets that
    /// and there is one].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Instance: jeedom (API on port 55170), domoticz (55171), default (55172), or another name with --listen.
    #[arg(long, default_value = "default", env = "DOMOFLUX_INSTANCE")]
    instance: String,
    /// Loopback address and port of the API; port 0 takes a free one, which endpoint.json tells.
    #[arg(long, value_name = "ADDRESS", env = "DOMOFLUX_LISTEN")]
    listen: Option<SocketAddr>,
    /// Directory of the store and the token [default: $STATE_DIRECTORY, or the user's data directory].
    #[arg(long, value_name = "DIR", env = "DOMOFLUX_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// How much is logged [default: info].
    #[arg(long, value_enum, env = "DOMOFLUX_LOG_LEVEL")]
    log_level: Option<LogLevel>,
    /// How a log line looks [default: journal where systemd's journal reads it, else text].
    #[arg(long, value_enum, env = "DOMOFLUX_LOG_FORMAT")]
    log_format: Option<Format>,
    /// File to log to instead of standard error; it may be emptied, renamed and removed at any time.
    #[arg(long, value_name = "FILE", env = "DOMOFLUX_LOG_FILE")]
    log_file: Option<PathBuf>,
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
    /// Let the group of the daemon read the token file, too: mode 0640 instead of 0600.
    #[arg(long)]
    token_for_group: bool,
    /// Start the daemon as a child and start it again when it dies or hangs, for hosts without systemd.
    #[arg(long)]
    supervise: bool,
    /// With --supervise: file for the process id of the supervisor, removed at the stop.
    #[arg(long, value_name = "FILE", requires = "supervise")]
    pid_file: Option<PathBuf>,
    /// With --supervise: how long the daemon may be silent until it counts as hung.
    #[arg(long, value_name = "DURATION", default_value = "30s", requires = "supervise")]
    watchdog: Seconds,
    /// Set by the supervisor: its process id.
    #[arg(long, value_name = "PID", hide = true)]
    supervised_by: Option<u32>,
}

/// The shortest silence that counts as hanging: a daemon speaks twice in that time.
const LEAST_WATCHDOG: std::time::Duration = std::time::Duration::from_secs(1);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    super::check_instance(&args.instance)?;
    match args.supervised_by {
        Some(pid) => supervise::as_child(pid).map_err(|e| Failure::new(e.to_string()))?,
        None if args.supervise => return supervise(args),
        None => {}
    }
    let source = args.source();
    let (file, wrong) = match source.read() {
        Ok(file) => (file, None),
        // A service that finds its file wrong at boot runs what it ran before: a slip in it must not unplug an alarm.
        Err(error) if source.optional => (None, Some(error)),
        Err(error) => return Err(Failure::with_code(error.to_string(), CONFIG)),
    };
    let (in_file, file_flows) = file.map_or_else(Default::default, |f| (f.daemon, Some(f.flows)));
    let table = source.said.clone().over(in_file);
    let log = args.start_log(&table);
    if let Some(error) = wrong {
        error.lines().for_each(|line| tracing::error!("{line}"));
        let text = format!(
            "{} is not taken: the flows are those of the last start",
            source.path.as_deref().unwrap_or(Path::new("")).display()
        );
        tracing::error!("{text}");
        source.wrong.set(Some(text));
    }
    let state_dir = table.state_dir.clone().map_or_else(|| default_state_dir(&args.instance), Ok)?;
    let mut settings = Settings::new(&args.instance, std::path::absolute(state_dir)?);
    if let Some(listen) = table.listen {
        settings.listen = listen;
    }
    if let Some(total) = table.buffer_total {
        settings.buffer_total = super::buffer_total(total)?;
    }
    settings.endpoint_dir = endpoint::directory(&args.instance, &settings.state_dir, args.state_dir.is_some());
    settings.token_for_group = args.token_for_group;
    let threads = usize::from(table.threads.unwrap_or(1));
    settings.file_flows = file_flows;
    settings.table = table;
    settings.source = source;
    super::run_to_end(threads, app::run(settings, log))?.map_err(|error| match error {
        AppError::NotLoopback { .. } | AppError::Token(_) => Failure::with_code(error.to_string(), CONFIG),
        AppError::Running { .. } | AppError::System { .. } => Failure::new(error.to_string()),
    })
}

impl Args {
    /// Starts the log as the command line and the file say.
    fn start_log(&self, table: &DaemonTable) -> Log {
        if let Some(path) = &self.log_file {
            crate::log::to_file(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        }
        let of_where = || if self.log_file.is_some() { Format::Text } else { Format::of_stderr() };
        Log::start(table.log_level.unwrap_or_default(), table.log_format.unwrap_or_else(of_where))
    }

    /// Where the configuration file is, if one was named or systemd says where to look; and what goes before it.
    fn source(&self) -> ConfigSource {
        let looked_for = || endpoint::directory_from_env("CONFIGURATION_DIRECTORY").map(|dir| dir.join(format!("{}.toml", self.instance)));
        let asked_for = self.config.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        ConfigSource {
            optional: asked_for.is_none(),
            path: asked_for.or_else(looked_for),
            wrong: Wrong::default(),
            said: DaemonTable {
                listen: self.listen,
                state_dir: self.state_dir.clone(),
                log_level: self.log_level,
                log_format: self.log_format,
                buffer_total: self.buffer_total,
                drain_timeout: self.drain_timeout,
                threads: self.threads,
                metrics_public: self.metrics_public,
            },
        }
    }
}

/// Starts this same command line as a child. What is wrong with it, or with the file, is the child's to say.
fn supervise(args: &Args) -> Result<(), Failure> {
    supervise::close_inherited();
    if args.watchdog.0 < LEAST_WATCHDOG {
        return Err(Failure::with_code("--watchdog: at least 1 s is needed", USAGE));
    }
    let table = args.source().said.over(args.source().read().ok().flatten().map(|f| f.daemon).unwrap_or_default());
    let _log = args.start_log(&table);
    let supervisor = Supervisor {
        program: std::env::current_exe()?,
        args: std::env::args_os().skip(1).collect(),
        pid_file: args.pid_file.as_deref().map(Path::to_owned),
        silence: args.watchdog.0,
    };
    match supervisor.run().map_err(|e| Failure::new(e.to_string()))? {
        0 => Ok(()),
        code => Err(Failure { text: String::new(), code }), // the daemon has said why
    }
}

/// `$STATE_DIRECTORY` under systemd, else the user's data directory, a subdirectory for each instance but the default.
pub(super) fn default_state_dir(instance: &str) -> Result<PathBuf, Failure> {
    if let Some(dir) = endpoint::directory_from_env("STATE_DIRECTORY") {
        return Ok(dir);
    }
    let dirs = directories::ProjectDirs::from("", "", "domoflux")
        .ok_or_else(|| Failure::with_code("there is no home directory to keep the state in: pass --state-dir", CONFIG))?;
    Ok(dirs.data_local_dir().join(instance))
}
