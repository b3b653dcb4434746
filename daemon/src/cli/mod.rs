//! The command line, one file a subcommand.

#![expect(clippy::indexing_slicing, reason = "what a JSON value does not have reads as null")]

mod call;
mod check;
mod client;
mod daemon;
mod demo;
mod documents;
mod dump;
mod duration;
mod flow;
mod foreground;
mod live;
mod log;
mod mirror;
mod multiplex;
mod probe;
mod probe_modbus;
mod status;
mod tcp_multiplexer;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::net::budget::LEAST_TOTAL;

/// Wrong use of the command line (sysexits' `EX_USAGE`).
const USAGE: u8 = 64;
/// No daemon answers, or nobody at the probed address (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;
/// A wrong configuration (`EX_CONFIG`).
const CONFIG: u8 = 78;

/// Duplicates, shares and synchronises the data flows of a home.
#[derive(Parser)]
#[command(name = "domoflux", version, about, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 64 wrong usage, 69 nobody answers, 78 wrong configuration.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Daemon(daemon::Args),
    Mirror(mirror::Args),
    Multiplex(Box<multiplex::Args>),
    Demo(demo::Args),
    Check(check::Args),
    Flow(flow::Args),
    Status(status::Args),
    Log(log::Args),
    Dump(dump::Args),
    Kinds(documents::KindsArgs),
    Protocols(documents::ProtocolsArgs),
    Call(call::Args),
    Schema(documents::SchemaArgs),
    Probe(probe::Args),
    Completions(documents::CompletionsArgs),
    Man(documents::ManArgs),
}

/// Why a command fails: what to say, and the exit code.
#[derive(Debug)]
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    fn with_code(text: impl Into<String>, code: u8) -> Self {
        Self { text: text.into(), code }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(crate::text::reason(&error))
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let done = if tcp_multiplexer::is_asked_for(std::env::args_os().next().as_deref()) {
        parsed::<tcp_multiplexer::Cli>(tcp_multiplexer::USAGE).map(|cli| tcp_multiplexer::run(&cli))
    } else {
        parsed::<Cli>(USAGE).map(run)
    };
    let done = match done {
        Ok(done) => done,
        Err(code) => return code,
    };
    crate::log::flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, code }) => {
            if !text.is_empty() {
                eprint!("{}", crate::log::Format::of_stderr().failure(&text));
            }
            ExitCode::from(code)
        }
    }
}

/// Reads the arguments of this process. What is wrong with them, or the help that they ask for, is printed.
fn parsed<C: Parser>(usage: u8) -> Result<C, ExitCode> {
    let mut command = without_empty_variables(C::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    matches
        .and_then(|matches| C::from_arg_matches(&matches).map_err(|error| error.format(&mut command)))
        .map_err(|error| {
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(usage) } else { ExitCode::SUCCESS }
        })
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Daemon(args) => daemon::run(&args),
        Command::Mirror(args) => mirror::run(&args),
        Command::Multiplex(args) => multiplex::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Flow(args) => flow::run(args),
        Command::Status(args) => status::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Kinds(args) => documents::kinds(&args),
        Command::Protocols(args) => documents::protocols(&args),
        Command::Call(args) => call::run(&args),
        Command::Schema(args) => documents::schema(&args),
        Command::Probe(args) => probe::run(args),
        Command::Completions(args) => documents::completions(&args),
        Command::Man(args) => documents::man(&args),
    }
}

/// An `EnvironmentFile` of systemd has `NAME=` where nothing is set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if arg.get_env().is_some_and(is_empty) { arg.env(None::<&str>) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// Prints to standard output. A reader that has gone, such as `head`, ends the command quietly.
fn say(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure { text: String::new(), code: 0 }),
        done => done.map_err(Failure::from),
    }
}

/// An instance is part of paths.
fn check_instance(name: &str) -> Result<(), Failure> {
    match crate::flow::name_problem("", name) {
        None if !name.starts_with('.') => Ok(()),
        _ => Err(Failure::with_code(
            format!(
                "--instance: {:?} is no name: use letters, digits, '_', '-' and '.', which is not the first",
                crate::text::printable(name, 80)
            ),
            USAGE,
        )),
    }
}

/// `--buffer-total` in bytes. With less than a little, nothing would ever pass.
fn buffer_total(total: crate::units::Bytes) -> Result<usize, Failure> {
    let bytes = usize::try_from(total.0).unwrap_or(usize::MAX);
    let least = crate::units::Bytes(LEAST_TOTAL as u64);
    if bytes < LEAST_TOTAL {
        Err(Failure::with_code(format!("--buffer-total: {total} is too little, at least {least} are needed"), CONFIG))
    } else {
        Ok(bytes)
    }
}

/// A value of a status as text for a person.
fn text_of(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A runtime with so many threads.
///
/// One is the default and the fastest on a small machine: a relay spends its time in the kernel, and a second thread
/// is woken for every event only to find that the first one has it. On two cores it cost a third of the messages a
/// second and a quarter of the connections.
fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.max_blocking_threads(64);
    Ok(builder.enable_all().build()?)
}

/// Runs `work` on a runtime of its own. What still asks a silent name server then is left behind.
fn run_to_end<T>(threads: usize, work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = runtime(threads)?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
        super::tcp_multiplexer::Cli::command().debug_assert();
    }
}
