//! What other mirrors get wrong, and what a mirror, a client or a target may do: the main stream comes first.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use crate::support::*;

#[test]
fn a_mirror_that_is_down_refuses_no_client() {
    let (target, mirror_is_down) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[mirror_is_down.address]));
    for round in 0..3 {
        let data = pattern(10_000, round);
        assert_eq!(exchange(at, &data), (data, End::Fin));
    }
    daemon.counts("panel", "mirrorErrConnect", 3);
    assert_eq!((daemon.counter("panel", "clientConnections"), daemon.counter("panel", "targetConnections")), (3, 3));
    assert_eq!(daemon.counter("panel", "mirrorConnections"), 0);
    daemon.counts("panel", "mirrorDroppedBytes", 30_000);
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains(&mirror_is_down.address.to_string()) && error.contains("connection refused"), "{error}");
}

#[test]
fn a_mirror_that_comes_back_gets_the_next_connection() {
    let target = echo();
    let port = Nobody::new();
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[port.address]));
    assert_eq!(exchange(at, b"nobody hears this"), (b"nobody hears this".to_vec(), End::Fin));
    daemon.counts("panel", "mirrorErrConnect", 1);
    let (tells, heard) = std::sync::mpsc::channel();
    let _back = Server::start_at((port.address.ip(), port.address.port()), move |_, mut stream: TcpStream| {
        let _ = tells.send(stream.receive_all());
    });
    assert_eq!(exchange(at, b"but this"), (b"but this".to_vec(), End::Fin));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), (b"but this".to_vec(), End::Fin));
}

#[test]
fn a_mirror_that_never_reads_freezes_no_client() {
    let (target, stuck) = (echo(), Stuck::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[stuck.address]));
    let answers: Vec<bool> = std::thread::scope(|scope| {
        let talk = |(seed, len): (u64, usize)| {
            scope.spawn(move || {
                let data = pattern(len, seed);
                exchange(at, &data) == (data, End::Fin)
            })
        };
        let clients: Vec<_> = [(1, 30_000_000), (2, 10_000_000), (3, 10_000_000)].map(talk).into();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(answers, [true; 3], "an answer was not what was sent");
    daemon.counts("panel", "mirrorDetached", 3);
    assert_eq!(daemon.counter("panel", "clientRxBytes"), 50_000_000);
    assert_eq!(daemon.counter("panel", "mirrorTxBytes") + daemon.counter("panel", "mirrorDroppedBytes"), 50_000_000);
}

#[test]
fn a_syn_that_the_mirror_swallows_delays_nobody() {
    let (target, swallows) = (echo(), Narrow::filled());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[swallows.address]).with("/connect_timeout", 3));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                let data = pattern(5000, seed);
                assert_eq!(exchange(at, &data), (data, End::Fin));
            });
        }
    });
    assert!(started.elapsed() < SOON, "eight clients took {:?}", started.elapsed());
    assert_eq!(daemon.counter("panel", "mirrorErrConnect"), 0, "the mirror was given up before the clients were served");
    daemon.counts("panel", "mirrorErrConnect", 8);
}

#[test]
fn a_syn_that_the_target_swallows_costs_that_client_the_timeout_and_nobody_else_anything() {
    let (mut target, sink) = (Narrow::new(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]).with("/connect_timeout", 1));
    let mut early = connect(at);
    let mut early_at_target = target.accept();
    target.fill();
    let started = Instant::now();
    let mut late = connect(at);
    late.send(b"is anybody there?");
    let others = || started.elapsed();
    let mut rounds = 0;
    // The early client talks all the time while the late one waits.
    while daemon.counter("panel", "targetErrConnect") == 0 {
        let sent = Instant::now();
        early.send(b"ping");
        assert_eq!(early_at_target.receive(4), b"ping");
        early_at_target.send(b"pong");
        assert_eq!(early.receive(4), b"pong");
        assert!(sent.elapsed() < SOON);
        assert!(others() < PATIENCE, "the late client is never given up");
        rounds += 1;
    }
    assert!(rounds > 1, "the early client could not talk meanwhile");
    let (answer, _) = late.receive_all();
    assert_eq!(answer, b"");
    let closed = started.elapsed();
    assert!((800..2800).contains(&closed.as_millis()), "closed after {closed:?}, the timeout is 1 s");
    assert_eq!(daemon.counter("panel", "targetConnections"), 1);
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains(&target.address.to_string()) && error.contains("no answer within"), "{error}");
}

#[test]
fn a_target_that_is_down_closes_the_client_at_once_and_is_no_success() {
    let (down, sink) = (Nobody::new(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(down.address, &[sink.address()]));
    let started = Instant::now();
    for _ in 0..3 {
        is_turned_away(at);
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    daemon.counts("panel", "targetErrConnect", 3);
    assert_eq!((daemon.counter("panel", "clientConnections"), daemon.counter("panel", "targetConnections")), (3, 0));
    daemon.counts("panel", "activeConnections", 0);
    assert_eq!(sink.count(), 0, "the mirror was dialled although there is nothing to copy");
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains(&down.address.to_string()) && error.contains("connection refused"), "{error}");
}

#[test]
fn resets_of_clients_are_passed_on_and_do_not_hurt_the_listener() {
    let (target, sink) = (Sink::start(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address(), &[sink.address()]));
    for number in 0..50 {
        let mut client = connect(at);
        client.send(b"half a mess");
        target.got(number, 11);
        client.reset();
    }
    for record in target.ended(50) {
        assert_eq!((record.bytes.as_slice(), record.end), (b"half a mess".as_slice(), Some(End::Reset)));
    }
    let mut good = connect(at);
    good.send(b"a whole message");
    good.finish();
    assert_eq!(target.ended(51)[50].bytes, b"a whole message");
    assert_eq!(good.receive_all(), (Vec::new(), End::Fin));
    assert_eq!(daemon.counter("panel", "clientErrPkts"), 50);
    daemon.counts("panel", "activeConnections", 0);
}

#[test]
fn a_client_that_resets_before_it_is_accepted_does_not_hurt_the_listener() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    for _ in 0..50 {
        connect(at).reset();
    }
    assert_eq!(exchange(at, b"still here"), (b"still here".to_vec(), End::Fin));
    daemon.counts("panel", "activeConnections", 0);
}

#[test]
fn a_reset_of_the_target_is_passed_on() {
    let (target, sink) = (
        Server::start(|_, mut stream: TcpStream| {
            stream.receive(5);
            stream.send(b"partial");
            stream.receive(2);
            stream.reset();
        }),
        Sink::start(),
    );
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut client = connect(at);
    client.send(b"hello");
    assert_eq!(client.receive(7), b"partial");
    client.send(b"go");
    assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
    daemon.counts("panel", "targetErrPkts", 1);
}

#[test]
fn the_answer_that_comes_after_the_clients_fin_arrives_whole() {
    let answer = pattern(1_500_000, 7);
    let (target, sink) = (answers_after_fin(answer.clone()), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror(
        "panel",
        &mirror(target.address, &[sink.address()])
            .with("/mirrors/0/from_target", true)
            .with("/mirrors/0/buffer", "4 MiB"),
    );
    let mut client = connect(at);
    client.send(&pattern(70_000, 8));
    client.finish();
    let expected = [b"0000070000".as_slice(), &answer].concat();
    let (got, end) = client.receive_all();
    assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
    assert_eq!(end, End::Fin);
    let copy = sink.one();
    assert_eq!(copy.end, Some(End::Fin));
    assert!(copy.bytes == [pattern(70_000, 8), expected].concat(), "{} bytes", copy.bytes.len());
}

#[test]
fn what_the_client_sends_after_the_targets_fin_arrives_whole() {
    let (target, sink) = (Sink::start_with(|_, stream| stream.finish()), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address(), &[sink.address()]));
    let mut client = connect(at);
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    let data = pattern(1_000_000, 9);
    client.send(&data);
    client.finish();
    assert!(target.one().bytes == data);
    let copy = sink.one();
    assert!(copy.bytes == data && copy.end == Some(End::Fin));
}

#[test]
fn messages_as_large_as_a_buffer_pass_promptly() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut client = connect(at);
    client.hurry(SOON);
    let mut sent = Vec::new();
    for size in [4096, 8192, 16_384, 65_536] {
        for len in [size - 1, size, size + 1, size] {
            let data = pattern(len, len as u64);
            assert!(client.ask(&data) == data, "{len} bytes did not come back as they were");
            sent.extend(data);
            // The copy comes without another message having to push it.
            let copy = sink.got(0, sent.len());
            assert!(copy == sent, "the copy differs after {} bytes", sent.len());
        }
    }
    // The same without an answer, one connection each.
    for size in [4096, 8192, 16_384, 65_536] {
        let data = pattern(size, 1);
        assert_eq!(exchange(at, &data), (data, End::Fin));
    }
    drop(client);
    // Small copies are dialled a moment later than large ones.
    let mut lengths: Vec<_> = sink.ended(5).iter().map(|r| r.bytes.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [4096, 8192, 16_384, 65_536, sent.len()]);
}

#[test]
fn a_mirror_that_dies_half_way_is_not_noticed() {
    let target = echo();
    let (tells, death) = std::sync::mpsc::channel();
    let dies = Server::start(move |_, mut stream: TcpStream| {
        stream.receive(100_000);
        stream.reset();
        tells.send(()).unwrap();
    });
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[dies.address]));
    let mut client = connect(at);
    let first = pattern(100_000, 1);
    assert!(client.ask(&first) == first);
    death.recv_timeout(PATIENCE).unwrap();
    for round in 0..20 {
        let data = pattern(50_000, round);
        assert!(client.ask(&data) == data);
    }
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    daemon.counts("panel", "mirrorDetached", 1);
    assert_eq!(daemon.counter("panel", "clientTxBytes"), 1_100_000);
}

#[test]
fn a_mirror_that_resets_at_once_is_not_noticed() {
    let target = echo();
    let resets = Server::start(|_, stream: TcpStream| stream.reset());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[resets.address]));
    for round in 0..20 {
        let data = pattern(20_000, round);
        assert_eq!(exchange(at, &data), (data, End::Fin));
    }
    daemon.counts("panel", "activeConnections", 0);
    assert_eq!(daemon.counter("panel", "clientTxBytes"), 400_000);
}

#[test]
fn a_mirror_that_closes_its_own_side_or_chatters_is_not_noticed() {
    let target = echo();
    let chatters = Sink::start_with(|_, stream| {
        let mut writer = stream.try_clone().unwrap();
        std::thread::spawn(move || while writer.write_all(&[b'?'; 10_000]).is_ok() {});
    });
    let closes = Sink::start_with(|_, stream| stream.finish());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[chatters.address(), closes.address()]));
    let data = pattern(500_000, 3);
    let mut client = connect(at);
    for part in data.chunks(25_000) {
        assert!(client.ask(part) == part, "the mirror's own bytes got into the stream");
    }
    client.finish();
    assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    assert!(closes.one().bytes == data);
    assert!(chatters.got(0, data.len()) == data);
}
