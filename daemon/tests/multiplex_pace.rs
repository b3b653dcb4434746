//! When requests are sent: pauses, connections, what waits, and for how long.

use std::time::{Duration, Instant};

use crate::support::*;

/// A device that answers when the gate opens.
fn held() -> (Gate, Device) {
    let gate = Gate::shut();
    let held = gate.clone();
    (gate, Device::with(move |_| Act::Later(held.clone())))
}

const PAUSE: Duration = Duration::from_millis(300);
/// The same, for who sees its beginning a little late.
const ALMOST: Duration = Duration::from_millis(250);

#[test]
fn a_pause_is_made_after_connecting() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/delay", "300ms"));
    shared.client().reads(1, 0, 1);
    let passed = device.seen()[0].at - device.connected()[0];
    assert!(passed >= ALMOST, "{passed:?}");
}

#[test]
fn a_pause_is_made_between_an_answer_and_the_next_request() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/request_gap", "300ms"));
    let (mut one, mut two) = (shared.client(), shared.client());
    let (ids, begun) = ((one.send(&read_of(1, 0, 1)), two.send(&read_of(1, 1, 1))), Instant::now());
    assert_eq!((one.receive().0, two.receive().0), ids);
    one.reads(1, 2, 1);
    let seen = device.seen();
    assert!(seen[1].at - seen[0].at >= PAUSE && seen[2].at - seen[1].at >= PAUSE, "{seen:?}");
    assert!(begun.elapsed() >= 2 * PAUSE);
}

#[test]
fn a_pause_is_made_before_connecting_again() {
    let device = Device::with(|_| Act::AnswerAndClose);
    let shared = Multiplexer::start(modbus(device.address).with("/connect_delay", "300ms"));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    let ended = Instant::now();
    client.reads(1, 1, 1);
    assert!(ended.elapsed() >= ALMOST, "{:?}", ended.elapsed());
    assert!(device.connected()[1] - device.seen()[0].at >= PAUSE);
}

#[test]
fn connecting_takes_no_longer_than_its_timeout() {
    let swallows = Narrow::filled();
    let shared = Multiplexer::start(modbus(swallows.address).with("/connect_timeout", "200ms").with("/timeout", 30));
    let (mut client, begun) = (shared.client(), Instant::now());
    client.is_refused(&read_of(1, 0, 1), 0x0a);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(shared.counter("targetErrConnect") >= 1);
    shared.is_in_trouble();
}

#[test]
fn an_idle_connection_to_the_device_is_closed_and_made_again() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/close_when_idle", "300ms"));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    let used = Instant::now();
    assert_eq!(device.end_of(0), End::Fin);
    assert!(used.elapsed() >= ALMOST, "{:?}", used.elapsed());
    shared.counts("targetActive", 0);
    client.reads(1, 1, 1);
    assert_eq!(device.connections(), 2);
    assert_eq!(shared.counter("targetLost"), 0);
}

#[test]
fn an_idle_client_is_not_dropped_after_the_timeout() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/timeout", 1));
    let (mut idle, mut busy) = (shared.client(), shared.client());
    idle.reads(1, 0, 1);
    let begun = Instant::now();
    until("more than the timeout has passed", || {
        busy.reads(1, 1, 1);
        (begun.elapsed() > Duration::from_millis(2200)).then_some(())
    });
    idle.reads(1, 2, 1);
    assert_eq!(device.connections(), 1);
}

#[test]
fn an_idle_client_is_dropped_after_the_idle_timeout_if_there_is_one() {
    let (gate, device) = held();
    let shared = Multiplexer::start(modbus(device.address).with("/idle_timeout", 1));
    let (mut idle, mut waits) = (shared.client(), shared.client());
    let id = waits.send(&read_of(1, 0, 1));
    assert_eq!(idle.stream.receive_all(), (Vec::new(), End::Fin));
    gate.lift();
    assert_eq!(waits.receive(), (id, answer_to_read(1, 0, 1)));
}

#[test]
fn a_pool_of_4_has_4_requests_on_their_way_and_a_pool_of_1_has_1() {
    for pool in [4, 1] {
        let (gate, device) = held();
        let shared = Multiplexer::start(modbus(device.address).with("/max_connections", pool));
        let mut clients: Vec<_> = (0..8).map(|_| shared.client()).collect();
        let ids: Vec<_> = (0..8).map(|i| clients[i].send(&read_of(1, i as u16, 1))).collect();
        device.has_seen(pool);
        shared.counts("queueDepth", 8 - pool as u64);
        gate.lift();
        for (i, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.receive(), (ids[i], answer_to_read(1, i as u16, 1)));
        }
        assert_eq!((device.most(), device.connections()), (pool, pool));
    }
}

#[test]
fn a_slow_unit_does_not_hold_up_a_fast_one() {
    for field in ["/max_connections", "/in_flight"] {
        let gate = Gate::shut();
        let held = gate.clone();
        let device = Device::with(move |seen| if seen.body[0] == 9 { Act::Later(held.clone()) } else { Act::Answer });
        let places = if field == "/in_flight" { 4 } else { 2 };
        let shared = Multiplexer::start(modbus(device.address).with(field, places).with("/timeout", 30).with("/queue_size", 100));
        let mut fast = shared.client();
        fast.reads(1, 0, 1);
        let mut slow: Vec<_> = (0..10).map(|_| shared.client()).collect();
        for (i, client) in slow.iter_mut().enumerate() {
            client.send(&read_of(9, i as u16, 1));
        }
        // The units that ask are counted once a second; until then the first reads may wait.
        until("the slow unit's requests are there", || (shared.counter("requests") == 11).then_some(()));
        let begun = Instant::now();
        for i in 0..100 {
            fast.reads(1, i, 1);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{field}: {:?}", begun.elapsed());
        let of_the_slow = device.seen().iter().filter(|seen| seen.body[0] == 9).count();
        assert!(of_the_slow < places, "{field}: {of_the_slow} requests to the slow unit on their way");
        gate.lift();
        for (i, client) in slow.iter_mut().enumerate() {
            assert_eq!(client.receive().1, answer_to_read(9, i as u16, 1));
        }
    }
}

#[test]
fn who_finds_the_queue_full_waits() {
    let (gate, device) = held();
    let shared = Multiplexer::start(modbus(device.address).with("/queue_size", 2).with("/coalesce", false));
    let mut clients: Vec<_> = (0..6).map(|_| shared.client()).collect();
    for client in &mut clients {
        client.send(&read_of(1, 0, 1));
    }
    device.has_seen(1);
    until("all have asked", || (shared.counter("requests") == 6).then_some(()));
    gate.lift();
    for client in &mut clients {
        assert_eq!(client.receive().1, answer_to_read(1, 0, 1));
    }
    assert_eq!(shared.counter("busy"), 0);
}

#[test]
fn who_finds_the_queue_full_is_told_so_if_that_is_wanted() {
    let (gate, device) = held();
    let spec = modbus(device.address).with("/queue_size", 2).with("/on_busy", "busy").with("/coalesce", false);
    let shared = Multiplexer::start(spec);
    let mut clients: Vec<_> = (0..3).map(|_| shared.client()).collect();
    clients[0].send(&read_of(1, 0, 1));
    device.has_seen(1);
    clients[1].send(&read_of(1, 1, 1));
    clients[2].send(&read_of(1, 2, 1));
    shared.counts("queueDepth", 2);
    let mut late = shared.client();
    late.is_refused(&read_of(1, 3, 1), 0x06);
    assert_eq!(shared.counter("busy"), 1);
    gate.lift();
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive().1, answer_to_read(1, i as u16, 1));
    }
    late.reads(1, 3, 1);
}

#[test]
fn one_client_too_many_is_closed_at_once_and_counted() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/max_clients", 2));
    let (mut one, mut two) = (shared.client(), shared.client());
    one.reads(1, 0, 1);
    two.reads(1, 0, 1);
    is_turned_away(shared.at);
    shared.counts("clientRefused", 1);
    drop(two);
    shared.counts("activeConnections", 1);
    shared.client().reads(1, 1, 1);
    one.reads(1, 2, 1);
}

#[test]
fn who_is_not_allowed_is_closed_at_once_and_counted() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/allow", ["10.0.0.0/8"]));
    is_turned_away(shared.at);
    shared.counts("clientRefused", 1);
    assert_eq!(shared.counter("clientConnections"), 0);
}

#[test]
fn a_request_that_waits_too_long_for_its_turn_is_refused() {
    let (gate, device) = held();
    let shared = Multiplexer::start(modbus(device.address).with("/timeout", 1).with("/retry_reads", 0));
    let (mut first, mut second) = (shared.client(), shared.client());
    first.send(&read_of(1, 0, 1));
    device.has_seen(1);
    second.is_refused(&read_of(1, 1, 1), 0x0b);
    assert_eq!(first.receive().1, [1, 0x83, 0x0b]);
    gate.lift();
    shared.client().reads(1, 3, 1);
}
