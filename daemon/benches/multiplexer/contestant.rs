//! Who is measured, and how each is started.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::proxy::{self, Proxy, domoflux_binary, is_there};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The clients talk to the device itself; what the others are compared with.
    Direct,
    Domoflux(Flow),
    ModbusProxy,
    ModbusProxyRs,
    TcpMultiplexer,
    Mbproxy,
}

/// How domoflux is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) in_flight: usize,
    pub(crate) max_connections: usize,
    pub(crate) coalesce: bool,
    pub(crate) cache: bool,
}

impl Flow {
    /// One request at a time, as a device may need it, and otherwise the defaults.
    pub(crate) const SERIAL: Self = Self { in_flight: 1, max_connections: 1, coalesce: true, cache: false };
    const PIPELINED: Self = Self { in_flight: 64, ..Self::SERIAL };
    const CACHED: Self = Self { cache: true, ..Self::PIPELINED };

    fn config(self, front: SocketAddr, target: SocketAddr) -> String {
        let Self { in_flight, max_connections, coalesce, cache } = self;
        let mut text = format!(
            r#"[flow.bench]
kind = "multiplexer"
listen = "{front}"
target = "{target}"
protocol = "modbus"
in_flight = {in_flight}
max_connections = {max_connections}
coalesce = {coalesce}
health_check_interval = 0
"#
        );
        if cache {
            let _ = writeln!(text, "cache = [{{ ttl = \"10s\" }}]");
        }
        text
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
}

/// Names of a contestant's column.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const PIPELINED: &str = "pipelined";
pub(crate) const SERIAL: &str = "serial";
pub(crate) const CACHED: &str = "cached";

/// In each speed round, in this order.
pub(crate) const ALL: [Contestant; 8] = [
    Contestant { name: DIRECT, program: Program::Direct },
    Contestant { name: PIPELINED, program: Program::Domoflux(Flow::PIPELINED) },
    Contestant { name: SERIAL, program: Program::Domoflux(Flow::SERIAL) },
    Contestant { name: CACHED, program: Program::Domoflux(Flow::CACHED) },
    Contestant { name: "modbus-proxy", program: Program::ModbusProxy },
    Contestant { name: "modbus-proxy-rs", program: Program::ModbusProxyRs },
    Contestant { name: "tcp-multiplexer", program: Program::TcpMultiplexer },
    Contestant { name: "mbproxy", program: Program::Mbproxy },
];

impl Contestant {
    pub(crate) fn is_domoflux(self) -> bool {
        matches!(self.program, Program::Domoflux(_))
    }

    /// Neither domoflux nor direct.
    pub(crate) fn is_peer(self) -> bool {
        !self.is_domoflux() && self.program != Program::Direct
    }

    fn binary(self) -> Option<String> {
        match self.program {
            Program::Direct => None,
            Program::Domoflux(_) => Some(domoflux_binary()),
            Program::TcpMultiplexer => Some(std::env::var("TCP_MULTIPLEXER_BIN").unwrap_or_else(|_| self.name.to_owned())),
            _ => Some(self.name.to_owned()),
        }
    }

    /// Why this one can't take part, if it can't.
    pub(crate) fn absent(self) -> Option<String> {
        let program = self.binary()?;
        (!is_there(&program)).then(|| format!("{program} is not there"))
    }

    /// Starts it between clients and `target`.
    pub(crate) fn start(self, target: SocketAddr) -> Result<Option<Proxy>, String> {
        let Some(binary) = self.binary() else { return Ok(None) };
        Proxy::start(|folder, front| self.command(&binary, folder, front, target)).map(Some)
    }

    fn command(self, binary: &str, folder: &Path, front: SocketAddr, target: SocketAddr) -> Result<Command, String> {
        let mut command = Command::new(binary);
        match self.program {
            Program::Direct => {}
            Program::Domoflux(flow) => return proxy::domoflux(folder, &flow.config(front, target)),
            Program::ModbusProxy => {
                command.args(["--bind", &front.to_string(), "--modbus", &format!("tcp://{target}")]);
            }
            Program::ModbusProxyRs => {
                let path = folder.join("config.yml");
                let text = format!("devices:\n- modbus:\n    url: {target}\n  listen:\n    bind: {front}\n");
                fs::write(&path, text).map_err(|e| e.to_string())?;
                command.arg("-c").arg(path);
            }
            Program::TcpMultiplexer => {
                let port = front.port().to_string();
                command.args(["server", "-p", "modbus", "-l", &port, "-t", &target.to_string()]);
            }
            Program::Mbproxy => {
                // Without its cache: what it passes on is compared.
                let settings = [("LISTEN", front.to_string()), ("UPSTREAM", target.to_string()), ("CACHE_TTL", "0s".to_owned())];
                command.envs(settings.map(|(name, value)| (format!("MODBUS_{name}"), value)));
            }
        }
        Ok(command)
    }
}
