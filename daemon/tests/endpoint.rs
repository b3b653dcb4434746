//! endpoint.json: where it is, who may read it, and that a dead daemon's is not taken for a live one's.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::*;

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

fn status(runtime_dir: &Path) -> (i32, String, String) {
    let mut command = domoflux(["status"]);
    command
        .env("RUNTIME_DIRECTORY", runtime_dir)
        .env("STATE_DIRECTORY", "/nonexistent")
        .args(["--instance", "test-endpoint"]);
    run(command)
}

#[test]
fn it_is_in_the_runtime_directory_and_gone_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::prepare()
        .variable("RUNTIME_DIRECTORY", dir.path().to_str().unwrap())
        .flag("--token-for-group")
        .start();
    let file = dir.path().join("endpoint.json");
    assert!(!daemon.file("endpoint.json").exists());
    assert_eq!((mode(&file), mode(&daemon.file("token"))), (0o640, 0o640));
    let (code, out, said) = status(dir.path());
    assert_eq!(code, 0, "{said}");
    assert!(out.contains(&format!("pid {}", daemon.process.pid())), "{out}");
    assert!(daemon.stop().success());
    assert!(!file.exists());
    let (code, _, said) = status(dir.path());
    assert_eq!(code, 69);
    assert!(said.contains("no daemon runs") && said.contains(dir.path().to_str().unwrap()), "{said}");
}

#[test]
fn a_dead_daemons_file_is_told_from_a_live_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::prepare().variable("RUNTIME_DIRECTORY", dir.path().to_str().unwrap()).start();
    let file = dir.path().join("endpoint.json");
    let mut endpoint: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    // Another start has the process id and the port.
    endpoint["boot_id"] = "0123456789abcdef".into();
    std::fs::write(&file, endpoint.to_string()).unwrap();
    let (code, _, said) = status(dir.path());
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("another start of it"), "{said}");
    // It is not this start's, which leaves it alone.
    daemon.stop();
    assert!(file.exists());
    // Nobody has the process id, but somebody has the port, who must not get the token.
    let thief = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    thief.set_nonblocking(true).unwrap();
    endpoint["port"] = thief.local_addr().unwrap().port().into();
    std::fs::write(&file, endpoint.to_string()).unwrap();
    let (code, _, said) = status(dir.path());
    assert_eq!(code, 69);
    assert!(said.contains("there is no process") && said.contains("does not answer"), "{said}");
    assert!(thief.accept().is_err(), "it was called");
}

#[test]
fn a_stale_file_does_not_hide_a_daemon_that_runs() {
    let (stale, live) = (tempfile::tempdir().unwrap(), Daemon::start());
    let text = std::fs::read_to_string(live.file("endpoint.json")).unwrap();
    let mut endpoint: Value = serde_json::from_str(&text).unwrap();
    endpoint["boot_id"] = "0123456789abcdef".into();
    std::fs::write(stale.path().join("endpoint.json"), endpoint.to_string()).unwrap();
    let mut command = domoflux(["status", "--instance", "test-endpoint"]);
    command.env("RUNTIME_DIRECTORY", stale.path()).env("STATE_DIRECTORY", live.state_dir());
    let (code, out, said) = run(command);
    assert_eq!(code, 0, "{said}");
    assert!(out.contains(&format!("pid {}", live.process.pid())), "{out}");
}

#[test]
fn an_instance_is_no_path() {
    for name in ["../x", "..", ".hidden", "a/b", ""] {
        assert_eq!(run(domoflux(["daemon", "--instance", name])).0, 64, "{name:?}");
        assert_eq!(run(domoflux(["status", "--instance", name])).0, 64, "{name:?}");
    }
}
