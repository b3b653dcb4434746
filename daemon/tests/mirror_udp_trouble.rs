//! UDP: mirrors and targets in trouble, and edits while datagrams pass.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::*;

/// An address where nobody is: its port was somebody's a moment ago.
fn gone() -> SocketAddr {
    Udp::at((own_address().ip(), 0)).address()
}

/// How often this was said since the daemon began.
fn said(daemon: &Daemon, what: &str) -> usize {
    daemon.process.stderr().matches(what).count()
}

#[test]
fn a_mirror_that_is_away_costs_the_main_path_nothing_and_gets_what_comes_when_it_is_back() {
    let (target, away) = (UdpServer::echo(), gone());
    let daemon = Daemon::start();
    let client = Udp::to(daemon.mirror("panel", &udp_mirror(target.address, &[away])));
    for n in 0..500u16 {
        assert_eq!(client.ask(&n.to_le_bytes()), n.to_le_bytes());
    }
    assert!(daemon.counter("panel", "mirrorErrPkts") > 0);
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains(&format!("mirror: cannot send to {away}: connection refused")), "{error}");
    until("it is said", || (said(&daemon, "WARN") > 0).then_some(()));
    assert_eq!(said(&daemon, "WARN"), 1, "a lasting trouble is said once");
    let back = Udp::at((away.ip(), away.port()));
    for n in 0..100u16 {
        assert_eq!(client.ask(&n.to_le_bytes()), n.to_le_bytes());
        back.got(&n.to_le_bytes());
    }
    let counted = daemon.counters("panel");
    assert_eq!(counted["mirrorTxPkts"].as_u64().unwrap() + counted["mirrorDroppedDatagrams"].as_u64().unwrap(), 600);
    let start = Instant::now();
    until("what was sent for two seconds brought no error", || {
        assert_eq!(client.ask(b"still"), b"still");
        (start.elapsed().as_secs() > 1 && said(&daemon, "answers again") == 1).then_some(())
    });
}

#[test]
fn bursts_to_a_mirror_that_is_away_are_counted_whole() {
    let (target, away) = (UdpServer::echo(), gone());
    let mut daemon = Daemon::start();
    let client = Udp::to(daemon.mirror("panel", &udp_mirror(target.address, &[away])));
    assert_eq!(client.ask(b"first"), b"first");
    daemon.process.signal(rustix::process::Signal::STOP);
    for n in 0..100u8 {
        client.send(&[n]);
    }
    daemon.process.signal(rustix::process::Signal::CONT);
    for n in 0..100u8 {
        client.got(&[n]);
    }
    let counted = daemon.counters("panel");
    // An error is about what was sent before: it does not cost the datagram whose turn it is.
    assert_eq!((&counted["mirrorTxPkts"], &counted["mirrorDroppedDatagrams"]), (&json!(101), &json!(0)), "{counted}");
    assert!(counted["mirrorErrPkts"].as_u64().unwrap() >= 3, "{counted}");
    assert_eq!(counted["droppedDatagrams"], 0, "{counted}");
    assert!(daemon.process.has_exited().is_none());
}

#[test]
fn a_mirror_whose_name_does_not_resolve_is_counted_and_said_and_no_more() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[sink.address(), sink.address()])
        .with("/mirrors/0/address", "nobody.invalid:1")
        .with("/connect_timeout", 1);
    let client = Udp::to(daemon.mirror("panel", &spec));
    for n in 0..50u8 {
        assert_eq!(client.ask(&[n]), [n]);
        sink.got(&[n]);
    }
    until("the name is given up", || (daemon.counter("panel", "mirrorErrConnect") > 0).then_some(()));
    assert_eq!(client.ask(b"on"), b"on");
    until("all that it missed is counted", || (daemon.counter("panel", "mirrorDroppedDatagrams") == 51).then_some(()));
    let said = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(said.contains("mirror: cannot send to nobody.invalid:1"), "{said}");
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
}

#[test]
fn datagrams_wait_for_a_name_in_order() {
    let (target, sink) = (Udp::new(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address(), &[sink.address()])
        .with("/target", format!("localhost:{}", target.address().port()))
        .with("/mirrors/0/address", format!("localhost:{}", sink.address().port()));
    let client = Udp::to(daemon.mirror("panel", &spec));
    // All of it is there when the daemon begins to resolve.
    daemon.process.signal(rustix::process::Signal::STOP);
    for n in 0..100u8 {
        client.send(&[n]);
    }
    daemon.process.signal(rustix::process::Signal::CONT);
    for n in 0..100u8 {
        target.got(&[n]);
        sink.got(&[n]);
    }
}

#[test]
fn a_target_whose_name_does_not_resolve_loses_datagrams_and_counts_them() {
    let sink = Udp::new();
    let daemon = Daemon::start();
    let spec = udp_mirror(sink.address(), &[sink.address()]).with("/target", "nobody.invalid:1").with("/connect_timeout", 1);
    let client = Udp::to(daemon.mirror("panel", &spec));
    for n in 0..200u8 {
        client.send(&[n]);
        sink.got(&[n]);
    }
    until("the name is given up", || (daemon.counter("panel", "targetErrConnect") > 0).then_some(()));
    daemon.counts("panel", "droppedDatagrams", 200);
    daemon.counts("panel", "mirrorTxPkts", 200);
}

#[test]
fn a_frozen_mirror_and_a_mirror_that_floods_change_nothing() {
    let (target, frozen, chatty) = (UdpServer::echo(), Udp::new(), Udp::new());
    socket2::SockRef::from(&frozen.0).set_recv_buffer_size(2048).unwrap();
    let daemon = Daemon::start();
    let client = Udp::to(daemon.mirror("panel", &udp_mirror(target.address, &[frozen.address(), chatty.address()])));
    assert_eq!(client.ask(b"hello"), b"hello");
    let back = chatty.got(b"hello");
    for n in 0..1000u16 {
        chatty.0.send_to(&[7; 500], back).unwrap();
        assert_eq!(client.ask(&n.to_le_bytes()), n.to_le_bytes());
    }
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
    assert_eq!(daemon.counter("panel", "mirrorTxPkts"), 2002);
}

#[test]
fn a_target_that_goes_and_comes_back() {
    let (target, sink) = (UdpServer::named("t", own_address()), Udp::new());
    let daemon = Daemon::start();
    let client = Udp::to(daemon.mirror("panel", &udp_mirror(target.address, &[sink.address()])));
    assert_eq!(client.ask(b"one"), b"t:one");
    let address = target.address;
    drop(target);
    client.send(b"lost");
    until("it is noticed", || (daemon.counter("panel", "targetErrPkts") > 0).then_some(()));
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains(&format!("target: cannot send to {address}: connection refused")), "{error}");
    let _back = UdpServer::named("again", address);
    assert_eq!(client.ask(b"two"), b"again:two", "the very next datagram");
    until("that is said", || (said(&daemon, "answers again") == 1).then_some(()));
}

#[test]
fn of_a_list_the_first_that_is_there_is_used() {
    let (first, second, sink) = (UdpServer::named("first", own_address()), UdpServer::named("second", own_address()), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(first.address, &[sink.address()]).with("/target", [first.address, second.address]);
    let at = daemon.mirror("panel", &spec);
    let (client, other) = (Udp::to(at), Udp::to(at));
    assert_eq!(client.ask(b"one"), b"first:one");
    assert_eq!(other.ask(b"one"), b"first:one");
    daemon.counts("panel", "targetInUse", 1);
    let address = first.address;
    drop(first);
    client.ask_until(b"two", b"second:two");
    daemon.counts("panel", "targetInUse", 2);
    // Nobody tells the other session that its target is away; it moves all the same, and loses nothing.
    assert_eq!(other.ask(b"two"), b"second:two");
    assert_eq!(Udp::to(at).ask(b"new"), b"second:new");
    let _first = UdpServer::named("first", address);
    client.ask_until(b"back", b"first:back");
    drop(second);
    assert_eq!(client.ask(b"three"), b"first:three");
    daemon.counts("panel", "targetInUse", 1);
}

#[test]
fn an_edit_loses_no_datagram_and_changes_where_the_next_ones_go() {
    let (old, new, sink) = (UdpServer::named("old", own_address()), UdpServer::named("new", own_address()), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(old.address, &[sink.address()]);
    let at = daemon.mirror("panel", &spec);
    let clients: Vec<_> = (0..4).map(|_| Udp::to(at)).collect();
    let mut edits = 0;
    for n in 0..2000u16 {
        if n % 200 == 100 {
            edits += 1;
            let target = if edits % 2 == 0 { old.address } else { new.address };
            assert_eq!(daemon.mirror("panel", &spec.clone().with("/listen", at).with("/target", target)), at);
        }
        let name: &[u8] = if edits % 2 == 0 { b"old:" } else { b"new:" };
        for client in &clients {
            client.send(&n.to_le_bytes());
        }
        for client in &clients {
            assert_eq!(client.receive().0, [name, &n.to_le_bytes()].concat(), "datagram {n} after {edits} edits");
        }
    }
    daemon.counts("panel", "targetTxPkts", 8000);
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
}

#[test]
fn datagrams_sent_while_an_edit_is_made_all_arrive() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[sink.address()]);
    let at = daemon.mirror("panel", &spec);
    // With the port by its number the socket is another one; from now on it stays.
    let spec = spec.with("/listen", at);
    daemon.mirror("panel", &spec);
    let edited = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = Udp::to(at);
            let start = Instant::now();
            for n in (0..u64::MAX).take_while(|_| !edited.load(Ordering::SeqCst) && start.elapsed() < PATIENCE) {
                assert_eq!(client.ask(&n.to_le_bytes()), n.to_le_bytes());
            }
        });
        for sessions in 1..50 {
            daemon.mirror("panel", &spec.clone().with("/udp_sessions", sessions));
        }
        edited.store(true, Ordering::SeqCst);
    });
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
}

#[test]
fn an_answer_that_is_under_way_during_an_edit_arrives_and_an_unchanged_sync_keeps_sessions() {
    let (target, sink) = (Udp::new(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address(), &[sink.address()]);
    let flows = |spec: &Value| json!({"owner": "test", "flows": [{"id": "panel", "kind": "mirror", "spec": spec}]});
    daemon.call("flow.sync", flows(&spec)).unwrap();
    let client = Udp::to(daemon.listening("panel"));
    client.send(b"question");
    let session = target.got(b"question");
    daemon.call("flow.sync", flows(&spec)).unwrap();
    client.send(b"same session");
    assert_eq!(target.got(b"same session"), session);
    daemon.call("flow.sync", flows(&spec.with("/udp_session_timeout", 30))).unwrap();
    target.0.send_to(b"answer", session).unwrap();
    client.got(b"answer");
    client.send(b"new session");
    assert_ne!(target.got(b"new session"), session);
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
}

#[test]
fn an_edit_to_another_address_closes_the_first() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let mut daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[sink.address()]);
    let all = daemon.mirror("panel", &spec.clone().with("/listen", "0.0.0.0:0"));
    let one = SocketAddr::from(([127, 0, 0, 1], all.port()));
    for (listen, to) in [(one, [127, 0, 0, 1]), (all, [127, 0, 0, 6]), (one, [127, 0, 0, 1])] {
        assert_eq!(daemon.mirror("panel", &spec.clone().with("/listen", listen)), listen);
        assert_eq!(Udp::to(SocketAddr::from((to, all.port()))).ask(b"hello"), b"hello");
    }
    daemon.call("flow.restart", json!({"id": "panel"})).unwrap();
    assert_eq!(Udp::to(one).ask(b"hello"), b"hello");
    let start = Instant::now();
    assert!(daemon.stop().success());
    assert!(start.elapsed().as_secs() < 2, "sessions of earlier specs held the stop up for {:?}", start.elapsed());
}

/// Nothing can be sent to it without a permission that nobody asks for.
const CLOSED: &str = "255.255.255.255:9";

#[test]
fn a_target_that_cannot_be_opened_is_passed_over_and_nothing_is_lost() {
    for first in [CLOSED, "nobody.invalid:1"] {
        let (target, sink) = (Udp::new(), Udp::new());
        let daemon = Daemon::start();
        let spec = udp_mirror(target.address(), &[sink.address()])
            .with("/target", [first, &target.address().to_string()])
            .with("/connect_timeout", 1);
        let client = Udp::to(daemon.mirror("panel", &spec));
        for n in 0..50u8 {
            client.send(&[n]);
        }
        for n in 0..50u8 {
            target.got(&[n]);
        }
        daemon.counts("panel", "targetInUse", 2);
        assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0, "{first}");
        assert!(daemon.counter("panel", "targetErrConnect") >= 1);
        until("that is said", || (said(&daemon, &format!("target: cannot send to {first}")) > 0).then_some(()));
    }
}

#[test]
fn when_no_target_can_be_opened_all_is_counted_and_nothing_goes_round() {
    for targets in [["nobody.invalid:1", CLOSED], ["nobody.invalid:1", "no-one.invalid:1"]] {
        let sink = Udp::new();
        let mut daemon = Daemon::start();
        let spec = udp_mirror(sink.address(), &[sink.address()]).with("/target", targets).with("/connect_timeout", 1);
        let client = Udp::to(daemon.mirror("panel", &spec));
        for n in 0..100u8 {
            client.send(&[n]);
            sink.got(&[n]);
        }
        daemon.counts("panel", "droppedDatagrams", 100);
        assert!(daemon.counter("panel", "targetErrConnect") < 20, "{}", daemon.counters("panel"));
        assert!(daemon.stop().success());
    }
}
