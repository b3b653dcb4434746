//! Whatever happens to one flow, one caller or one pipe, the others must not notice.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::*;

/// Sends until nothing more is taken.
fn stuff(client: &mut TcpStream) {
    client.set_nonblocking(true).unwrap();
    let data = pattern(1 << 20, 3);
    until("nothing more goes in", || {
        matches!(client.write(&data), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock).then_some(())
    });
}

#[test]
fn a_flow_whose_peers_are_stuck_stops_no_other_flow() {
    let (target, sink, gate) = (echo(), Sink::start(), Gate::shut());
    let stuck = Sink::start_behind(gate);
    let daemon = Daemon::prepare().buffer_total("1 MiB").start();
    let other = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut panel = connect(other);
    assert_eq!(panel.ask(b"before"), b"before");
    // Bytes of main streams fill the budget, and can't be taken back.
    let busy = daemon.mirror("busy", &mirror(stuck.address(), &[sink.address()]));
    let mut clients: Vec<_> = (0..4).map(|_| connect(busy)).collect();
    clients.iter_mut().for_each(stuff);
    // Nor can those of mirrors that block.
    let blocked = mirror(target.address, &[stuck.address()])
        .with("/mirrors/0/when_full", "block")
        .with("/mirrors/0/buffer", "8 MiB");
    let blocking = daemon.mirror("blocking", &blocked);
    let mut client = connect(blocking);
    stuff(&mut client);
    assert_eq!(panel.ask(b"after"), b"after");
    assert_eq!(exchange(other, b"a new one").0, b"a new one");
    // More than is read at once, and no more than the sockets of a mirror hold whose reader waits for a processor.
    let large = pattern(60_000, 9);
    assert!(panel.ask(&large) == large);
    assert_eq!(daemon.counter("panel", "mirrorDetached"), 0, "the panel's mirror was blamed for the others");
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let (target, sink) = (echo(), Sink::start());
    let port = Nobody::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let flow = format!(
        "[flow.panel]\nkind = \"mirror\"\nlisten = \"{}\"\ntarget = \"{}\"\nmirrors = [{{ address = \"{}\" }}]\n",
        port.address,
        target.address,
        sink.address()
    );
    std::fs::write(&file, flow).unwrap();
    let args = ["daemon", "--listen", "127.0.0.1:0", "--log-level", "debug", "--state-dir"];
    let mut command = domoflux(args.map(std::ffi::OsString::from).into_iter().chain([dir.path().into(), "--config".into(), file.into()]));
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap(); // a pipe takes 64 KiB
    until("it listens", || try_connect(port.address).ok());
    for _ in 0..1200 {
        assert_eq!(exchange(port.address, b"on it goes").0, b"on it goes");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    until("it ends", || child.try_wait().unwrap());
}

#[test]
fn a_restart_that_meets_a_removal_leaves_nothing_behind() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    for _ in 0..40 {
        let at = daemon.mirror("panel", &spec);
        std::thread::scope(|scope| {
            for method in ["flow.restart", "flow.remove", "flow.restart"] {
                let daemon = &daemon;
                scope.spawn(move || daemon.call(method, json!({"id": "panel"})));
            }
        });
        assert_eq!(daemon.call("flow.list", json!({})).unwrap(), json!([]));
        assert!(try_connect(at).is_err(), "a flow that is removed still listens");
    }
}

#[test]
fn a_caller_that_hangs_up_leaves_nothing_half_done() {
    const FLOWS: usize = 20;
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let flows: Vec<_> = (0..FLOWS)
        .map(|i| json!({"id": format!("f{i}"), "kind": "mirror", "spec": mirror(target.address, &[sink.address()])}))
        .collect();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "flow.sync", "params": {"owner": "test", "flows": flows}}).to_string();
    let mut stream = connect(daemon.address);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        daemon.token,
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    // As soon as the first flow is there, the caller goes.
    until("the call is under way", || {
        (!daemon.call("flow.list", json!({})).unwrap().as_array().unwrap().is_empty()).then_some(())
    });
    drop(stream);
    until("all flows are there", || {
        (daemon.call("flow.list", json!({})).unwrap().as_array().unwrap().len() == FLOWS).then_some(())
    });
}

#[test]
fn a_name_that_does_not_resolve_holds_up_no_other_connection() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let named = format!("localhost:{}", sink.address().port());
    let spec = mirror(target.address, &[sink.address()])
        .with("/mirrors/0/address", named)
        .with("/target", format!("localhost:{}", target.address.port()));
    let at = daemon.mirror("panel", &spec);
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let failed = &failed;
            scope.spawn(move || {
                if exchange(at, b"by name").0 != b"by name" {
                    failed.store(true, Ordering::SeqCst);
                }
            });
        }
    });
    assert!(!failed.load(Ordering::SeqCst));
    assert!(sink.ended(20).iter().all(|copy| copy.bytes == b"by name"));
}

#[test]
fn an_empty_token_file_is_what_a_power_cut_leaves_and_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "").unwrap();
    let mut daemon = Process::start(domoflux(["daemon", "--listen", "127.0.0.1:0", "--state-dir", dir.path().to_str().unwrap()]));
    daemon.says("the API listens");
    assert_eq!(std::fs::read_to_string(dir.path().join("token")).unwrap().len(), 64);
}

#[test]
fn a_configuration_that_is_no_file_is_refused_at_once() {
    for path in ["/dev/zero", "/proc/self", "/nowhere/at/all"] {
        let (code, _, said) = run(domoflux(["check", path]));
        assert_eq!(code, 78, "{path}: {said}");
    }
    let (code, _, said) = run(domoflux(["daemon", "--buffer-total", "1000"]));
    assert!(code == 78 && said.contains("1 MiB"), "{code}: {said}");
}
