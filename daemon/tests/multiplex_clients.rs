//! Clients that vanish, half-close, don't read, or send rubbish; the others don't notice.

use std::io::Write;
use std::time::Duration;

use crate::support::*;

fn held(number: usize) -> (Gate, Device) {
    let gate = Gate::shut();
    let held = gate.clone();
    (gate, Device::with(move |seen| if seen.number == number { Act::Later(held.clone()) } else { Act::Answer }))
}

#[test]
fn the_answer_of_a_client_that_has_vanished_is_read_and_dropped() {
    for by_reset in [false, true] {
        let (gate, device) = held(0);
        let shared = Multiplexer::start(modbus(device.address));
        let (mut vanishes, mut stays) = (shared.client(), shared.client());
        vanishes.send(&read_of(1, 0, 1));
        device.has_seen(1);
        if by_reset {
            vanishes.stream.reset();
            shared.counts("activeConnections", 1);
        } else {
            drop(vanishes);
        }
        let id = stays.send(&read_of(2, 5, 2));
        gate.lift();
        assert_eq!(stays.receive(), (id, answer_to_read(2, 5, 2)));
        assert_eq!(device.connections(), 1, "the connection to the device stays");
        assert_eq!(shared.counter("abandoned") + shared.counter("answers"), 2);
    }
}

#[test]
fn a_write_that_waits_when_its_client_is_reset_is_not_sent_half_or_twice() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address));
    let (mut blocks, mut vanishes) = (shared.client(), shared.client());
    blocks.send(&read_of(1, 0, 1));
    device.has_seen(1);
    vanishes.send(&write_of(1, 0, 1));
    shared.counts("queueDepth", 1);
    vanishes.stream.reset();
    shared.counts("activeConnections", 1);
    gate.lift();
    blocks.receive();
    blocks.reads(2, 0, 1);
    assert!(device.bodies().iter().filter(|body| body[1] == 6).count() <= 1);
}

#[test]
fn a_client_that_half_closes_after_its_requests_gets_their_answers() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    let ids = [client.send(&read_of(1, 0, 1)), client.send(&read_of(1, 7, 2))];
    client.stream.finish();
    device.has_seen(1);
    gate.lift();
    let mut answers = [client.receive(), client.receive()];
    answers.sort();
    assert_eq!(answers, [(ids[0], answer_to_read(1, 0, 1)), (ids[1], answer_to_read(1, 7, 2))]);
    assert_eq!(client.stream.receive_all(), (Vec::new(), End::Fin));
}

#[test]
fn a_client_that_never_reads_its_answers_costs_little_and_the_others_are_served() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/in_flight", 16));
    let mut deaf: Vec<_> = (0..4).map(|_| connect(shared.at)).collect();
    let many: Vec<u8> = (0..5000).flat_map(|id| frame(Framing::Tcp, id, &read_of(1, id, 125))).collect();
    for client in &mut deaf {
        client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        // Until it takes no more: it holds back who does not read.
        while client.write_all(&many).is_ok() {}
    }
    let mut client = shared.client();
    for i in 0..100 {
        client.reads(2, i, 10);
    }
    let peak = shared.daemon.process.peak_memory() >> 20;
    assert!(peak < 40, "it needed {peak} MiB");
    let waiting = shared.counter("queueDepth");
    assert!(waiting < 10_000, "{waiting} requests wait");
}

/// What is no request, by protocol.
const RUBBISH: &[(&str, &[u8])] = &[
    ("modbus", b"\0\x01\0\x07\0\x06\x01\x03\0\0\0\x01"),
    ("modbus", b"\0\x01\0\0\0\x01\x01\x03\0\0\0\x01"),
    ("modbus", b"\0\x01\0\0\x01\0\x01\x03\0\0\0\x01"),
    ("modbus", b"GET / HTTP/1.1\r\n\r\n"),
    ("modbus-tcp-crc", b"\0\x01\0\0\0\x08\x01\x03\0\0\0\x01\0\0"),
    ("modbus-rtu-tcp", b"\x01\x03\0\0\0\x01\0\0"),
    ("mpu", b"-001x"),
    ("mpu", b"12x4"),
    ("http", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"),
    ("http", b"GET / HTTP/1.1\nHost: x\n\n"),
    ("http", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("http", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
    ("http", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
];

#[test]
fn who_sends_rubbish_is_closed_and_counted_and_nobody_else_notices() {
    for (protocol, rubbish) in RUBBISH {
        let server = echo();
        let mut shared = Multiplexer::start(speaks(protocol, server.address));
        let mut other = connect(shared.at);
        let mut client = connect(shared.at);
        client.send(rubbish);
        let (answer, _) = client.receive_all();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{protocol}: {}", answer.escape_ascii());
        shared.counts("clientMalformed", 1);
        shared.counts("activeConnections", 1);
        assert_eq!((shared.counter("requests"), shared.counter("sent")), (0, 0), "{protocol}: {}", rubbish.escape_ascii());
        shared.daemon.process.says(&format!("{} is closed: ", client.local_addr().unwrap()));
        // An echo server is a device for MPU; for the others, that nobody is cut is enough.
        if *protocol == "mpu" {
            assert_eq!(other.ask(b"0003abc"), b"0003abc");
        }
        other.finish();
        assert_eq!(other.receive_all(), (Vec::new(), End::Fin), "{protocol}");
    }
}

#[test]
fn a_line_that_is_too_long_is_rubbish() {
    let server = echo();
    let shared = Multiplexer::start(speaks("echo", server.address).with("/max_message", "1 KiB"));
    let (mut good, mut bad) = (connect(shared.at), connect(shared.at));
    let line = [vec![b'x'; 1023], b"\n".to_vec()].concat();
    assert_eq!(good.ask(&line), line);
    bad.send(&[b'x'; 1025]);
    assert_eq!(bad.receive_all().0, b"");
    shared.counts("clientMalformed", 1);
    assert_eq!(good.ask(&line), line);
}

#[test]
fn rubbish_after_a_request_does_not_take_its_answer() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    let id = client.send(&read_of(1, 0, 1));
    device.has_seen(1);
    client.stream.send(b"rubbish, rubbish");
    shared.counts("clientMalformed", 1);
    gate.lift();
    assert_eq!(client.stream.receive_all().0, frame(Framing::Tcp, id, &answer_to_read(1, 0, 1)));
    shared.client().reads(1, 0, 1);
}

#[test]
fn a_hundred_clients_that_come_and_go_leave_nothing_behind() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    shared.client().reads(1, 0, 1);
    shared.counts("activeConnections", 0);
    let before = shared.daemon.descriptors();
    for i in 0..100 {
        let mut client = shared.client();
        client.send(&read_of(1, i, 1));
        if i % 2 == 0 {
            client.receive();
        }
    }
    shared.counts("activeConnections", 0);
    assert_eq!(shared.counter("clientConnections"), 101);
    until("descriptors are closed", || (shared.daemon.descriptors() <= before).then_some(()));
    assert_eq!(shared.status()["details"]["clients"].as_array().unwrap().len(), 0);
}

#[test]
fn a_client_that_asks_for_more_than_the_queue_holds_is_held_back() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address).with("/timeout", 60));
    let mut greedy = connect(shared.at);
    greedy.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    for round in 0..40 {
        let many: Vec<u8> = (0..50_000_u16).flat_map(|id| frame(Framing::Tcp, id, &read_of(round, id, 1))).collect();
        if greedy.write_all(&many).is_err() {
            break;
        }
        sent += 50_000;
    }
    let waiting = shared.counter("queueDepth");
    let peak = shared.daemon.process.peak_memory() >> 20;
    drop(greedy);
    gate.lift();
    assert!(waiting <= 1000, "{waiting} requests of {sent} wait, although 32 may");
    assert!(peak < 40, "it needed {peak} MiB");
}

#[test]
fn a_client_that_half_closes_gets_the_refusal_as_well() {
    let port = Nobody::new();
    let shared = Multiplexer::start(modbus(port.address));
    let mut client = shared.client();
    let id = client.send(&write_of(1, 0, 1));
    client.stream.finish();
    assert_eq!(client.receive(), (id, vec![1, 0x86, 0x0a]));
    assert_eq!(client.stream.receive_all(), (Vec::new(), End::Fin));
}

#[test]
fn resetting_the_counters_leaves_the_gauges_right() {
    let (gate, device) = held(1);
    let shared = Multiplexer::start(modbus(device.address));
    let (mut one, two) = (shared.client(), shared.client());
    one.reads(1, 0, 1);
    shared.daemon.call("flow.reset_counters", serde_json::json!({"id": "inverter"})).unwrap();
    assert_eq!((shared.counter("requests"), shared.counter("activeConnections"), shared.counter("targetActive")), (0, 2, 1));
    drop(two);
    shared.counts("activeConnections", 1);
    one.send(&read_of(1, 0, 1));
    shared.counts("inFlight", 1);
    gate.lift();
    one.receive();
}

#[test]
fn noise_from_clients_kills_nobody() {
    for protocol in ["modbus", "modbus-tcp-crc", "modbus-rtu-tcp", "mpu", "http", "iso8583", "echo"] {
        let server = echo();
        let shared = Multiplexer::start(speaks(protocol, server.address).with("/timeout", "200ms").with("/reconnect_backoff", "20ms"));
        for seed in 0..50 {
            let mut client = connect(shared.at);
            let _ = client.write_all(&pattern(1 + 97 * seed as usize, seed));
            client.finish();
            client.receive_all();
        }
        assert_eq!(shared.status()["state"], "serving", "{protocol}");
    }
}

#[test]
fn a_client_that_begins_a_request_and_goes_no_further_is_closed_after_the_idle_timeout() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/idle_timeout", 1));
    let mut client = shared.client();
    client.stream.send(&[0, 1, 0]);
    assert_eq!(client.stream.receive_all().0, b"");
    shared.counts("activeConnections", 0);
}
