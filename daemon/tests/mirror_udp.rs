//! UDP: which datagrams reach whom, from which address, and what belongs to a session.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

#[test]
fn each_peer_gets_the_datagrams_that_it_was_promised() {
    let (target, client_only, target_only, both) = (UdpServer::named("t", own_address()), Udp::new(), Udp::new(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[client_only.address(), target_only.address(), both.address()])
        .with("/mirrors/1/from_client", false)
        .with("/mirrors/1/from_target", true)
        .with("/mirrors/2/from_target", true);
    let client = Udp::to(daemon.mirror("panel", &spec));
    for data in [&b"one"[..], b"", b"three"] {
        let answer = [b"t:", data].concat();
        assert_eq!(client.ask(data), answer);
        client_only.got(data);
        target_only.got(&answer);
        both.got(data);
        both.got(&answer);
    }
    client_only.is_silent();
    target_only.is_silent();
    let counted = daemon.counters("panel");
    for (name, value) in [
        ("clientConnections", 1),
        ("targetConnections", 1),
        ("mirrorConnections", 3),
        ("activeConnections", 1),
        ("clientRxPkts", 3),
        ("clientRxBytes", 8),
        ("clientTxPkts", 3),
        ("clientTxBytes", 14),
        ("targetTxPkts", 3),
        ("targetRxPkts", 3),
        ("mirrorTxPkts", 12),
        ("mirrorTxBytes", 44),
        ("droppedDatagrams", 0),
        ("mirrorDroppedDatagrams", 0),
        ("clientErrPkts", 0),
        ("targetErrPkts", 0),
        ("mirrorErrPkts", 0),
        ("targetInUse", 1),
    ] {
        assert_eq!(counted[name], value, "{name} in {counted}");
    }
}

#[test]
fn clients_have_sessions_of_their_own() {
    let (target, sink) = (Udp::new(), Udp::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address(), &[sink.address()]));
    let clients: Vec<_> = (0..5).map(|_| Udp::to(at)).collect();
    let seen: Vec<_> = (0..2)
        .map(|_| {
            let name = |i: usize| format!("client {i}").into_bytes();
            let from: Vec<_> = clients.iter().enumerate().map(|(i, client)| (client.send(&name(i)), target.got(&name(i))).1).collect();
            for (i, from) in from.iter().enumerate().rev() {
                target.0.send_to(&name(i), from).unwrap();
            }
            for (i, client) in clients.iter().enumerate() {
                client.got(&name(i));
            }
            from
        })
        .collect();
    assert_eq!(seen[0], seen[1], "a session keeps its port");
    let mut ports = seen[0].clone();
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), 5);
    // Nobody else can put an answer in: the sockets are connected.
    Udp::new().0.send_to(b"forged", seen[0][0]).unwrap();
    target.0.send_to(b"real", seen[0][0]).unwrap();
    clients[0].got(b"real");
}

#[test]
fn datagrams_of_all_sizes_pass() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let daemon = Daemon::start();
    let client = Udp::to(daemon.mirror("panel", &udp_mirror(target.address, &[sink.address()])));
    for len in [0, 1, 1472, 1473, 9000, 65_506, 65_507] {
        let data = pattern(len, len as u64);
        assert!(client.ask(&data) == data, "{len} bytes");
        sink.got(&data);
    }
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
}

#[test]
fn what_a_mirror_says_reaches_the_client_only_if_asked_for() {
    let (target, talks) = (UdpServer::echo(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[talks.address()]);
    let client = Udp::to(daemon.mirror("panel", &spec));
    assert_eq!(client.ask(b"one"), b"one");
    talks.0.send_to(b"not for the client", talks.got(b"one")).unwrap();
    daemon.counts("panel", "mirrorRxPkts", 1);
    assert_eq!(client.ask(b"two"), b"two");
    talks.got(b"two");
    let client = Udp::to(daemon.mirror("panel", &spec.with("/mirrors/0/to_client", true)));
    assert_eq!(client.ask(b"three"), b"three");
    talks.0.send_to(b"for the client", talks.got(b"three")).unwrap();
    client.got(b"for the client");
    daemon.counts("panel", "clientTxPkts", 4);
}

#[test]
fn the_answer_comes_from_the_address_that_the_client_had_sent_to() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address()]).with("/listen", "0.0.0.0:0"));
    for last in [1, 2, 200] {
        let to = SocketAddr::from(([127, 0, 0, last], at.port()));
        let client = Udp::new();
        client.0.send_to(b"hello", to).unwrap();
        assert_eq!(client.got(b"hello"), to);
        for n in 0..40u8 {
            client.0.send_to(&[n], to).unwrap();
        }
        for n in 0..40u8 {
            assert_eq!(client.got(&[n]), to, "in a burst");
        }
    }
    // The same client, to another address of ours.
    let client = Udp::new();
    for last in [3, 4] {
        let to = SocketAddr::from(([127, 0, 0, last], at.port()));
        client.0.send_to(b"again", to).unwrap();
        assert_eq!(client.got(b"again"), to);
    }
}

#[test]
fn ipv6_and_ipv4_on_one_socket() {
    let (target, sink) = (UdpServer::start_at((Ipv6Addr::LOCALHOST, 0), |data| Some(data.to_vec())), Udp::at((Ipv6Addr::LOCALHOST, 0)));
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[sink.address()]).with("/listen", "[::]:0").with("/allow", ["127.0.0.1", "::1"]);
    let at = daemon.mirror("panel", &spec);
    let v6 = Udp::to((Ipv6Addr::LOCALHOST, at.port()).into());
    for len in [0, 5, 65_507, 65_527] {
        let data = pattern(len, 6);
        assert!(v6.ask(&data) == data, "{len} bytes");
        sink.got(&data);
    }
    for last in [1, 5] {
        let to = SocketAddr::from(([127, 0, 0, last], at.port()));
        let v4 = Udp::new();
        v4.0.send_to(b"four", to).unwrap();
        assert_eq!(v4.got(b"four"), to);
    }
    assert_eq!(daemon.counter("panel", "clientRefused"), 0);
    assert_eq!(daemon.counter("panel", "droppedDatagrams"), 0);
    let only = daemon.mirror("only", &udp_mirror(target.address, &[sink.address()]).with("/listen", "[::1]:0"));
    assert_eq!(Udp::to(only).ask(b"six"), b"six");
}

#[test]
fn the_proxy_header_is_before_each_datagram_and_not_before_answers() {
    let (target, sink) = (Udp::new(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address(), &[sink.address()]).with("/proxy_protocol", "v2").with("/listen", "0.0.0.0:0");
    let at = SocketAddr::from(([127, 0, 0, 9], daemon.mirror("panel", &spec).port()));
    let client = Udp::to(at);
    let mut head = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x7f\0\0\x01\x7f\0\0\x09".to_vec();
    head.extend(client.address().port().to_be_bytes());
    head.extend(at.port().to_be_bytes());
    for data in [&b"one"[..], b"", &pattern(65_479, 1)] {
        client.send(data);
        let whole = [&head, data].concat();
        target.0.send_to(b"answer", target.got(&whole)).unwrap();
        sink.got(&whole);
        client.got(b"answer");
    }
    client.send(&pattern(65_480, 1)); // no room for the header
    daemon.counts("panel", "droppedDatagrams", 1);
    daemon.counts("panel", "mirrorDroppedDatagrams", 1);
    client.send(b"next");
    target.got(&[&head[..], b"next"].concat());
}

#[test]
fn only_allowed_clients_are_relayed() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address()]).with("/allow", ["127.0.0.7", "127.1.0.0/16"]));
    let stranger = Udp::to(at);
    stranger.send(b"let me in");
    stranger.send(b"please");
    daemon.counts("panel", "clientRefused", 2);
    for ip in [[127, 0, 0, 7], [127, 1, 2, 3]] {
        let friend = Udp::at((ip, 0));
        friend.0.connect(at).unwrap();
        assert_eq!(friend.ask(b"friend"), b"friend");
    }
    assert_eq!(target.count(), 2);
    stranger.is_silent();
    assert_eq!(daemon.counter("panel", "clientRxPkts"), 2);
}

#[test]
fn tcp_and_udp_share_a_port_and_a_port_of_another_flow_is_named() {
    let (target, stream, sink) = (UdpServer::echo(), echo(), Udp::new());
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[sink.address()]);
    let streams = mirror(stream.address, &[sink.address()]);
    // The port is free for UDP; another test may have it for TCP.
    let at = until("a port that is free for both", || {
        let at = daemon.mirror("datagrams", &spec);
        let both = daemon.apply("streams", &streams.clone().with("/listen", at)).is_ok();
        if !both {
            daemon.call("flow.remove", json!({"id": "datagrams"})).unwrap();
        }
        both.then_some(at)
    });
    assert_eq!(Udp::to(at).ask(b"datagram"), b"datagram");
    assert_eq!(exchange(at, b"stream"), (b"stream".to_vec(), End::Fin));
    assert_eq!(daemon.status("datagrams")["isListening"], true);
    let error = daemon.apply("second", &spec.clone().with("/listen", at)).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("flow \"datagrams\" listens"), "{error}");
    let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()));
    let error = daemon.apply("third", &spec.with("/listen", all)).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains(&format!("flow \"datagrams\" listens on {at}")), "{error}");
    assert_eq!(Udp::to(at).ask(b"undisturbed"), b"undisturbed");
}

#[test]
fn a_silent_session_ends_and_the_next_datagram_begins_another() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address()]).with("/udp_session_timeout", 1));
    let client = Udp::to(at);
    assert_eq!(client.ask(b"one"), b"one");
    let during = daemon.descriptors();
    daemon.counts("panel", "activeConnections", 1);
    daemon.counts("panel", "activeConnections", 0);
    until("its sockets are closed", || (daemon.descriptors() <= during - 2).then_some(()));
    assert_eq!(daemon.status("panel")["connections"], 0);
    assert_eq!(client.ask(b"two"), b"two");
    daemon.counts("panel", "clientConnections", 2);
}

#[test]
fn an_answer_keeps_a_session_alive_as_a_datagram_of_the_client_does() {
    let (target, sink) = (Udp::new(), Udp::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address(), &[sink.address()]).with("/udp_session_timeout", 1));
    let client = Udp::to(at);
    client.send(b"subscribe");
    let session = target.got(b"subscribe");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        target.0.send_to(b"news", session).unwrap();
        client.got(b"news");
        let sent = Instant::now();
        until("a moment passes", || (sent.elapsed().as_millis() > 50).then_some(()));
    }
    assert_eq!(daemon.counter("panel", "clientConnections"), 1);
    assert_eq!(daemon.counter("panel", "activeConnections"), 1);
}

#[test]
fn removing_closes_the_socket_and_a_stop_does_not_wait_for_silent_sessions() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let mut daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[sink.address()]);
    let at = daemon.mirror("panel", &spec);
    let before = daemon.descriptors();
    assert_eq!(Udp::to(at).ask(b"one"), b"one");
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
    until("its sockets are closed", || (daemon.descriptors() < before).then_some(()));
    let again = daemon.mirror("other", &spec.with("/listen", at));
    assert_eq!(again, at);
    assert_eq!(Udp::to(at).ask(b"two"), b"two");
    let start = Instant::now();
    assert!(daemon.stop().success());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(daemon.process.stderr().contains("stopped, 0 connections cut"), "{}", daemon.process.stderr());
}

#[test]
fn the_command_line_mirrors_datagrams() {
    let (target, sink) = (UdpServer::echo(), Udp::new());
    let (to, copy) = (target.address.to_string(), sink.address().to_string());
    let args = ["mirror", "--udp", "-l", "127.0.0.1:0", "-t", &to, "-m", &copy, "--udp-session-timeout", "5m", "--udp-sessions", "7"];
    let mut process = Process::start(domoflux(args));
    let said = process.says("listening on ");
    let at: SocketAddr = said.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(Udp::to(at).ask(b"hello"), b"hello");
    sink.got(b"hello");
    process.signal(rustix::process::Signal::INT);
    assert!(process.exit().success());
    let (code, _, said) = run(domoflux(["mirror", "--udp", "-l", "127.0.0.1:0", "-t", "a:1", "-m", "b:1", "--udp-sessions", "0"]));
    assert!(code != 0 && said.contains("--udp-sessions"), "{said}");
}
