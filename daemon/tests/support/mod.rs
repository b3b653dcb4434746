//! What the tests are made of: a daemon, servers that behave and servers that don't, clients, and one way to wait.

mod client;
mod daemon;
mod dialogue;
mod http;
mod manager;
mod modbus;
mod multiplexer;
mod page;
mod ports;
mod process;
mod servers;
mod spec;
mod udp;
mod wait;

pub(crate) use client::{End, Talk, connect, exchange, is_turned_away, try_connect};
pub(crate) use daemon::Daemon;
pub(crate) use dialogue::Dialogue;
pub(crate) use http::{Reply, request};
pub(crate) use manager::ServiceManager;
pub(crate) use modbus::{Act, Device, Framing, Modbus, Seen, answer_to_read, frame, read_of, write_of};
pub(crate) use multiplexer::{Multiplexer, modbus, speaks};
pub(crate) use page::{Page, TAKEN};
pub(crate) use ports::{Narrow, Nobody, Stuck};
pub(crate) use process::{Process, domoflux, run};
pub(crate) use servers::{Gate, Server, Sink, answers_after_fin, echo, echo_one};
pub(crate) use spec::{Change, Lcg, mirror, pattern};
pub(crate) use udp::{Udp, UdpServer, numbered, own_address, udp_mirror};
pub(crate) use wait::{PATIENCE, SOON, until, until_within};
