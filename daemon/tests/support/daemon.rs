//! A daemon of the test's own: `Daemon::start()`, or `Daemon::prepare().buffer_total("8 MiB").start()`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::clean;
use super::{PATIENCE, Process, Reply, domoflux, request, try_connect, until};

/// How a daemon is to be started.
pub(crate) struct Preparation {
    dir: TempDir,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    descriptors: Option<u32>,
    hosts: Option<PathBuf>,
}

impl Preparation {
    /// With this file in the place of /etc/hosts.
    pub(crate) fn hosts(mut self, file: &Path) -> Self {
        self.hosts = Some(file.to_owned());
        self
    }

    /// With flows from a TOML file.
    pub(crate) fn config(self, toml: &str) -> Self {
        let file = self.dir.path().join("config.toml");
        std::fs::write(&file, toml).unwrap();
        let file = file.to_str().unwrap().to_owned();
        self.arg("--config", &file)
    }

    pub(crate) fn buffer_total(self, size: &str) -> Self {
        self.arg("--buffer-total", size)
    }

    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub(crate) fn flag(mut self, name: &str) -> Self {
        self.args.push(name.to_owned());
        self
    }

    /// With this in its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With no more descriptors than these.
    pub(crate) fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    #[track_caller]
    pub(crate) fn start(self) -> Daemon {
        let process = self.spawn();
        let mut daemon = Daemon { preparation: self, process, address: ([0, 0, 0, 0], 0).into(), token: String::new() };
        daemon.find();
        daemon
    }

    fn spawn(&self) -> Process {
        let state = self.dir.path().to_str().unwrap();
        let args = ["daemon", "--listen", "127.0.0.1:0", "--state-dir", state]
            .into_iter()
            .chain(self.args.iter().map(String::as_str));
        let mut command = match (self.descriptors, &self.hosts) {
            (None, None) => domoflux(args),
            (None, Some(hosts)) => {
                let is_root = rustix::process::geteuid().is_root();
                let mut unshare = Command::new("unshare");
                unshare
                    .args([if is_root { "-m" } else { "-rm" }, "sh", "-c", "mount --bind \"$1\" /etc/hosts && shift && exec \"$0\" \"$@\""])
                    .arg(super::process::binary())
                    .arg(hosts)
                    .args(args);
                clean(unshare)
            }
            (Some(most), _) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]).arg(super::process::binary()).args(args);
                clean(shell)
            }
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Process::start(command)
    }
}

/// A running daemon. It is killed when the test ends.
pub(crate) struct Daemon {
    preparation: Preparation,
    pub(crate) process: Process,
    /// Where its API listens.
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Daemon {
    pub(crate) fn prepare() -> Preparation {
        Preparation { dir: tempfile::tempdir().unwrap(), args: Vec::new(), variables: Vec::new(), descriptors: None, hosts: None }
    }

    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::prepare().start()
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.preparation.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.state_dir().join(name)
    }

    /// Waits until its endpoint.json, and not that of an earlier one, tells where it is.
    #[track_caller]
    fn find(&mut self) {
        let runtime_dir = self.preparation.variables.iter().find(|(name, _)| name == "RUNTIME_DIRECTORY");
        let file = runtime_dir.map_or_else(|| self.file("endpoint.json"), |(_, dir)| Path::new(dir).join("endpoint.json"));
        let pid = self.process.pid();
        let endpoint: Value = until("the daemon writes endpoint.json", || {
            if let Some(status) = self.process.has_exited() {
                panic!("the daemon exits with {status}");
            }
            let endpoint: Value = serde_json::from_str(&std::fs::read_to_string(&file).ok()?).unwrap();
            (endpoint["pid"] == pid).then_some(endpoint)
        });
        let ip: std::net::IpAddr = endpoint["address"].as_str().unwrap().parse().unwrap();
        self.address = (ip, endpoint["port"].as_u64().unwrap() as u16).into();
        self.token = std::fs::read_to_string(endpoint["token_file"].as_str().unwrap()).unwrap();
    }

    /// Calls a method: its result, or the error object.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "json!(…) is what it is called with")]
    pub(crate) fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let reply = self.post(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string());
        assert_eq!(reply.status, 200, "{method}: {reply:?}");
        let mut answer = reply.json();
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Calls a method as somebody who reads French: its result, or the error object.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "json!(…) is what it is called with")]
    pub(crate) fn call_in_french(&self, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let request = self.request(&body).replacen("\r\n", "\r\nAccept-Language: fr-FR,fr;q=0.9,en;q=0.5\r\n", 1);
        let mut answer = self.raw(request.as_bytes()).json();
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Calls a method of a daemon that may be killed meanwhile: `None`, if there was no whole answer.
    pub(crate) fn try_call(&self, method: &str, params: &Value) -> Option<Result<Value, Value>> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut stream = try_connect(self.address).ok()?;
        stream.write_all(self.request(&body).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let mut answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        Some(if answer["error"].is_null() { Ok(answer["result"].take()) } else { Err(answer["error"].take()) })
    }

    /// Posts a body with the token.
    #[track_caller]
    pub(crate) fn post(&self, body: &str) -> Reply {
        self.raw(self.request(body).as_bytes())
    }

    fn request(&self, body: &str) -> String {
        format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )
    }

    /// Sends raw bytes to the API.
    #[track_caller]
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        request(self.address, bytes)
    }

    pub(crate) fn apply(&self, id: &str, spec: &Value) -> Result<Value, Value> {
        self.apply_kind("mirror", id, spec)
    }

    pub(crate) fn apply_kind(&self, kind: &str, id: &str, spec: &Value) -> Result<Value, Value> {
        self.call("flow.apply", json!({"id": id, "owner": "test", "kind": kind, "spec": spec}))
    }

    /// Creates or changes a mirror that has to be good; the address on which it listens.
    #[track_caller]
    pub(crate) fn mirror(&self, id: &str, spec: &Value) -> SocketAddr {
        self.flow("mirror", id, spec)
    }

    /// Creates or changes a flow that has to be good; the address on which it listens.
    #[track_caller]
    pub(crate) fn flow(&self, kind: &str, id: &str, spec: &Value) -> SocketAddr {
        let applied = self.apply_kind(kind, id, spec).unwrap_or_else(|error| panic!("flow.apply: {error}"));
        listening(&applied["status"])
    }

    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> Value {
        self.call("flow.status", json!({ "id": id })).unwrap()
    }

    /// Waits until a flow listens; where that is.
    #[track_caller]
    pub(crate) fn listening(&self, id: &str) -> SocketAddr {
        listening(&until(&format!("{id} listens"), || Some(self.status(id)).filter(|status| status["isListening"] == true)))
    }

    #[track_caller]
    pub(crate) fn counters(&self, id: &str) -> Value {
        self.call("flow.counters", json!({ "ids": [id] })).unwrap()[id].take()
    }

    #[track_caller]
    pub(crate) fn counter(&self, id: &str, name: &str) -> u64 {
        self.counters(id)[name].as_u64().unwrap_or_else(|| panic!("there is no counter {name}"))
    }

    /// Waits until a counter has a value.
    #[track_caller]
    pub(crate) fn counts(&self, id: &str, name: &str, value: u64) {
        let mut last = 0;
        let counted = || {
            last = self.counter(id, name);
            (last == value).then_some(())
        };
        super::wait::until_or(PATIENCE, counted).unwrap_or_else(|| panic!("{name} is {last}, not {value}: {}", self.counters(id)));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.exit();
    }

    /// SIGTERM, and its exit status.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.exit()
    }

    /// Starts it once more on the same state, after [`Self::kill`] or [`Self::stop`].
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.process = self.preparation.spawn();
        self.find();
    }

    /// Starts it once more without waiting for its API.
    pub(crate) fn start_again_without_waiting(&mut self) {
        self.process = self.preparation.spawn();
    }

    /// Waits for the API of a daemon that was started without waiting.
    #[track_caller]
    pub(crate) fn answers(&mut self) {
        self.find();
    }

    /// The command line, meant for this daemon: exit code, standard output, standard error.
    #[track_caller]
    pub(crate) fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let (first, rest) = args.split_first().unwrap();
        let mut command = domoflux([first]);
        command.arg("--state-dir").arg(self.state_dir()).args(rest);
        super::run(command)
    }

    /// Descriptors that are open in it.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap().count()
    }
}

#[track_caller]
fn listening(status: &Value) -> SocketAddr {
    status["listening"][0].as_str().unwrap_or_else(|| panic!("it does not listen: {status}")).parse().unwrap()
}
