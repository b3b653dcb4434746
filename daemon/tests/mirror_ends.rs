//! How connections end when somebody does not do their part, and what is counted then.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn a_mirror_that_reads_but_never_closes_gets_every_copy() {
    const CLIENTS: usize = 1500;
    let target = echo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let copies = std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().take(CLIENTS) {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut copy = Vec::new();
            stream.read_to_end(&mut copy).unwrap();
            assert_eq!(copy, b"report");
            kept.push(stream); // not closed before the test's end
        }
        kept
    });
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[address]));
    for _ in 0..CLIENTS {
        assert_eq!(exchange(at, b"report").0, b"report");
    }
    let kept = copies.join().unwrap();
    assert_eq!(kept.len(), CLIENTS);
    daemon.counts("panel", "mirrorTxBytes", CLIENTS as u64 * 6);
    assert_eq!(daemon.counter("panel", "mirrorDroppedBytes"), 0);
    assert_eq!(daemon.counter("panel", "mirrorDetached"), 0);
    // Long before their 10 s are over: they have everything, and there are many of them.
    until_within(Duration::from_secs(4), "the connections are let go", || {
        (daemon.status("panel")["connections"].as_u64().unwrap() <= 100).then_some(())
    });
    drop(kept);
}

/// The target reads a megabyte a second: what is held for it takes longer than the idle timeout to go out, but some of it
/// always goes.
#[test]
fn a_stream_that_moves_slowly_is_not_idle() {
    let (tells, told) = std::sync::mpsc::channel();
    let slow = Server::start(move |_, mut stream: TcpStream| {
        let (started, mut part, mut copy) = (Instant::now(), vec![0; 10_000], Vec::new());
        while started.elapsed() < Duration::from_secs(7) {
            let n = stream.read(&mut part).unwrap();
            copy.extend_from_slice(&part[..n]);
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let (rest, end) = stream.receive_all();
        copy.extend(rest);
        tells.send((copy, end)).unwrap();
    });
    let sink = Sink::start();
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(slow.address, &[sink.address()]).with("/idle_timeout", 3).with("/mirrors/0/buffer", "32 MiB"));
    let data = pattern(30_000_000, 5);
    let mut client = connect(at);
    client.send(&data);
    client.finish();
    let (copy, end) = told.recv().unwrap();
    assert!(copy == data && end == End::Fin, "{} bytes of {}, {end:?}", copy.len(), data.len());
}

#[test]
fn a_stream_that_stands_still_half_way_ends_in_a_reset_not_in_a_fin() {
    let gate = Gate::shut();
    let stuck = Sink::start_behind(gate.clone());
    let other = Sink::start();
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(stuck.address(), &[other.address()]).with("/idle_timeout", 1));
    let mut client = connect(at);
    client.set_nonblocking(true).unwrap();
    let data = pattern(1 << 20, 5);
    // More than all buffers between here and there take.
    until("nothing more goes in", || {
        matches!(std::io::Write::write(&mut client, &data), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock).then_some(())
    });
    until("it is closed", || (daemon.counter("panel", "activeConnections") == 0).then_some(()));
    gate.lift();
    assert_eq!(stuck.one().end, Some(End::Reset));
}

#[test]
fn what_a_stop_cuts_is_counted_and_saved() {
    let (target, gate) = (echo(), Gate::shut());
    let stuck = Sink::start_behind(gate);
    let mut daemon = Daemon::prepare().arg("--drain-timeout", "0s").start();
    let spec = mirror(target.address, &[stuck.address()]).with("/mirrors/0/buffer", "16 MiB");
    let at = daemon.mirror("panel", &spec);
    let mut client = connect(at);
    let data = pattern(9_000_000, 1);
    assert!(client.ask(&data) == data);
    assert!(daemon.stop().success());
    assert_eq!(client.receive_all(), (Vec::new(), End::Reset));
    daemon.start_again();
    assert_eq!(daemon.counter("panel", "mirrorDetached"), 1);
    let (sent, dropped) = (daemon.counter("panel", "mirrorTxBytes"), daemon.counter("panel", "mirrorDroppedBytes"));
    assert_eq!(sent + dropped, 9_000_000);
}

#[test]
fn the_flows_of_a_file_go_on_when_the_file_is_forgotten() {
    let target = echo();
    let spec = format!(
        "[flow.panel]\nkind = \"mirror\"\nlisten = \"127.0.0.1:0\"\ntarget = \"{0}\"\nmirrors = [{{ address = \"{0}\" }}]\n",
        target.address
    );
    let first = Daemon::prepare().config(&spec).start();
    let dir = first.state_dir().to_owned();
    let kept = tempfile::tempdir().unwrap();
    let copy = kept.path().join("domoflux.db");
    assert_eq!(first.status("panel")["owner"], "file");
    let mut first = first;
    assert!(first.stop().success());
    std::fs::copy(dir.join("domoflux.db"), &copy).unwrap();
    let bare = Process::start(domoflux(["daemon", "--listen", "127.0.0.1:0", "--state-dir", kept.path().to_str().unwrap()]));
    let mut bare = bare;
    let said = bare.says("earlier configuration file");
    assert!(said.contains("flow remove panel"), "{said}");
    let at = said.split("listening on ").nth(1).unwrap().split('\n').next().unwrap().parse().unwrap();
    assert_eq!(exchange(at, b"still here").0, b"still here");
}
