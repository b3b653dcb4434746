//! What happens at the limits: descriptors, memory.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

#[test]
fn without_descriptors_running_connections_go_on_and_nothing_spins() {
    const MOST: usize = 64;
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::prepare().descriptors(MOST as u32).start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut running: Vec<_> = (0..3).map(|_| connect(at)).collect();
    for client in &mut running {
        assert_eq!(client.ask(b"in time"), b"in time");
    }
    let mut too_many: Vec<_> = (0..100).map(|_| try_connect(at)).collect();
    // Idle callers take what is left to the last one.
    let callers: Vec<_> = (0..60).map(|_| connect(daemon.address)).collect();
    until("all descriptors are in use", || (daemon.descriptors() >= MOST).then_some(()));
    too_many.extend((0..50).map(|_| try_connect(at)));
    let (started, used) = (Instant::now(), daemon.process.cpu_time());
    until("a while has passed", || (started.elapsed() > Duration::from_millis(1500)).then_some(()));
    let share = daemon.process.cpu_time().saturating_sub(used).as_secs_f64() / started.elapsed().as_secs_f64();
    assert!(share < 0.2, "it uses {:.0} % of a processor while it can't accept", share * 100.0);
    assert!(daemon.descriptors() >= MOST - 2, "the descriptors were free meanwhile");
    for client in &mut running {
        assert_eq!(client.ask(b"still here"), b"still here");
    }
    drop((too_many, callers));
    until("it accepts again", || {
        let mut client = try_connect(at).ok()?;
        std::io::Write::write_all(&mut client, b"new").ok()?;
        let mut answer = [0; 3];
        std::io::Read::read_exact(&mut client, &mut answer).ok()?;
        (&answer == b"new").then_some(())
    });
    assert!(daemon.process.stderr().contains("too many open files"), "nothing is said about it");
    assert_eq!(daemon.call("flow.list", json!({})).unwrap()[0]["state"], "serving");
}

#[test]
fn three_hundred_clients_whose_mirrors_never_read_are_served_whole_within_the_memory() {
    const CLIENTS: usize = 300;
    // Half of the mirrors take the connection and never read; the others don't even take it, so that all is held.
    let (target, stuck, swallows) = (Sink::start(), Stuck::new(), Narrow::filled());
    let daemon = Daemon::prepare().buffer_total("8 MiB").start();
    let stuck = daemon.mirror("stuck", &mirror(target.address(), &[stuck.address]).with("/mirrors/0/buffer", "4 MiB"));
    let swallows = daemon.mirror(
        "swallows",
        &mirror(target.address(), &[swallows.address]).with("/mirrors/0/buffer", "4 MiB").with("/connect_timeout", 60),
    );
    let mut clients: Vec<_> = (0..CLIENTS).map(|i| (i, connect(if i % 2 == 0 { stuck } else { swallows }))).collect();
    let body = pattern(1_000_000, 3);
    let data: Vec<_> = (0..CLIENTS).map(|i| [format!("{i:06}").as_bytes(), &body].concat()).collect();
    std::thread::scope(|scope| {
        for group in clients.chunks_mut(CLIENTS / 10) {
            let data = &data;
            scope.spawn(move || {
                // In turns, so that all of them are under way at the same time.
                for part in 0..10 {
                    for (i, client) in group.iter_mut() {
                        let data = &data[*i];
                        let end = if part == 9 { data.len() } else { (part + 1) * 100_000 };
                        client.send(&data[part * 100_000..end]);
                    }
                }
                for (_, client) in group {
                    client.finish();
                }
            });
        }
    });
    for (_, client) in &mut clients {
        assert_eq!(client.receive_all(), (Vec::new(), End::Fin));
    }
    let mut got: Vec<_> = target.ended(CLIENTS);
    got.sort_by(|a, b| a.bytes[..6].cmp(&b.bytes[..6]));
    for (i, record) in got.iter().enumerate() {
        assert!(record.bytes == data[i] && record.end == Some(End::Fin), "client {i}: {} bytes arrived", record.bytes.len());
    }
    let detached = daemon.counter("swallows", "mirrorDetached");
    assert!(detached > 100, "only {detached} copies were given up");
    let peak = daemon.process.peak_memory() >> 20;
    assert!(peak < 40, "it needed {peak} MiB");
    // Every byte that a mirror did not get is counted, once all is over.
    for id in ["stuck", "swallows"] {
        let status = daemon.status(id);
        daemon
            .call("flow.apply", json!({"id": id, "owner": "test", "kind": "mirror", "spec": status["spec"], "enabled": false}))
            .unwrap();
        until("connection tasks end", || (daemon.status(id)["connections"] == 0).then_some(()));
        let counters = daemon.counters(id);
        let count = |name: &str| counters[name].as_u64().unwrap();
        assert_eq!(count("clientRxBytes"), 150 * 1_000_006);
        assert_eq!(count("mirrorTxBytes") + count("mirrorDroppedBytes"), count("clientRxBytes"), "{id}: {counters}");
    }
    let metrics = daemon.raw(
        format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            daemon.address, daemon.token
        )
        .as_bytes(),
    );
    assert!(metrics.body.contains("\ndomoflux_queue_bytes 0\n"), "memory is still accounted for: {}", metrics.body);
}

#[test]
fn an_idle_daemon_uses_no_processor_and_little_memory() {
    let (target, sink) = (echo(), Sink::start());
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &mirror(target.address, &[sink.address()]));
    let mut client = connect(at);
    assert_eq!(client.ask(b"hello"), b"hello");
    let (started, used) = (Instant::now(), daemon.process.cpu_time());
    until("a while has passed", || (started.elapsed() > Duration::from_secs(1)).then_some(()));
    let used = daemon.process.cpu_time().saturating_sub(used);
    assert!(used <= Duration::from_millis(20), "{used:?} of processor time in a second without work");
    let peak = daemon.process.peak_memory() >> 20;
    assert!(peak < 30, "{peak} MiB");
}
