//! Several targets: the first that answers is used, one that is down costs next to nothing, and is found when it is back.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// A target that says its name first, and then answers with what it gets.
struct Named {
    server: Server,
    accepted: Arc<AtomicUsize>,
}

impl Named {
    fn new(name: u8) -> Self {
        Self::at(name, ([127, 0, 0, 1], 0).into())
    }

    fn at(name: u8, at: SocketAddr) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let server = Server::start_at((at.ip(), at.port()), move |number, mut stream: TcpStream| {
            count.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(&[name]).is_ok() {
                echo_one(number, stream);
            }
        });
        Self { server, accepted }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn with_targets(targets: &[SocketAddr], sink: &Sink) -> Value {
    mirror(targets[0], &[sink.address()]).with("/target", targets)
}

/// Connects, and reads which target that is.
#[track_caller]
fn who(at: SocketAddr) -> (u8, TcpStream) {
    let mut client = connect(at);
    (client.receive(1)[0], client)
}

/// The name of the target that a client gets, and how long that takes.
#[track_caller]
fn who_and_when(at: SocketAddr) -> (u8, Duration) {
    let started = Instant::now();
    (who(at).0, started.elapsed())
}

#[track_caller]
fn passes(time: Duration) {
    let started = Instant::now();
    until_within(time + PATIENCE, "time passes", || (started.elapsed() > time).then_some(()));
}

#[track_caller]
fn comes_back(daemon: &Daemon, at: SocketAddr, name: u8) {
    until("the target is used again", || (who(at).0 == name).then_some(()));
    assert_eq!(daemon.counter("panel", "targetInUse"), 1);
}

fn last_error(daemon: &Daemon) -> String {
    daemon.status("panel")["last_error"]["text"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_first_one_that_refuses_costs_nothing_and_is_used_again_when_it_is_back() {
    let (first, second, sink) = (Nobody::new(), Named::new(b'2'), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &with_targets(&[first.address, second.address()], &sink));
    assert_eq!(daemon.counter("panel", "targetInUse"), 1, "nobody knows better yet");
    let events = daemon.call("event.poll", json!({})).unwrap();
    let started = Instant::now();
    let (name, mut running) = who(at);
    assert_eq!(name, b'2');
    for _ in 0..10 {
        assert_eq!(who(at).0, b'2');
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!((daemon.counter("panel", "targetErrConnect"), daemon.counter("panel", "targetConnections")), (1, 11));
    assert_eq!(daemon.counter("panel", "targetInUse"), 2);
    let error = last_error(&daemon);
    assert!(error.contains(&first.address.to_string()) && error.contains("connection refused"), "{error}");
    let _back = Named::at(b'1', first.address);
    comes_back(&daemon, at, b'1');
    assert_eq!(running.ask(b"still here"), b"still here");
    assert_eq!(daemon.counter("panel", "targetErrConnect"), 1, "probes are no connections for clients");
    let events = daemon.call("event.poll", json!({"cursor": events["cursor"], "wait_ms": 0})).unwrap();
    let mended = events["events"].as_array().unwrap().iter().find(|event| event["kind"] == "mended");
    assert!(mended.is_some_and(|event| event.to_string().contains(&first.address.to_string())), "{events}");
}

#[test]
fn a_swallowed_syn_is_waited_for_once_and_those_who_wait_move_on_together() {
    let (mut first, second, sink) = (Narrow::filled(), Named::new(b'2'), Sink::start());
    let daemon = Daemon::start();
    let targets = [first.address, second.address()];
    let at = daemon.mirror("panel", &with_targets(&targets, &sink).with("/connect_timeout", 3));
    std::thread::scope(|scope| {
        let early = scope.spawn(move || who_and_when(at));
        passes(Duration::from_millis(900));
        let late = scope.spawn(move || who_and_when(at));
        let (early, late) = (early.join().unwrap(), late.join().unwrap());
        assert_eq!((early.0, late.0), (b'2', b'2'));
        assert!((1300..2800).contains(&early.1.as_millis()), "the first one waited {:?}", early.1);
        assert!(late.1 < Duration::from_millis(1300), "the one that came later waited {:?} by itself", late.1);
    });
    for _ in 0..10 {
        let (name, waited) = who_and_when(at);
        assert!(name == b'2' && waited < Duration::from_secs(1), "{name} after {waited:?}");
    }
    assert_eq!(daemon.counter("panel", "targetErrConnect"), 1);
    assert_eq!(daemon.counter("panel", "targetInUse"), 2);
    assert!(daemon.status("panel")["last_error"]["text"].as_str().unwrap().contains(&first.address.to_string()));
    // It takes connections again: the first is the probe, which closes it without a byte.
    first.drain();
    let mut probe = first.accept();
    assert_eq!(probe.receive_all(), (Vec::new(), End::Fin));
    daemon.counts("panel", "targetInUse", 1);
    let mut client = connect(at);
    let mut served = first.accept();
    served.send(b"1");
    assert_eq!(client.receive(1), b"1");
}

#[test]
fn two_hundred_clients_at_the_moment_of_failure_all_get_the_next_target() {
    let (mut first, second, sink) = (Narrow::new(), Named::new(b'2'), Sink::start());
    let daemon = Daemon::start();
    let targets = [first.address, second.address()];
    let at = daemon.mirror("panel", &with_targets(&targets, &sink).with("/connect_timeout", 3));
    let mut early = connect(at);
    let mut early_at_first = first.accept();
    first.fill();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..200).map(|_| scope.spawn(move || who(at).0)).collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), b'2');
        }
    });
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    early.send(b"the running one stays");
    assert_eq!(early_at_first.receive(21), b"the running one stays");
    drop((early, early_at_first));
    daemon.counts("panel", "activeConnections", 0);
    assert_eq!(daemon.counter("panel", "targetConnections"), 201);
}

#[test]
fn when_none_answers_the_client_is_closed_and_the_first_to_be_back_serves_the_next_one() {
    let (first, second, sink) = (Nobody::new(), Nobody::new(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &with_targets(&[first.address, second.address], &sink));
    let started = Instant::now();
    for _ in 0..3 {
        is_turned_away(at);
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    daemon.counts("panel", "activeConnections", 0);
    assert_eq!((daemon.counter("panel", "targetInUse"), daemon.counter("panel", "targetConnections")), (0, 0));
    assert_eq!(daemon.counter("panel", "targetErrConnect"), 6);
    assert_eq!(sink.count(), 0);
    let error = last_error(&daemon);
    assert!(error.contains(&first.address.to_string()) && error.contains(&second.address.to_string()), "{error}");
    // No probe has to find it first.
    let _second = Named::at(b'2', second.address);
    assert_eq!(who(at).0, b'2');
    assert_eq!(daemon.counter("panel", "targetInUse"), 2);
    let _first = Named::at(b'1', first.address);
    comes_back(&daemon, at, b'1');
}

#[test]
fn a_silent_target_costs_one_timeout_in_all_and_does_not_hide_the_one_that_is_back() {
    let (first, second, sink) = (Narrow::filled(), Nobody::new(), Sink::start());
    let daemon = Daemon::start();
    let targets = [first.address, second.address];
    let at = daemon.mirror("panel", &with_targets(&targets, &sink).with("/connect_timeout", 2));
    for _ in 0..2 {
        let started = Instant::now();
        is_turned_away(at);
        let waited = started.elapsed();
        assert!((1800..3500).contains(&waited.as_millis()), "closed after {waited:?}, the timeout is 2 s");
    }
    daemon.counts("panel", "targetInUse", 0);
    let _second = Named::at(b'2', second.address);
    let (name, waited) = who_and_when(at);
    assert!(name == b'2' && waited < Duration::from_secs(1), "{name} after {waited:?}");
}

#[test]
fn an_edit_keeps_what_is_known_and_goes_on_probing() {
    let (first, second, third, sink) = (Nobody::new(), Named::new(b'2'), Named::new(b'3'), Sink::start());
    let daemon = Daemon::start();
    let spec = with_targets(&[first.address, second.address()], &sink);
    let at = daemon.mirror("panel", &spec);
    assert_eq!(who(at).0, b'2');
    assert_eq!(daemon.mirror("panel", &spec.clone().with("/idle_timeout", 100)), at);
    assert_eq!(daemon.counter("panel", "targetInUse"), 2);
    assert_eq!(who(at).0, b'2');
    assert_eq!(daemon.counter("panel", "targetErrConnect"), 1, "it was forgotten that the first one is down");
    let another = spec.clone().with("/target", [third.address(), first.address]);
    daemon.mirror("panel", &another);
    assert_eq!((who(at).0, daemon.counter("panel", "targetInUse")), (b'3', 1));
    daemon.mirror("panel", &spec);
    assert_eq!(who(at).0, b'2');
    let _back = Named::at(b'1', first.address);
    comes_back(&daemon, at, b'1');
}

#[test]
fn nobody_is_dialled_any_more_who_was_taken_out() {
    let (first, second, sink) = (Nobody::new(), Named::new(b'2'), Sink::start());
    let daemon = Daemon::start();
    let spec = with_targets(&[first.address, second.address()], &sink);
    let start = |id: &str| {
        let at = daemon.mirror(id, &spec);
        assert_eq!(who(at).0, b'2');
    };
    for id in ["removed", "disabled", "edited", "shortened"] {
        start(id);
    }
    daemon.call("flow.remove", json!({"id": "removed"})).unwrap();
    let disabled = json!({"id": "disabled", "owner": "test", "kind": "mirror", "spec": spec, "enabled": false});
    daemon.call("flow.apply", disabled).unwrap();
    daemon.mirror("edited", &spec.clone().with("/target", [second.address(), sink.address()]));
    daemon.mirror("shortened", &spec.clone().with("/target", second.address()));
    let taken_out = Named::at(b'1', first.address);
    // Their next probes would have been due within a second, and those after that within two more.
    passes(Duration::from_millis(3200));
    assert_eq!(taken_out.accepted(), 0);
    // Enabled again, it is found at once.
    let at = daemon.mirror("disabled", &spec);
    until("it is found", || (who(at).0 == b'1').then_some(()));
}

#[test]
fn a_name_that_does_not_resolve_does_not_keep_clients_from_the_next_target() {
    let (second, sink) = (Named::new(b'2'), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(second.address(), &[sink.address()]);
    let at = daemon.mirror("panel", &spec.with("/target", json!(["no-such-host.invalid:1", second.address()])));
    assert_eq!(who(at).0, b'2');
    let started = Instant::now();
    for _ in 0..10 {
        assert_eq!(who(at).0, b'2');
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(daemon.counter("panel", "targetInUse"), 2);
    assert!(last_error(&daemon).contains("no-such-host.invalid"), "{}", last_error(&daemon));
}

#[test]
fn a_single_target_is_dialled_for_every_client_and_never_probed() {
    let (port, sink) = (Nobody::new(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(port.address, &[sink.address()]));
    assert_eq!(daemon.counter("panel", "targetInUse"), 1);
    for _ in 0..3 {
        is_turned_away(at);
    }
    daemon.counts("panel", "targetErrConnect", 3);
    assert_eq!(daemon.counter("panel", "targetInUse"), 0);
    let back = Named::at(b'1', port.address);
    passes(Duration::from_millis(2200));
    assert_eq!(back.accepted(), 0);
    assert_eq!(who(at).0, b'1');
    assert_eq!(daemon.counter("panel", "targetInUse"), 1);
}
