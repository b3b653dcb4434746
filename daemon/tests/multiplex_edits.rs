//! Edits of a multiplexer that serves, its end, and what outlives both.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::*;

#[test]
fn edits_under_traffic_keep_clients_and_lose_no_request_at_a_device_that_takes_one_connection() {
    // A second connection is one too many, for both.
    let device = OneConnection::start();
    let mut shared = Multiplexer::start(modbus(device.device.address));
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut clients: Vec<_> = (0..4).map(|_| shared.client()).collect();
    std::thread::scope(|scope| {
        for (unit, client) in (1..).zip(&mut clients) {
            let (done, served) = (&done, &served);
            scope.spawn(move || {
                for i in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    client.reads(unit, i % 1000, 2);
                    client.writes(unit, 2000, i);
                    served.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        for edit in 1..=10 {
            let before = served.load(Ordering::Relaxed);
            shared.edit("/timeout", 10 + edit);
            until("clients are served between two edits", || (served.load(Ordering::Relaxed) > before + 8).then_some(()));
        }
        done.store(true, Ordering::Relaxed);
    });
    let counters = shared.counters();
    assert_eq!(counters["answers"], served.load(Ordering::Relaxed), "{counters}");
    assert_eq!((&counters["clientConnections"], &counters["targetErrConnect"]), (&json!(4), &json!(0)), "{counters}");
    assert_eq!(device.too_many.load(Ordering::SeqCst), 0, "a second connection was made while the first was open");
    clients[0].reads(9, 0, 1);
}

/// A device that counts the connections that are made while another is open.
struct OneConnection {
    device: Device,
    too_many: std::sync::Arc<AtomicUsize>,
}

impl OneConnection {
    fn start() -> Self {
        let too_many = std::sync::Arc::new(AtomicUsize::new(0));
        let (counted, open) = (std::sync::Arc::clone(&too_many), Mutex::new(0));
        let device = Device::with(move |seen| {
            let mut newest = open.lock().unwrap();
            // An older connection that is still used after a newer one was.
            if seen.connection < *newest {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            *newest = (*newest).max(seen.connection);
            Act::Answer
        });
        Self { device, too_many }
    }
}

#[test]
fn an_idle_client_stays_over_an_edit_and_is_served_under_the_new_spec() {
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address));
    let (mut idle, mut fresh) = (shared.client(), shared.client());
    idle.reads(1, 0, 1);
    shared.edit("/read_only", "deny");
    idle.is_refused(&write_of(1, 0, 1), 1);
    fresh.is_refused(&write_of(1, 0, 1), 1);
    idle.reads(1, 0, 1);
    assert_eq!(device.end_of(0), End::Fin);
}

#[test]
fn a_request_on_its_way_is_answered_over_an_edit() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| if seen.number == 0 { Act::Later(held.clone()) } else { Act::Answer });
    let mut shared = Multiplexer::start(modbus(device.address));
    let (mut waits, mut queues, mut asks_later) = (shared.client(), shared.client(), shared.client());
    let first = waits.send(&read_of(1, 0, 1));
    device.has_seen(1);
    let ids = [first, queues.send(&write_of(2, 0, 7))];
    shared.counts("queueDepth", 1);
    shared.edit("/timeout", 7);
    let later = asks_later.send(&read_of(3, 0, 1));
    assert_eq!(device.connections(), 1, "the old connection is still used");
    gate.lift();
    assert_eq!(waits.receive(), (ids[0], answer_to_read(1, 0, 1)));
    assert_eq!(queues.receive(), (ids[1], write_of(2, 0, 7)));
    assert_eq!(asks_later.receive(), (later, answer_to_read(3, 0, 1)));
    assert_eq!(device.bodies(), [read_of(1, 0, 1), write_of(2, 0, 7), read_of(3, 0, 1)]);
}

#[test]
fn another_target_is_used_by_clients_that_are_connected() {
    let (old, new) = (Device::start(), Device::start());
    let mut shared = Multiplexer::start(modbus(old.address));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    shared.edit("/target", new.address);
    client.reads(1, 1, 1);
    client.writes(1, 1, 1);
    assert_eq!((old.bodies(), new.bodies()), (vec![read_of(1, 0, 1)], vec![read_of(1, 1, 1), write_of(1, 1, 1)]));
    assert_eq!(old.end_of(0), End::Fin);
}

#[test]
fn what_is_kept_of_the_old_target_is_not_said_of_the_new_one() {
    let (old, new) = (Device::start(), Device::start());
    let mut shared = Multiplexer::start(modbus(old.address).with("/cache", json!([{"ttl": 60}])));
    let mut client = shared.client();
    client.writes(1, 0, 4711);
    assert_eq!(client.register(1, 0), 4711);
    shared.edit("/target", new.address);
    client.reads(1, 0, 1);
}

#[test]
fn another_protocol_closes_clients() {
    let (device, server) = (Device::start(), echo());
    let mut shared = Multiplexer::start(modbus(device.address));
    let (mut client, mut idle) = (shared.client(), shared.client());
    client.reads(1, 0, 1);
    idle.reads(1, 0, 1);
    shared.spec = shared.spec.clone().with("/target", server.address);
    shared.edit("/protocol", "echo");
    client.send(&read_of(1, 0, 1));
    assert_eq!(client.stream.receive_all().0, b"");
    assert_eq!(idle.stream.receive_all().0, b"", "it would wait for ever");
    assert_eq!(exchange(shared.at, b"line\n").0, b"line\n");
}

#[test]
fn who_is_no_longer_allowed_is_closed() {
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    shared.edit("/allow", ["10.0.0.0/8"]);
    client.send(&read_of(1, 0, 1));
    assert_eq!(client.stream.receive_all().0, b"");
    assert_eq!(device.seen().len(), 1);
}

#[test]
fn a_removal_cuts() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |_| Act::Later(held.clone()));
    let shared = Multiplexer::start(modbus(device.address));
    let (mut waits, mut idle) = (shared.client(), shared.client());
    waits.send(&read_of(1, 0, 1));
    device.has_seen(1);
    shared.remove();
    let (rest, _) = waits.stream.receive_all();
    assert!(rest.is_empty() || rest.len() == 9, "{rest:x?}");
    assert_eq!(idle.stream.receive_all().0, b"");
    device.end_of(0);
    assert_eq!(try_connect(shared.at).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_disabled_multiplexer_has_closed_everything_and_works_again_when_enabled() {
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    shared.disable();
    assert_eq!(client.stream.receive_all().0, b"");
    device.end_of(0);
    assert_eq!(try_connect(shared.at).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    for gauge in ["activeConnections", "inFlight", "queueDepth", "targetActive"] {
        shared.counts(gauge, 0);
    }
    shared.at = shared.daemon.flow("multiplexer", "inverter", &shared.spec);
    shared.client().reads(1, 0, 1);
    assert_eq!(shared.counter("answers"), 2);
}

#[test]
fn counters_survive_an_edit_and_a_restart() {
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address).with("/health_check_interval", 0));
    let mut client = shared.client();
    (0..5).for_each(|i| client.reads(1, i, 1));
    client.writes(1, 100, 0);
    drop(client);
    shared.counts("activeConnections", 0);
    shared.edit("/timeout", 7);
    shared.counts("targetActive", 0);
    let totals = |shared: &Multiplexer| {
        let counters = shared.counters();
        ["requests", "answers", "sent", "readHoldingRegisters", "writeRegister", "clientConnections", "clientRxBytes", "targetTxBytes"]
            .map(|name| counters[name].as_u64().unwrap())
    };
    assert_eq!(totals(&shared), [6, 6, 6, 5, 1, 1, 72, 72]);
    assert!(shared.daemon.stop().success());
    shared.daemon.start_again();
    assert_eq!(totals(&shared), [6, 6, 6, 5, 1, 1, 72, 72]);
    shared.at = shared.daemon.listening("inverter");
    shared.client().reads(1, 0, 1);
    assert_eq!(totals(&shared)[..2], [7, 7]);
}

#[test]
fn gauges_say_what_is_so_and_are_0_at_rest() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |_| Act::Later(held.clone()));
    let mut shared = Multiplexer::start(modbus(device.address));
    let mut clients: Vec<_> = (0..3).map(|_| shared.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&read_of(1, i as u16, 1));
    }
    shared.counts("queueDepth", 2);
    for (gauge, value) in [("activeConnections", 3), ("inFlight", 1), ("targetActive", 1)] {
        shared.counts(gauge, value);
    }
    gate.lift();
    for client in &mut clients {
        client.receive();
    }
    for gauge in ["queueDepth", "inFlight"] {
        shared.counts(gauge, 0);
    }
    drop(clients);
    shared.counts("activeConnections", 0);
    shared.edit("/close_when_idle", 0);
    shared.counts("targetActive", 0);
}

#[test]
fn sigterm_answers_what_is_on_its_way_and_waits_then_ends() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| if seen.number == 0 { Act::Later(held.clone()) } else { Act::Answer });
    let mut shared = Multiplexer::start(modbus(device.address));
    let (mut waits, mut queues, mut idle) = (shared.client(), shared.client(), shared.client());
    let ids = [waits.send(&read_of(1, 0, 1)), queues.send(&write_of(2, 0, 7))];
    device.has_seen(1);
    shared.counts("queueDepth", 1);
    let begun = Instant::now();
    shared.daemon.process.signal(Signal::TERM);
    shared.daemon.process.says("stopping");
    assert_eq!(idle.stream.receive_all(), (Vec::new(), End::Fin), "an idle client is closed");
    gate.lift();
    assert_eq!(waits.receive(), (ids[0], answer_to_read(1, 0, 1)));
    assert_eq!(queues.receive(), (ids[1], write_of(2, 0, 7)));
    assert_eq!(waits.stream.receive_all(), (Vec::new(), End::Fin));
    assert_eq!(queues.stream.receive_all(), (Vec::new(), End::Fin));
    assert!(shared.daemon.process.exit().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(shared.daemon.process.stderr().contains("stopped, 0 connections cut"), "{}", shared.daemon.process.stderr());
    assert_eq!(device.bodies(), [read_of(1, 0, 1), write_of(2, 0, 7)]);
}

#[test]
fn sigint_and_sigterm_end_promptly_although_idle_clients_stay() {
    for signal in [Signal::INT, Signal::TERM] {
        for protocol in ["modbus", "echo", "http", "mpu", "iso8583"] {
            let server = Device::start();
            let mut shared = Multiplexer::start(speaks(protocol, server.address));
            let mut idle = connect(shared.at);
            let mut begins = connect(shared.at);
            begins.send(b"0");
            shared.counts("clientRxBytes", 1);
            let begun = Instant::now();
            shared.daemon.process.signal(signal);
            assert!(shared.daemon.process.exit().success());
            assert!(begun.elapsed() < Duration::from_secs(5), "{protocol}: {:?}", begun.elapsed());
            assert_eq!(idle.receive_all().0, b"");
            begins.receive_all();
        }
    }
}

#[test]
fn an_edit_that_cannot_listen_leaves_the_old_spec_serving() {
    let (device, taken) = (Device::start(), echo());
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    let spec = shared.spec.clone().with("/listen", taken.address).with("/read_only", "deny");
    shared.daemon.apply_kind("multiplexer", "inverter", &spec).unwrap_err();
    client.writes(1, 0, 1);
    shared.client().writes(1, 0, 1);
    assert_eq!(device.connections(), 1);
}

#[test]
fn sigterm_ends_although_a_device_never_answers() {
    let device = Device::with(|_| Act::Nothing);
    let mut shared = Multiplexer::start(modbus(device.address).with("/timeout", 60));
    let mut client = shared.client();
    client.send(&read_of(1, 0, 1));
    device.has_seen(1);
    let begun = Instant::now();
    assert!(shared.daemon.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    let (rest, _) = client.stream.receive_all();
    assert!(rest.is_empty() || rest[7..] == [0x83, 0x0b], "{rest:x?}");
}

#[test]
fn edits_one_after_the_other_while_the_device_is_slow_lose_nothing() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| if seen.number == 0 { Act::Later(held.clone()) } else { Act::Answer });
    let mut shared = Multiplexer::start(modbus(device.address).with("/timeout", 30));
    let mut clients: Vec<_> = (0..6).map(|_| shared.client()).collect();
    let mut ids = Vec::new();
    for (i, client) in clients.iter_mut().enumerate() {
        ids.push(client.send(&write_of(1, i as u16, 7)));
        until("it is asked", || (shared.counter("requests") == i as u64 + 1).then_some(()));
        shared.edit("/timeout", 31 + i);
    }
    assert_eq!(device.seen().len(), 1);
    gate.lift();
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive(), (ids[i], write_of(1, i as u16, 7)));
    }
    assert_eq!(device.seen().len(), 6);
}

#[test]
fn a_field_that_only_waits_is_not_told_of_the_spec_before() {
    // A pause of the old spec ends with it.
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address).with("/request_gap", 60));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    shared.edit("/request_gap", 0);
    client.reads(1, 1, 1);
}

#[test]
fn a_request_that_has_begun_before_an_edit_is_answered_when_it_is_whole() {
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    let request = frame(Framing::Tcp, 7, &read_of(1, 5, 2));
    client.stream.send(&request[..7]);
    shared.counts("clientRxBytes", 7);
    shared.edit("/timeout", 7);
    client.stream.send(&request[7..]);
    assert_eq!(client.receive(), (7, answer_to_read(1, 5, 2)));
}

#[test]
fn edits_under_traffic_lose_no_line() {
    let server = echo();
    let mut shared = Multiplexer::start(speaks("echo", server.address));
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (done, served, mut client) = (&done, &served, connect(shared.at));
            scope.spawn(move || {
                for i in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let line = format!("{name} {i}\n");
                    assert_eq!(String::from_utf8(client.ask(line.as_bytes())).unwrap(), line);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for edit in 1..=10 {
            let before = served.load(Ordering::Relaxed);
            shared.edit("/timeout", 10 + edit);
            until("clients are served between two edits", || (served.load(Ordering::Relaxed) > before + 8).then_some(()));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(shared.counter("answers"), served.load(Ordering::Relaxed) as u64);
}

#[test]
fn a_restart_cuts_clients_and_serves_again() {
    let (device, port) = (Device::start(), Nobody::new());
    let shared = Multiplexer::start(modbus(device.address).with("/listen", port.address));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    shared.daemon.call("flow.restart", json!({"id": "inverter"})).unwrap();
    assert_eq!(client.stream.receive_all().0, b"");
    shared.daemon.listening("inverter");
    shared.client().reads(1, 1, 1);
}
