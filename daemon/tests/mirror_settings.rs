//! Who may connect, how many, and for how long.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

#[test]
fn who_is_not_allowed_is_refused_and_counted() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let at = daemon.mirror("panel", &spec.clone().with("/allow", json!(["10.0.0.0/8", "fd00::/8"])));
    is_turned_away(at);
    daemon.counts("panel", "clientRefused", 1);
    assert_eq!((daemon.counter("panel", "clientConnections"), daemon.counter("panel", "targetConnections")), (0, 0));
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains("127.0.0.1") && error.contains("allow"), "{error}");
    for allowed in ["127.0.0.0/8", "127.0.0.1"] {
        let at = daemon.mirror("panel", &spec.clone().with("/allow", json!(["10.0.0.0/8", allowed])));
        assert_eq!(exchange(at, b"in"), (b"in".to_vec(), End::Fin), "{allowed}");
    }
    assert_eq!(daemon.counter("panel", "clientRefused"), 1);
}

#[test]
fn one_more_than_max_connections_is_closed_and_a_freed_place_is_used_again() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/max_connections", 3));
    let mut clients: Vec<_> = (0..3).map(|_| connect(at)).collect();
    for client in &mut clients {
        assert_eq!(client.ask(b"in"), b"in");
    }
    is_turned_away(at);
    daemon.counts("panel", "clientRefused", 1);
    assert_eq!(daemon.counter("panel", "clientConnections"), 3);
    for client in &mut clients {
        assert_eq!(client.ask(b"still in"), b"still in");
    }
    let leaves = clients.remove(0);
    leaves.finish();
    drop(leaves);
    daemon.counts("panel", "activeConnections", 2);
    let mut comes = connect(at);
    assert_eq!(comes.ask(b"in as well"), b"in as well");
    is_turned_away(at);
    daemon.counts("panel", "clientRefused", 2);
}

#[test]
fn a_connection_that_waits_for_a_swallowed_target_has_a_place_too() {
    let (target, sink) = (Narrow::filled(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]).with("/max_connections", 2).with("/connect_timeout", 60);
    let at = daemon.mirror("panel", &spec);
    let waiting = [connect(at), connect(at)];
    daemon.counts("panel", "activeConnections", 2);
    is_turned_away(at);
    daemon.counts("panel", "clientRefused", 1);
    // And it can be cut there.
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
    for mut stream in waiting {
        assert_eq!(stream.receive_all().0, b"");
    }
}

#[test]
fn a_silent_connection_is_closed_after_the_idle_timeout_and_one_that_talks_is_not() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/idle_timeout", 1));
    let (mut silent, mut talks) = (connect(at), connect(at));
    assert_eq!(silent.ask(b"one"), b"one");
    assert_eq!(talks.ask(b"one"), b"one");
    let started = Instant::now();
    silent.hurry(Duration::from_millis(50));
    let mut closed = None;
    until("the silent connection is closed and the other has outlived it", || {
        assert_eq!(talks.ask(b"more"), b"more");
        let mut byte = [0];
        match std::io::Read::read(&mut silent, &mut byte) {
            Ok(0) => closed = closed.or(Some(started.elapsed())),
            Ok(_) => panic!("a byte from nowhere"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        closed.filter(|_| started.elapsed() > Duration::from_millis(2500))
    });
    let closed = closed.unwrap();
    assert!((Duration::from_millis(900)..SOON).contains(&closed), "closed after {closed:?}");
    assert_eq!(sink.wait("the end of its copy", |list| list.iter().find(|r| r.end.is_some()).cloned()).bytes, b"one");
    assert_eq!(daemon.counter("panel", "activeConnections"), 1);
}

#[test]
fn two_hundred_flows_serve_each_its_own() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]);
    let flows: Vec<_> = (0..200).map(|i| json!({"id": format!("flow-{i}"), "kind": "mirror", "spec": spec})).collect();
    let synced = daemon.call("flow.sync", json!({"owner": "test", "flows": flows})).unwrap();
    assert_eq!(synced["created"].as_array().unwrap().len(), 200, "{synced}");
    let list = daemon.call("flow.list", json!({"owner": "test"})).unwrap();
    for flow in list.as_array().unwrap() {
        let at = flow["listening"][0].as_str().unwrap().parse().unwrap();
        let id = flow["id"].as_str().unwrap().as_bytes();
        assert_eq!(exchange(at, id), (id.to_vec(), End::Fin));
    }
    let counters = daemon.call("flow.counters", json!({})).unwrap();
    assert!(counters.as_object().unwrap().values().all(|flow| flow["clientConnections"] == 1));
    assert_eq!(counters.as_object().unwrap().len(), 200);
}
