//! UDP: many datagrams, many clients, and more of both than there is room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

use crate::support::*;

/// Checks that it gets the numbered datagrams in order, each whole.
fn checks(seed: u64, answer_seed: Option<u64>) -> UdpServer {
    let mut next = 0;
    UdpServer::start(move |data| {
        assert!(data == numbered(next, seed), "{} bytes are not datagram {next}", data.len());
        next += 1;
        answer_seed.map(|seed| numbered(next - 1, seed))
    })
}

#[test]
fn a_hundred_thousand_datagrams_each_way_arrive_whole_and_in_order() {
    const ALL: u64 = 100_000;
    const WINDOW: u64 = 64;
    let (target, asked, answered) = (checks(1, Some(2)), checks(1, None), checks(2, None));
    let daemon = Daemon::start();
    let spec = udp_mirror(target.address, &[asked.address, answered.address])
        .with("/mirrors/1/from_client", false)
        .with("/mirrors/1/from_target", true);
    let client = Udp::to(daemon.mirror("panel", &spec));
    let (mut sent, mut received, mut bytes) = (0, 0, 0);
    while received < ALL {
        // The slowest of them sets the pace: a healthy network loses nothing.
        while sent < ALL && sent - received.min(asked.count()).min(answered.count()) < WINDOW {
            let data = numbered(sent, 1);
            client.send(&data);
            (sent, bytes) = (sent + 1, bytes + data.len() as u64);
        }
        if received < sent {
            let (data, _) = client.receive();
            assert!(data == numbered(received, 2), "{} bytes are not answer {received}", data.len());
            received += 1;
        }
    }
    until("the mirrors have all", || (asked.count() == ALL && answered.count() == ALL).then_some(()));
    let counted = daemon.counters("panel");
    for name in ["clientRxPkts", "clientTxPkts", "targetRxPkts", "targetTxPkts"] {
        assert_eq!(counted[name], ALL, "{name} in {counted}");
    }
    assert_eq!((&counted["clientRxBytes"], &counted["targetTxBytes"]), (&bytes.into(), &bytes.into()));
    assert_eq!(counted["mirrorTxPkts"], 2 * ALL);
    for name in ["droppedDatagrams", "mirrorDroppedDatagrams", "clientErrPkts", "targetErrPkts", "mirrorErrPkts"] {
        assert_eq!(counted[name], 0, "{name} in {counted}");
    }
}

#[test]
fn ten_thousand_clients_are_held_to_a_hundred_sessions_and_an_active_one_goes_on() {
    let (target, sink) = (UdpServer::echo(), UdpServer::start(|_| None));
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address]).with("/udp_sessions", 100));
    let (active, idle, memory) = (Udp::to(at), daemon.descriptors(), daemon.process.peak_memory());
    assert_eq!(active.ask(b"here"), b"here");
    let mut most = 0;
    for n in 0..10_000u32 {
        // Each has a source port of its own, but for those few that get a closed one's again.
        let passing = Udp::to(at);
        passing.send(&n.to_le_bytes());
        if n % 20 == 0 {
            assert_eq!(active.ask(&n.to_le_bytes()), n.to_le_bytes());
            most = most.max(daemon.descriptors());
        }
    }
    daemon.counts("panel", "activeConnections", 100);
    assert!(most <= idle + 2 * 100 + 2, "{most} descriptors, {idle} when idle");
    let memory = daemon.process.peak_memory() - memory;
    assert!(memory < 8 << 20, "{memory} bytes more");
    let sessions = daemon.counter("panel", "clientConnections");
    assert!(sessions > 9_000 && daemon.counter("panel", "targetErrConnect") == 0, "{sessions}");
    assert_eq!(daemon.status("panel")["connections"], 100);
}

#[test]
fn a_flood_from_many_ports_is_counted_to_the_last_datagram() {
    const PORTS: u64 = 300;
    const EACH: u64 = 100;
    let (target, sink) = (UdpServer::start(|_| None), UdpServer::start(|_| None));
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address]).with("/udp_sessions", 50));
    let ports: Vec<_> = (0..PORTS).map(|_| Udp::to(at)).collect();
    // While the daemon does not run, the kernel's buffer gets full.
    daemon.process.signal(Signal::STOP);
    for n in 0..EACH {
        for port in &ports {
            port.send(&n.to_le_bytes());
        }
    }
    daemon.process.signal(Signal::CONT);
    let relayed = || daemon.counter("panel", "clientRxPkts");
    let mut last = 0;
    until("it has relayed what the buffer held", || {
        let now = relayed();
        (std::mem::replace(&mut last, now) == now && now > 0).then_some(())
    });
    // What the kernel dropped is told with the next datagram.
    ports[0].send(b"last");
    until("all are accounted for", || {
        let counted = daemon.counters("panel");
        let count = |name: &str| counted[name].as_u64().unwrap();
        (count("clientRxPkts") + count("droppedDatagrams") == PORTS * EACH + 1).then_some(())
    });
    let counted = daemon.counters("panel");
    assert!(counted["droppedDatagrams"].as_u64().unwrap() > 0, "the buffer held all: {counted}");
    assert_eq!(counted["targetTxPkts"], counted["clientRxPkts"]);
    assert_eq!(counted["mirrorTxPkts"], counted["clientRxPkts"]);
    assert!(counted["activeConnections"].as_u64().unwrap() <= 50);
}

#[test]
fn without_descriptors_sessions_make_room_for_each_other() {
    let (target, sink) = (UdpServer::echo(), UdpServer::start(|_| None));
    let daemon = Daemon::prepare().descriptors(60).start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address]));
    let clients: Vec<_> = (0..100).map(|_| Udp::to(at)).collect();
    for client in &clients {
        client.ask_until(b"hello", b"hello");
    }
    assert_eq!(daemon.status("panel")["state"], "serving");
    // Which of the two finds no descriptor depends on how many the daemon has open besides.
    assert!(daemon.counter("panel", "targetErrConnect") + daemon.counter("panel", "mirrorErrConnect") > 0);
    let said = daemon.status("panel")["last_error"]["text"].as_str().unwrap().to_owned();
    assert!(said.contains("too many open files"), "{said}");
}

#[test]
fn at_rest_it_does_nothing() {
    let (target, sink) = (UdpServer::echo(), UdpServer::start(|_| None));
    let daemon = Daemon::start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address]));
    let clients: Vec<_> = (0..50).map(|_| Udp::to(at)).collect();
    for client in &clients {
        assert_eq!(client.ask(b"hello"), b"hello");
    }
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let start = std::time::Instant::now();
    until("scratch buffers are given back", || (start.elapsed().as_secs() >= 5).then_some(()));
    let (before, start) = (switches(), std::time::Instant::now());
    until("three seconds pass", || (start.elapsed().as_secs() >= 3).then_some(()));
    let woken = switches() - before;
    assert!(woken <= 5, "woken {woken} times in three seconds");
}

/// With several threads, sessions and the loop that serves them really run beside each other.
#[test]
fn several_threads_keep_the_order_of_each_client() {
    let (target, sink) = (UdpServer::echo(), UdpServer::start(|_| None));
    let daemon = Daemon::prepare().arg("--threads", "4").start();
    let at = daemon.mirror("panel", &udp_mirror(target.address, &[sink.address]).with("/mirrors/0/from_target", true));
    let lost = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let lost = Arc::clone(&lost);
            scope.spawn(move || {
                let client = Udp::to(at);
                for first in (0..4000).step_by(16) {
                    (first..first + 16).for_each(|n| client.send(&numbered(n, seed)));
                    for n in first..first + 16 {
                        assert!(client.receive().0 == numbered(n, seed), "client {seed}, datagram {n}");
                    }
                }
                lost.fetch_add(0, Ordering::Relaxed);
            });
        }
    });
    daemon.counts("panel", "clientTxPkts", 32_000);
    daemon.counts("panel", "droppedDatagrams", 0);
}
