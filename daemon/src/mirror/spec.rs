//! The spec of a mirror, as forms, files and the API have it.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MirrorFlow;
use crate::flow::{Problem, Spec};
use crate::net::{Address, ListenAddress};
use crate::units::{Bytes, Seconds};

/// What the mirror's flow listens on, where it relays to, and who gets a copy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Mirror")]
pub struct MirrorSpec {
    /// Address and port on which clients connect. 0.0.0.0 means every IPv4 address of this machine, [::] every IPv6 and IPv4 address.
    #[schemars(title = "Listen on", extend("examples" = ["0.0.0.0:10001"]))]
    pub listen: ListenAddress,

    /// Protocol of the stream.
    #[serde(default)]
    #[schemars(title = "Protocol", extend("x-advanced" = true))]
    pub protocol: Protocol,

    /// Host and port of the real destination.
    #[schemars(title = "Target", extend("examples" = ["receiver.example:10001"]))]
    pub target: Address,

    /// Who gets a copy. A mirror that is down, slow or stuck never disturbs the stream between client and target.
    #[schemars(title = "Mirrors", length(min = 1, max = 16), extend("examples" = [[{"address": "127.0.0.1:10002"}]]))]
    pub mirrors: Vec<MirrorLeg>,

    /// How long connecting to the target or to a mirror may take, all its addresses together.
    #[serde(default = "default_connect_timeout")]
    #[schemars(title = "Connection timeout", extend("x-advanced" = true))]
    pub connect_timeout: Seconds,

    /// After how long without a byte in either direction a connection is closed. Without it, never.
    #[serde(default)]
    #[schemars(title = "Idle timeout", extend("x-advanced" = true, "examples" = [300]))]
    pub idle_timeout: Option<Seconds>,

    /// Whether silent connections are probed, so that a vanished peer is noticed after two minutes.
    #[serde(default = "yes")]
    #[schemars(title = "Keepalive", extend("x-advanced" = true, "examples" = [true]))]
    pub keepalive: bool,

    /// How many clients may be connected at the same time. One more is closed at once, and counted.
    #[serde(default = "default_max_connections")]
    #[schemars(title = "Most connections", range(min = 1, max = 1_000_000), extend("x-advanced" = true, "examples" = [10240]))]
    pub max_connections: u32,

    /// Networks or addresses that may connect. Empty means all.
    #[serde(default)]
    #[schemars(title = "Allowed clients", with = "Vec<String>", length(max = 1000), extend("x-advanced" = true, "examples" = [["192.168.1.0/24", "fd00::/8"]]))]
    pub allow: Vec<Network>,
}

/// The protocol of a mirrored stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
}

/// One mirror, and what it gets.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Mirror")]
#[expect(clippy::struct_excessive_bools, reason = "they are the switches of a form")]
pub struct MirrorLeg {
    /// Host and port that get the copy.
    #[schemars(title = "Address", extend("examples" = ["127.0.0.1:10002"]))]
    pub address: Address,

    /// Copy what the client sends.
    #[serde(default = "yes")]
    #[schemars(title = "Traffic from the client to the mirror", extend("examples" = [true]))]
    pub from_client: bool,

    /// Copy what the target answers.
    #[serde(default)]
    #[schemars(title = "Traffic from the target to the mirror", extend("examples" = [false]))]
    pub from_target: bool,

    /// Give the bytes that the mirror sends to the client, among those of the target.
    #[serde(default)]
    #[schemars(title = "Traffic from the mirror to the client", extend("examples" = [false]))]
    pub to_client: bool,

    /// Refuse the client when this mirror can't be reached.
    #[serde(default)]
    #[schemars(title = "Required", extend("x-advanced" = true, "examples" = [false]))]
    pub required: bool,

    /// Bytes held for a connection while the mirror is slow or not connected yet.
    #[serde(default = "default_buffer")]
    #[schemars(title = "Buffer", extend("x-advanced" = true))]
    pub buffer: Bytes,

    /// What happens when the buffer is full: close this mirror's copy (detach), or hold the stream between client and target until the mirror follows (block).
    #[serde(default)]
    #[schemars(title = "When the buffer is full", extend("x-advanced" = true))]
    pub when_full: WhenFull,
}

/// What happens when a mirror does not follow.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// Close the copy, count it, go on.
    #[default]
    Detach,
    /// Hold the main stream.
    Block,
}

/// A network in CIDR notation, or one address.
#[derive(Clone, Copy, Debug)]
pub struct Network(pub IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let one = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| one()).map(Self).map_err(|_| {
            serde::de::Error::custom(format_args!(
                "{text:?} is not a network: write an address such as 192.168.1.9 or a network such as 192.168.1.0/24"
            ))
        })
    }
}

fn yes() -> bool {
    true
}

fn default_connect_timeout() -> Seconds {
    Seconds::new(5)
}

fn default_max_connections() -> u32 {
    10_240
}

fn default_buffer() -> Bytes {
    Bytes(1 << 20)
}

impl Spec for MirrorSpec {
    const KIND: &'static str = "mirror";
    type Flow = MirrorFlow;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |pointer: String, message: &str| problems.push(Problem::new(pointer, message));
        if self.mirrors.is_empty() {
            wrong("/mirrors".into(), "at least one mirror is needed: add one with an address");
        }
        if self.mirrors.len() > 16 {
            wrong("/mirrors".into(), "at most 16 mirrors are possible");
        }
        if self.target.port() == 0 {
            wrong("/target".into(), "port 0 can't be dialled: a port is a number from 1 to 65535");
        }
        if self.loops_to(&self.target) {
            wrong("/target".into(), "the target is the address that this flow listens on: the stream would go round for ever");
        }
        if !(1..=1_000_000).contains(&self.max_connections) {
            wrong("/max_connections".into(), "between 1 and 1000000 connections are possible");
        }
        if self.connect_timeout.0.is_zero() {
            wrong("/connect_timeout".into(), "must be longer than 0: connecting takes time");
        }
        if self.idle_timeout.is_some_and(|t| !(1..=4 * 86_400).contains(&t.0.as_secs())) {
            wrong("/idle_timeout".into(), "must be between 1 s and 4 days, or left out for none");
        }
        for (i, leg) in self.mirrors.iter().enumerate() {
            let at = |field: &str| format!("/mirrors/{i}/{field}");
            if leg.address.port() == 0 {
                wrong(at("address"), "port 0 can't be dialled: a port is a number from 1 to 65535");
            }
            if self.loops_to(&leg.address) {
                wrong(at("address"), "the mirror is the address that this flow listens on: the stream would go round for ever");
            }
            if !(1024..=1 << 30).contains(&leg.buffer.0) {
                wrong(at("buffer"), "must be between 1 KiB and 1 GiB");
            }
            if !leg.from_client && !leg.from_target && !leg.to_client {
                wrong(at("from_client"), "nothing goes to or comes from this mirror: turn from_client, from_target or to_client on");
            }
        }
        problems
    }
}

impl MirrorSpec {
    /// Whether `address` is surely the one that is listened on.
    fn loops_to(&self, address: &Address) -> bool {
        let listen = self.listen.0;
        let Some(to) = address.literal() else { return address.host() == "localhost" && self.loops_to_loopback(address.port()) };
        let same_ip = to.ip() == listen.ip() || (listen.ip().is_unspecified() && to.ip().to_canonical().is_loopback()) || to.ip().is_unspecified();
        to.port() == listen.port() && to.port() != 0 && same_ip
    }

    fn loops_to_loopback(&self, port: u16) -> bool {
        port == self.listen.0.port() && (self.listen.0.ip().is_loopback() || self.listen.0.ip().is_unspecified())
    }

    /// Whether a client at `ip` may connect.
    pub(super) fn allows(&self, ip: std::net::IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|Network(net)| net.contains(&ip))
    }
}
