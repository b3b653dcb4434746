//! Mirrors that come late, read late, or talk at the same time as the target; and how fast small things pass.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn a_mirror_that_reads_late_gets_the_rest_after_the_client_has_gone() {
    let (target, gate) = (echo(), Gate::shut());
    let late = Sink::start_behind(gate.clone());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[late.address()]).with("/mirrors/0/buffer", "16 MiB"));
    let data = pattern(9_000_000, 1);
    let (got, end) = exchange(at, &data);
    assert!(got == data && end == End::Fin);
    daemon.counts("panel", "activeConnections", 0);
    assert!(daemon.counter("panel", "mirrorTxBytes") < 9_000_000, "nothing was held");
    gate.lift();
    let copy = late.one();
    assert!(copy.bytes == data && copy.end == Some(End::Fin), "{} bytes, {:?}", copy.bytes.len(), copy.end);
    until("the connection task ends", || (daemon.status("panel")["connections"] == 0).then_some(()));
    assert_eq!(daemon.counter("panel", "mirrorDroppedBytes"), 0);
}

#[test]
fn a_mirror_that_connects_late_gets_everything_from_the_first_byte() {
    let (target, mut late) = (echo(), Narrow::filled());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[late.address]).with("/connect_timeout", 12));
    let data = pattern(200_000, 1);
    assert_eq!(exchange(at, &data), (data.clone(), End::Fin));
    daemon.counts("panel", "activeConnections", 0);
    assert_eq!(daemon.counter("panel", "mirrorConnections"), 0);
    late.drain();
    let (copy, end) = late.accept().receive_all();
    assert!(copy == data && end == End::Fin, "{} bytes, {end:?}", copy.len());
    daemon.counts("panel", "mirrorConnections", 1);
}

#[test]
fn target_and_mirror_talk_to_the_client_at_once_and_nothing_is_lost() {
    // The target's bytes have their highest bit clear, the mirror's have it set.
    let voice = |seed, bit: u8| pattern(3_000_000, seed).into_iter().map(|byte| byte & 0x7f | bit).collect::<Vec<u8>>();
    let (one, other) = (voice(1, 0), voice(2, 0x80));
    let (from_target, from_mirror) = (one.clone(), other.clone());
    let target = Server::start(move |_, mut stream: TcpStream| {
        stream.send(&from_target);
        stream.receive_all();
    });
    let talks = Sink::start_with(move |_, stream| stream.send(&from_mirror));
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[talks.address()]).with("/mirrors/0/to_client", true));
    let mut client = connect(at);
    // Reads slowly at first, so that both have to wait for it.
    let mut got = client.receive(1000);
    until("both wait", {
        let mut last = 0;
        let daemon = &daemon;
        move || {
            let now = daemon.counter("panel", "clientTxBytes");
            (std::mem::replace(&mut last, now) == now && now > 0).then_some(())
        }
    });
    got.extend(client.receive(6_000_000 - got.len()));
    let (heard_mirror, heard_target): (Vec<u8>, Vec<u8>) = got.into_iter().partition(|byte| byte & 0x80 != 0);
    assert!(heard_target == one, "the target's {} bytes are not those that it sent", heard_target.len());
    assert!(heard_mirror == other, "the mirror's {} bytes are not those that it sent", heard_mirror.len());
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
}

#[test]
fn a_chattering_mirror_that_may_talk_to_the_client_cannot_keep_the_connection_open() {
    let target = Server::start(|_, mut stream: TcpStream| {
        stream.receive(4);
    });
    let chatters = Server::start(|_, mut stream: TcpStream| while std::io::Write::write_all(&mut stream, &[b'?'; 10_000]).is_ok() {});
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[chatters.address]).with("/mirrors/0/to_client", true));
    let mut client = connect(at);
    client.receive(100_000);
    client.send(b"stop");
    client.finish();
    let (rest, end) = client.receive_all();
    assert_eq!(end, End::Fin);
    assert!(rest.iter().all(|byte| *byte == b'?'));
    daemon.counts("panel", "activeConnections", 0);
}

#[test]
fn small_messages_pass_in_well_under_a_millisecond_or_two() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut client = connect(at);
    let mut times: Vec<Duration> = (0..500_u32)
        .map(|i| {
            let started = Instant::now();
            assert_eq!(client.ask(&i.to_be_bytes()), i.to_be_bytes());
            started.elapsed()
        })
        .collect();
    times.sort();
    // A delayed acknowledgement, say, would show as 40 ms.
    assert!(times[250] < Duration::from_millis(5), "half of the answers took {:?} or more", times[250]);
    let expected: Vec<u8> = (0..500_u32).flat_map(u32::to_be_bytes).collect();
    assert_eq!(sink.got(0, 2000), expected);
}

#[test]
fn many_clients_at_once_do_not_mix() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror(
        "panel",
        &mirror(target.address, &[sink.address()])
            .with("/mirrors/0/from_target", true)
            .with("/mirrors/0/buffer", "8 MiB"),
    );
    let threads = 16;
    std::thread::scope(|scope| {
        for seed in 0..threads {
            scope.spawn(move || {
                let data = vec![seed as u8; 300_000 + seed * 1111];
                let mut client = connect(at);
                for part in data.chunks(7001) {
                    assert!(client.ask(part) == part, "client {seed} got another one's bytes");
                }
                client.finish();
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
            });
        }
    });
    let mut copies = sink.ended(threads);
    copies.sort_by_key(|copy| copy.bytes[0]);
    for (seed, copy) in copies.iter().enumerate() {
        assert!(copy.bytes.len() == 2 * (300_000 + seed * 1111), "copy {seed}: {} bytes", copy.bytes.len());
        assert!(copy.bytes.iter().all(|byte| *byte == seed as u8), "copy {seed} has another one's bytes");
    }
}

#[test]
fn a_mirror_that_stops_reading_on_an_old_connection_delays_nobody() {
    let (target, gate) = (echo(), Gate::shut());
    let stops = Sink::start_behind(gate.clone());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[stops.address()]));
    let mut client = connect(at);
    assert_eq!(client.ask(b"early"), b"early");
    // What a connection has been through must not count against its client.
    let started = Instant::now();
    until("the connection is old", || (started.elapsed() > Duration::from_secs(8)).then_some(()));
    let data = pattern(100_000, 1);
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let sent = Instant::now();
        assert!(client.ask(&data) == data);
        slowest = slowest.max(sent.elapsed());
    }
    daemon.counts("panel", "mirrorDetached", 1);
    assert!(slowest < Duration::from_millis(200), "an answer took {slowest:?}");
}
