//! One sample's set-up: a target, perhaps a mirror, the contestant between, and clients in front.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::contestant::{self, Contestant};
use crate::place::Place;
use crate::proxy::Proxy;
use crate::role::Role;

/// A mirror may lag behind the target, but not for longer than this.
const LAG: Duration = Duration::from_secs(10);
/// Without a connection open, it gets no more after this.
const QUIET: Duration = Duration::from_secs(1);

pub(crate) struct Stage {
    /// Where clients connect to: the proxy, or the target itself.
    pub(crate) front: SocketAddr,
    /// Absent for a direct connection.
    pub(crate) proxy: Option<Proxy>,
    target: Role,
    mirror: Role,
    clients: Place,
}

/// Which servers a sample needs; the names are those of `server::serve`.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) target: &'static str,
    pub(crate) mirror: &'static str,
    /// Client and target on a processor each.
    pub(crate) apart: bool,
    /// The mirror has a spool.
    pub(crate) spool: bool,
}

impl Ends {
    pub(crate) const BULK: Self = Self { target: "blocks", mirror: "bulk-mirror", apart: false, spool: false };
    pub(crate) const ECHO: Self = Self { target: "echo", mirror: "mirror", apart: false, spool: false };
    pub(crate) const LATENCY: Self = Self { apart: true, ..Self::ECHO };
    /// With a mirror in trouble, or `None`: a healthy one.
    pub(crate) fn with(self, trouble: Option<&'static str>) -> Self {
        Self { mirror: trouble.unwrap_or(self.mirror), ..self }
    }

    pub(crate) fn spooled(self, spool: bool) -> Self {
        Self { spool, ..self }
    }

    /// Whether the mirror has to have everything.
    pub(crate) fn mirror_is_healthy(self) -> bool {
        [Self::BULK, Self::ECHO].iter().any(|ends| ends.mirror == self.mirror)
    }

    pub(crate) const FLOOD: Self = Self { target: "count", mirror: "stuck", apart: false, spool: false };
}

impl Stage {
    pub(crate) fn set(who: Contestant, ends: Ends) -> Result<Self, String> {
        let (clients, servers) = if ends.apart { (Place::First, Place::Second) } else { (Place::Anywhere, Place::Anywhere) };
        let (target, target_at) = Role::serve(ends.target, servers)?;
        let (mirror, mirror_at) = Role::serve(ends.mirror, Place::Anywhere)?;
        let proxy = match who {
            Contestant::Direct => None,
            _ => Some(contestant::start(who, target_at, mirror_at, ends.spool)?),
        };
        let front = proxy.as_ref().map_or(target_at, |p| p.front);
        Ok(Self { front, proxy, target, mirror, clients })
    }

    /// Starts a client; its first answer and itself, as it holds its connections until it is dropped.
    pub(crate) fn client(&mut self, name: &str, numbers: &[usize]) -> Result<(Value, Role), String> {
        let mut args = vec![name.to_owned(), self.front.to_string()];
        args.extend(numbers.iter().map(ToString::to_string));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let role = Role::start(&args, self.clients)?;
        match role.line() {
            Ok(answer) => Ok((answer, role)),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Runs a client to its end; its answer.
    pub(crate) fn run(&mut self, name: &str, numbers: &[usize]) -> Result<Value, String> {
        self.client(name, numbers).map(|(answer, _)| answer)
    }

    /// What the client saw, with what the target and the proxy have to say about it.
    fn explain(&mut self, error: String) -> String {
        let report = self.target.ask().unwrap_or_default();
        let fault = report["fault"].as_str().map_or(String::new(), |fault| format!("; the target: {fault}"));
        error + &fault + &self.proxy.as_ref().map_or(String::new(), Proxy::log)
    }

    /// The target has every byte that was sent, in order.
    pub(crate) fn check_target(&mut self, sent: u64) -> Result<(), String> {
        same(sent, &arrived(&mut self.target, "the target", sent)?, "the target")
    }

    /// So has the mirror.
    pub(crate) fn check_mirror(&mut self, sent: u64) -> Result<(), String> {
        same(sent, &arrived(&mut self.mirror, "the mirror", sent)?, "the mirror")
    }

    /// How many bytes the mirror has, all of them right, once it has `sent` or can't get more.
    pub(crate) fn arrived_at_mirror(&mut self, sent: u64) -> Result<u64, String> {
        Ok(bytes(&arrived(&mut self.mirror, "the mirror", sent)?))
    }
}

fn same(sent: u64, report: &Value, name: &str) -> Result<(), String> {
    let got = bytes(report);
    if got == sent {
        return Ok(());
    }
    let broken = report["broken"].as_str().map_or(String::new(), |error| format!("; a connection broke: {error}"));
    Err(format!("{name} got {got} bytes, but {sent} were sent{broken}"))
}

/// The server's report once it has `sent` bytes or gets no more; an error if one of them is wrong.
fn arrived(server: &mut Role, name: &str, sent: u64) -> Result<Value, String> {
    let deadline = Instant::now() + LAG;
    let mut last = Value::Null;
    let mut changed = Instant::now();
    loop {
        let report = server.ask()?;
        if let Some(fault) = report["fault"].as_str() {
            return Err(format!("{name}: {fault}"));
        }
        if report != last {
            changed = Instant::now();
        }
        // A connection that is still to come does not show in the count of those that ended.
        let over = report["connections"] == report["ended"] && changed.elapsed() > QUIET;
        if bytes(&report) >= sent || over || Instant::now() > deadline {
            return Ok(report);
        }
        last = report;
        thread::sleep(Duration::from_millis(20));
    }
}

fn bytes(report: &Value) -> u64 {
    report["bytes"].as_u64().unwrap_or(0)
}

/// A number that a role answered.
pub(crate) fn number(answer: &Value, name: &str) -> f64 {
    answer[name].as_f64().unwrap_or(f64::NAN)
}
