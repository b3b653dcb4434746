//! `domoflux multiplex`: one multiplexer in the foreground, without a daemon or a file. Options that tcp-multiplexer has, too,
//! have its names, forms and defaults.

pub(super) mod values;

use serde_json::{Map, Value, json};

use super::foreground::{Foreground, Running, put};
use super::{Failure, duration};
use crate::flow::Problem;
use crate::log::LogLevel;
use crate::multiplexer::protocol::{ALIASES, PROTOCOLS};
use crate::net::{Address, ListenAddress};
use crate::units::{Bytes, Seconds};
use values::{ALLOWED_WRITE, Fields};

/// The kind of flow that it runs.
pub(super) const KIND: &str = "multiplexer";

/// Share one connection to a device among many clients, in the foreground.
///
/// Clients connect to --listen; their requests go to --targetServer over as few connections as it takes, and each client gets its own
/// answers. On a terminal a line shows the counters. Ctrl-C drains: requests under way are answered; a second Ctrl-C cuts them.
#[derive(clap::Args)]
#[command(after_help = "Durations are numbers of seconds, or text such as 500ms, 1s or 1m30s.")]
pub(super) struct Args {
    /// What clients and device speak; `domoflux protocols` says more [default: echo, or modbus-rtu with --serial].
    #[arg(short = 'p', long = "applicationProtocol", visible_alias = "protocol", value_name = "NAME", value_parser = protocols())]
    protocol: Option<String>,
    /// Host and port of the device; given several times, they are tried in order [default: 127.0.0.1:1234].
    #[arg(short = 't', long = "targetServer", visible_alias = "target", value_name = "HOST:PORT", value_parser = values::target)]
    targets: Vec<Address>,
    /// Port, or address and port, on which clients connect. A port alone means all addresses of this machine.
    #[arg(short, long, value_name = "PORT", default_value = "8000", value_parser = values::listen)]
    listen: ListenAddress,
    /// How long a request may wait to be sent, and then for its answer [default: 60 s].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    timeout: Option<Seconds>,
    /// Pause between connecting and the first request; some inverters need 1 or 2 s [default: 0].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    delay: Option<Seconds>,
    /// How many connections to the device may be open [default: 1].
    #[arg(long, value_name = "N")]
    max_connections: Option<u32>,
    /// Pause between two attempts to connect, doubled up to 30 s [default: 1 s].
    #[arg(long, visible_alias = "retryDelay", value_name = "DURATION", value_parser = duration::read)]
    reconnect_backoff: Option<Seconds>,
    /// How often a silent device is looked after; 0 means never [default: 30 s].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    health_check_interval: Option<Seconds>,
    /// How many requests may wait [default: 32].
    #[arg(long, value_name = "N")]
    queue_size: Option<u32>,
    /// Requests under way on a connection; more than 1 needs a device that takes them [default: 1].
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,
    /// How long connecting may take [default: 5 s].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    connect_timeout: Option<Seconds>,
    /// Pause between the end of a connection to the device and the next one [default: 0].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    connect_delay: Option<Seconds>,
    /// Pause between an answer and the next request [default: 0].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    request_gap: Option<Seconds>,
    /// After how long without a request the device is let go [default: never].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    close_when_idle: Option<Seconds>,
    /// After how long without a request a client is closed [default: never].
    #[arg(long, value_name = "DURATION", value_parser = duration::read)]
    idle_timeout: Option<Seconds>,
    /// How many clients at the same time [default: 10240].
    #[arg(long, value_name = "N")]
    max_clients: Option<u32>,
    /// Longest request or answer of a protocol without a limit of its own [default: 1 MiB].
    #[arg(long, value_name = "SIZE")]
    max_message: Option<Bytes>,
    /// A client whose request finds the queue full waits, or is told that the device is busy [default: wait].
    #[arg(long, value_name = "WHAT", value_parser = ["wait", "busy"])]
    on_busy: Option<String>,
    /// Network or address that may connect; may be given several times [default: all].
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<String>,
    /// Do not probe silent connections.
    #[arg(long)]
    no_keepalive: bool,
    #[command(flatten)]
    running: Running,
    /// Log what happens to the flow.
    #[arg(short, long)]
    verbose: bool,
    /// Log what happens to connections, too.
    #[arg(short, long)]
    debug: bool,
    /// How much is logged [default: warn].
    #[arg(long, value_enum, conflicts_with_all = ["verbose", "debug"])]
    log_level: Option<LogLevel>,
    #[command(flatten)]
    modbus: Modbus,
    #[command(flatten)]
    serial: Serial,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Modbus")]
struct Modbus {
    /// What clients speak, if it is another Modbus protocol than the device's.
    #[arg(long, value_name = "NAME", value_parser = protocols())]
    client_protocol: Option<String>,
    /// Refuse writes with exception 1, or confirm them without sending them [default without a value: deny].
    #[arg(long, value_name = "WHAT", value_parser = ["no", "deny", "ignore"], num_args = 0..=1, default_missing_value = "deny")]
    read_only: Option<String>,
    /// Writes that are allowed, all others are not: "units=1,functions=6,16,addresses=100-120"; may be given several times.
    #[arg(long, value_name = "WRITES", value_parser = |text: &str| values::fields(text, ALLOWED_WRITE, None))]
    allow_write: Vec<Fields>,
    /// A unit that the device knows by another number: 1=247; may be given several times.
    #[arg(long, value_name = "CLIENTS=DEVICES", value_parser = values::unit)]
    unit: Vec<Fields>,
    /// Units at another device: 2-4=192.168.1.23:502; may be given several times.
    #[arg(long, value_name = "UNITS=HOST:PORT", value_parser = values::route)]
    route: Vec<Fields>,
    /// Keep answers so long: 1s, or "ttl=1s,units=1,functions=3,addresses=0-99"; may be given several times.
    #[arg(long, value_name = "RULE", value_parser = values::cache)]
    cache: Vec<Fields>,
    /// Send a read of its own for each of those that are the same.
    #[arg(long)]
    no_coalesce: bool,
    /// How often a read without an answer is sent again [default: 1].
    #[arg(long, value_name = "N")]
    retry_reads: Option<u32>,
    /// Match answers by transaction id, or by their order for gateways that do not return it [default: id].
    #[arg(long = "match", value_name = "WHAT", value_parser = ["id", "order"])]
    matching: Option<String>,
    /// The read by which a silent device is looked after: unit=1,function=3,address=0,count=1.
    #[arg(long, value_name = "READ", value_parser = values::probe)]
    probe: Option<Fields>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Serial line")]
struct Serial {
    /// The device's serial line instead of --targetServer, for example /dev/ttyUSB0.
    #[arg(long = "serial", value_name = "DEVICE", conflicts_with = "targets")]
    device: Option<String>,
    /// Bits a second [default: 9600].
    #[arg(long, value_name = "N", requires = "device")]
    baud_rate: Option<u32>,
    /// Bits of a character, 7 or 8 [default: 8].
    #[arg(long, value_name = "N", requires = "device")]
    data_bits: Option<u8>,
    /// Parity [default: none].
    #[arg(long, value_name = "WHAT", value_parser = ["none", "even", "odd"], requires = "device")]
    parity: Option<String>,
    /// Stop bits, 1 or 2 [default: 1].
    #[arg(long, value_name = "N", requires = "device")]
    stop_bits: Option<u8>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let by_flags = level(args.verbose, args.debug);
    let to = args
        .serial
        .device
        .clone()
        .unwrap_or_else(|| args.targets().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let flow = Foreground {
        kind: KIND,
        spec: args.spec(),
        running: &args.running,
        spool_dir: None,
        log_level: args.log_level.unwrap_or(by_flags),
        hello: format!("protocol {}, device {to}", args.protocol()),
        option_of,
        stopped_by: &[],
        failing: 1,
    };
    flow.run()
}

/// How much tcp-multiplexer logs.
pub(super) fn level(verbose: bool, debug: bool) -> LogLevel {
    match (verbose, debug) {
        (_, true) => LogLevel::Debug,
        (true, false) => LogLevel::Info,
        (false, false) => LogLevel::Warn,
    }
}

/// The names of the protocols, from their table.
fn protocols() -> clap::builder::PossibleValuesParser {
    let names = PROTOCOLS.iter().map(|protocol| {
        let aliases = ALIASES.iter().filter(|(_, name)| *name == protocol.name()).map(|(alias, _)| *alias);
        clap::builder::PossibleValue::new(protocol.name()).help(protocol.about()).aliases(aliases)
    });
    names.collect::<Vec<_>>().into()
}

/// The option that a problem of the spec is about.
pub(super) fn option_of(problem: &Problem) -> String {
    let mut path = problem.pointer.trim_start_matches("/spec").split('/').filter(|part| !part.is_empty());
    let field = path.next().unwrap_or_default();
    let inner = path.find(|part| part.parse::<usize>().is_err());
    let option = match (field, inner) {
        ("protocol", _) => "applicationProtocol",
        ("target", _) => "targetServer",
        ("serial", Some("baud_rate")) => "baud-rate",
        ("serial", Some("data_bits")) => "data-bits",
        ("serial", Some("parity")) => "parity",
        ("serial", Some("stop_bits")) => "stop-bits",
        ("keepalive", _) => "no-keepalive",
        ("coalesce", _) => "no-coalesce",
        ("unit_map", _) => "unit",
        ("routes", _) => "route",
        ("allow_writes", _) => "allow-write",
        _ => return field.replace('_', "-") + &inner.map_or_else(String::new, |inner| format!(", {inner}")),
    };
    match inner {
        Some(inner) if field == "allow_writes" => format!("{option}, {inner}"),
        _ => option.to_owned(),
    }
}

impl Args {
    fn protocol(&self) -> &str {
        let usual = if self.serial.device.is_some() { "modbus-rtu" } else { "echo" };
        self.protocol.as_deref().unwrap_or(usual)
    }

    /// Whom to dial; nobody where the device is on a serial line, or should be.
    fn targets(&self) -> Vec<Address> {
        match self.targets.as_slice() {
            [] if self.protocol() != "modbus-rtu" => values::target("127.0.0.1:1234").into_iter().collect(),
            given => given.to_vec(),
        }
    }

    fn spec(&self) -> Value {
        let mut spec = Map::new();
        spec.insert("listen".into(), json!(self.listen));
        spec.insert("protocol".into(), json!(self.protocol()));
        let targets = self.targets();
        match targets.as_slice() {
            [] => {}
            [only] => drop(spec.insert("target".into(), json!(only))),
            several => drop(spec.insert("target".into(), json!(several))),
        }
        for (name, time) in [
            ("timeout", self.timeout),
            ("delay", self.delay),
            ("reconnect_backoff", self.reconnect_backoff),
            ("health_check_interval", self.health_check_interval),
            ("connect_timeout", self.connect_timeout),
            ("connect_delay", self.connect_delay),
            ("request_gap", self.request_gap),
            ("close_when_idle", self.close_when_idle),
            ("idle_timeout", self.idle_timeout),
        ] {
            put(&mut spec, name, time.map(|time| json!(time)));
        }
        for (name, number) in [
            ("max_connections", self.max_connections),
            ("in_flight", self.in_flight),
            ("queue_size", self.queue_size),
            ("max_clients", self.max_clients),
            ("retry_reads", self.modbus.retry_reads),
        ] {
            put(&mut spec, name, number.map(|number| json!(number)));
        }
        put(&mut spec, "max_message", self.max_message.map(|size| json!(size)));
        put(&mut spec, "on_busy", self.on_busy.as_ref().map(|what| json!(what)));
        put(&mut spec, "allow", (!self.allow.is_empty()).then(|| json!(self.allow)));
        spec.insert("keepalive".into(), json!(!self.no_keepalive));
        self.modbus.add_to(&mut spec);
        self.serial.add_to(&mut spec);
        Value::Object(spec)
    }
}

impl Modbus {
    fn add_to(&self, spec: &mut Map<String, Value>) {
        for (name, choice) in [("client_protocol", &self.client_protocol), ("read_only", &self.read_only), ("match", &self.matching)] {
            put(spec, name, choice.as_ref().map(|choice| json!(choice)));
        }
        for (name, rules) in [("allow_writes", &self.allow_write), ("unit_map", &self.unit), ("routes", &self.route), ("cache", &self.cache)] {
            let rules: Vec<&Map<String, Value>> = rules.iter().map(|rule| &rule.0).collect();
            put(spec, name, (!rules.is_empty()).then(|| json!(rules)));
        }
        put(spec, "coalesce", self.no_coalesce.then(|| json!(false)));
        put(spec, "probe", self.probe.as_ref().map(|read| json!(read.0)));
    }
}

impl Serial {
    fn add_to(&self, spec: &mut Map<String, Value>) {
        let Some(device) = &self.device else { return };
        let mut line = Map::new();
        line.insert("device".into(), json!(device));
        put(&mut line, "baud_rate", self.baud_rate.map(|n| json!(n)));
        put(&mut line, "data_bits", self.data_bits.map(|n| json!(n)));
        put(&mut line, "parity", self.parity.as_ref().map(|what| json!(what)));
        put(&mut line, "stop_bits", self.stop_bits.map(|n| json!(n)));
        spec.insert("serial".into(), Value::Object(line));
    }
}
