//! The spec of a mirror, as forms, files and the API have it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::{Address, Addresses, ListenAddress, Network};
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

    /// Host and port of the real destination; or a list, of which the first that answers is used.
    #[schemars(title = "Target", extend("examples" = ["receiver.example:10001"]))]
    pub target: Addresses,

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

    /// After how long without a datagram in either direction a UDP session ends.
    #[serde(default = "default_udp_session_timeout")]
    #[schemars(title = "UDP session timeout", extend("x-advanced" = true))]
    pub udp_session_timeout: Seconds,

    /// How many UDP sessions there may be, each a client's address and port. One more ends the one that was silent longest.
    #[serde(default = "default_udp_sessions")]
    #[schemars(title = "Most UDP sessions", range(min = 1, max = 65_536), extend("x-advanced" = true, "examples" = [1024]))]
    pub udp_sessions: u32,

    /// Header that tells target and mirrors the client's address before its first byte.
    #[serde(default)]
    #[schemars(title = "PROXY protocol", extend("x-advanced" = true))]
    pub proxy_protocol: ProxyProtocol,

    /// Proxies whose connections begin with a PROXY header: the client that it names counts, for who is allowed and for what is passed on.
    #[serde(default)]
    #[schemars(title = "Trusted proxies", with = "Vec<String>", length(max = 1000), extend("x-advanced" = true, "examples" = [["127.0.0.1"]]))]
    pub trusted_proxies: Vec<Network>,

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
    /// UDP
    Udp,
}

/// The header that tells target and mirrors the client's address (haproxy.org, `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// No header.
    #[default]
    None,
    /// A line of text.
    V1,
    /// Binary.
    V2,
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

    /// Keep connections on disk while this mirror is away, and play them back in order. Without it, a mirror misses what comes while it is away.
    #[serde(default)]
    #[schemars(title = "Spool", extend("x-advanced" = true, "examples" = [{"max_bytes": "256 MiB"}]))]
    pub spool: Option<SpoolSpec>,
}

/// How much is kept on disk for a mirror that is away.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Spool")]
pub struct SpoolSpec {
    /// Most bytes on disk. When they are reached, the oldest connections go.
    #[serde(default = "default_spool_bytes")]
    #[schemars(title = "Most bytes")]
    pub max_bytes: Bytes,

    /// How long a connection is kept.
    #[serde(default = "default_spool_age")]
    #[schemars(title = "Longest time")]
    pub max_age: Seconds,

    /// What happens to a connection whose end is missing because the daemon died: it is played back and ended with a reset, or dropped.
    #[serde(default)]
    #[schemars(title = "Incomplete connections")]
    pub partial: Partial,
}

/// What happens to a connection that was recorded in part.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Partial {
    /// Play it back, and end it with a reset.
    #[default]
    Replay,
    /// Drop it.
    Drop,
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

fn yes() -> bool {
    true
}

fn default_connect_timeout() -> Seconds {
    Seconds::new(5)
}

fn default_max_connections() -> u32 {
    10_240
}

fn default_udp_session_timeout() -> Seconds {
    Seconds::new(60)
}

fn default_udp_sessions() -> u32 {
    1024
}

fn default_spool_bytes() -> Bytes {
    Bytes(256 << 20)
}

fn default_spool_age() -> Seconds {
    Seconds::new(7 * 86_400)
}

fn default_buffer() -> Bytes {
    Bytes(1 << 20)
}
