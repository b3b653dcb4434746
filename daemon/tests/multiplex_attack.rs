//! What an attacker of the first multiplexer found: who sleeps through a request, who spins, who never ends.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

/// A device that has two connections open, both at rest.
fn two_at_rest(spec: &serde_json::Value, gate: &Gate) -> (Multiplexer, Modbus, Modbus) {
    let shared = Multiplexer::start(spec.clone().with("/max_connections", 2));
    let (mut one, mut two) = (shared.client(), shared.client());
    let ids = [one.send(&read_of(1, 0, 1)), two.send(&read_of(1, 7, 1))];
    shared.counts("inFlight", 2);
    gate.lift();
    assert_eq!(one.receive(), (ids[0], answer_to_read(1, 0, 1)));
    assert_eq!(two.receive(), (ids[1], answer_to_read(1, 7, 1)));
    (shared, one, two)
}

/// The first two requests are answered when the gate opens.
fn device(gate: &Gate) -> Device {
    let held = gate.clone();
    Device::with(move |seen| if seen.number < 2 { Act::Later(held.clone()) } else { Act::Answer })
}

#[test]
fn two_connections_at_rest_use_no_processor() {
    let gate = Gate::shut();
    let device = device(&gate);
    let (shared, _one, _two) = two_at_rest(&modbus(device.address).with("/health_check_interval", 1), &gate);
    let before = shared.daemon.process.cpu_time();
    device.has_seen(4); // two health checks later
    let used = shared.daemon.process.cpu_time().saturating_sub(before);
    assert!(used < Duration::from_millis(500), "{used:?} in two seconds");
}

#[test]
fn a_request_is_taken_by_the_connection_that_is_open() {
    let gate = Gate::shut();
    let device = device(&gate);
    let spec = modbus(device.address).with("/timeout", 60).with("/health_check_interval", 0).with("/connect_delay", 60);
    let (shared, mut one, _two) = two_at_rest(&spec, &gate);
    device.closes(0);
    shared.counts("targetActive", 1);
    // The place of the closed connection may not be used for a minute.
    one.reads(1, 3, 1);
}

#[test]
fn a_connection_that_is_not_kept_carries_what_it_was_opened_for() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/close_when_idle", 0));
    let mut client = shared.client();
    for n in 0..5 {
        client.reads(1, n, 1);
    }
    assert!(device.connections() <= 7, "{}", device.connections());
}

#[test]
fn a_stop_does_not_wait_for_a_pause_that_nobody_needs() {
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address).with("/delay", 60).with("/max_connections", 2));
    until("the device is connected to", || (device.connections() == 1).then_some(()));
    let started = std::time::Instant::now();
    assert!(shared.daemon.stop().success());
    assert!(started.elapsed() < Duration::from_secs(4), "it took {:?}, as long as draining may", started.elapsed());
}

#[test]
fn a_unit_that_is_off_does_not_take_the_device_from_the_others() {
    for spec in [json!({"match": "order"}), json!({})] {
        let device = Device::with(|seen| if seen.body[0] == 2 { Act::Nothing } else { Act::Answer });
        let mut all = modbus(device.address).with("/timeout", "300ms");
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let shared = Multiplexer::start(all);
        let (mut off, mut good) = (shared.client(), shared.client());
        let mut answered = 0;
        for _ in 0..6 {
            off.send(&read_of(2, 0, 1));
            let id = good.send(&read_of(1, 5, 1));
            answered += usize::from(good.receive() == (id, answer_to_read(1, 5, 1)));
            assert_eq!(off.receive().1, [2, 0x83, 0x0b]);
        }
        assert!(answered >= 3, "{answered} of 6 are answered although unit 1 is well");
    }
}

#[test]
fn a_read_that_is_for_all_is_refused_on_a_line() {
    let device = Device::start_at(([127, 0, 0, 1], 0).into(), Framing::Rtu, |_| Act::Nothing);
    let shared = Multiplexer::start(speaks("modbus-rtu-tcp", device.address).with("/client_protocol", "modbus").with("/timeout", 60));
    let mut client = shared.client();
    client.is_refused(&read_of(0, 0, 1), 0x0b);
    client.writes(0, 0, 1);
}

#[test]
fn a_client_that_reads_no_answers_is_idle_as_any_other() {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 6_000_000, b'x');
    let device = Dialogue::start(vec![(b"GET / HTTP/1.1\r\n\r\n".to_vec(), answer, false)]);
    let spec = speaks("http", device.address()).with("/max_message", "8 MiB").with("/idle_timeout", 1);
    let shared = Multiplexer::start(spec);
    let mut deaf = connect(shared.at);
    deaf.send(b"GET / HTTP/1.1\r\n\r\n");
    shared.counts("answers", 1);
    shared.counts("activeConnections", 0);
}
