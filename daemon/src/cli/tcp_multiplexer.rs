//! Started under the name `tcp-multiplexer`, the binary takes the commands of the Go tools of that name, so that a unit file or a
//! compose file goes on working: names, forms, defaults, signals and exit codes are theirs.

use std::ffi::OsStr;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::json;
use tokio::signal::unix::SignalKind;

use super::foreground::{Foreground, Running};
use super::multiplex::{self, values};
use super::{Failure, duration, say};
use crate::net::{Address, ListenAddress};
use crate::units::Seconds;

/// The name.
const NAME: &str = "tcp-multiplexer";

/// Exit code for a wrong command line.
pub(super) const USAGE: u8 = 1;
/// Exit code when it can't serve.
const FAILING: u8 = 2;

/// Their names of protocols, and ours.
static PROTOCOLS: &[(&str, &str)] = &[
    ("echo", "echo"),
    ("http", "http"),
    ("iso8583", "iso8583"),
    ("mpu", "mpu"),
    ("modbus", "modbus"),
    ("modbus-rtu", "modbus-tcp-crc"),
    ("modbus-serial", "modbus-rtu-tcp"),
];

/// Multiplex multiple connections into a single TCP connection.
#[derive(Parser)]
#[command(name = NAME, disable_help_flag = false, args_override_self = true)]
#[command(after_help = "This is domoflux under another name. `domoflux multiplex` has more options.")]
pub(super) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// verbose log
    #[arg(short, long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    verbose: bool,
    /// debug log
    #[arg(short, long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    debug: bool,
}

#[derive(Subcommand)]
enum Command {
    /// start multiplexer proxy server
    Server(Server),
    /// list application protocols that multiplexer supports
    List,
    /// binary version
    Version,
}

#[derive(clap::Args)]
#[command(args_override_self = true)]
struct Server {
    /// multiplexer will listen on
    #[arg(short, long, value_name = "PORT", default_value = "8000", value_parser = values::listen)]
    listen: ListenAddress,
    /// multiplexer will forward message to
    #[arg(short, long = "targetServer", value_name = "HOST:PORT", default_value = "127.0.0.1:1234", value_parser = values::target)]
    target: Address,
    /// multiplexer will parse to message echo/http/iso8583/mpu/modbus/modbus-rtu/modbus-serial
    #[arg(short = 'p', long = "applicationProtocol", value_name = "NAME", default_value = "echo")]
    protocol: String,
    /// timeout in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = duration::read)]
    timeout: Seconds,
    /// delay after connect
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::read)]
    delay: Seconds,
    /// maximum number of target connections to maintain
    #[arg(long, value_name = "N", default_value_t = 1)]
    max_connections: u32,
    /// delay before retrying target connection
    #[arg(long, visible_alias = "retryDelay", value_name = "DURATION", default_value = "1s", value_parser = duration::read)]
    reconnect_backoff: Seconds,
    /// interval for target connection health checks
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::read)]
    health_check_interval: Seconds,
    /// size of the request queue
    #[arg(long, value_name = "N", default_value_t = 32)]
    queue_size: u32,
    /// Cobra, which reads their command line, passes over what is no flag.
    #[arg(hide = true)]
    _rest: Vec<String>,
}

/// Whether this is the name that the process was started under.
pub(super) fn is_asked_for(program: Option<&OsStr>) -> bool {
    program.and_then(|path| std::path::Path::new(path).file_name()).is_some_and(|name| name == NAME)
}

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        None => say(Cli::command().render_help().to_string().trim_end()),
        Some(Command::List) => {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            say(&format!("* {}\n\nusage for example: ./tcp-multiplexer server -p echo", names.join("\n* ")))
        }
        Some(Command::Version) => say(&format!("version {}, commit none, built at unknown by domoflux", env!("CARGO_PKG_VERSION"))),
        Some(Command::Server(server)) => serve(server, cli),
    }
}

fn serve(server: &Server, cli: &Cli) -> Result<(), Failure> {
    let Some((_, protocol)) = PROTOCOLS.iter().find(|(name, _)| *name == server.protocol) else {
        let text = format!("application protocol {:?} is not supported: \"{NAME} list\" names those that are", server.protocol);
        return Err(Failure::with_code(text, FAILING));
    };
    // What the Go tools take and our flows don't means the least there is.
    let health_check = match server.health_check_interval.0 {
        Duration::ZERO => Duration::ZERO,
        interval => interval.max(Duration::from_secs(1)),
    };
    let flow = Foreground {
        kind: multiplex::KIND,
        spec: json!({
            "listen": server.listen,
            "target": server.target,
            "protocol": protocol,
            "timeout": server.timeout,
            "delay": server.delay,
            "max_connections": server.max_connections.clamp(1, 64),
            "reconnect_backoff": Seconds(server.reconnect_backoff.0.max(Duration::from_millis(10))),
            "health_check_interval": Seconds(health_check),
            "queue_size": server.queue_size.clamp(1, 65_536),
        }),
        running: &Running::default(),
        spool_dir: None,
        log_level: multiplex::level(cli.verbose, cli.debug),
        hello: format!("protocol {}, device {}", server.protocol, server.target),
        option_of: multiplex::option_of,
        stopped_by: &[SignalKind::hangup(), SignalKind::quit()],
        failing: FAILING,
    };
    flow.run()
}
