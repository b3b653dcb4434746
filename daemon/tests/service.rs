//! The daemon as a service: what it tells the service manager, and how it stops.

use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn the_service_manager_hears_how_it_goes() {
    let (target, sink) = (echo(), Sink::start());
    let mut manager = ServiceManager::start();
    let mut daemon = Daemon::prepare()
        .config(&flow_file("panel", &target, &sink))
        .variable("NOTIFY_SOCKET", &manager.address())
        .variable("WATCHDOG_USEC", "1000000")
        .start();
    let (ready, text) = manager.hears("READY=1", 0);
    assert_eq!(text, format!("READY=1\nSTATUS=1 flow, 1 listening; API on {}", daemon.address));
    assert!(manager.heard()[..ready].iter().all(|text| text == "WATCHDOG=1"), "{:?}", manager.heard());
    let other = daemon.mirror("other", &mirror(target.address, &[sink.address()]));
    manager.hears(&format!("STATUS=2 flows, 2 listening; API on {}", daemon.address), ready);
    manager.hears_often("WATCHDOG=1", 4);

    let before = manager.heard().len();
    daemon.process.signal(rustix::process::Signal::HUP);
    let (reloading, text) = manager.hears("RELOADING=1", before);
    let usec: u64 = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap().parse().unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec.cast_unsigned() * 1_000_000;
    assert!(usec.abs_diff(now) < 20_000_000, "{usec} is not the clock's {now}");
    manager.hears("READY=1", reloading);

    let mut client = connect(other);
    assert_eq!(client.ask(b"here"), b"here");
    let before = manager.heard().len();
    daemon.process.signal(rustix::process::Signal::TERM);
    let (_, text) = manager.hears("STOPPING=1", before);
    let extend: u64 = text.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")).unwrap().parse().unwrap();
    assert!((10_000_000..15_000_000).contains(&extend), "{extend}");
    // It is fed while it drains.
    let fed = manager.heard().iter().filter(|text| *text == "WATCHDOG=1").count();
    manager.hears_often("WATCHDOG=1", fed + 2);
    assert!(daemon.process.has_exited().is_none());
    drop(client);
    assert!(daemon.process.exit().success());
}

#[test]
fn with_its_port_taken_it_is_ready_and_says_so() {
    let (target, sink) = (echo(), Sink::start());
    let mut manager = ServiceManager::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, flow_file("panel", &target, &sink)).unwrap();
    let mut command = domoflux(["daemon", "--listen", &target.address.to_string()]);
    command.arg("--state-dir").arg(dir.path()).arg("--config").arg(&file).env("NOTIFY_SOCKET", manager.address());
    let _daemon = Process::start(command);
    let (_, text) = manager.hears("READY=1", 0);
    let why = format!("STATUS=1 flow, 1 listening; the API cannot listen on {}: address already in use", target.address);
    assert!(text.contains(&why), "{text}");
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let mut manager = ServiceManager::start();
    let daemon = Daemon::prepare()
        .variable("NOTIFY_SOCKET", &manager.address())
        .variable("WATCHDOG_USEC", "100000")
        .variable("WATCHDOG_PID", "1")
        .start();
    // Each of these takes as long as several feedings would.
    for times in 1..=3 {
        daemon.process.signal(rustix::process::Signal::HUP);
        until("it has looked for a file", || {
            (daemon.process.stderr().matches("no file to read").count() == times).then_some(())
        });
    }
    let (ready, _) = manager.hears("READY=1", 0);
    manager.hears("RELOADING=1", ready);
    assert!(!manager.heard().iter().any(|text| text == "WATCHDOG=1"), "{:?}", manager.heard());
}

#[test]
fn a_stop_ends_in_time_even_if_a_client_stays_and_the_store_hangs() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut client = connect(at);
    assert_eq!(client.ask(b"counted"), b"counted");
    let other = rusqlite::Connection::open(daemon.file("domoflux.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    assert!(daemon.stop().success());
    let took = started.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(10)).contains(&took), "it took {took:?}");
    let said = daemon.process.stderr();
    assert!(
        said.contains("the counters are not saved: the store does not answer") && said.contains("stopped, 1 connections cut"),
        "{said}"
    );
    assert_eq!(client.receive_all().1, End::Reset);
    // What was accepted is there.
    drop(other);
    daemon.start_again();
    daemon.listening("panel");
}

fn flow_file(id: &str, target: &Server, sink: &Sink) -> String {
    format!(
        "[flow.{id}]\nkind = \"mirror\"\nlisten = \"127.0.0.1:0\"\ntarget = \"{}\"\nmirrors = [{{ address = \"{}\" }}]\n",
        target.address,
        sink.address()
    )
}
