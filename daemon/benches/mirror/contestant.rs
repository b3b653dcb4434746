//! Who is measured, and how each is started.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::proxy::{Proxy, domoflux, domoflux_binary, is_there};

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
        (!is_there(&program)).then(|| format!("{program} is not there"))
    }
}

/// Starts it between clients and `target`.
pub(crate) fn start(who: Contestant, target: SocketAddr, mirror: SocketAddr, spool: bool) -> Result<Proxy, String> {
    Proxy::start(|folder, front| command(who, folder, front, target, mirror, spool))
}

fn command(who: Contestant, folder: &Path, front: SocketAddr, target: SocketAddr, mirror: SocketAddr, spool: bool) -> Result<Command, String> {
    let config = folder.join("config");
    let text = match who {
        Direct => return Err("nothing runs for a direct connection".to_owned()),
        Domoflux => return domoflux(folder, &domoflux_config(front, target, mirror, spool)),
        Nginx => nginx_config(folder, front, target),
        Haproxy => haproxy_config(front, target),
        Socat => String::new(),
    };
    fs::write(&config, text).map_err(|e| e.to_string())?;
    let mut command = Command::new(who.name());
    match who {
        Nginx => command.arg("-e").arg(folder.join("log")).arg("-c").arg(&config),
        Haproxy => command.args(["-db", "-f"]).arg(&config),
        _ => command.args(["-b", SOCAT_BUFFER]).args(socat_ends(front, target)),
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
