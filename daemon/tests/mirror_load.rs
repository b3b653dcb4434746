//! Many clients, many bytes, and what they cost.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::json;

use crate::support::*;

#[test]
fn four_hundred_clients_are_held_and_served() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut clients: Vec<_> = (0..400).map(|_| connect(at)).collect();
    for round in 0..3 {
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(format!("{round}:{i:06};").as_bytes());
        }
        for (i, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.receive(9), format!("{round}:{i:06};").as_bytes());
        }
    }
    assert_eq!(daemon.counter("panel", "activeConnections"), 400);
    drop(clients);
    let mut copies: Vec<_> = sink.ended(400).into_iter().map(|record| String::from_utf8(record.bytes).unwrap()).collect();
    copies.sort();
    let expected: Vec<_> = (0..400).map(|i| format!("0:{i:06};1:{i:06};2:{i:06};")).collect();
    assert!(copies == expected, "a copy is not what its client sent");
    daemon.counts("panel", "activeConnections", 0);
    until("connection tasks end", || (daemon.status("panel")["connections"] == 0).then_some(()));
    assert!(daemon.descriptors() < 40, "{} descriptors are left open", daemon.descriptors());
}

#[test]
fn a_hundred_megabytes_arrive_as_they_are_and_cost_little_memory() {
    let data = pattern(100_000_000, 5);
    let sent = data.clone();
    let target = Server::start(move |_, mut stream: std::net::TcpStream| stream.send(&sent));
    let sink = Sink::start();
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/mirrors/0/from_target", true));
    let mut client = connect(at);
    let (got, end) = client.receive_all();
    assert_eq!((got.len(), end), (data.len(), End::Fin));
    assert!(got == data, "the bytes differ");
    client.finish();
    // A mirror may be too slow for this, but then it knows: whole, or a beginning that ends with a reset.
    let copy = sink.one();
    assert_eq!(copy.end, Some(if copy.bytes.len() == data.len() { End::Fin } else { End::Reset }));
    assert!(data.starts_with(&copy.bytes), "the copy has a hole");
    assert_eq!(daemon.counter("panel", "clientTxBytes"), 100_000_000);
    let peak = daemon.process.peak_memory() >> 20;
    assert!(peak < 60, "it needed {peak} MiB");
}

#[test]
fn a_thousand_connections_one_after_the_other_leave_nothing_behind() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let before = daemon.descriptors();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let data = pattern(500, seed);
                for _ in 0..250 {
                    assert_eq!(exchange(at, &data), (data.clone(), End::Fin));
                }
            });
        }
    });
    assert!(sink.ended(1000).iter().all(|record| record.bytes.len() == 500 && record.end == Some(End::Fin)));
    daemon.counts("panel", "mirrorTxBytes", 500_000);
    until("connection tasks end", || (daemon.status("panel")["connections"] == 0).then_some(()));
    assert!(daemon.descriptors() <= before + 2, "{} descriptors after {before}", daemon.descriptors());
    assert_eq!(daemon.counter("panel", "mirrorDetached"), 0);
}

#[test]
fn a_client_that_reads_slowly_loses_nothing_and_fills_no_memory() {
    let data = pattern(40_000_000, 6);
    let sent = data.clone();
    let target = Server::start(move |_, mut stream: std::net::TcpStream| stream.send(&sent));
    let sink = Sink::start();
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut slow = connect(at);
    let mut got = slow.receive(1);
    let mut last = 0;
    until("the stream stands still", || {
        let now = daemon.counter("panel", "targetRxBytes");
        (std::mem::replace(&mut last, now) == now && now > 0).then_some(())
    });
    let peak = daemon.process.peak_memory() >> 20;
    assert!(peak < 30, "it needed {peak} MiB");
    assert!(last < 40_000_000, "nothing was held back");
    let (rest, end) = slow.receive_all();
    got.extend(rest);
    assert!(got == data && end == End::Fin, "{} bytes", got.len());
}

#[test]
fn ipv6_is_as_good_as_ipv4() {
    let (target, sink) = (Server::start_at((Ipv6Addr::LOCALHOST, 0), echo_one), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/listen", "[::1]:0"));
    assert!(at.is_ipv6());
    assert_eq!(exchange(at, b"six"), (b"six".to_vec(), End::Fin));
    assert_eq!(sink.one().bytes, b"six");
}

#[test]
fn one_listener_takes_ipv6_and_ipv4() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    // `allow` sees IPv4 clients of a dual-stack listener as IPv4.
    let spec = mirror(target.address, &[sink.address()])
        .with("/listen", "[::]:0")
        .with("/allow", json!(["127.0.0.1", "::1"]));
    let port = daemon.mirror("panel", &spec).port();
    for at in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        assert_eq!(exchange(at, b"both"), (b"both".to_vec(), End::Fin), "{at}");
    }
    assert_eq!(sink.ended(2).len(), 2);
}

#[test]
fn a_name_is_resolved_and_one_that_is_none_is_named() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[sink.address()]).with("/target", format!("localhost:{}", target.address.port()));
    let at = daemon.mirror("panel", &spec);
    assert_eq!(exchange(at, b"by name"), (b"by name".to_vec(), End::Fin));
    // No label of a name is longer than 63 characters, so that no name server is asked.
    let no_name = format!("{}:10001", "x".repeat(64));
    let at = daemon.mirror("panel", &spec.with("/target", &no_name));
    is_turned_away(at);
    daemon.counts("panel", "targetErrConnect", 1);
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains(&no_name) && error.contains("name"), "{error}");
}
