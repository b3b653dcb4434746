//! A proxy that runs between clients and a target.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::Process;

/// The binary that cargo built for this benchmark, or another one named in the environment.
pub(crate) fn domoflux_binary() -> String {
    let built = option_env!("CARGO_BIN_EXE_domoflux").unwrap_or("domoflux");
    std::env::var("DOMOFLUX_BIN").unwrap_or_else(|_| built.to_owned())
}

/// The daemon with the flows of `config`, and all it keeps in `folder`.
pub(crate) fn domoflux(folder: &Path, config: &str) -> Result<Command, String> {
    let path = folder.join("config");
    fs::write(&path, config).map_err(|e| e.to_string())?;
    let mut command = Command::new(domoflux_binary());
    command.args(["daemon", "--listen", "127.0.0.1:0", "--config"]).arg(path).arg("--state-dir").arg(folder);
    Ok(command)
}

/// Whether there is such a program.
pub(crate) fn is_there(program: &str) -> bool {
    Command::new("which").arg(program).output().is_ok_and(|o| o.status.success())
}

/// A proxy that runs between `front` and a target.
pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) front: SocketAddr,
    /// Its configuration and its log; removed with it.
    folder: TempDir,
}

impl Proxy {
    /// Starts the command that `command` makes for a folder and an address to listen on, and waits until it accepts
    /// connections.
    pub(crate) fn start(command: impl FnOnce(&Path, SocketAddr) -> Result<Command, String>) -> Result<Self, String> {
        let front = free_address();
        let folder = TempDir::with_prefix("domoflux-bench-").map_err(|e| e.to_string())?;
        let mut command = command(folder.path(), front)?;
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
