//! `domoflux mirror`: one mirror in the foreground, without a daemon or a file.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{CONFIG, Failure, live};
use crate::app;
use crate::flow::{FlowSpec, Flows, Means, Problem, RegistryError};
use crate::log::{Format, Log, LogLevel};
use crate::net::{Address, ListenAddress, budget};
use crate::service::Stop;
use crate::store::Store;
use crate::units::{Bytes, Seconds};

/// Mirror a TCP stream in the foreground.
///
/// Clients connect to --listen; what they send goes to --target and, as a copy, to each --mirror. On a terminal a line
/// shows the counters. Ctrl-C drains: no new clients, those there are may finish; a second Ctrl-C cuts them.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command")]
pub(super) struct Args {
    /// Address and port to listen on, for example 0.0.0.0:10001 or [::]:10001.
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    listen: ListenAddress,
    /// Host and port of the real destination.
    #[arg(short, long, value_name = "HOST:PORT")]
    target: Address,
    /// Host and port that get a copy; may be given several times.
    #[arg(short, long = "mirror", value_name = "HOST:PORT", required = true)]
    mirrors: Vec<Address>,
    /// Do not copy what clients send.
    #[arg(long)]
    no_from_client: bool,
    /// Copy what the target answers as well.
    #[arg(long)]
    from_target: bool,
    /// Give what the mirror sends to the client.
    #[arg(long)]
    to_client: bool,
    /// Refuse a client when a mirror can't be reached.
    #[arg(long)]
    required: bool,
    /// Bytes held for a connection while a mirror is slow [default: 1 MiB].
    #[arg(long, value_name = "SIZE")]
    buffer: Option<Bytes>,
    /// When that is full: detach the mirror, or block the stream [default: detach].
    #[arg(long, value_parser = ["detach", "block"])]
    when_full: Option<String>,
    /// Keep connections in this directory while a mirror is away, and play them back.
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// Most bytes kept for a mirror [default: 256 MiB].
    #[arg(long, value_name = "SIZE", requires = "spool_dir")]
    spool_max_bytes: Option<Bytes>,
    /// How long a connection is kept [default: 7 d].
    #[arg(long, value_name = "DURATION", requires = "spool_dir")]
    spool_max_age: Option<Seconds>,
    /// How long connecting may take [default: 5 s].
    #[arg(long, value_name = "DURATION")]
    connect_timeout: Option<Seconds>,
    /// After how long without a byte a connection is closed [default: never].
    #[arg(long, value_name = "DURATION")]
    idle_timeout: Option<Seconds>,
    /// How many clients at the same time [default: 10240].
    #[arg(long, value_name = "N")]
    max_connections: Option<u32>,
    /// Network or address that may connect; may be given several times [default: all].
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<String>,
    /// Do not probe silent connections.
    #[arg(long)]
    no_keepalive: bool,
    /// Memory that all queues share.
    #[arg(long, value_name = "SIZE", default_value_t = Bytes(budget::DEFAULT_TOTAL as u64))]
    buffer_total: Bytes,
    /// How long connections may go on after Ctrl-C.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    drain_timeout: Seconds,
    /// Threads that relay; more than one pays on a machine with cores to spare and many busy connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// How much is logged.
    #[arg(long, value_enum, default_value = "info")]
    log_level: LogLevel,
}

const ID: &str = "mirror";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let _log = Log::start(args.log_level, Format::Text);
    super::run_to_end(args.threads.into(), serve(args))?
}

async fn serve(args: &Args) -> Result<(), Failure> {
    app::raise_descriptor_limit();
    let stop = Stop::on_signals().map_err(|e| Failure::new(e.to_string()))?;
    let total = super::buffer_total(args.buffer_total)?;
    let flows = Flows::new(Means::new(total, Store::in_memory(), args.spool_dir.clone()));
    let wanted = FlowSpec { id: ID.to_owned(), kind: "mirror".to_owned(), spec: args.spec(), enabled: true };
    flows.apply("cli", &wanted).await.map_err(|error| match error {
        RegistryError::Request { problems } => Failure::with_code(problems.0.iter().map(option_problem).collect::<Vec<_>>().join("\n"), CONFIG),
        error => Failure::new(error.to_string()),
    })?;
    let mirrors = args.mirrors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tracing::info!(flow = ID, "target {}, mirrors {mirrors}; Ctrl-C ends it", args.target);
    tokio::select! {
        () = stop.now.cancelled() => {}
        () = live::counters(&flows, ID) => {}
    }
    live::end();
    let cut = app::drain(&flows, args.drain_timeout.0, &stop).await;
    app::flush_spools().await;
    let counters = flows.counters(None).map_err(|e| Failure::new(e.to_string()))?;
    for counters in counters.values() {
        tracing::info!("{}; {cut} connections cut", live::summary(&counters.values()));
    }
    Ok(())
}

/// A problem of the spec in terms of the options.
fn option_problem(problem: &Problem) -> String {
    let field = problem.pointer.trim_start_matches("/spec").rsplit('/').next().unwrap_or_default();
    let option = match field {
        "" | "address" => "mirror".to_owned(),
        n if n.parse::<usize>().is_ok() => "allow".to_owned(),
        "from_client" => "no-from-client".to_owned(),
        field => field.replace('_', "-"),
    };
    format!("--{option}: {}", problem.message)
}

impl Args {
    fn spec(&self) -> Value {
        let mut mirror = Map::new();
        mirror.insert("from_client".into(), json!(!self.no_from_client));
        mirror.insert("from_target".into(), json!(self.from_target));
        mirror.insert("to_client".into(), json!(self.to_client));
        mirror.insert("required".into(), json!(self.required));
        put(&mut mirror, "buffer", self.buffer.map(|b| json!(b)));
        put(&mut mirror, "when_full", self.when_full.as_ref().map(|w| json!(w)));
        if self.spool_dir.is_some() {
            let mut spool = Map::new();
            put(&mut spool, "max_bytes", self.spool_max_bytes.map(|b| json!(b)));
            put(&mut spool, "max_age", self.spool_max_age.map(|t| json!(t)));
            mirror.insert("spool".into(), Value::Object(spool));
        }
        let mirrors: Vec<Value> = self
            .mirrors
            .iter()
            .map(|address| {
                let mut mirror = mirror.clone();
                mirror.insert("address".into(), json!(address));
                Value::Object(mirror)
            })
            .collect();
        let mut spec = Map::new();
        spec.insert("listen".into(), json!(self.listen));
        spec.insert("target".into(), json!(self.target));
        spec.insert("mirrors".into(), json!(mirrors));
        spec.insert("keepalive".into(), json!(!self.no_keepalive));
        put(&mut spec, "connect_timeout", self.connect_timeout.map(|t| json!(t)));
        put(&mut spec, "idle_timeout", self.idle_timeout.map(|t| json!(t)));
        put(&mut spec, "max_connections", self.max_connections.map(|n| json!(n)));
        put(&mut spec, "allow", (!self.allow.is_empty()).then(|| json!(self.allow)));
        Value::Object(spec)
    }
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value);
    }
}
