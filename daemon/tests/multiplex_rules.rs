//! What the spec says about Modbus requests: which are sent, where to, and which answers are shared or kept.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

#[test]
fn writes_are_denied_if_that_is_wanted() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/read_only", "deny"));
    let mut client = shared.client();
    client.is_refused(&write_of(1, 0, 1), 0x01);
    client.is_refused(&[1, 16, 0, 0, 0, 1, 2, 0, 7], 0x01);
    client.is_refused(&[1, 5, 0, 0, 0xff, 0], 0x01);
    client.is_refused(&[1, 0x41, 9], 0x01);
    client.reads(1, 0, 1);
    assert_eq!(device.bodies(), [read_of(1, 0, 1)]);
    assert_eq!((shared.counter("denied"), shared.counter("answers")), (4, 1));
}

#[test]
fn writes_are_confirmed_and_not_sent_if_that_is_wanted() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/read_only", "ignore"));
    let mut client = shared.client();
    client.writes(1, 0, 1);
    assert_eq!(client.ask(&[1, 16, 0, 0, 0, 1, 2, 0, 7]), [1, 16, 0, 0, 0, 1]);
    client.is_refused(&[1, 0x41, 9], 0x01);
    client.reads(1, 0, 1);
    assert_eq!(device.bodies(), [read_of(1, 0, 1)]);
    assert_eq!((shared.counter("ignoredWrites"), shared.counter("denied"), shared.counter("answers")), (2, 1, 3));
}

#[test]
fn only_the_writes_that_are_named_are_allowed() {
    let device = Device::start();
    let rules = json!([{"addresses": "100-110", "functions": "6,16"}, {"units": 2}]);
    let shared = Multiplexer::start(modbus(device.address).with("/allow_writes", rules));
    let mut client = shared.client();
    client.writes(1, 100, 1);
    client.writes(2, 5, 1);
    client.is_refused(&write_of(1, 99, 1), 0x01);
    client.is_refused(&[1, 16, 0, 110, 0, 2, 4, 0, 7, 0, 8], 0x01);
    client.is_refused(&[1, 5, 0, 100, 0xff, 0], 0x01);
    assert_eq!(device.bodies(), [write_of(1, 100, 1), write_of(2, 5, 1)]);
}

#[test]
fn a_unit_has_another_number_at_the_device_and_its_own_in_the_answer() {
    let device = Device::with(|seen| if seen.body[3] == 9 { Act::Exception(2) } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/unit_map", json!([{"from": 1, "to": 247}, {"from": 255, "to": 1}])));
    let mut client = shared.client();
    assert_eq!(client.ask(&read_of(1, 5, 1))[3..], answer_to_read(247, 5, 1)[3..]);
    assert_eq!(client.ask(&read_of(255, 5, 1))[3..], answer_to_read(1, 5, 1)[3..]);
    client.reads(7, 5, 1);
    client.is_refused(&read_of(1, 9, 1), 2);
    assert_eq!(device.bodies().iter().map(|body| body[0]).collect::<Vec<_>>(), [247, 1, 7, 247]);
}

#[test]
fn a_refusal_has_the_number_that_the_client_knows() {
    let device = Device::with(|_| Act::Close);
    let spec = modbus(device.address).with("/unit_map", json!([{"from": 1, "to": 247}])).with("/read_only", "deny");
    let shared = Multiplexer::start(spec);
    let mut client = shared.client();
    client.is_refused(&write_of(1, 9, 1), 1);
    client.is_refused(&read_of(1, 9, 1), 0x0b);
}

#[test]
fn units_at_other_devices_are_asked_there() {
    let (main, other, third) = (Device::start(), Device::start(), Device::start());
    let routes = json!([{"units": "2-4", "target": other.address}, {"units": 247, "target": third.address}]);
    let shared = Multiplexer::start(modbus(main.address).with("/routes", routes).with("/unit_map", json!([{"from": 9, "to": 247}])));
    let mut client = shared.client();
    for unit in [1, 2, 3, 4, 5] {
        client.reads(unit, 0, 1);
    }
    assert_eq!(client.ask(&read_of(9, 0, 1))[3..], answer_to_read(247, 0, 1)[3..]);
    let units = |device: &Device| device.bodies().iter().map(|body| body[0]).collect::<Vec<_>>();
    assert_eq!((units(&main), units(&other), units(&third)), (vec![1, 5], vec![2, 3, 4], vec![247]));
    assert_eq!(shared.status()["details"]["devices"].as_array().unwrap().len(), 3);
}

#[test]
fn a_device_that_is_down_leaves_those_of_other_routes_alone() {
    let (main, port) = (Device::start(), Nobody::new());
    let shared = Multiplexer::start(modbus(main.address).with("/routes", json!([{"units": "2", "target": port.address}])));
    let mut client = shared.client();
    client.is_refused(&read_of(2, 0, 1), 0x0a);
    client.reads(1, 0, 1);
    shared.is_in_trouble();
}

#[test]
fn an_answer_is_kept_for_its_time() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/cache", json!([{"ttl": 1}])));
    let (mut one, mut two, begun) = (shared.client(), shared.client(), Instant::now());
    one.reads(1, 0, 2);
    two.reads(1, 0, 2);
    one.reads(1, 0, 1);
    if begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(device.seen().len(), 2, "one for each block");
        assert_eq!(shared.counter("cacheHits"), 1);
    }
    until("the device is asked again", || {
        two.reads(1, 0, 2);
        (device.seen().len() == 3).then_some(())
    });
    let seen = device.seen();
    assert!(seen[2].at - seen[0].at >= Duration::from_secs(1), "{:?}", seen[2].at - seen[0].at);
}

#[test]
fn only_what_a_rule_names_is_kept() {
    let device = Device::start();
    let rules = json!([{"ttl": 0, "addresses": 5}, {"ttl": 60, "units": 1, "functions": 3, "addresses": "0-9"}]);
    let shared = Multiplexer::start(modbus(device.address).with("/cache", rules));
    let mut client = shared.client();
    for _ in 0..2 {
        client.reads(1, 0, 10);
        client.reads(1, 0, 11);
        client.reads(2, 0, 10);
        client.reads(1, 5, 1);
        client.ask(&[1, 4, 0, 0, 0, 1]);
    }
    assert_eq!((device.seen().len(), shared.counter("cacheHits")), (9, 1));
}

#[test]
fn an_exception_is_not_kept() {
    let device = Device::first([Act::Exception(6)]);
    let shared = Multiplexer::start(modbus(device.address).with("/cache", json!([{"ttl": 60}])));
    let mut client = shared.client();
    client.is_refused(&read_of(1, 0, 1), 6);
    client.reads(1, 0, 1);
}

#[test]
fn a_write_forgets_what_is_kept_of_its_unit() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/cache", json!([{"ttl": 60}])));
    let (mut one, mut two) = (shared.client(), shared.client());
    one.reads(1, 0, 1);
    one.reads(2, 0, 1);
    two.writes(1, 0, 4711);
    assert_eq!(one.register(1, 0), 4711);
    one.reads(2, 0, 1);
    assert_eq!(device.seen().len(), 4, "unit 2 was not written to");
}

#[test]
fn a_write_whose_answer_is_lost_forgets_as_well() {
    let device = Device::with(|seen| if seen.body[1] == 6 { Act::Close } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/cache", json!([{"ttl": 60}])));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    client.is_refused(&write_of(1, 0, 4711), 0x0b);
    assert_eq!(client.register(1, 0), 4711);
}

#[test]
fn a_write_to_one_number_of_a_unit_forgets_what_is_kept_under_the_other() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/cache", json!([{"ttl": 60}])).with("/unit_map", json!([{"from": 1, "to": 2}])));
    let mut client = shared.client();
    client.reads(2, 0, 1);
    client.writes(1, 0, 4711);
    assert_eq!(client.register(2, 0), 4711);
    assert_eq!(client.register(1, 0), 4711);
}

#[test]
fn an_answer_that_was_read_before_a_write_is_not_kept() {
    // The read is answered after the write: what it says was read before.
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| if seen.number == 1 { Act::Later(held.clone()) } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/cache", json!([{"ttl": 60}])).with("/in_flight", 4));
    let (mut reads, mut writes) = (shared.client(), shared.client());
    reads.reads(9, 0, 1);
    let id = reads.send(&read_of(1, 0, 1));
    device.has_seen(2);
    writes.writes(1, 0, 4711);
    gate.lift();
    assert_eq!(reads.receive(), (id, answer_to_read(1, 0, 1)));
    assert_eq!(writes.register(1, 0), 4711);
    assert_eq!(reads.register(1, 0), 4711);
}

/// A device that answers the request after `skipped` when the gate opens.
fn held(skipped: usize) -> (Gate, Device) {
    let gate = Gate::shut();
    let held = gate.clone();
    (gate, Device::with(move |seen| if seen.number == skipped { Act::Later(held.clone()) } else { Act::Answer }))
}

#[test]
fn clients_that_read_the_same_share_one_request() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address));
    let mut clients: Vec<_> = (0..10).map(|_| shared.client()).collect();
    let ids: Vec<_> = clients.iter_mut().map(|client| client.send(&read_of(1, 5, 3))).collect();
    shared.counts("coalesced", 9);
    gate.lift();
    for (client, id) in clients.iter_mut().zip(ids) {
        assert_eq!(client.receive(), (id, answer_to_read(1, 5, 3)));
    }
    assert_eq!((device.seen().len(), shared.counter("sent"), shared.counter("answers")), (1, 1, 10));
}

#[test]
fn clients_that_read_the_same_do_not_share_if_that_is_not_wanted() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address).with("/coalesce", false));
    let mut clients: Vec<_> = (0..10).map(|_| shared.client()).collect();
    for client in &mut clients {
        client.send(&read_of(1, 5, 3));
    }
    shared.counts("queueDepth", 9);
    gate.lift();
    for client in &mut clients {
        assert_eq!(client.receive().1, answer_to_read(1, 5, 3));
    }
    assert_eq!((device.seen().len(), shared.counter("coalesced")), (10, 0));
}

#[test]
fn a_read_after_a_write_does_not_share_one_from_before() {
    let (gate, device) = held(1);
    let shared = Multiplexer::start(modbus(device.address).with("/in_flight", 4));
    let (mut old, mut writes) = (shared.client(), shared.client());
    old.reads(9, 0, 1);
    let id = old.send(&read_of(1, 0, 1));
    device.has_seen(2);
    writes.writes(1, 0, 4711);
    assert_eq!(writes.register(1, 0), 4711, "what was read before the write");
    gate.lift();
    assert_eq!(old.receive(), (id, answer_to_read(1, 0, 1)));
}

#[test]
fn a_read_that_waits_before_a_write_is_not_shared_with_who_asks_after_the_write() {
    // All wait in one queue: the read of one, the write of another, who reads then.
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address));
    let (mut blocks, mut old, mut writes) = (shared.client(), shared.client(), shared.client());
    blocks.send(&read_of(9, 0, 1));
    device.has_seen(1);
    old.send(&read_of(1, 0, 1));
    shared.counts("queueDepth", 1);
    writes.send(&write_of(1, 0, 4711));
    shared.counts("queueDepth", 2);
    // A third one, who sees by other ways that the write was asked for, may get either; the writer must see its own.
    let read = frame(Framing::Tcp, 99, &read_of(1, 0, 1));
    writes.stream.send(&read);
    gate.lift();
    assert_eq!(writes.receive().1, write_of(1, 0, 4711));
    assert_eq!(writes.receive(), (99, vec![1, 3, 2, 0x12, 0x67]));
    blocks.receive();
    old.receive();
}

#[test]
fn a_client_that_leaves_does_not_take_the_answer_from_those_who_share_it() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address));
    let (mut first, mut second) = (shared.client(), shared.client());
    first.send(&read_of(1, 5, 3));
    device.has_seen(1);
    let id = second.send(&read_of(1, 5, 3));
    shared.counts("coalesced", 1);
    first.stream.reset();
    shared.counts("activeConnections", 1);
    gate.lift();
    assert_eq!(second.receive(), (id, answer_to_read(1, 5, 3)));
    assert_eq!((shared.counter("abandoned"), shared.counter("answers")), (1, 1));
}

#[test]
fn a_client_may_read_the_same_twice_at_the_same_time() {
    let (gate, device) = held(0);
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    let ids = [client.send(&read_of(1, 5, 3)), client.send(&read_of(1, 5, 3))];
    shared.counts("coalesced", 1);
    gate.lift();
    let mut answers = [client.receive(), client.receive()];
    answers.sort();
    assert_eq!(answers, ids.map(|id| (id, answer_to_read(1, 5, 3))));
    assert_eq!(device.seen().len(), 1);
}
