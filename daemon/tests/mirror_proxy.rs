//! The PROXY protocol: the client's address is passed on, and taken from trusted proxies.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(block.len() as u16).to_be_bytes(), block].concat()
}

/// The header of version 2 for two IPv4 addresses, with extensions.
fn v2_for(client: &str, server: &str, extensions: &[u8]) -> Vec<u8> {
    let (client, server): (SocketAddr, SocketAddr) = (client.parse().unwrap(), server.parse().unwrap());
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (client, server) else { panic!("IPv4 only") };
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    v2(0x21, 0x11, &[&from.ip().octets(), &to.ip().octets(), ports.as_slice(), extensions].concat())
}

/// The line of version 1.
fn v1_for(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", client.ip(), server.ip(), client.port(), server.port()).into_bytes()
}

fn behind_a_proxy(target: &Sink, mirror_to: &Sink) -> Value {
    mirror(target.address(), &[mirror_to.address()]).with("/trusted_proxies", ["127.0.0.0/8"])
}

/// Sends a whole connection through a mirror; what the target and the mirror get of it.
#[track_caller]
fn pass(at: SocketAddr, bytes: &[u8], target: &Sink, sink: &Sink) -> (Vec<u8>, Vec<u8>) {
    let before = target.count();
    let mut client = connect(at);
    client.send(bytes);
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    (target.ended(before + 1)[before].bytes.clone(), sink.ended(before + 1)[before].bytes.clone())
}

#[test]
fn target_and_mirrors_get_the_header_before_everything_else() {
    let target = Sink::start_with(|_, stream| stream.write_all(b"welcome").unwrap());
    let sinks: Vec<_> = (0..4).map(|_| Sink::start()).collect();
    let spec = mirror(target.address(), &sinks.iter().map(Sink::address).collect::<Vec<_>>())
        .with("/mirrors/1/from_client", false)
        .with("/mirrors/1/from_target", true)
        .with("/mirrors/2/required", true)
        .with("/mirrors/3/to_client", true)
        .with("/mirrors/3/from_target", true);
    let daemon = Daemon::start();
    for (round, version) in ["v1", "v2"].into_iter().enumerate() {
        let at = daemon.mirror("panel", &spec.clone().with("/proxy_protocol", version));
        let mut client = connect(at);
        let (from, to) = (client.local_addr().unwrap(), at);
        let header = if version == "v1" { v1_for(from, to) } else { v2_for(&from.to_string(), &to.to_string(), &[]) };
        assert_eq!(target.got(round, header.len()), header, "before the client has said anything");
        assert_eq!(client.receive(7), b"welcome");
        client.send(b"alarm");
        client.finish();
        assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
        assert_eq!(target.ended(round + 1)[round].bytes, [header.as_slice(), b"alarm"].concat());
        for (sink, copy) in sinks.iter().zip(["alarm", "welcome", "alarm", "welcomealarm"]) {
            let got = sink.ended(round + 1)[round].clone();
            assert_eq!((got.bytes, got.end), ([header.as_slice(), copy.as_bytes()].concat(), Some(End::Fin)), "{version}");
        }
    }
    daemon.counts("panel", "mirrorDetached", 0);
}

#[test]
fn the_header_has_one_family_whatever_the_listener_has() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address(), &[sink.address()]).with("/proxy_protocol", "v1");
    for (number, (listen, through)) in [("[::1]:0", "::1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")].into_iter().enumerate() {
        let at = daemon.mirror(&format!("panel-{number}"), &spec.clone().with("/listen", listen));
        let to = SocketAddr::new(through.parse().unwrap(), at.port());
        let mut client = connect(to);
        let expected = v1_for(client.local_addr().unwrap(), to);
        client.send(b"x");
        client.finish();
        assert_eq!(target.ended(number + 1)[number].bytes, [expected.as_slice(), b"x"].concat());
    }
}

#[test]
fn a_large_copy_and_a_mirror_that_is_down_change_nothing_about_it() {
    let (target, sink, down) = (Sink::start(), Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    let spec = mirror(target.address(), &[sink.address(), down.address]).with("/proxy_protocol", "v2");
    let at = daemon.mirror("panel", &spec.with("/mirrors/0/buffer", "16 MiB"));
    let data = pattern(3_000_000, 1);
    let (to_target, to_mirror) = pass(at, &data, &target, &sink);
    assert!(to_target[28..] == data && to_mirror == to_target);
    assert_eq!(&to_target[..12], SIGNATURE);
}

#[test]
fn the_client_that_a_trusted_proxy_names_counts() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let spec = behind_a_proxy(&target, &sink)
        .with("/proxy_protocol", "v1")
        .with("/allow", ["203.0.113.0/24", "2001:db8::/32"]);
    let at = daemon.mirror("panel", &spec);
    let v4 = b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 99\r\n".to_vec();
    let v6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 99\r\n".to_vec();
    let mut block = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    block.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    block.extend_from_slice(&[0x15, 0xb3, 0, 99]);
    let extensions = [[0x02, 0x0b, 0xb8].as_slice(), &[b'x'; 3000]].concat();
    for (header, passed_on) in [
        (v4.clone(), &v4),
        (v2_for("203.0.113.7:5555", "198.51.100.1:99", &[]), &v4),
        (v2_for("203.0.113.7:5555", "198.51.100.1:99", &extensions), &v4),
        (v6.clone(), &v6),
        (v2(0x21, 0x21, &block), &v6),
    ] {
        let expected = [passed_on.as_slice(), b"alarm"].concat();
        assert_eq!(pass(at, &[header.as_slice(), b"alarm"].concat(), &target, &sink), (expected.clone(), expected));
    }
    for refused in [
        b"PROXY TCP4 203.0.114.7 198.51.100.1 5555 99\r\nalarm".to_vec(),
        b"PROXY UNKNOWN\r\nalarm".to_vec(), // the proxy's own address is not in `allow`
        v2(0x20, 0, &[]),
    ] {
        let mut client = connect(at);
        client.send(&refused);
        assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
    }
    daemon.counts("panel", "clientRefused", 3);
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains("127.0.0.1") && error.contains("allow"), "{error}");
    assert_eq!(target.count(), 5);
}

#[test]
fn a_proxys_own_connections_have_its_own_address() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &behind_a_proxy(&target, &sink).with("/proxy_protocol", "v1"));
    for (number, header) in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff:: ::1 1 2\r\n".to_vec(),
        v2(0x20, 0, &[]),
        v2(0x20, 0x11, &[9; 12]),
        v2(0x21, 0, &[1, 2, 3]),
        v2(0x21, 0x31, &[b'/'; 216]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut proxy = connect(at);
        let expected = v1_for(proxy.local_addr().unwrap(), at);
        proxy.send(&[header.as_slice(), b"hello"].concat());
        proxy.finish();
        assert_eq!(target.ended(number + 1)[number].bytes, [expected.as_slice(), b"hello"].concat(), "{header:?}");
    }
}

#[test]
fn not_a_byte_of_the_stream_is_lost_however_the_header_comes() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &behind_a_proxy(&target, &sink).with("/mirrors/0/buffer", "4 MiB"));
    let data = pattern(400_000, 1);
    let mut number = 0;
    for header in [b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 99\r\n".to_vec(), v2_for("203.0.113.7:5555", "198.51.100.1:99", &[4, 0, 1, 0])] {
        let whole = [header.as_slice(), &data].concat();
        assert!(pass(at, &whole, &target, &sink) == (data.clone(), data.clone()));
        number += 1;
        // Byte by byte, each in a packet of its own, and the last one together with the stream.
        let mut client = connect(at);
        for byte in &header[..header.len() - 1] {
            client.send(&[*byte]);
            std::thread::yield_now();
        }
        client.send(&whole[header.len() - 1..]);
        client.finish();
        number += 1;
        assert!(target.ended(number)[number - 1].bytes == data && sink.ended(number)[number - 1].bytes == data);
        // A client that does not speak first is served, too.
        let mut silent = connect(at);
        silent.send(&header);
        daemon.counts("panel", "targetConnections", number as u64 + 1);
        silent.finish();
        number += 1;
        assert_eq!(target.ended(number)[number - 1].bytes, b"");
        sink.ended(number);
    }
}

#[test]
fn who_is_no_trusted_proxy_can_claim_what_it_likes() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let lie = b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 99\r\nalarm";
    let spec = mirror(target.address(), &[sink.address()]).with("/trusted_proxies", ["10.0.0.0/8"]);
    let at = daemon.mirror("panel", &spec);
    assert_eq!(pass(at, lie, &target, &sink), (lie.to_vec(), lie.to_vec()));
    daemon.mirror("panel", &spec.with("/proxy_protocol", "v1"));
    let mut client = connect(at);
    let truth = v1_for(client.local_addr().unwrap(), at);
    client.send(lie);
    client.finish();
    assert_eq!(target.ended(2)[1].bytes, [truth.as_slice(), lie].concat());
}

#[test]
fn a_wrong_header_is_refused_with_a_reset() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &behind_a_proxy(&target, &sink));
    let wrong = [
        b"alarm".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 5555\r\nalarm".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 99999\r\nalarm".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x11, &[0; 5000]),
    ];
    for bytes in &wrong {
        let mut client = connect(at);
        client.send(bytes);
        assert_eq!(client.receive_all(), (Vec::new(), End::Reset), "{bytes:?}");
    }
    // One that ends within its header.
    let mut client = connect(at);
    client.send(b"PROXY TCP4 203.0");
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
    daemon.counts("panel", "clientRefused", wrong.len() as u64 + 1);
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains("127.0.0.1") && error.contains("PROXY header"), "{error}");
    // One that says nothing at all, as health checks do, is no trouble.
    let client = connect(at);
    client.finish();
    daemon.counts("panel", "activeConnections", 0);
    assert_eq!(daemon.counter("panel", "clientRefused"), wrong.len() as u64 + 1);
    assert_eq!((target.count(), sink.count()), (0, 0));
}

#[test]
fn a_header_that_does_not_come_has_a_deadline_and_a_place() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let spec = behind_a_proxy(&target, &sink).with("/connect_timeout", 1).with("/max_connections", 2);
    let at = daemon.mirror("panel", &spec);
    let started = Instant::now();
    let (mut silent, mut slow) = (connect(at), connect(at));
    slow.send(b"PROXY TCP4 ");
    daemon.counts("panel", "activeConnections", 2);
    is_turned_away(at);
    for client in [&mut silent, &mut slow] {
        assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
        let waited = started.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_millis(2800)).contains(&waited), "closed after {waited:?}");
    }
    daemon.counts("panel", "clientRefused", 3);
    daemon.counts("panel", "activeConnections", 0);
    // Waiting for a header does not keep a processor busy.
    assert!(daemon.process.cpu_time() < Duration::from_millis(500), "{:?}", daemon.process.cpu_time());
}

#[test]
fn a_probe_says_that_nobody_is_behind_it() {
    let (port, second, sink) = (Nobody::new(), Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(second.address(), &[sink.address()]).with("/proxy_protocol", "v1");
    let at = daemon.mirror("panel", &spec.with("/target", json!([port.address, second.address()])));
    pass(at, b"alarm", &second, &sink);
    let back = Sink::start_at(port.address);
    assert_eq!(back.one().bytes, b"PROXY UNKNOWN\r\n");
    daemon.counts("panel", "targetInUse", 1);
}

#[test]
fn a_copy_that_is_played_back_begins_with_the_header() {
    let (target, away) = (Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    let spec = mirror(target.address(), &[away.address]).with("/proxy_protocol", "v1").with("/mirrors/0/spool", json!({}));
    let at = daemon.mirror("panel", &spec);
    let mut sent = Vec::new();
    // The first finds out that the mirror is away, the others are not even offered to it; one has no byte of its own.
    for (number, data) in [b"alarm".as_slice(), b"restored", b""].into_iter().enumerate() {
        let mut client = connect(at);
        sent.push([v1_for(client.local_addr().unwrap(), at).as_slice(), data].concat());
        client.send(data);
        client.finish();
        assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
        assert_eq!(target.ended(number + 1)[number].bytes, sent[number]);
        daemon.counts("panel", "spooledConnections", number as u64 + 1);
    }
    let back = Sink::start_at(away.address);
    let got: Vec<_> = back.ended(3).into_iter().map(|record| (record.bytes, record.end)).collect();
    let expected: Vec<_> = sent.into_iter().map(|bytes| (bytes, Some(End::Fin))).collect();
    assert_eq!(got, expected);
}
