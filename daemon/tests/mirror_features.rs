//! Who gets which bytes, in which order, and how a copy ends.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

/// Answers 64-byte requests with an answer of its own, 100 bytes of another pattern.
fn asks_and_answers() -> Server {
    Server::start(|_, mut stream: TcpStream| {
        for round in 0..3 {
            assert_eq!(stream.receive(64), pattern(64, round));
            stream.send(&pattern(100, 100 + round));
        }
        stream.receive_all();
    })
}

#[test]
fn each_mirror_gets_the_directions_that_it_was_promised() {
    let target = asks_and_answers();
    let sinks: Vec<_> = (0..3).map(|_| Sink::start()).collect();
    let mirrors: Vec<_> = [(true, false), (false, true), (true, true)]
        .iter()
        .zip(&sinks)
        .map(|((client, target), sink)| json!({"address": sink.address(), "from_client": client, "from_target": target}))
        .collect();
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[]).with("/mirrors", mirrors));
    let mut client = connect(at);
    for round in 0..3 {
        client.send(&pattern(64, round));
        assert_eq!(client.receive(100), pattern(100, 100 + round));
    }
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    let from_client: Vec<u8> = (0..3).flat_map(|round| pattern(64, round)).collect();
    let from_target: Vec<u8> = (0..3).flat_map(|round| pattern(100, 100 + round)).collect();
    let both: Vec<u8> = (0..3).flat_map(|round| [pattern(64, round), pattern(100, 100 + round)].concat()).collect();
    for (sink, expected) in sinks.iter().zip([from_client, from_target, both]) {
        let copy = sink.one();
        assert_eq!((copy.bytes, copy.end), (expected, Some(End::Fin)));
    }
    daemon.counts("panel", "mirrorConnections", 3);
}

#[test]
fn what_a_mirror_says_reaches_the_client_only_if_asked_for() {
    let target = echo();
    let talks = Sink::start_with(|_, stream| stream.send(b"from the mirror"));
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[talks.address()]);
    let at = daemon.mirror("panel", &spec);
    let mut client = connect(at);
    assert_eq!(client.ask(b"one"), b"one");
    daemon.counts("panel", "mirrorRxBytes", 15);
    assert_eq!(client.ask(b"two"), b"two");
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    let at = daemon.mirror("panel", &spec.with("/mirrors/0/to_client", true));
    let mut client = connect(at);
    assert_eq!(client.receive(15), b"from the mirror");
    assert_eq!(client.ask(b"three"), b"three");
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    assert_eq!(talks.ended(2)[1].bytes, b"three");
}

#[test]
fn a_mirror_may_only_talk_to_the_client() {
    let target = echo();
    let talks = Sink::start_with(|_, stream| stream.send(&pattern(300_000, 4)));
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[talks.address()])
        .with("/mirrors/0/to_client", true)
        .with("/mirrors/0/from_client", false);
    let at = daemon.mirror("panel", &spec);
    let mut client = connect(at);
    assert!(client.receive(300_000) == pattern(300_000, 4));
    assert_eq!(client.ask(b"to the target only"), b"to the target only");
    client.finish();
    client.receive_all();
    assert_eq!(talks.one().bytes, b"");
}

#[test]
fn several_mirrors_do_not_depend_on_each_other() {
    let (target, good, another, down, stuck) = (echo(), Sink::start(), Sink::start(), Nobody::new(), Stuck::new());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[down.address, good.address(), stuck.address, another.address()])
        .with("/mirrors/1/buffer", "16 MiB")
        .with("/mirrors/3/buffer", "16 MiB");
    let at = daemon.mirror("panel", &spec);
    let data = pattern(8_000_000, 2);
    let (got, end) = exchange(at, &data);
    assert!(got == data && end == End::Fin);
    for sink in [&good, &another] {
        let copy = sink.one();
        assert!(copy.bytes == data && copy.end == Some(End::Fin), "{} bytes, {:?}", copy.bytes.len(), copy.end);
    }
    daemon.counts("panel", "mirrorErrConnect", 1);
    daemon.counts("panel", "mirrorDetached", 1);
}

#[test]
fn without_a_required_mirror_the_client_is_refused() {
    let (target, port) = (Sink::start(), Nobody::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address(), &[port.address]).with("/mirrors/0/required", true));
    is_turned_away(at);
    daemon.counts("panel", "clientRefused", 1);
    assert_eq!(daemon.counter("panel", "mirrorErrConnect"), 1);
    daemon.counts("panel", "activeConnections", 0);
    assert!(target.ended(1)[0].bytes.is_empty());
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains("required mirror") && error.contains(&port.address.to_string()), "{error}");
    let (tells, heard) = std::sync::mpsc::channel();
    let _up = Server::start_at((port.address.ip(), port.address.port()), move |_, mut stream: TcpStream| {
        let _ = tells.send(stream.receive_all());
    });
    let mut client = connect(at);
    client.send(b"now it is there");
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), (b"now it is there".to_vec(), End::Fin));
    assert_eq!(target.ended(2)[1].bytes, b"now it is there");
    assert_eq!(daemon.counter("panel", "clientRefused"), 1);
}

#[test]
fn block_holds_the_stream_until_the_mirror_follows_and_loses_nothing() {
    let (target, gate) = (Sink::start(), Gate::shut());
    let slow = Sink::start_behind(gate.clone());
    let daemon = Daemon::start();
    let spec = mirror(target.address(), &[slow.address()])
        .with("/mirrors/0/when_full", "block")
        .with("/mirrors/0/buffer", "64 KiB");
    let at = daemon.mirror("panel", &spec);
    let data = pattern(20_000_000, 3);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = connect(at);
            client.send(&data);
            client.finish();
            client.receive_all()
        });
        let mut last = 0;
        until("the stream is held", || {
            let now = daemon.counter("panel", "clientRxBytes");
            (std::mem::replace(&mut last, now) == now && now > 64 << 10).then_some(())
        });
        assert!(last < 15_000_000, "{last} bytes went on although the mirror reads nothing");
        assert!(!writer.is_finished());
        gate.lift();
        assert_eq!(writer.join().unwrap(), (Vec::new(), End::Fin));
    });
    assert!(target.one().bytes == data);
    let copy = slow.one();
    assert!(copy.bytes == data && copy.end == Some(End::Fin), "{} bytes, {:?}", copy.bytes.len(), copy.end);
    assert_eq!((daemon.counter("panel", "mirrorDetached"), daemon.counter("panel", "mirrorDroppedBytes")), (0, 0));
}

#[test]
fn block_does_not_wait_for_a_mirror_that_is_down_or_dies() {
    let (target, down) = (echo(), Nobody::new());
    let dies = Server::start(|_, stream: TcpStream| stream.reset());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[down.address, dies.address]);
    let spec = (0..2).fold(spec, |spec, i| {
        spec.with(&format!("/mirrors/{i}/when_full"), "block").with(&format!("/mirrors/{i}/buffer"), "4 KiB")
    });
    let at = daemon.mirror("panel", &spec);
    let data = pattern(5_000_000, 3);
    let (got, end) = exchange(at, &data);
    assert!(got == data && end == End::Fin);
}

#[test]
fn a_mirror_that_is_detached_gets_a_reset_so_that_it_knows() {
    let (target, gate) = (echo(), Gate::shut());
    let slow = Sink::start_behind(gate.clone());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[slow.address()]).with("/mirrors/0/buffer", "64 KiB"));
    let data = pattern(20_000_000, 6);
    let mut client = connect(at);
    for part in data.chunks(500_000) {
        assert!(client.ask(part) == part);
    }
    daemon.counts("panel", "mirrorDetached", 1);
    gate.lift();
    let copy = slow.one();
    assert_eq!(copy.end, Some(End::Reset));
    assert!(data.starts_with(&copy.bytes) && copy.bytes.len() < data.len(), "{} bytes", copy.bytes.len());
    assert_eq!(client.ask(b"on it goes"), b"on it goes");
}

#[test]
fn a_copy_is_exact_however_the_stream_is_cut() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    // Large enough for everything: how fast the machine is must not matter here.
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/mirrors/0/buffer", "16 MiB"));
    let mut numbers = Lcg::new(20);
    for case in 0..24 {
        let len = 1 + numbers.below(1_000_000);
        let data = pattern(len, case);
        let mut client = connect(at);
        let mut reader = client.try_clone().unwrap();
        let answer = std::thread::spawn(move || reader.receive_all());
        let mut left = data.as_slice();
        while !left.is_empty() {
            // Small pieces and large ones, all within one connection.
            let most = 1usize << numbers.below(19);
            let (part, rest) = left.split_at((1 + numbers.below(most)).max(len / 2000).min(left.len()));
            client.send(part);
            left = rest;
        }
        client.finish();
        let (got, end) = answer.join().unwrap();
        assert!(got == data && end == End::Fin, "case {case}: {} bytes of {len} came back, {end:?}", got.len());
        let copy = sink.ended(case as usize + 1).pop().unwrap();
        assert!(
            copy.bytes == data && copy.end == Some(End::Fin),
            "case {case}: {} bytes of {len}, {:?}",
            copy.bytes.len(),
            copy.end
        );
    }
    assert_eq!((daemon.counter("panel", "mirrorDetached"), daemon.counter("panel", "mirrorDroppedBytes")), (0, 0));
}

#[test]
fn small_messages_reach_the_mirror_without_more_traffic() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut client = connect(at);
    let mut sent = Vec::new();
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        // Several writes at once, so that all but the first fall into the batch; then silence.
        for part in 0..5 {
            let message = format!("{round}.{part};");
            client.ask(message.as_bytes());
            sent.extend(message.into_bytes());
        }
        let started = Instant::now();
        assert_eq!(sink.got(0, sent.len()), sent);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_millis(250), "a copy came after {slowest:?} of silence");
}

#[test]
fn a_mirror_gets_its_fin_when_the_directions_that_it_gets_have_ended() {
    let gate = Gate::shut();
    let open = gate.clone();
    let target = Server::start(move |_, mut stream: TcpStream| {
        stream.receive_all();
        open.pass();
        stream.send(b"late answer");
    });
    let (from_client, both) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let spec = mirror(target.address, &[from_client.address(), both.address()]).with("/mirrors/1/from_target", true);
    let at = daemon.mirror("panel", &spec);
    let mut client = connect(at);
    client.send(b"question");
    client.finish();
    // The client has ended: the mirror that gets nothing else knows at once, the other waits for the answer.
    let copy = from_client.one();
    assert_eq!((copy.bytes.as_slice(), copy.end), (b"question".as_slice(), Some(End::Fin)));
    assert_eq!(both.got(0, 8), b"question");
    assert!(both.wait("the connection", |list| Some(list[0].end.is_none())), "the second mirror was ended too early");
    gate.lift();
    assert_eq!(client.receive_all(), (b"late answer".to_vec(), End::Fin));
    let copy = both.one();
    assert_eq!((copy.bytes.as_slice(), copy.end), (b"questionlate answer".as_slice(), Some(End::Fin)));
}
