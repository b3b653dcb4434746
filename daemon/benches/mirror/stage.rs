//! One sample's set-up: a target, perhaps a mirror, the contestant between, and clients in front.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::contestant::{Contestant, Proxy};
use crate::role::Role;

/// A mirror may lag behind the target, but not for longer than this.
const LAG: Duration = Duration::from_secs(10);

pub(crate) struct Stage {
    /// Where clients connect to: the proxy, or the target itself.
    pub(crate) front: SocketAddr,
    /// Absent for a direct connection.
    pub(crate) proxy: Option<Proxy>,
    target: Role,
    mirror: Role,
}

/// Which servers a sample needs; the names are those of `server::serve`.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) target: &'static str,
    pub(crate) mirror: &'static str,
}

impl Ends {
    pub(crate) const BULK: Self = Self { target: "blocks", mirror: "bulk-mirror" };
    pub(crate) const ECHO: Self = Self { target: "echo", mirror: "mirror" };
}

impl Stage {
    pub(crate) fn set(who: Contestant, ends: Ends) -> Result<Self, String> {
        let (target, target_at) = Role::serve(ends.target)?;
        let (mirror, mirror_at) = Role::serve(ends.mirror)?;
        let proxy = match who {
            Contestant::Direct => None,
            _ => Some(Proxy::start(who, target_at, Some(mirror_at))?),
        };
        let front = proxy.as_ref().map_or(target_at, |p| p.front);
        Ok(Self { front, proxy, target, mirror })
    }

    /// Starts a client; its first answer and itself, as it holds its connections until it is dropped.
    pub(crate) fn client(&self, name: &str, numbers: &[usize]) -> Result<(Value, Role), String> {
        let mut args = vec![name.to_owned(), self.front.to_string()];
        args.extend(numbers.iter().map(ToString::to_string));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let role = Role::start(&args)?;
        let answer = role.line().map_err(|e| format!("{e}\n{}", self.proxy.as_ref().map_or(String::new(), Proxy::log)))?;
        Ok((answer, role))
    }

    /// Runs a client to its end; its answer.
    pub(crate) fn run(&self, name: &str, numbers: &[usize]) -> Result<Value, String> {
        self.client(name, numbers).map(|(answer, _)| answer)
    }

    /// The target has every byte that was sent, in order.
    pub(crate) fn check_target(&mut self, sent: u64) -> Result<(), String> {
        check(&mut self.target, "the target", sent)
    }

    /// So has the mirror.
    pub(crate) fn check_mirror(&mut self, sent: u64) -> Result<(), String> {
        check(&mut self.mirror, "the mirror", sent)
    }
}

fn check(server: &mut Role, name: &str, sent: u64) -> Result<(), String> {
    let deadline = Instant::now() + LAG;
    loop {
        let report = server.ask()?;
        if let Some(fault) = report["fault"].as_str() {
            return Err(format!("{name}: {fault}"));
        }
        let got = report["bytes"].as_u64().unwrap_or(0);
        let open = report["connections"].as_u64() != report["ended"].as_u64();
        if got == sent {
            return Ok(());
        }
        // Nothing more can come once all its connections are over.
        if got > sent || !open || Instant::now() > deadline {
            let state = if open { "" } else { " and the end of every connection" };
            return Err(format!("{name} got {got} bytes{state}, but {sent} were sent"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A number that a role answered.
pub(crate) fn number(answer: &Value, name: &str) -> f64 {
    answer[name].as_f64().unwrap_or(f64::NAN)
}
