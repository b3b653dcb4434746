//! The spool: what a mirror gets that was away.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::*;

pub(crate) fn spooled(target: SocketAddr, mirror_at: SocketAddr) -> Value {
    mirror(target, &[mirror_at]).with("/mirrors/0/spool", json!({}))
}

/// The records on disk, oldest first.
pub(crate) fn records(daemon: &Daemon, flow: &str) -> Vec<PathBuf> {
    let spools = daemon.state_dir().join("flows").join(format!("{flow}.d/spool"));
    let Ok(spools) = std::fs::read_dir(spools) else { return Vec::new() };
    let mut found: Vec<_> = spools
        .flat_map(|spool| std::fs::read_dir(spool.unwrap().path()).unwrap())
        .map(|r| r.unwrap().path())
        .collect();
    found.sort();
    found
}

/// Those that are complete: their last chunk is an end.
pub(crate) fn whole(daemon: &Daemon, flow: &str) -> Vec<PathBuf> {
    let is_whole = |record: &PathBuf| {
        let bytes = std::fs::read(record).unwrap_or_default();
        let end = bytes.len().checked_sub(10).map(|at| &bytes[at..]);
        end.is_some_and(|end| end[..4] == [1, 0, 0, 0] && end[8] == 3)
    };
    records(daemon, flow).into_iter().filter(is_whole).collect()
}

#[track_caller]
pub(crate) fn is_empty(daemon: &Daemon, flow: &str) {
    daemon.counts(flow, "spooledConnections", 0);
    daemon.counts(flow, "spooledBytes", 0);
    until("the spool's directory is empty", || records(daemon, flow).is_empty().then_some(()));
}

#[test]
fn a_mirror_that_was_away_gets_every_connection_whole_and_in_order() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &spooled(target.address, away.address));
    let sent: Vec<Vec<u8>> = (0..20).map(|i| pattern([1, 70_000, 300, 1_000_000][i % 4] + i, i as u64)).collect();
    for data in &sent {
        assert!(exchange(at, data) == (data.clone(), End::Fin));
    }
    daemon.counts("panel", "spooledConnections", 20);
    let sink = Sink::start_at(away.address);
    for (data, record) in sent.iter().zip(sink.ended(20)) {
        assert!(record.bytes == *data && record.end == Some(End::Fin));
    }
    is_empty(&daemon, "panel");
    assert_eq!((daemon.counter("panel", "spoolReplayed"), daemon.counter("panel", "spoolRepeated")), (20, 0));
    assert_eq!((daemon.counter("panel", "spoolDropped"), daemon.counter("panel", "mirrorDroppedBytes")), (0, 0));
    // From now on it gets them at once.
    assert_eq!(exchange(at, b"at once").0, b"at once");
    assert_eq!(sink.ended(21)[20].bytes, b"at once");
    assert_eq!(daemon.counter("panel", "spoolReplayed"), 20);
}

#[test]
fn a_healthy_mirror_costs_the_disk_nothing() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &spooled(target.address, sink.address()));
    let dir = daemon.state_dir().join("flows/panel.d/spool").join(sink.address().to_string().replace(':', "_"));
    let before = std::fs::metadata(&dir).unwrap().modified().unwrap();
    for i in 0..50 {
        assert_eq!(exchange(at, &pattern(1000, i)).0.len(), 1000);
    }
    sink.ended(50);
    is_empty(&daemon, "panel");
    assert_eq!(daemon.counter("panel", "spoolReplayed"), 0);
    assert_eq!(std::fs::metadata(&dir).unwrap().modified().unwrap(), before, "a file was made");
}

#[test]
fn a_copy_that_broke_half_way_comes_again_from_its_first_byte_and_later_ones_wait_behind_it() {
    let (target, port) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let gate = Gate::shut();
    let may_break = gate.clone();
    let breaks = Sink::start_at_with(port.address, move |_, stream| {
        stream.receive(40_000);
        may_break.pass();
        stream.try_clone().unwrap().reset();
        stream.shutdown(std::net::Shutdown::Both).ok();
    });
    let at = daemon.mirror("panel", &spooled(target.address, port.address));
    let (first, second) = (pattern(200_000, 1), pattern(5000, 2));
    let mut client = connect(at);
    assert!(client.ask(&first[..100_000]) == first[..100_000]);
    drop(breaks); // from now on nobody listens there
    gate.lift();
    let mut sent = 100_000;
    until("the copy is given up", || {
        assert!(client.ask(&first[sent..sent + 100]) == first[sent..sent + 100]);
        sent += 100;
        (daemon.counter("panel", "mirrorDetached") == 1).then_some(())
    });
    assert_eq!(exchange(at, &second).0.len(), 5000);
    assert!(client.ask(&first[sent..]) == first[sent..]);
    client.finish();
    assert_eq!(client.receive_all().1, End::Fin);
    let sink = Sink::start_at(port.address);
    let got = sink.ended(2);
    assert!(got[0].bytes == first && got[1].bytes == second, "{} {}", got[0].bytes.len(), got[1].bytes.len());
    assert_eq!((got[0].end, got[1].end), (Some(End::Fin), Some(End::Fin)));
    is_empty(&daemon, "panel");
}

#[test]
fn a_connection_that_goes_on_is_caught_up_with_and_holds_up_nobody() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &spooled(target.address, away.address));
    let mut long = connect(at);
    assert_eq!(long.ask(b"before, "), b"before, ");
    daemon.counts("panel", "spooledConnections", 1);
    assert_eq!(exchange(at, b"short").0, b"short");
    let sink = Sink::start_at(away.address);
    assert_eq!(sink.got(0, 8), b"before, ");
    assert_eq!(sink.got(1, 5), b"short");
    assert_eq!(long.ask(b"and after"), b"and after");
    assert_eq!(sink.got(0, 17), b"before, and after");
    // Nobody waits, so the next one is not kept back.
    assert_eq!(exchange(at, b"next").0, b"next");
    sink.wait("the next one", |list| (list.len() == 3 && list[2].bytes == b"next").then_some(()));
    long.finish();
    assert_eq!(sink.ended(3)[0].bytes, b"before, and after");
    is_empty(&daemon, "panel");
}

#[test]
fn what_waits_outlives_a_kill_and_what_was_cut_by_it_ends_in_a_reset() {
    for partial in ["replay", "drop"] {
        let (target, away) = (echo(), Nobody::new());
        let mut daemon = Daemon::start();
        let port = Nobody::new();
        let spec = spooled(target.address, away.address).with("/listen", port.address).with("/mirrors/0/spool/partial", partial);
        daemon.mirror("panel", &spec);
        assert_eq!(exchange(port.address, b"whole").0, b"whole");
        let mut cut = connect(port.address);
        assert_eq!(cut.ask(b"cut"), b"cut");
        until("both are on disk", || {
            let bytes: u64 = records(&daemon, "panel").iter().map(|r| r.metadata().unwrap().len()).sum();
            (records(&daemon, "panel").len() == 2 && bytes == daemon.counter("panel", "spooledBytes") && bytes > 110).then_some(())
        });
        daemon.kill();
        daemon.start_again();
        assert_eq!(exchange(port.address, b"later").0, b"later");
        let sink = Sink::start_at(away.address);
        let expected: &[(&[u8], End)] = match partial {
            "replay" => &[(b"whole", End::Fin), (b"cut", End::Reset), (b"later", End::Fin)],
            _ => &[(b"whole", End::Fin), (b"later", End::Fin)],
        };
        let got = sink.ended(expected.len());
        for (record, (bytes, end)) in got.iter().zip(expected) {
            assert_eq!((record.bytes.as_slice(), record.end), (*bytes, Some(*end)), "{partial}");
        }
        is_empty(&daemon, "panel");
        assert_eq!(daemon.counter("panel", "spoolDropped"), u64::from(partial == "drop"));
    }
}

#[test]
fn a_stop_keeps_what_was_not_delivered() {
    let (target, away) = (echo(), Nobody::new());
    let mut daemon = Daemon::prepare().arg("--drain-timeout", "100ms").start();
    let at = daemon.mirror("panel", &spooled(target.address, away.address));
    assert_eq!(exchange(at, b"first").0, b"first");
    let mut going_on = connect(at);
    assert_eq!(going_on.ask(b"second"), b"second");
    assert!(daemon.stop().success());
    daemon.start_again();
    let sink = Sink::start_at(away.address);
    let got = sink.ended(2);
    assert_eq!((got[0].bytes.as_slice(), got[0].end), (&b"first"[..], Some(End::Fin)));
    assert_eq!((got[1].bytes.as_slice(), got[1].end), (&b"second"[..], Some(End::Reset)));
    is_empty(&daemon, "panel");
}

#[test]
fn a_clients_reset_is_played_back_as_one() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &spooled(target.address, away.address));
    let mut client = connect(at);
    assert_eq!(client.ask(b"then gone"), b"then gone");
    client.reset();
    daemon.counts("panel", "activeConnections", 0);
    let sink = Sink::start_at(away.address);
    let got = sink.one();
    assert_eq!((got.bytes.as_slice(), got.end), (&b"then gone"[..], Some(End::Reset)));
    is_empty(&daemon, "panel");
}

#[test]
fn at_max_bytes_the_oldest_go_and_are_counted() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let spec = spooled(target.address, away.address).with("/mirrors/0/spool/max_bytes", "1 MiB");
    let at = daemon.mirror("panel", &spec);
    let sent: Vec<Vec<u8>> = (0..6).map(|i| pattern(300_000, i)).collect();
    for (i, data) in sent.iter().enumerate() {
        assert!(exchange(at, data).0 == *data);
        // One after the other, so that it is known who is older and whole.
        until("it is on disk", || {
            (daemon.counter("panel", "spooledConnections") + daemon.counter("panel", "spoolDropped") == i as u64 + 1).then_some(())
        });
    }
    daemon.counts("panel", "spoolDropped", 3);
    // One that is larger than the whole spool is given up; the client does not notice.
    let large = pattern(3 << 20, 9);
    assert!(exchange(at, &large).0 == large);
    daemon.counts("panel", "spoolDropped", 7);
    assert!(exchange(at, &sent[0]).0 == sent[0]);
    let sink = Sink::start_at(away.address);
    assert!(sink.one().bytes == sent[0]);
    is_empty(&daemon, "panel");
    let log = daemon.call("log.tail", json!({"lines": 100})).unwrap().to_string();
    assert!(log.contains("max_bytes (1048576 bytes) are reached"), "{log}");
}

#[test]
fn at_max_age_records_go() {
    let (target, away) = (echo(), Nobody::new());
    let mut daemon = Daemon::start();
    let port = Nobody::new();
    let spec = spooled(target.address, away.address).with("/listen", port.address).with("/mirrors/0/spool/max_age", "1h");
    daemon.mirror("panel", &spec);
    for data in [b"old", b"new"] {
        assert_eq!(exchange(port.address, data).0, data);
    }
    until("both are whole on disk", || (whole(&daemon, "panel").len() == 2).then_some(()));
    daemon.kill();
    let old = std::fs::File::options().append(true).open(&records(&daemon, "panel")[0]).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();
    daemon.start_again();
    daemon.counts("panel", "spoolDropped", 1);
    assert_eq!(Sink::start_at(away.address).one().bytes, b"new");
}

#[test]
fn an_edit_keeps_what_waits_and_a_removal_takes_it_along() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let spec = spooled(target.address, away.address);
    let at = daemon.mirror("panel", &spec);
    assert_eq!(exchange(at, b"before the edit").0, b"before the edit");
    daemon.counts("panel", "spooledConnections", 1);
    let at = daemon.mirror("panel", &spec.clone().with("/mirrors/0/spool/max_bytes", "2 MiB"));
    assert_eq!(exchange(at, b"after").0, b"after");
    daemon.counts("panel", "spooledConnections", 2);
    // Turned off, it keeps them and shows none; turned on, it plays them back.
    let off = json!({"id": "panel", "owner": "test", "kind": "mirror", "spec": spec, "enabled": false});
    daemon.call("flow.apply", off).unwrap();
    assert_eq!((daemon.counter("panel", "spooledConnections"), records(&daemon, "panel").len()), (0, 2));
    let at = daemon.mirror("panel", &spec);
    let sink = Sink::start_at(away.address);
    let got = sink.ended(2);
    assert_eq!((got[0].bytes.as_slice(), got[1].bytes.as_slice()), (&b"before the edit"[..], &b"after"[..]));
    drop(sink);
    assert_eq!(exchange(at, b"more").0, b"more");
    until("it is whole on disk", || (whole(&daemon, "panel").len() == 1).then_some(()));
    // Without its spool, what it kept is named.
    daemon.mirror("panel", &spec.clone().without("/mirrors/0/spool"));
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains("1 connections in") && error.contains("delete them"), "{error}");
    daemon.mirror("panel", &spec);
    daemon.counts("panel", "spooledConnections", 1);
    daemon.call("flow.remove", json!({"id": "panel"})).unwrap();
    assert!(!daemon.state_dir().join("flows/panel.d").exists());
}

#[test]
fn a_spool_that_cannot_be_used_keeps_no_flow_from_serving() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    std::fs::create_dir(daemon.state_dir().join("flows")).unwrap();
    std::fs::write(daemon.state_dir().join("flows/panel.d"), "in the way").unwrap();
    let at = daemon.mirror("panel", &spooled(target.address, sink.address()));
    assert_eq!(exchange(at, b"served").0, b"served");
    assert_eq!(sink.one().bytes, b"served");
    let error = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(error.contains("spool") && error.contains("panel.d"), "{error}");
}

#[test]
fn a_damaged_record_is_played_as_far_as_it_goes_and_holds_up_nobody() {
    let (target, away) = (echo(), Nobody::new());
    let mut daemon = Daemon::start();
    let port = Nobody::new();
    daemon.mirror("panel", &spooled(target.address, away.address).with("/listen", port.address));
    let sent: Vec<Vec<u8>> = (0..3).map(|i| pattern(1000, i)).collect();
    for data in &sent {
        assert!(exchange(port.address, data).0 == *data);
    }
    until("all are on disk", || {
        (records(&daemon, "panel").iter().filter(|r| r.metadata().unwrap().len() > 1040).count() == 3).then_some(())
    });
    daemon.kill();
    let files = records(&daemon, "panel");
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    std::fs::write(&files[1], vec![0; 4096]).unwrap();
    // A kill between making a file and the first write leaves this.
    std::fs::write(files[0].with_file_name("0000000000000000.rec"), []).unwrap();
    std::fs::write(files[0].with_file_name("note.txt"), "not a record").unwrap();
    daemon.start_again();
    let sink = Sink::start_at(away.address);
    sink.wait("the good one", |list| list.iter().any(|r| r.bytes == sent[2] && r.end == Some(End::Fin)).then_some(()));
    sink.wait("no whole bad one", |list| list.iter().all(|r| r.end.is_some()).then_some(()));
    daemon.counts("panel", "spooledConnections", 0);
    until("only what is no record is left", || (records(&daemon, "panel").len() == 1).then_some(()));
    assert!(sink.ended(4).iter().filter(|r| r.end == Some(End::Fin)).count() == 1, "what is damaged must not look whole");
}

/// Kills the daemon at random, while connections are made and while they are played back. `DOMOFLUX_KILLS` says how
/// often; from 50 on it is a thousand connections of up to 10 MB.
#[test]
fn every_record_that_is_complete_is_played_back_whole_and_in_order_however_often_the_daemon_is_killed() {
    let kills: usize = std::env::var("DOMOFLUX_KILLS").map_or(6, |n| n.parse().unwrap());
    let (connections, largest) = if kills >= 50 { (1000, 24) } else { (120, 20) };
    let (target, away, port) = (echo(), Nobody::new(), Nobody::new());
    let mut daemon = Daemon::prepare().arg("--buffer-total", "64 MiB").start();
    let spec = spooled(target.address, away.address).with("/listen", port.address);
    let spec = spec.with("/mirrors/0/spool", json!({"max_bytes": "30 GiB", "partial": "drop"}));
    daemon.mirror("panel", &spec);
    let mut numbers = Lcg::new(5);
    // Each begins with its number, and its length follows from that.
    let data = |i: usize| {
        let size = (1 << Lcg::new(i as u64 + 77).below(largest)) + Lcg::new(i as u64).below(1000);
        [format!("{i:08}").into_bytes(), pattern(size, i as u64)].concat()
    };
    let next = AtomicUsize::new(0);
    let mut complete: Vec<String> = Vec::new();
    let mut kill_at: Vec<usize> = (0..kills / 2).map(|_| numbers.below(connections)).collect();
    kill_at.sort_unstable();
    kill_at.push(connections);
    for limit in kill_at {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::SeqCst);
                        if i >= limit {
                            next.fetch_min(i, Ordering::SeqCst);
                            return;
                        }
                        let sent = data(i);
                        assert!(exchange(port.address, &sent).0 == sent);
                    }
                });
            }
        });
        next.store(limit, Ordering::SeqCst);
        let mut cut = connect(port.address);
        assert_eq!(cut.ask(b"cut by the kill").len(), 15);
        daemon.kill();
        daemon.start_again();
        complete = whole(&daemon, "panel")
            .iter()
            .map(|record| record.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
    }
    assert!(complete.len() >= connections * 9 / 10, "only {} are complete", complete.len());
    let expected: Vec<usize> = whole(&daemon, "panel").iter().map(number_of).collect();
    let sink = Sink::start_at(away.address);
    let mut numbers = Lcg::new(6);
    for _ in 0..kills / 2 {
        let enough = sink.count() + numbers.below(1 + connections / kills);
        until_within(Duration::from_secs(120), "some are played back", || {
            (sink.count() > enough || records(&daemon, "panel").is_empty()).then_some(())
        });
        daemon.kill();
        daemon.start_again();
    }
    until_within(Duration::from_secs(300), "all are played back", || records(&daemon, "panel").is_empty().then_some(()));
    let got = sink.wait("all have ended", |list| list.iter().all(|r| r.end.is_some()).then(|| list.to_vec()));
    let mut arrived: Vec<usize> = Vec::new();
    let mut twice = 0;
    for record in &got {
        let number = record.bytes.get(..8).and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
        let is_whole = number.is_some_and(|n| data(n) == record.bytes);
        // A daemon that dies closes its connections as any program does: what is cut may end with FIN.
        let Some(number) = number.filter(|_| is_whole && record.end == Some(End::Fin)) else { continue };
        if arrived.contains(&number) {
            twice += 1;
        } else {
            arrived.push(number);
        }
    }
    assert_eq!(arrived, expected);
    assert!(twice <= kills / 2, "{twice} came twice");
}

/// The number that the recorded bytes begin with: after eight bytes, the chunk `opened`, and the header of the first data.
fn number_of(record: impl AsRef<Path>) -> usize {
    let bytes = std::fs::read(record).unwrap();
    let opened = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let at = 8 + 9 + opened + 9;
    std::str::from_utf8(&bytes[at..at + 8]).unwrap().parse().unwrap()
}

#[test]
fn what_a_disabled_flow_had_recorded_is_whole_to_its_last_byte() {
    let (target, away) = (echo(), Nobody::new());
    let daemon = Daemon::start();
    let spec = spooled(target.address, away.address);
    let off = json!({"id": "panel", "owner": "test", "kind": "mirror", "spec": spec, "enabled": false});
    let sent: Vec<Vec<u8>> = (0..10).map(|i| pattern(100_000 + i, i as u64)).collect();
    for data in &sent {
        let mut client = connect(daemon.mirror("panel", &spec));
        assert!(client.ask(data) == *data);
        daemon.call("flow.apply", off.clone()).unwrap();
    }
    until("all are whole on disk", || (whole(&daemon, "panel").len() == sent.len()).then_some(()));
    daemon.mirror("panel", &spec);
    let got = Sink::start_at(away.address).ended(sent.len());
    assert!(got.iter().zip(&sent).all(|(got, sent)| got.bytes == *sent && got.end == Some(End::Reset)));
}

#[test]
fn what_may_have_arrived_before_the_daemon_died_is_counted() {
    let (target, away) = (echo(), Nobody::new());
    let mut daemon = Daemon::start();
    let port = Nobody::new();
    daemon.mirror("panel", &spooled(target.address, away.address).with("/listen", port.address));
    for data in [b"one", b"two"] {
        assert_eq!(exchange(port.address, data).0, data);
    }
    until("both are whole on disk", || (whole(&daemon, "panel").len() == 2).then_some(()));
    daemon.kill();
    // The mark that stands there when the daemon died after the last FIN was sent, and before the file was removed.
    let mut first = std::fs::read(&records(&daemon, "panel")[0]).unwrap();
    first.extend([0, 0, 0, 0, 0x94, 0x2b, 0x6f, 0xd5, 4]);
    std::fs::write(&records(&daemon, "panel")[0], first).unwrap();
    // The first one ended before it was known that the mirror is away, and counts, too.
    let live = records(&daemon, "panel").iter().filter(|record| std::fs::read(record).unwrap().last() == Some(&2)).count() as u64;
    daemon.start_again();
    let got = Sink::start_at(away.address).ended(2);
    assert!(got[0].bytes == b"one" && got[0].end == Some(End::Fin), "{:?}", got[0]);
    daemon.counts("panel", "spoolReplayed", 2);
    assert_eq!(daemon.counter("panel", "spoolRepeated"), 1 + live);
}
