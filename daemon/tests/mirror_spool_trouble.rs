//! The spool when mirrors lie, disks stall, and files go.

use std::time::Duration;

use crate::mirror_spool::{is_empty, records, spooled};
use crate::support::*;

#[test]
fn a_mirror_that_accepts_and_closes_has_got_nothing() {
    for away_first in [false, true] {
        let (target, port) = (echo(), Nobody::new());
        let daemon = Daemon::start();
        let closes = |_: usize, stream: std::net::TcpStream| drop(stream);
        let closing = (!away_first).then(|| Server::start_at((port.address.ip(), port.address.port()), closes));
        let at = daemon.mirror("panel", &spooled(target.address, port.address));
        for i in 0..3 {
            let mut client = connect(at);
            client.hurry(SOON);
            if i == 0 && !away_first {
                // The mirror has closed before there is anything for it.
                until("the mirror is connected", || (daemon.counter("panel", "mirrorConnections") > 0).then_some(()));
            }
            assert_eq!(client.ask(b"the mirror is to get this"), b"the mirror is to get this");
            client.finish();
            assert_eq!(client.receive_all().1, End::Fin);
        }
        let closing = closing.or_else(|| Some(Server::start_at((port.address.ip(), port.address.port()), closes)));
        until("it was tried", || (daemon.counter("panel", "mirrorConnections") > 0).then_some(()));
        drop(closing);
        let sink = Sink::start_at(port.address);
        let got = sink.wait("all three", |list| {
            let whole = list.iter().filter(|r| r.bytes == b"the mirror is to get this").count();
            (whole >= 3).then(|| list.to_vec())
        });
        assert!(got.iter().all(|r| r.bytes.is_empty() || r.bytes == b"the mirror is to get this"), "{got:?}");
        assert_eq!(daemon.counter("panel", "spoolDropped"), 0);
    }
}

/// The disk's thread is stuck in opening a pipe that nobody reads, as it would be on a disk that does not answer.
#[test]
fn a_disk_that_stalls_holds_up_nobody() {
    let (target, sink) = (echo(), Sink::start());
    let mut daemon = Daemon::start();
    let at = daemon.mirror("panel", &spooled(target.address, sink.address()));
    let dir = daemon.state_dir().join("flows/panel.d/spool").join(sink.address().to_string().replace(':', "_"));
    for seq in 1..20 {
        rustix::fs::mknodat(rustix::fs::CWD, dir.join(format!("{seq:016x}.rec")), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }
    let data = pattern(4 << 20, 3);
    for _ in 0..3 {
        let mut client = connect(at);
        client.hurry(SOON);
        for part in data.chunks(16 << 10) {
            assert!(client.ask(part) == part);
        }
    }
    assert!(daemon.counter("panel", "spoolDropped") > 0);
    sink.wait("the mirror has all nevertheless", |list| {
        (list.len() == 3 && list.iter().all(|r| r.bytes == data)).then_some(())
    });
    let started = std::time::Instant::now();
    daemon.stop();
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_reset_does_not_overtake_what_a_slow_mirror_has_still_to_get() {
    let target = echo();
    let gate = Gate::shut();
    let opens = gate.clone();
    let sink = Sink::start_with(move |_, stream| {
        socket2::SockRef::from(&*stream).set_recv_buffer_size(32 << 10).unwrap();
        opens.pass();
    });
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &spooled(target.address, sink.address()).with("/mirrors/0/buffer", "8 MiB"));
    let data = pattern(4 << 20, 4);
    let mut client = connect(at);
    for part in data.chunks(64 << 10) {
        assert!(client.ask(part) == part);
    }
    client.reset();
    daemon.counts("panel", "activeConnections", 0);
    gate.lift();
    // At once, or, where that took too long, once more from the disk.
    sink.wait("all of it, and a reset", |list| {
        list.iter().any(|r| r.bytes == data && r.end == Some(End::Reset)).then_some(())
    });
    is_empty(&daemon, "panel");
}

#[test]
fn a_record_that_somebody_removes_is_counted_and_costs_no_time() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &spooled(target.address, away.address));
    let mut client = connect(at);
    assert_eq!(client.ask(b"still connected"), b"still connected");
    until("it is on disk", || (records(&daemon, "panel").len() == 1).then_some(()));
    std::fs::remove_file(&records(&daemon, "panel")[0]).unwrap();
    let _sink = Sink::start_at(away.address);
    daemon.counts("panel", "spoolDropped", 1);
    daemon.counts("panel", "spooledConnections", 0);
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.process.pid())).unwrap();
        let fields: Vec<u64> = stat.rsplit(')').next().unwrap().split_whitespace().flat_map(str::parse).collect();
        fields[10] + fields[11]
    };
    let before = ticks();
    for _ in 0..50 {
        assert_eq!(client.ask(b"and goes on"), b"and goes on");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert!(ticks() - before < 40, "it is busy");
}
