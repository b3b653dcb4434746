//! Who is measured, and how each is started.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Process;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// The client talks to the target itself; what the others are compared with.
    Direct,
    /// With a mirror attached that gets what the client sends.
    Domoflux,
    Nginx,
    Haproxy,
    Socat,
}

use Contestant::{Direct, Domoflux, Haproxy, Nginx, Socat};

impl Contestant {
    pub(crate) const ALL: [Self; 5] = [Direct, Domoflux, Nginx, Haproxy, Socat];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Direct => "direct",
            Domoflux => "domoflux",
            Nginx => "nginx",
            Haproxy => "haproxy",
            Socat => "socat",
        }
    }

    /// Why this one can't take part, if it can't.
    pub(crate) fn absent(self) -> Option<String> {
        let program = match self {
            Direct => return None,
            Domoflux => domoflux_binary(),
            other => other.name().to_owned(),
        };
        let there = Command::new("which").arg(&program).output().is_ok_and(|o| o.status.success());
        (!there).then(|| format!("{program} is not there"))
    }
}

/// The binary that cargo built for this benchmark, or another one named in the environment.
pub(crate) fn domoflux_binary() -> String {
    let built = option_env!("CARGO_BIN_EXE_domoflux").unwrap_or("domoflux");
    std::env::var("DOMOFLUX_BIN").unwrap_or_else(|_| built.to_owned())
}

/// A proxy that runs between `front` and a target.
pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) front: SocketAddr,
    /// Its configuration and its log; removed with it.
    folder: TempDir,
}

impl Proxy {
    /// Starts the proxy and waits until it accepts connections.
    pub(crate) fn start(who: Contestant, target: SocketAddr, mirror: Option<SocketAddr>, spool: bool) -> Result<Self, String> {
        let front = free_address();
        let folder = TempDir::with_prefix("mirror-bench-").map_err(|e| e.to_string())?;
        let mut command = command(who, folder.path(), front, target, mirror, spool)?;
        let log = File::create(folder.path().join("log")).map_err(|e| e.to_string())?;
        let process = Process::start(&mut command, log)?;
        let mut proxy = Self { process, front, folder };
        proxy.wait_until_ready().map_err(|e| format!("{e}{}", proxy.log()))?;
        Ok(proxy)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.front).is_err() {
            if self.process.has_ended() {
                return Err("ended instead of listening".to_owned());
            }
            if Instant::now() > deadline {
                return Err("does not listen after 10 s".to_owned());
            }
            thread::sleep(Duration::from_millis(10));
        }
        // What the probe's connection set off is over before anything is measured.
        thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    /// The last of what it said, below a message.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].iter().fold(String::new(), |all, line| all + "\n    " + line)
    }
}

/// A port nobody listens on, below the range that outgoing connections take theirs from, and never the same one twice:
/// the last sample's connections to it may still be in `TIME_WAIT`.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 12_000 + (std::process::id() % 100) as u16 * 100;
    loop {
        let port = start + NEXT.fetch_add(1, Relaxed) % 10_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn command(
    who: Contestant,
    folder: &Path,
    front: SocketAddr,
    target: SocketAddr,
    mirror: Option<SocketAddr>,
    spool: bool,
) -> Result<Command, String> {
    let config = folder.join("config");
    let text = match who {
        Domoflux => domoflux_config(front, target, mirror.ok_or("a mirror needs a mirror")?, spool),
        Nginx => nginx_config(folder, front, target),
        Haproxy => haproxy_config(front, target),
        Direct | Socat => String::new(),
    };
    fs::write(&config, text).map_err(|e| e.to_string())?;
    let mut command = Command::new(if who == Domoflux { domoflux_binary() } else { who.name().to_owned() });
    match who {
        Direct => return Err("nothing runs for a direct connection".to_owned()),
        Domoflux => command.args(["daemon", "--listen", "127.0.0.1:0", "--config"]).arg(&config).arg("--state-dir").arg(folder),
        Nginx => command.arg("-e").arg(folder.join("log")).arg("-c").arg(&config),
        Haproxy => command.args(["-db", "-f"]).arg(&config),
        Socat => command.args(["-b", SOCAT_BUFFER]).args(socat_ends(front, target)),
    };
    Ok(command)
}

fn domoflux_config(front: SocketAddr, target: SocketAddr, mirror: SocketAddr, spool: bool) -> String {
    // More than any sample sends, so that all of it is kept.
    let spool = if spool { "spool = { max_bytes = \"64 GiB\" }" } else { "" };
    format!(
        r#"[flow.bench]
kind = "mirror"
listen = "{front}"
target = "{target}"
[[flow.bench.mirrors]]
address = "{mirror}"
from_client = true
{spool}
"#
    )
}

/// A worker for each processor, and buffers with which it is fastest in bulk.
fn nginx_config(folder: &Path, front: SocketAddr, target: SocketAddr) -> String {
    format!(
        "load_module modules/ngx_stream_module.so;
daemon off;
worker_processes auto;
pid {folder}/pid;
events {{ worker_connections 10000; }}
stream {{
    server {{
        listen {front} backlog=4096;
        proxy_pass {target};
        proxy_buffer_size 64k;
    }}
}}
",
        folder = folder.display()
    )
}

/// Splicing with pipes as large as they may be: it then costs half the processor time of the default's 64 KiB.
fn haproxy_config(front: SocketAddr, target: SocketAddr) -> String {
    format!(
        "global
    maxconn 5000
    tune.pipesize 1048576
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option splice-auto
    option splice-request
    option splice-response
listen bench
    bind {front} backlog 4096
    server target {target}
"
    )
}

/// Bytes a copy; its default of 8 KiB would make it look slower than it can be.
const SOCAT_BUFFER: &str = "131072";

/// A process for each connection.
fn socat_ends(front: SocketAddr, target: SocketAddr) -> [String; 2] {
    let (address, port) = (front.ip(), front.port());
    [format!("TCP4-LISTEN:{port},bind={address},fork,reuseaddr,backlog=4096,nodelay"), format!("TCP4:{target},nodelay")]
}
