//! Edits of a mirror that listens, and what outlives an edit and the daemon.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::*;

#[test]
fn twenty_edits_under_fire_refuse_nobody() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let at = daemon.mirror("panel", &spec);
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (done, served) = (&done, &served);
            scope.spawn(move || {
                let data = pattern(3000, seed);
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(exchange(at, &data), (data.clone(), End::Fin));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for edit in 1..=20 {
            let before = served.load(Ordering::Relaxed);
            assert_eq!(daemon.mirror("panel", &spec.clone().with("/idle_timeout", 100 + edit)), at);
            until("clients are served between two edits", || (served.load(Ordering::Relaxed) > before + 2).then_some(()));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(daemon.counter("panel", "clientConnections") as usize, served.load(Ordering::Relaxed));
    assert_eq!(daemon.counter("panel", "targetErrConnect"), 0);
    assert_eq!(daemon.status("panel")["isListening"], true);
}

#[test]
fn running_connections_finish_under_the_old_spec() {
    let (old_target, old_sink, new_target, new_sink) = (echo(), Sink::start(), Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(old_target.address, &[old_sink.address()]));
    let mut running = connect(at);
    assert_eq!(running.ask(b"before, "), b"before, ");
    assert_eq!(daemon.mirror("panel", &mirror(new_target.address(), &[new_sink.address()])), at);
    assert_eq!(running.ask(b"after"), b"after");
    let mut new = connect(at);
    new.send(b"new");
    new.finish();
    assert_eq!(new_target.one().bytes, b"new");
    assert_eq!(new_sink.one().bytes, b"new");
    running.finish();
    assert_eq!(running.receive_all(), (Vec::new(), End::Fin));
    assert_eq!(old_sink.one().bytes, b"before, after");
}

#[test]
fn an_edit_to_a_port_that_is_taken_leaves_the_old_spec_serving() {
    let (target, sink, taken) = (echo(), Sink::start(), echo());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let at = daemon.mirror("panel", &spec);
    let mut running = connect(at);
    assert_eq!(running.ask(b"one"), b"one");
    let error = daemon.apply("panel", &spec.clone().with("/listen", taken.address)).unwrap_err();
    assert_eq!((&error["data"]["kind"], &error["data"]["listed"]), (&json!("cannot_listen"), &json!(false)), "{error}");
    assert_eq!(error["data"]["field"], "/spec/listen");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("cannot listen on {}: address already in use", taken.address)), "{message}");
    let status = daemon.status("panel");
    assert_eq!((&status["spec"], &status["state"], &status["isListening"]), (&spec, &json!("serving"), &json!(true)));
    assert_eq!(running.ask(b"two"), b"two");
    assert_eq!(exchange(at, b"three"), (b"three".to_vec(), End::Fin));
}

#[test]
fn an_edit_to_a_new_port_closes_the_old_one_and_keeps_connections() {
    let (target, sink, new) = (echo(), Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let old = daemon.mirror("panel", &spec);
    let mut running = connect(old);
    assert_eq!(running.ask(b"one"), b"one");
    assert_eq!(daemon.mirror("panel", &spec.with("/listen", new.address)), new.address);
    assert_eq!(exchange(new.address, b"new"), (b"new".to_vec(), End::Fin));
    assert_eq!(try_connect(old).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(running.ask(b"two"), b"two");
}

#[test]
fn an_edit_from_one_address_to_all_of_them_and_back_works_on_the_same_port() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    let one = mirror(target.address, &[sink.address()]).with("/listen", port.address);
    let all: SocketAddr = ([0, 0, 0, 0], port.address.port()).into();
    daemon.mirror("panel", &one);
    let mut running = connect(port.address);
    assert_eq!(running.ask(b"one"), b"one");
    assert_eq!(daemon.mirror("panel", &one.clone().with("/listen", all)), all);
    let elsewhere: SocketAddr = ([127, 0, 0, 2], port.address.port()).into();
    assert_eq!(exchange(elsewhere, b"all"), (b"all".to_vec(), End::Fin));
    assert_eq!(running.ask(b"two"), b"two");
    assert_eq!(daemon.mirror("panel", &one), port.address);
    assert_eq!(exchange(port.address, b"one"), (b"one".to_vec(), End::Fin));
    assert_eq!(try_connect(elsewhere).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_port_of_another_flow_is_named() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let at = daemon.mirror("first", &spec);
    let error = daemon.apply("second", &spec.with("/listen", at)).unwrap_err();
    assert_eq!((&error["data"]["kind"], &error["data"]["listed"]), (&json!("cannot_listen"), &json!(true)), "{error}");
    assert!(error["message"].as_str().unwrap().contains("\"first\""), "{error}");
    assert_eq!(exchange(at, b"undisturbed"), (b"undisturbed".to_vec(), End::Fin));
}

#[test]
fn counters_survive_an_edit_and_a_restart_and_reset_clears_them() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]).with("/mirrors/0/from_target", true);
    let at = daemon.mirror("panel", &spec);
    for _ in 0..3 {
        assert_eq!(exchange(at, b"0123456789"), (b"0123456789".to_vec(), End::Fin));
    }
    sink.ended(3);
    daemon.counts("panel", "activeConnections", 0);
    let counted = daemon.counters("panel");
    for (name, value) in [
        ("clientConnections", 3),
        ("targetConnections", 3),
        ("mirrorConnections", 3),
        ("clientRxBytes", 30),
        ("targetTxBytes", 30),
        ("targetRxBytes", 30),
        ("clientTxBytes", 30),
        ("mirrorTxBytes", 60),
        ("mirrorRxBytes", 0),
        ("mirrorDroppedBytes", 0),
        ("mirrorDetached", 0),
        ("targetErrConnect", 0),
        ("mirrorErrConnect", 0),
        ("clientErrPkts", 0),
        ("targetErrPkts", 0),
        ("mirrorErrPkts", 0),
        ("clientRefused", 0),
    ] {
        assert_eq!(counted[name], value, "{name} in {counted}");
    }
    for name in ["clientRxPkts", "clientTxPkts", "targetRxPkts", "targetTxPkts", "mirrorTxPkts"] {
        assert!(counted[name].as_u64().unwrap() >= 3, "{name} in {counted}");
    }
    daemon.mirror("panel", &spec.with("/connect_timeout", 2));
    assert_eq!(daemon.counters("panel"), counted);
    assert!(daemon.stop().success());
    daemon.start_again();
    assert_eq!(daemon.counters("panel"), counted);
    let at = daemon.listening("panel");
    assert_eq!(exchange(at, b"more").0, b"more");
    daemon.counts("panel", "clientConnections", 4);
    daemon.counts("panel", "activeConnections", 0);
    daemon.call("flow.reset_counters", json!({"id": "panel"})).unwrap();
    assert_eq!(daemon.counter("panel", "clientConnections"), 0);
    assert_eq!(daemon.counter("panel", "clientRxBytes"), 0);
    assert!(daemon.stop().success());
    daemon.start_again();
    assert_eq!(daemon.counter("panel", "clientConnections"), 0);
}

#[test]
fn a_disabled_flow_does_not_listen_and_says_so() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let at = daemon.mirror("panel", &spec);
    assert_eq!(daemon.status("panel")["isListening"], true);
    let mut running = connect(at);
    assert_eq!(running.ask(b"one"), b"one");
    let disabled = daemon.call("flow.apply", json!({"id": "panel", "owner": "test", "kind": "mirror", "spec": spec, "enabled": false}));
    let status = disabled.unwrap()["status"].take();
    assert_eq!(
        (&status["isListening"], &status["listening"], &status["state"]),
        (&json!(false), &json!([]), &json!("disabled"))
    );
    assert_eq!(try_connect(at).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(running.receive_all().0, b"");
    let error = daemon.call("flow.restart", json!({"id": "panel"})).unwrap_err();
    assert_eq!(error["data"]["kind"], "flow_disabled");
    let at = daemon.mirror("panel", &spec);
    assert_eq!(exchange(at, b"again"), (b"again".to_vec(), End::Fin));
}

#[test]
fn removing_closes_the_listener_and_its_connections() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut running = connect(at);
    assert_eq!(running.ask(b"one"), b"one");
    assert_eq!(sink.got(0, 3), b"one");
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
    assert_eq!(running.receive_all().0, b"");
    assert_eq!(try_connect(at).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(sink.one().bytes, b"one");
    assert_eq!(daemon.call("flow.status", json!({"id": "panel"})).unwrap_err()["data"]["kind"], "unknown_flow");
    assert_eq!(daemon.call("flow.list", json!({})).unwrap(), json!([]));
}

#[test]
fn a_restart_cuts_connections_and_serves_again() {
    let (target, sink, port) = (echo(), Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/listen", port.address));
    let mut running = connect(port.address);
    assert_eq!(running.ask(b"one"), b"one");
    daemon.call("flow.restart", json!({"id": "panel"})).unwrap();
    assert_eq!(running.receive_all().0, b"");
    until("it listens again", || (daemon.status("panel")["isListening"] == true).then_some(()));
    assert_eq!(exchange(port.address, b"two"), (b"two".to_vec(), End::Fin));
}

#[test]
fn a_flow_whose_port_is_taken_waits_for_it_while_the_others_serve() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let good = daemon.mirror("good", &spec);
    let occupied = Server::start(echo_one);
    let error = daemon.apply("waits", &spec.with("/listen", occupied.address)).unwrap_err();
    assert_eq!((&error["data"]["kind"], &error["data"]["listed"]), (&json!("cannot_listen"), &json!(true)), "{error}");
    let status = daemon.status("waits");
    assert_eq!(
        (&status["state"], &status["isListening"], &status["fault"]),
        (&json!("backoff"), &json!(false), &json!("listen")),
        "{status}"
    );
    assert!(status["error"].as_str().unwrap().contains("address already in use"), "{status}");
    assert!(status["retry_in_ms"].as_u64().unwrap() <= 1000, "{status}");
    assert_eq!(exchange(good, b"good"), (b"good".to_vec(), End::Fin));
    let at = occupied.address;
    drop(occupied);
    until("it serves once the port is free", || (daemon.status("waits")["isListening"] == true).then_some(()));
    assert_eq!(exchange(at, b"at last"), (b"at last".to_vec(), End::Fin));
    assert_eq!(daemon.counter("waits", "clientConnections"), 1);
}

#[test]
fn a_stop_lets_running_connections_finish_and_cuts_those_that_do_not() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::prepare().arg("--drain-timeout", "1s").start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let (mut finishes, mut stays) = (connect(at), connect(at));
    assert_eq!(finishes.ask(b"one"), b"one");
    assert_eq!(stays.ask(b"one"), b"one");
    daemon.process.signal(rustix::process::Signal::TERM);
    daemon.process.says("stopping");
    until("the listener is closed", || try_connect(at).is_err().then_some(()));
    assert_eq!(finishes.ask(b"two"), b"two");
    finishes.finish();
    assert_eq!(finishes.receive_all(), (Vec::new(), End::Fin));
    assert!(daemon.process.exit().success());
    assert_eq!(stays.receive_all().0, b"");
    assert!(daemon.process.stderr().contains("stopped, 1 connections cut"));
    assert!(!daemon.file("endpoint.json").exists());
}
