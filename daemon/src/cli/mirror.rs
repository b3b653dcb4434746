//! `domoflux mirror`: one mirror in the foreground, without a daemon or a file.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::Failure;
use super::foreground::{Foreground, Running, put};
use crate::flow::Problem;
use crate::log::LogLevel;
use crate::net::{Address, ListenAddress};
use crate::units::{Bytes, Seconds};

/// Mirror a TCP stream, or UDP datagrams, in the foreground.
///
/// Clients connect to --listen; what they send goes to --target and, as a copy, to each --mirror. On a terminal a line
/// shows the counters. Ctrl-C drains: no new clients, those there are may finish; a second Ctrl-C cuts them.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command")]
pub(super) struct Args {
    /// Address and port to listen on, for example 0.0.0.0:10001 or [::]:10001.
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    listen: ListenAddress,
    /// Host and port of the real destination; given several times, they are tried in order.
    #[arg(short, long = "target", value_name = "HOST:PORT", required = true)]
    targets: Vec<Address>,
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
    /// Tell target and mirrors the client's address, in a header before its first byte.
    #[arg(long, value_name = "VERSION", value_parser = ["v1", "v2"])]
    proxy_protocol: Option<String>,
    /// Network or address of a proxy whose connections begin with such a header; may be given several times.
    #[arg(long, value_name = "NETWORK")]
    trusted_proxy: Vec<String>,
    /// Mirror UDP datagrams instead of a TCP stream.
    #[arg(long)]
    udp: bool,
    /// After how long without a datagram a UDP session ends [default: 60 s].
    #[arg(long, value_name = "DURATION", requires = "udp")]
    udp_session_timeout: Option<Seconds>,
    /// How many UDP sessions at the same time [default: 1024].
    #[arg(long, value_name = "N", requires = "udp")]
    udp_sessions: Option<u32>,
    /// Network or address that may connect; may be given several times [default: all].
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<String>,
    /// Do not probe silent connections.
    #[arg(long)]
    no_keepalive: bool,
    #[command(flatten)]
    running: Running,
    /// How much is logged.
    #[arg(long, value_enum, default_value = "info")]
    log_level: LogLevel,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let list = |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let flow = Foreground {
        kind: "mirror",
        spec: args.spec(),
        running: &args.running,
        spool_dir: args.spool_dir.clone(),
        log_level: args.log_level,
        hello: format!("target {}, mirrors {}", list(&args.targets), list(&args.mirrors)),
        option_of,
        stopped_by: &[],
        failing: 1,
    };
    flow.run()
}

/// The option that a problem of the spec is about.
fn option_of(problem: &Problem) -> String {
    let field = problem.pointer.trim_start_matches("/spec").rsplit('/').next().unwrap_or_default();
    match field {
        "" | "address" => "mirror".to_owned(),
        n if n.parse::<usize>().is_ok() && problem.pointer.contains("/target/") => "target".to_owned(),
        n if n.parse::<usize>().is_ok() && problem.pointer.contains("/trusted_proxies/") => "trusted-proxy".to_owned(),
        n if n.parse::<usize>().is_ok() => "allow".to_owned(),
        "from_client" => "no-from-client".to_owned(),
        field => field.replace('_', "-"),
    }
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
        let target = if let [only] = self.targets.as_slice() { json!(only) } else { json!(self.targets) };
        spec.insert("target".into(), target);
        spec.insert("mirrors".into(), json!(mirrors));
        spec.insert("keepalive".into(), json!(!self.no_keepalive));
        put(&mut spec, "connect_timeout", self.connect_timeout.map(|t| json!(t)));
        put(&mut spec, "idle_timeout", self.idle_timeout.map(|t| json!(t)));
        put(&mut spec, "max_connections", self.max_connections.map(|n| json!(n)));
        put(&mut spec, "proxy_protocol", self.proxy_protocol.as_ref().map(|v| json!(v)));
        put(&mut spec, "trusted_proxies", (!self.trusted_proxy.is_empty()).then(|| json!(self.trusted_proxy)));
        put(&mut spec, "protocol", self.udp.then(|| json!("udp")));
        put(&mut spec, "udp_session_timeout", self.udp_session_timeout.map(|t| json!(t)));
        put(&mut spec, "udp_sessions", self.udp_sessions.map(|n| json!(n)));
        put(&mut spec, "allow", (!self.allow.is_empty()).then(|| json!(self.allow)));
        Value::Object(spec)
    }
}
