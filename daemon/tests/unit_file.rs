//! The systemd unit: that systemd understands it, how much it may reach, and that its times fit those of the daemon.

use std::path::PathBuf;
use std::process::Command;

use crate::support::*;

fn unit() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../resources/domoflux@.service");
    std::fs::read_to_string(path).unwrap()
}

/// Where systemd-analyze is not, or is too old to look at files, there is nothing to ask.
fn systemd_analyze(args: &[&str]) -> Option<Command> {
    let mut command = Command::new("systemd-analyze");
    let help = Command::new("systemd-analyze").arg("--help").output().ok()?;
    let knows = String::from_utf8_lossy(&help.stdout).contains("--offline");
    command.args(args);
    knows.then_some(command)
}

#[test]
fn systemd_understands_it_and_it_may_reach_little() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("domoflux@.service");
    std::fs::write(&file, unit().replace("/usr/local/bin/domoflux", env!("CARGO_BIN_EXE_domoflux"))).unwrap();
    // The threshold is in tenths: 2.5.
    let Some(mut command) = systemd_analyze(&["security", "--offline=true", "--no-pager", "--threshold=25"]) else {
        eprintln!("NOT CHECKED: there is no systemd-analyze that can");
        return;
    };
    command.arg(&file);
    let (code, out, said) = run(command);
    assert_eq!(code, 0, "{out}{said}");
    let mut command = systemd_analyze(&["verify", "--man=no"]).unwrap();
    command.arg(dir.path().join("domoflux@test.service"));
    let (code, _, said) = run(command);
    assert!(code == 0 && !said.contains("domoflux@"), "{said}");
}

#[test]
fn its_times_fit_those_of_the_daemon() {
    let unit = unit();
    let value = |name: &str| {
        unit.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let all = domoflux::service::StopTimes::new(std::time::Duration::from_secs(5)).all;
    assert!(value("TimeoutStopSec").parse::<u64>().unwrap() > all.as_secs());
    assert_eq!((value("Type"), value("Restart"), value("StartLimitIntervalSec")), ("notify", "always", "0"));
    let pause = value("RestartSec").strip_suffix("ms").and_then(|ms| ms.parse::<u64>().ok()).unwrap();
    assert!(pause <= 300, "one that was killed has to be back within a second");
    assert_eq!(value("RestartPreventExitStatus"), "64 78");
    assert!(value("WatchdogSec").parse::<u64>().unwrap() >= 10, "a busy machine is no hung daemon");
}

#[test]
fn its_command_line_is_one() {
    let unit = unit();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/domoflux ")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut manager = ServiceManager::start();
    let mut command = domoflux(line.replace("%i", "unit-test").split(' '));
    command
        .env("STATE_DIRECTORY", dir.path())
        .env("RUNTIME_DIRECTORY", dir.path().join("run"))
        .env("NOTIFY_SOCKET", manager.address());
    let mut daemon = Process::start(command);
    manager.hears("READY=1", 0);
    assert!(dir.path().join("run/endpoint.json").exists() && dir.path().join("domoflux.db").exists());
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.exit().success());
}
