//! The spec of a multiplexer, as forms, files and the API have it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::protocol::{self, PROTOCOLS, Protocol};
use super::ranges::Ranges;
use crate::net::{Addresses, ListenAddress, Network};
use crate::units::{Bytes, Seconds};

/// What clients connect to, which device their requests are sent to, and how that is shared.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Multiplexer", extend("examples" = [{"listen": "0.0.0.0:5020", "protocol": "modbus", "target": "192.168.1.22:502"}]))]
pub struct MultiplexerSpec {
    /// Address and port on which clients connect. 0.0.0.0 means every IPv4 address of this machine, [::] every IPv6 and IPv4 address.
    #[schemars(title = "Listen on", extend("examples" = ["0.0.0.0:5020"]))]
    pub listen: ListenAddress,

    /// What clients and device speak. It tells where requests and answers end, and what may be sent again.
    #[serde(default)]
    #[schemars(title = "Protocol")]
    pub protocol: ProtocolName,

    /// Host and port of the device; or a list, of which the first that answers is used. A device on a serial line has none.
    #[serde(default)]
    #[schemars(title = "Device", extend("examples" = ["192.168.1.22:502"]))]
    pub target: Option<Addresses>,

    /// The serial line of the device, for protocol modbus-rtu.
    #[serde(default)]
    #[schemars(title = "Serial line", extend("examples" = [{"device": "/dev/ttyUSB0", "baud_rate": 9600}]))]
    pub serial: Option<SerialSpec>,

    /// What the clients speak, if it is another Modbus protocol than the device's. Without it, the same; for a serial line, modbus.
    #[serde(default)]
    #[schemars(title = "Clients' protocol", extend("x-advanced" = true))]
    pub client_protocol: Option<ProtocolName>,

    /// How long a request may wait to be sent, and then for its answer. After that its client is told that the device is silent.
    #[serde(default = "default_timeout")]
    #[schemars(title = "Timeout", extend("examples" = [60]))]
    pub timeout: Seconds,

    /// Pause between connecting to the device and the first request. Some inverters need 1 or 2 s.
    #[serde(default = "none")]
    #[schemars(title = "Pause after connecting", extend("examples" = [0]))]
    pub delay: Seconds,

    /// How many connections to the device may be open at the same time.
    #[serde(default = "one")]
    #[schemars(title = "Connections to the device", range(min = 1, max = 64), extend("examples" = [1]))]
    pub max_connections: u32,

    /// How many requests may be on their way on one connection. More than 1 needs a device that takes them.
    #[serde(default = "one")]
    #[schemars(title = "Requests in flight", range(min = 1, max = 1024), extend("examples" = [1]))]
    pub in_flight: u32,

    /// Pause between two attempts to connect; it doubles up to 30 s.
    #[serde(default = "one_second")]
    #[schemars(title = "Pause between attempts", extend("x-advanced" = true))]
    pub reconnect_backoff: Seconds,

    /// How long connecting to the device may take, all its addresses together.
    #[serde(default = "default_connect_timeout")]
    #[schemars(title = "Connection timeout", extend("x-advanced" = true))]
    pub connect_timeout: Seconds,

    /// After how long without an answer the device is looked after: an idle connection by a read, where the protocol has one, a missing one by connecting. 0 means never.
    #[serde(default = "default_health_check")]
    #[schemars(title = "Health check interval", extend("x-advanced" = true))]
    pub health_check_interval: Seconds,

    /// The read by which an idle Modbus device is looked after. Without it, the read that was answered last.
    #[serde(default)]
    #[schemars(title = "Health check read", extend("x-advanced" = true, "examples" = [{"unit": 1, "address": 0}]))]
    pub probe: Option<ProbeSpec>,

    /// How many requests may wait for the device.
    #[serde(default = "default_queue_size")]
    #[schemars(title = "Queue size", range(min = 1, max = 65_536), extend("x-advanced" = true, "examples" = [32]))]
    pub queue_size: u32,

    /// What happens to a client whose request finds the queue full.
    #[serde(default)]
    #[schemars(title = "When the queue is full", extend("x-advanced" = true))]
    pub on_busy: OnBusy,

    /// Pause between an answer and the next request on a connection.
    #[serde(default = "none")]
    #[schemars(title = "Pause between requests", extend("x-advanced" = true, "examples" = [0]))]
    pub request_gap: Seconds,

    /// Pause between the end of a connection to the device and the next connection.
    #[serde(default = "none")]
    #[schemars(title = "Pause before connecting again", extend("x-advanced" = true, "examples" = [0]))]
    pub connect_delay: Seconds,

    /// After how long without a request the connection to the device is closed, so that others can use the device. Without it, never.
    #[serde(default)]
    #[schemars(title = "Close when idle", extend("x-advanced" = true, "examples" = [10]))]
    pub close_when_idle: Option<Seconds>,

    /// After how long without a request a client is closed. Without it, never.
    #[serde(default)]
    #[schemars(title = "Idle timeout of clients", extend("x-advanced" = true, "examples" = [600]))]
    pub idle_timeout: Option<Seconds>,

    /// How many clients may be connected at the same time. One more is closed at once, and counted.
    #[serde(default = "default_max_clients")]
    #[schemars(title = "Most clients", range(min = 1, max = 1_000_000), extend("x-advanced" = true, "examples" = [10240]))]
    pub max_clients: u32,

    /// Longest request or answer of a protocol that has no limit of its own, such as http.
    #[serde(default = "default_max_message")]
    #[schemars(title = "Longest message", extend("x-advanced" = true))]
    pub max_message: Bytes,

    /// Whether silent connections are probed, so that a vanished peer is noticed after two minutes.
    #[serde(default = "yes")]
    #[schemars(title = "Keepalive", extend("x-advanced" = true, "examples" = [true]))]
    pub keepalive: bool,

    /// Networks or addresses that may connect. Empty means all.
    #[serde(default)]
    #[schemars(title = "Allowed clients", with = "Vec<String>", length(max = 1000), extend("x-advanced" = true, "examples" = [["192.168.1.0/24", "fd00::/8"]]))]
    pub allow: Vec<Network>,

    /// How often a read that has got no answer is sent again. A write is sent once, whatever happens.
    #[serde(default = "one")]
    #[schemars(title = "Retries of reads", range(min = 0, max = 10), extend("x-advanced" = true, "examples" = [1]))]
    pub retry_reads: u32,

    /// Whether reads that are the same share one request to the device, as long as no write comes between (Modbus).
    #[serde(default = "yes")]
    #[schemars(title = "Share the same reads", extend("x-advanced" = true, "examples" = [true]))]
    pub coalesce: bool,

    /// How long answers to reads are kept and given to whoever asks for the same; the first rule that fits counts. A write forgets what is kept of its unit (Modbus).
    #[serde(default)]
    #[schemars(title = "Cache", length(max = 64), extend("x-advanced" = true, "examples" = [[{"ttl": 1}]]))]
    pub cache: Vec<CacheRule>,

    /// What happens to writes that `allow_writes` does not name (Modbus).
    #[serde(default)]
    #[schemars(title = "Read only")]
    pub read_only: ReadOnly,

    /// The writes that are allowed; with any, all others are not (Modbus).
    #[serde(default)]
    #[schemars(title = "Allowed writes", length(max = 64), extend("x-advanced" = true, "examples" = [[{"addresses": "40100-40120"}]]))]
    pub allow_writes: Vec<WriteRule>,

    /// Units that the device knows by another number (Modbus).
    #[serde(default)]
    #[schemars(title = "Unit numbers", length(max = 256), extend("x-advanced" = true, "examples" = [[{"from": 1, "to": 247}]]))]
    pub unit_map: Vec<UnitPair>,

    /// Units that are at another device, by the number that the device knows (Modbus).
    #[serde(default)]
    #[schemars(title = "Other devices", length(max = 64), extend("x-advanced" = true, "examples" = [[{"units": "2-4", "target": "192.168.1.23:502"}]]))]
    pub routes: Vec<Route>,

    /// How an answer is matched with its request (Modbus/TCP).
    #[serde(default)]
    #[schemars(title = "Match answers by", extend("x-advanced" = true))]
    pub r#match: Match,
}

/// A serial line.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Serial line")]
pub struct SerialSpec {
    /// Its device file. A name under /dev/serial/by-id stays the same when adapters are plugged in again.
    #[schemars(title = "Device file", extend("examples" = ["/dev/ttyUSB0"]))]
    pub device: String,

    /// Bits a second.
    #[serde(default = "default_baud_rate")]
    #[schemars(title = "Speed", range(min = 300, max = 4_000_000), extend("examples" = [9600]))]
    pub baud_rate: u32,

    /// Bits of a character.
    #[serde(default = "default_data_bits")]
    #[schemars(title = "Data bits", range(min = 7, max = 8), extend("examples" = [8]))]
    pub data_bits: u8,

    /// Parity bit.
    #[serde(default)]
    #[schemars(title = "Parity")]
    pub parity: Parity,

    /// Stop bits.
    #[serde(default = "default_stop_bits")]
    #[schemars(title = "Stop bits", range(min = 1, max = 2), extend("examples" = [1]))]
    pub stop_bits: u8,
}

/// The parity bit of a character.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    /// None
    #[default]
    None,
    /// Even
    Even,
    /// Odd
    Odd,
}

/// A read that shows whether a device answers.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Health check read")]
pub struct ProbeSpec {
    /// Unit, as the device knows it.
    #[serde(default = "default_unit")]
    #[schemars(title = "Unit", extend("examples" = [1]))]
    pub unit: u8,

    /// Function code: 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers.
    #[serde(default = "default_function")]
    #[schemars(title = "Function", range(min = 1, max = 4), extend("examples" = [3]))]
    pub function: u8,

    /// First address, from 0.
    #[schemars(title = "Address", extend("examples" = [0]))]
    pub address: u16,

    /// How many.
    #[serde(default = "one_u16")]
    #[schemars(title = "Count", range(min = 1, max = 125), extend("examples" = [1]))]
    pub count: u16,
}

/// How long answers are kept, and of which reads.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Cache rule")]
pub struct CacheRule {
    /// How long an answer is kept. 0 means not at all.
    #[schemars(title = "Time", extend("examples" = [1]))]
    pub ttl: Seconds,

    /// Units, by the number that the device knows. Without it, all.
    #[serde(default)]
    #[schemars(title = "Units", extend("examples" = ["1"]))]
    pub units: Option<Ranges>,

    /// Function codes from 1 to 4. Without it, all four.
    #[serde(default)]
    #[schemars(title = "Functions", extend("examples" = ["3-4"]))]
    pub functions: Option<Ranges>,

    /// Addresses, among which all that is read must be. Without it, all.
    #[serde(default)]
    #[schemars(title = "Addresses", extend("examples" = ["0-99"]))]
    pub addresses: Option<Ranges>,
}

/// Writes that are allowed.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Allowed write")]
pub struct WriteRule {
    /// Units, by the number that the device knows. Without it, all.
    #[serde(default)]
    #[schemars(title = "Units", extend("examples" = ["1"]))]
    pub units: Option<Ranges>,

    /// Function codes. Without it, all.
    #[serde(default)]
    #[schemars(title = "Functions", extend("examples" = ["6,16"]))]
    pub functions: Option<Ranges>,

    /// Addresses, among which all that is written must be. Without it, all; with it, only functions that have an address.
    #[serde(default)]
    #[schemars(title = "Addresses", extend("examples" = ["40100-40120"]))]
    pub addresses: Option<Ranges>,
}

/// A unit that has two numbers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Unit number")]
pub struct UnitPair {
    /// The number that clients use.
    #[schemars(title = "Clients' number", extend("examples" = [1]))]
    pub from: u8,

    /// The number that the device knows.
    #[schemars(title = "Device's number", extend("examples" = [247]))]
    pub to: u8,
}

/// Units at another device.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Other device")]
pub struct Route {
    /// The units.
    #[schemars(title = "Units", extend("examples" = ["2-4"]))]
    pub units: Ranges,

    /// Host and port of their device; or a list, of which the first that answers is used.
    #[schemars(title = "Device", extend("examples" = ["192.168.1.23:502"]))]
    pub target: Addresses,
}

/// What happens to a client whose request finds the queue full.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum OnBusy {
    /// The client waits
    #[default]
    Wait,
    /// The client is told that the device is busy
    Busy,
}

/// What happens to writes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ReadOnly {
    /// Writes are sent
    #[default]
    No,
    /// Writes are refused with exception 0x01
    Deny,
    /// Writes are confirmed, and not sent
    Ignore,
}

/// How an answer is matched with its request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// Transaction id
    #[default]
    Id,
    /// Order, for gateways that do not return the transaction id
    Order,
}

/// One of the protocols, by its name.
#[derive(Clone, Copy)]
pub struct ProtocolName(pub &'static dyn Protocol);

impl Default for ProtocolName {
    fn default() -> Self {
        Self(&protocol::Echo)
    }
}

impl fmt::Debug for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl PartialEq for ProtocolName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Serialize for ProtocolName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for ProtocolName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        protocol::find(&name).map(Self).ok_or_else(|| {
            let names: Vec<&str> = PROTOCOLS.iter().map(|protocol| protocol.name()).collect();
            serde::de::Error::custom(format_args!("{name:?} is no protocol; these are: {}", names.join(", ")))
        })
    }
}

impl JsonSchema for ProtocolName {
    fn schema_name() -> Cow<'static, str> {
        "ProtocolName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let each = PROTOCOLS
            .iter()
            .map(|p| json!({"type": "string", "const": p.name(), "description": format!("{} – {}", p.name(), p.about())}));
        json_schema!({"oneOf": each.collect::<Vec<_>>(), "examples": ["modbus"]})
    }
}

fn none() -> Seconds {
    Seconds::new(0)
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn one_u16() -> u16 {
    1
}

fn one_second() -> Seconds {
    Seconds::new(1)
}

fn default_timeout() -> Seconds {
    Seconds::new(60)
}

fn default_connect_timeout() -> Seconds {
    Seconds::new(5)
}

fn default_health_check() -> Seconds {
    Seconds::new(30)
}

fn default_queue_size() -> u32 {
    32
}

fn default_max_clients() -> u32 {
    10_240
}

fn default_max_message() -> Bytes {
    Bytes(1 << 20)
}

fn default_baud_rate() -> u32 {
    9600
}

fn default_data_bits() -> u8 {
    8
}

fn default_stop_bits() -> u8 {
    1
}

fn default_unit() -> u8 {
    1
}

fn default_function() -> u8 {
    3
}
