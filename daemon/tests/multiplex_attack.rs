//! What an attack on the multiplexer found: connections that spin, sleep or never end, and what some clients could do to others.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

/// Longer than a test waits for anything: whoever is helped only by this is not helped.
const NEVER: u64 = 60;

/// A device that holds its first requests until the gate opens, and those after them not.
fn holds(n: usize) -> (Gate, Device) {
    let gate = Gate::shut();
    let held = gate.clone();
    (gate, Device::with(move |seen| if seen.number < n { Act::Later(held.clone()) } else { Act::Answer }))
}

/// Has two requests answered at the same time, so that there are two connections.
fn use_two_connections(shared: &Multiplexer, gate: &Gate, device: &Device) -> [Modbus; 2] {
    let mut clients = [shared.client(), shared.client()];
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&read_of(1, n as u16, 1));
        device.has_seen(n + 1);
    }
    gate.lift();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive().1, answer_to_read(1, n as u16, 1));
    }
    assert_eq!(device.connections(), 2);
    clients
}

/// What of a processor the daemon uses while `wait` waits must be little.
#[track_caller]
fn is_quiet(shared: &Multiplexer, wait: impl FnOnce()) {
    let (started, used) = (Instant::now(), shared.daemon.process.cpu_time());
    wait();
    let (passed, used) = (started.elapsed(), shared.daemon.process.cpu_time().saturating_sub(used));
    assert!(used < passed / 5, "{used:?} of processor time in {passed:?} in which there was next to nothing to do");
}

/// Whether somebody in this process is connecting to `to`, who does not answer.
fn is_dialling(pid: u32, to: std::net::SocketAddr) -> Option<()> {
    let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    // The remote address, and SYN_SENT.
    let wanted = format!(":{:04X} 02 ", to.port());
    sockets.contains(&wanted).then_some(())
}

#[test]
fn a_second_connection_that_is_idle_does_not_spin() {
    let (gate, device) = holds(2);
    let shared = Multiplexer::start(modbus(device.address).with("/max_connections", 2).with("/health_check_interval", 1));
    let _clients = use_two_connections(&shared, &gate, &device);
    // The first health check: now the second connection, too, has been idle for as long.
    device.has_seen(3);
    is_quiet(&shared, || drop(device.has_seen(4)));
    assert_eq!(device.connections(), 2);
}

#[test]
fn a_connection_that_pauses_for_longer_than_the_health_check_interval_does_not_spin() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/request_gap", "2500ms").with("/health_check_interval", 1));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    is_quiet(&shared, || client.reads(1, 1, 1));
}

#[test]
fn a_request_goes_to_the_open_connection_when_the_one_before_it_is_closed() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| match seen.number {
        0 => {
            held.pass();
            Act::AnswerThenClose
        }
        1 => Act::Later(held.clone()),
        _ => Act::Answer,
    });
    let spec = modbus(device.address).with("/max_connections", 2).with("/health_check_interval", 0);
    let shared = Multiplexer::start(spec.with("/timeout", NEVER));
    let [mut client, _] = use_two_connections(&shared, &gate, &device);
    shared.counts("targetActive", 1);
    client.reads(1, 20, 1);
}

#[test]
fn an_edit_while_a_connection_is_opened_for_what_waits_ends_the_others_too() {
    let device = Device::start();
    let spec = modbus(device.address).with("/max_connections", 2).with("/health_check_interval", 0).with("/delay", "600ms");
    let mut shared = Multiplexer::start(spec.with("/timeout", NEVER));
    let (mut early, mut late) = (shared.client(), shared.client());
    let id = early.send(&read_of(1, 0, 1));
    until("it connects", || (device.connections() == 1).then_some(()));
    shared.edit("/queue_size", 33);
    assert_eq!(early.receive(), (id, answer_to_read(1, 0, 1)));
    // The next connections wait for the end of those before them, but no longer than 10 s.
    let begun = Instant::now();
    late.reads(1, 1, 1);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn a_stop_while_a_connection_is_opened_for_what_waits_takes_no_longer_than_the_answer() {
    let device = Device::start();
    let spec = modbus(device.address).with("/max_connections", 2).with("/health_check_interval", 0).with("/delay", "600ms");
    let mut shared = Multiplexer::on(Daemon::prepare().arg("--drain-timeout", "60s").start(), spec.with("/timeout", NEVER));
    let mut client = shared.client();
    let id = client.send(&read_of(1, 0, 1));
    until("it connects", || (device.connections() == 1).then_some(()));
    assert!(shared.daemon.stop().success());
    assert_eq!(client.receive(), (id, answer_to_read(1, 0, 1)));
}

#[test]
fn a_connection_that_is_to_be_closed_when_idle_at_once_is_used_before() {
    let device = Device::start();
    let spec = modbus(device.address).with("/close_when_idle", 0).with("/health_check_interval", 0);
    let shared = Multiplexer::start(spec.with("/timeout", NEVER));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    assert_eq!(device.end_of(0), End::Fin);
    client.reads(1, 1, 1);
    assert_eq!(device.connections(), 2);
}

#[test]
fn a_connection_that_pauses_is_not_idle_as_long_as_something_waits() {
    const PAUSE: Duration = Duration::from_secs(1);
    let (gate, device) = holds(1);
    let spec = modbus(device.address).with("/close_when_idle", "200ms").with("/health_check_interval", 0);
    let shared = Multiplexer::start(spec.with("/request_gap", "1s").with("/timeout", NEVER));
    let (mut one, mut two) = (shared.client(), shared.client());
    one.send(&read_of(1, 0, 1));
    device.has_seen(1);
    two.send(&read_of(1, 1, 1));
    shared.counts("queueDepth", 1);
    let answered = Instant::now();
    gate.lift();
    assert_eq!(one.receive().1, answer_to_read(1, 0, 1));
    assert_eq!(two.receive().1, answer_to_read(1, 1, 1));
    let passed = device.seen()[1].at - answered;
    assert!(passed >= PAUSE, "the next request was sent after {passed:?}");
    assert_eq!(device.connections(), 1);
}

#[test]
fn a_unit_that_is_off_takes_the_device_away_from_nobody() {
    // A gateway that answers for unit 1 only.
    let device = Device::with(|seen| if seen.body[0] == 2 { Act::Nothing } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/match", "order").with("/timeout", "400ms"));
    let (mut good, mut bad) = (shared.client(), shared.client());
    good.reads(1, 0, 1);
    for n in 1..3 {
        // The answer is missed on two connections, one after the other.
        bad.is_refused(&read_of(2, n, 1), 0x0b);
        good.reads(1, n, 1);
    }
    assert_eq!(shared.counter("noPath"), 0);
}

#[test]
fn large_requests_that_wait_need_no_more_than_there_is() {
    const CLIENTS: u64 = 150;
    const BODY: usize = 1_000_000;
    let request = [format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n").as_bytes(), &vec![b'x'; BODY]].concat();
    let (gate, length) = (Gate::shut(), request.len());
    let held = gate.clone();
    // It reads nothing until the gate opens.
    let device = Server::start(move |_, mut stream| {
        held.pass();
        let mut first = [0];
        while let Ok(1) = stream.peek(&mut first) {
            stream.receive(length);
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let daemon = Daemon::prepare().buffer_total("8 MiB").start();
    let shared = Multiplexer::on(daemon, speaks("http", device.address).with("/timeout", NEVER));
    let mut clients = Vec::new();
    for n in 1..=CLIENTS {
        let mut client = connect(shared.at);
        client.send(&request);
        clients.push(client);
        // One after the other: what a client has not sent yet was always accounted for.
        shared.counts("requests", n);
    }
    let peak = shared.daemon.process.peak_memory() >> 20;
    assert!(peak < 70, "it needed {peak} MiB");
    drop(clients);
    gate.lift();
    shared.counts("activeConnections", 0);
    assert!(shared.counter("busy") > 0, "all were taken");
}

#[test]
fn a_read_of_all_units_on_a_line_without_tags_is_refused() {
    let act = |seen: &Seen| if seen.body[0] == 0 { Act::Nothing } else { Act::Answer };
    let device = Device::start_at(([127, 0, 0, 1], 0).into(), Framing::Rtu, act);
    let shared = Multiplexer::start(speaks("modbus-rtu-tcp", device.address).with("/client_protocol", "modbus"));
    let mut client = shared.client();
    client.is_refused(&read_of(0, 0, 1), 0x0b);
    client.writes(0, 7, 1);
    client.reads(1, 0, 1);
    assert_eq!(device.bodies(), [write_of(0, 7, 1), read_of(1, 0, 1)]);
}

#[test]
fn a_client_that_does_not_read_its_answer_is_idle() {
    const ANSWER: usize = 8 << 20;
    let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let server = Server::start(move |_, mut stream| {
        use std::io::Write;
        let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {ANSWER}\r\n\r\n").as_bytes(), &vec![b'x'; ANSWER]].concat();
        let mut first = [0];
        while let Ok(1) = stream.peek(&mut first) {
            stream.receive(get.len());
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    let spec = speaks("http", server.address).with("/max_message", "16 MiB").with("/idle_timeout", 1).with("/max_clients", 1);
    let shared = Multiplexer::start(spec);
    let mut deaf = connect(shared.at);
    // So that the kernel does not hold it all.
    socket2::SockRef::from(&deaf).set_recv_buffer_size(64 << 10).unwrap();
    deaf.send(get);
    shared.counts("answers", 1);
    is_turned_away(shared.at);
    shared.counts("activeConnections", 0);
    let mut client = connect(shared.at);
    client.send(get);
    client.receive(ANSWER);
}

/// At which place the device got a request.
fn place_of(device: &Device, body: &[u8]) -> usize {
    device.bodies().iter().position(|seen| seen == body).unwrap()
}

/// How many requests a device answers before [`holds_one_later`] has it hold one.
const BEFORE: u16 = 30;

/// A device that holds one request until the gate opens.
fn holds_one_later() -> (Gate, Device) {
    let gate = Gate::shut();
    let held = gate.clone();
    (
        gate,
        Device::with(move |seen| if seen.number == usize::from(BEFORE) { Act::Later(held.clone()) } else { Act::Answer }),
    )
}

#[test]
fn who_asks_a_second_device_too_has_no_more_turns_at_the_first() {
    let ((gate, first), second) = (holds_one_later(), Device::start());
    let spec = modbus(first.address).with("/routes", json!([{"units": "2", "target": second.address}]));
    let shared = Multiplexer::start(spec.with("/coalesce", false).with("/timeout", NEVER));
    let (mut greedy, mut modest) = (shared.client(), shared.client());
    // The first device has had many rounds, the second none.
    for n in 0..BEFORE {
        modest.reads(1, n, 1);
    }
    for n in 0..12 {
        greedy.send(&read_of(1, 100 + n, 1));
        greedy.send(&read_of(2, n, 1));
    }
    second.has_seen(12);
    first.has_seen(usize::from(BEFORE) + 1);
    shared.counts("queueDepth", 11);
    let id = modest.send(&read_of(1, 900, 1));
    shared.counts("queueDepth", 12);
    gate.lift();
    assert_eq!(modest.receive(), (id, answer_to_read(1, 900, 1)));
    (0..24).for_each(|_| drop(greedy.receive()));
    let place = place_of(&first, &read_of(1, 900, 1)) - usize::from(BEFORE);
    assert!(place <= 2, "the request of the modest client was number {place} of 12");
}

#[test]
fn who_has_asked_much_before_an_edit_has_no_later_turn_after_it() {
    let (gate, device) = holds_one_later();
    let mut shared = Multiplexer::start(modbus(device.address).with("/coalesce", false).with("/timeout", NEVER));
    let mut old = shared.client();
    // Pipelined, so that each has a round of its own.
    for n in 0..BEFORE {
        old.send(&read_of(1, n, 1));
    }
    (0..BEFORE).for_each(|_| drop(old.receive()));
    shared.edit("/queue_size", 33);
    let mut greedy = shared.client();
    for n in 0..12 {
        greedy.send(&read_of(1, 100 + n, 1));
    }
    device.has_seen(usize::from(BEFORE) + 1);
    shared.counts("queueDepth", 11);
    let id = old.send(&read_of(1, 900, 1));
    shared.counts("queueDepth", 12);
    gate.lift();
    assert_eq!(old.receive(), (id, answer_to_read(1, 900, 1)));
    (0..12).for_each(|_| drop(greedy.receive()));
    let place = place_of(&device, &read_of(1, 900, 1)) - usize::from(BEFORE);
    assert!(place <= 2, "the request of the old client was number {place} of 12");
}

#[test]
fn a_stop_does_not_wait_for_a_device_that_does_not_answer_its_syn() {
    let swallows = Narrow::filled();
    let daemon = Daemon::prepare().arg("--drain-timeout", "60s").start();
    let mut shared = Multiplexer::on(daemon, modbus(swallows.address).with("/connect_timeout", NEVER));
    let _idle = shared.client();
    shared.counts("activeConnections", 1);
    until("it connects", || is_dialling(shared.daemon.process.pid(), swallows.address));
    assert!(shared.daemon.stop().success());
}

#[test]
fn a_stop_does_not_wait_for_the_pause_after_connecting() {
    let device = Device::start();
    let daemon = Daemon::prepare().arg("--drain-timeout", "60s").start();
    let mut shared = Multiplexer::on(daemon, modbus(device.address).with("/delay", NEVER));
    let _idle = shared.client();
    shared.counts("activeConnections", 1);
    until("it connects", || (device.connections() == 1).then_some(()));
    assert!(shared.daemon.stop().success());
}

#[test]
fn an_edit_that_mends_an_address_does_not_wait_for_the_wrong_one() {
    let (swallows, device) = (Narrow::filled(), Device::start());
    let mut shared = Multiplexer::start(modbus(swallows.address).with("/connect_timeout", NEVER).with("/timeout", NEVER));
    let mut client = shared.client();
    until("it connects", || is_dialling(shared.daemon.process.pid(), swallows.address));
    let begun = Instant::now();
    shared.edit("/target", device.address);
    client.reads(1, 0, 1);
    // Connections before are waited for, but no longer than 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn the_pause_before_connecting_again_is_made_over_an_edit_and_a_restart() {
    const PAUSE: Duration = Duration::from_millis(600);
    let device = Device::start();
    let mut shared = Multiplexer::start(modbus(device.address).with("/connect_delay", "600ms"));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    let before = Instant::now();
    shared.edit("/queue_size", 33);
    client.reads(1, 1, 1);
    let passed = device.connected()[1] - before;
    assert!(passed >= PAUSE, "{passed:?} over an edit");
    let before = Instant::now();
    shared.daemon.call("flow.restart", json!({"id": "inverter"})).unwrap();
    until("it connects", || (device.connections() == 3).then_some(()));
    let passed = device.connected()[2] - before;
    assert!(passed >= PAUSE, "{passed:?} over a restart");
    shared.at = shared.daemon.listening("inverter");
    shared.client().reads(1, 2, 1);
}

#[test]
fn a_connection_that_was_opened_for_a_unit_that_may_not_have_it_is_closed_when_idle() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| if seen.number == 2 { Act::Later(held.clone()) } else { Act::Answer });
    let spec = modbus(device.address).with("/max_connections", 2).with("/health_check_interval", 0);
    let shared = Multiplexer::start(spec.with("/close_when_idle", "1500ms").with("/timeout", NEVER));
    let (mut one, mut two) = (shared.client(), shared.client());
    // Two units are known, so none gets both connections.
    one.reads(2, 0, 1);
    one.reads(1, 0, 1);
    one.send(&read_of(1, 1, 1));
    device.has_seen(3);
    two.send(&read_of(1, 2, 1));
    shared.counts("targetActive", 2);
    assert_eq!(device.seen().len(), 3);
    gate.lift();
    assert_eq!(one.receive().1, answer_to_read(1, 1, 1));
    assert_eq!(two.receive().1, answer_to_read(1, 2, 1));
    shared.counts("targetActive", 0);
}
