//! `domoflux daemon --supervise`: the daemon is back when it dies or hangs.

use std::path::Path;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::*;

/// A supervisor and what it has started.
struct Supervised {
    dir: TempDir,
    process: Process,
}

impl Supervised {
    fn start(more: &[&str]) -> Self {
        Self::start_with("", more)
    }

    fn start_with(config: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = domoflux(["daemon", "--supervise", "--listen", "127.0.0.1:0", "--state-dir"]);
        command.arg(dir.path()).arg("--config").arg(&file).args(more);
        Self { process: Process::start(command), dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Waits for a daemon that is not this one; its process id.
    #[track_caller]
    fn daemon_after(&self, old: u32) -> u32 {
        let of_now = || {
            let text = std::fs::read_to_string(self.path("endpoint.json")).ok()?;
            let pid = serde_json::from_str::<Value>(&text).unwrap()["pid"].as_u64().unwrap() as u32;
            (pid != old).then_some(pid)
        };
        until("there is another daemon", of_now)
    }

    #[track_caller]
    fn daemon(&self) -> u32 {
        self.daemon_after(0)
    }

    fn listening(&self) -> std::net::SocketAddr {
        let mut command = domoflux(["flow", "show", "panel", "--state-dir"]);
        command.arg(self.dir.path());
        let (_, out, said) = run(command);
        let flow: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{said}"));
        flow["listening"][0].as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Supervised {
    /// Nothing is left behind by a test that has failed: a daemon that outlives its supervisor would hold the pipes.
    fn drop(&mut self) {
        if self.process.has_exited().is_none() {
            self.process.signal(Signal::KILL);
        }
        let text = std::fs::read_to_string(self.path("endpoint.json")).unwrap_or_default();
        let endpoint: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(pid) = endpoint["pid"].as_u64() else { return };
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.contains(self.dir.path().to_str().unwrap()) {
            let _ = kill_process(Pid::from_raw((pid as u32).cast_signed()).unwrap(), Signal::KILL);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// The fields of `/proc/<pid>/stat` after the name: state, parent, group, session.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn is_gone(pid: u32) -> Option<()> {
    stat(pid).is_none_or(|fields| fields[0] == "Z").then_some(())
}

/// How long a supervisor says that it waits, in milliseconds.
fn pauses(said: &str) -> Vec<u64> {
    let pause = |line: &str| line.split_once("it is started again in ")?.1.strip_suffix(" ms")?.parse().ok();
    said.lines().filter_map(pause).collect()
}

fn panel(target: &Server, sink: &Sink) -> String {
    format!(
        "[flow.panel]\nkind = \"mirror\"\nlisten = \"127.0.0.1:0\"\ntarget = \"{}\"\nmirrors = [{{ address = \"{}\" }}]\n",
        target.address,
        sink.address()
    )
}

#[test]
fn one_that_is_killed_is_back_at_once() {
    let (target, sink) = (echo(), Sink::start());
    let mut supervised = Supervised::start_with(&panel(&target, &sink), &[]);
    let first = supervised.daemon();
    let killed = Instant::now();
    signal(first, Signal::KILL);
    let second = supervised.daemon_after(first);
    assert!(killed.elapsed() < SOON, "it took {:?}", killed.elapsed());
    assert_eq!(exchange(supervised.listening(), b"back").0, b"back");
    supervised.process.says("the daemon was ended by signal 9; it is started again in 0 ms");
    // The second time at once, there is a pause.
    signal(second, Signal::KILL);
    let third = supervised.daemon_after(second);
    assert!((187..=250).contains(&pauses(&supervised.process.stderr())[1]), "{}", supervised.process.stderr());
    supervised.process.signal(Signal::TERM);
    assert!(supervised.process.exit().success());
    assert!(is_gone(third).is_some());
    assert!(supervised.process.stderr().contains("stopped, 0 connections cut"), "it was not stopped but killed");
}

#[test]
fn one_that_hangs_is_replaced() {
    let (target, sink) = (echo(), Sink::start());
    let mut supervised = Supervised::start_with(&panel(&target, &sink), &["--watchdog", "1s"]);
    let first = supervised.daemon();
    // While it answers, it is left alone for longer than that.
    let started = Instant::now();
    until("a while has passed", || (started.elapsed() > std::time::Duration::from_millis(2500)).then_some(()));
    assert_eq!(supervised.daemon(), first);
    signal(first, Signal::STOP);
    supervised.daemon_after(first);
    supervised.process.says("the daemon was silent for 1 s");
    assert_eq!(exchange(supervised.listening(), b"back").0, b"back");
    assert!(is_gone(first).is_some());
}

#[test]
fn it_ends_with_its_supervisor_even_if_it_hangs() {
    for hangs in [false, true] {
        let supervised = Supervised::start(&[]);
        let daemon = supervised.daemon();
        if hangs {
            signal(daemon, Signal::STOP);
        }
        supervised.process.signal(Signal::KILL);
        until("the daemon is gone", || is_gone(daemon));
    }
}

#[test]
fn each_has_a_session_of_its_own_and_signals_are_passed_on() {
    let (target, sink) = (echo(), Sink::start());
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("daemon.pid");
    let mut supervised = Supervised::start_with(&panel(&target, &sink), &["--pid-file", pid_file.to_str().unwrap()]);
    let (supervisor, daemon) = (supervised.process.pid(), supervised.daemon());
    for pid in [supervisor, daemon] {
        assert_eq!(stat(pid).unwrap()[3], pid.to_string(), "it has not left the session");
    }
    assert_eq!(stat(daemon).unwrap()[1], supervisor.to_string());
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), format!("{supervisor}\n"));
    supervised.process.signal(Signal::HUP);
    supervised.process.says("read again: 0 flows created, 0 changed, 0 removed, 1 as they were");
    assert_eq!(supervised.daemon(), daemon);
    supervised.process.signal(Signal::INT);
    assert!(supervised.process.exit().success());
    assert!(!pid_file.exists() && is_gone(daemon).is_some());
}

#[test]
fn a_pid_file_that_is_a_link_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (precious, link) = (dir.path().join("precious"), dir.path().join("link"));
    std::fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, &link).unwrap();
    let mut supervised = Supervised::start(&["--pid-file", link.to_str().unwrap()]);
    assert_eq!(supervised.process.exit().code(), Some(1));
    supervised
        .process
        .says("it is a symbolic link, which is not followed: remove it, or choose another --pid-file");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    assert!(link.is_symlink() && !supervised.path("endpoint.json").exists());
}

#[test]
fn what_another_start_cannot_help_is_not_repeated() {
    let mut supervised = Supervised::start_with("[flow.panel]\nkind = \"mirrr\"\n", &[]);
    assert_eq!(supervised.process.exit().code(), Some(78));
    let said = supervised.process.stderr();
    assert_eq!(said.matches("config.toml:2:8").count(), 1, "{said}");
    let (code, _, _) = run(domoflux(["daemon", "--supervise", "--watchdog", "1ms"]));
    assert_eq!(code, 64);
    assert_eq!(run(domoflux(["daemon", "--pid-file", "/tmp/x"])).0, 64);
}

#[test]
fn one_that_dies_again_and_again_is_waited_for_longer_and_longer() {
    let daemon = Daemon::start();
    let mut command = domoflux(["daemon", "--supervise", "--listen", "127.0.0.1:0", "--state-dir"]);
    command.arg(daemon.state_dir());
    let mut process = Process::start(command);
    let pauses = until("it has died four times", || {
        let said = process.stderr();
        let pauses = said
            .lines()
            .filter_map(|line| line.split_once("it is started again in ")?.1.strip_suffix(" ms")?.parse::<u64>().ok());
        Some(pauses.collect::<Vec<_>>()).filter(|pauses| pauses.len() >= 4)
    });
    assert!(pauses[0] == 0 && pauses[1] >= 187 && pauses[2] > pauses[1] && pauses[3] > pauses[2], "{pauses:?}");
    // Between two attempts, it ends without waiting for the next.
    process.signal(Signal::TERM);
    process.exit();
    drop(daemon);
}

#[test]
fn a_daemon_whose_supervisor_is_gone_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = domoflux(["daemon", "--supervised-by", "1", "--state-dir"]);
    command.arg(dir.path());
    let (code, _, said) = run(command);
    assert_eq!(code, 1);
    assert!(said.contains("the supervisor 1 is gone"), "{said}");
}

#[test]
fn one_that_stops_by_itself_is_not_started_again() {
    let mut supervised = Supervised::start(&[]);
    supervised.daemon();
    let mut command = domoflux(["call", "daemon.stop", "--state-dir"]);
    command.arg(supervised.dir.path());
    assert_eq!(run(command).0, 0);
    assert!(supervised.process.exit().success());
}

/// A web server's PHP, which starts it, has its sockets open in every process that it starts.
#[test]
fn what_its_starter_has_open_is_not_kept_open() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let supervised = Supervised::start(&[]);
    let pid = supervised.daemon();
    drop(listener);
    std::net::TcpListener::bind(at).unwrap();
    assert!(is_gone(pid).is_none(), "it runs");
}
