//! Devices that close, are silent, or are not there.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

#[test]
fn a_write_is_never_sent_twice() {
    for act in [Act::Close, Act::Nothing, Act::Part(0), Act::Part(5), Act::Part(11), Act::Raw(b"rubbish rubbish".to_vec()), Act::Id(3)] {
        let device = Device::first([act]);
        let shared = Multiplexer::start(modbus(device.address).with("/timeout", "300ms").with("/retry_reads", 10).with("/reconnect_backoff", "50ms"));
        let mut client = shared.client();
        let body = write_of(1, 7, 42);
        let answer = client.ask(&body);
        assert_eq!(answer[1], 0x86, "{answer:x?}");
        client.reads(1, 100, 1);
        assert_eq!(device.bodies().iter().filter(|seen| **seen == body).count(), 1);
        assert_eq!(shared.counter("retries"), 0);
    }
}

#[test]
fn a_write_to_a_device_that_closes_without_an_answer_gets_exception_0b() {
    let device = Device::first([Act::Close]);
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.is_refused(&write_of(1, 7, 42), 0x0b);
    client.reads(1, 0, 1);
    assert_eq!(device.bodies(), [write_of(1, 7, 42), read_of(1, 0, 1)]);
    assert_eq!(shared.counter("timeouts"), 1);
}

#[test]
fn a_function_that_nobody_knows_is_never_sent_twice() {
    let device = Device::first([Act::Close]);
    let shared = Multiplexer::start(modbus(device.address));
    shared.client().is_refused(&[1, 0x41, 9, 9], 0x0b);
    assert_eq!(device.seen().len(), 1);
}

#[test]
fn a_read_is_sent_again() {
    for act in [Act::Close, Act::Part(0), Act::Part(7), Act::Raw(b"rubbish rubbish".to_vec()), Act::Nothing] {
        let device = Device::first([act]);
        let shared = Multiplexer::start(modbus(device.address).with("/timeout", "500ms").with("/reconnect_backoff", "50ms"));
        shared.client().reads(1, 0, 3);
        assert_eq!(device.bodies(), [read_of(1, 0, 3), read_of(1, 0, 3)]);
        assert_eq!((shared.counter("retries"), shared.counter("requests"), shared.counter("answers")), (1, 1, 1));
    }
}

#[test]
fn a_read_is_not_sent_again_without_retries() {
    let device = Device::first([Act::Close]);
    let shared = Multiplexer::start(modbus(device.address).with("/retry_reads", 0));
    let mut client = shared.client();
    client.is_refused(&read_of(1, 0, 1), 0x0b);
    assert_eq!(device.seen().len(), 1);
    client.reads(1, 0, 1);
}

#[test]
fn a_device_that_closes_after_each_answer_loses_no_request() {
    let device = Device::with(|_| Act::AnswerAndClose);
    let shared = Multiplexer::start(modbus(device.address));
    let (mut one, mut two) = (shared.client(), shared.client());
    for i in 0..25 {
        one.reads(1, i, 2);
        two.writes(2, i, i);
    }
    assert_eq!((shared.counter("answers"), shared.counter("requests")), (50, 50));
    assert_eq!(device.bodies().iter().filter(|body| body[1] == 6).count(), 25, "each write came once");
}

#[test]
fn a_request_that_meets_the_end_of_the_connection_is_answered_or_refused_and_a_write_is_not_sent_twice() {
    let device = Device::with(|_| Act::AnswerThenClose);
    let shared = Multiplexer::start(modbus(device.address).with("/retry_reads", 5));
    let mut client = shared.client();
    for i in 0..25 {
        client.reads(1, 500 + i, 2);
        let body = write_of(2, i, i);
        let answer = client.ask(&body);
        assert!(answer == body || answer == [2, 0x86, 0x0b], "{answer:x?}");
    }
    let bodies = device.bodies();
    for i in 0..25 {
        assert!(bodies.iter().filter(|body| **body == write_of(2, i, i)).count() <= 1, "write {i} came twice");
    }
}

#[test]
fn a_device_that_closes_at_any_byte_of_its_answer_loses_no_read() {
    let device = Device::with(|seen| if seen.number % 2 == 0 { Act::Part(seen.number / 2) } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    for i in 0..13 {
        client.reads(1, i, 2);
    }
    assert_eq!(shared.counter("answers"), 13);
}

#[test]
fn a_device_that_closes_before_it_reads_anything_loses_no_request() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    let mut device = device;
    let address = device.address;
    device.stop();
    let device = Device::start_at(address, Framing::Tcp, |_| Act::Answer);
    client.reads(1, 1, 1);
    client.writes(1, 1, 5);
    assert_eq!(device.seen().len(), 2);
}

#[test]
fn requests_while_the_device_is_down_are_refused_and_answered_when_it_is_up() {
    let port = Nobody::new();
    let mut shared = Multiplexer::start(modbus(port.address).with("/reconnect_backoff", "100ms"));
    let mut client = shared.client();
    for i in 0..20 {
        client.is_refused(&read_of(1, i, 1), 0x0a);
    }
    client.is_refused(&write_of(1, 0, 1), 0x0a);
    assert!(shared.is_in_trouble().contains(&port.address.to_string()));
    assert_eq!(shared.counter("noPath"), 21);
    assert_eq!(shared.status()["details"]["units"]["1"]["failures"], 21);
    assert!(shared.daemon.process.has_exited().is_none());
    let device = Device::start_at(port.address, Framing::Tcp, |_| Act::Answer);
    until("it is connected to", || (client.ask(&read_of(1, 0, 1)) == answer_to_read(1, 0, 1)).then_some(()));
    client.writes(1, 0, 1);
    shared.is_well();
    assert_eq!(device.bodies().iter().filter(|body| body[1] == 6).count(), 1, "what was refused is not sent");
}

#[test]
fn a_device_that_goes_down_and_comes_back_is_used_again() {
    let port = Nobody::new();
    let mut device = Device::start_at(port.address, Framing::Tcp, |_| Act::Answer);
    let shared = Multiplexer::start(modbus(port.address).with("/reconnect_backoff", "100ms"));
    let (mut client, mut idle) = (shared.client(), shared.client());
    client.reads(1, 0, 1);
    device.stop();
    client.is_refused(&read_of(1, 0, 1), 0x0a);
    let _device = Device::start_at(port.address, Framing::Tcp, |_| Act::Answer);
    until("it is connected to", || (client.ask(&read_of(1, 0, 1)) == answer_to_read(1, 0, 1)).then_some(()));
    idle.reads(1, 1, 1);
}

#[test]
fn a_device_that_is_not_there_is_not_dialled_more_often_than_the_backoff_says() {
    let port = Nobody::new();
    let shared = Multiplexer::start(modbus(port.address).with("/reconnect_backoff", 1));
    let (mut client, begun) = (shared.client(), Instant::now());
    until("a while has passed", || {
        client.is_refused(&read_of(1, 0, 1), 0x0a);
        (begun.elapsed() > Duration::from_secs(2)).then_some(())
    });
    let attempts = shared.counter("targetErrConnect");
    assert!(attempts <= 6, "{attempts} attempts in 2 s");
}

#[test]
fn a_device_that_accepts_and_never_answers_is_noticed_by_the_health_check() {
    let device = Device::with(|_| Act::Nothing);
    let spec = modbus(device.address)
        .with("/timeout", "300ms")
        .with("/health_check_interval", 1)
        .with("/probe", json!({"unit": 3, "address": 40, "count": 2}));
    let shared = Multiplexer::start(spec);
    let said = shared.is_in_trouble();
    assert!(said.contains(&device.address.to_string()), "{said}");
    let probe = read_of(3, 40, 2);
    assert!(device.bodies().iter().all(|body| *body == probe), "{:?}", device.bodies());
    assert_eq!(shared.counter("requests"), 0);
}

#[test]
fn a_device_that_answers_again_is_well_again() {
    let gate = Gate::shut();
    let heals = gate.clone();
    // Silent, until the gate opens; what was asked before is never answered.
    let device = Device::with(move |_| if heals.is_open() { Act::Answer } else { Act::Nothing });
    let spec = modbus(device.address)
        .with("/timeout", "300ms")
        .with("/health_check_interval", 1)
        .with("/probe", json!({"address": 0}));
    let shared = Multiplexer::start(spec.with("/reconnect_backoff", "100ms"));
    shared.is_in_trouble();
    gate.lift();
    shared.is_well();
    shared.client().reads(1, 0, 1);
}

#[test]
fn without_a_probe_the_health_check_is_the_read_that_was_answered_last() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/health_check_interval", 1));
    let mut client = shared.client();
    client.reads(4, 44, 4);
    let seen = device.has_seen(2);
    assert_eq!(seen[1].body, read_of(4, 44, 4));
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(950));
    assert_eq!(shared.counter("requests"), 1);
}

#[test]
fn a_health_check_interval_of_0_means_never() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/health_check_interval", 0).with("/probe", json!({"address": 0})));
    let begun = Instant::now();
    until("a while has passed", || (begun.elapsed() > Duration::from_millis(1200)).then_some(()));
    assert_eq!((device.connections(), shared.counter("targetConnections")), (0, 0), "nobody has asked yet");
    shared.client().reads(1, 0, 1);
    assert_eq!(device.seen().len(), 1);
}

#[test]
fn a_unit_that_is_silent_is_trouble_until_it_answers_and_the_others_go_on() {
    let gate = Gate::shut();
    let heals = gate.clone();
    let device = Device::with(move |seen| if seen.body[0] == 9 && !heals.is_open() { Act::Nothing } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/timeout", "300ms").with("/retry_reads", 0));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    client.is_refused(&read_of(9, 0, 1), 0x0b);
    let said = shared.is_in_trouble();
    assert!(said.contains("unit 9"), "{said}");
    client.reads(1, 0, 1);
    assert_ne!(shared.status()["troubles"], json!([]), "unit 1 answers, and unit 9 does not");
    gate.lift();
    client.reads(9, 0, 1);
    shared.is_well();
}

#[test]
fn the_next_address_is_used_when_the_first_does_not_answer_and_the_first_again_later() {
    let port = Nobody::new();
    let second = Device::with(|_| Act::AnswerAndClose);
    let shared = Multiplexer::start(modbus(port.address).with("/target", [port.address, second.address]));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    client.reads(1, 1, 1);
    assert_eq!(second.seen().len(), 2);
    assert_eq!(shared.status()["details"]["devices"][0]["device"], second.address.to_string());
    shared.is_in_trouble();
    // The first one is passed over for a while; when the second goes, it is tried all the same.
    let first = Device::start_at(port.address, Framing::Tcp, |_| Act::Answer);
    drop(second);
    until("the first one is used", || (client.ask(&read_of(1, 2, 1)) == answer_to_read(1, 2, 1)).then_some(()));
    assert!(!first.seen().is_empty());
    assert_eq!(shared.status()["details"]["devices"][0]["device"], first.address.to_string());
}

#[test]
fn a_device_that_takes_one_connection_only_serves_a_pool_of_4() {
    let device = Device::with(|seen| if seen.connection == 0 { Act::Answer } else { Act::Close });
    let shared = Multiplexer::start(modbus(device.address).with("/max_connections", 4).with("/retry_reads", 3));
    std::thread::scope(|scope| {
        for unit in 1..=4 {
            let mut client = shared.client();
            scope.spawn(move || (0..25).for_each(|i| client.reads(unit, i, 2)));
        }
    });
    assert_eq!(shared.counter("answers"), 100);
}

#[test]
fn a_request_that_nobody_answers_does_not_keep_others_waiting_for_ever() {
    let device = Device::with(|_| Act::Nothing);
    let shared = Multiplexer::start(modbus(device.address).with("/timeout", "300ms").with("/retry_reads", 0));
    let mut clients: Vec<_> = (0..10).map(|_| shared.client()).collect();
    let begun = Instant::now();
    for client in &mut clients {
        client.send(&read_of(1, 0, 1));
    }
    for client in &mut clients {
        assert_eq!(client.receive().1[..2], [1, 0x83]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_device_that_stops_in_the_middle_of_an_answer_does_not_spoil_the_next_one() {
    for at in [1, 5, 7, 10] {
        for (framing, spec) in [(Framing::Tcp, "modbus"), (Framing::Rtu, "modbus-rtu-tcp")] {
            let act = move |seen: &Seen| if seen.number == 1 { Act::Stall(at.min(6)) } else { Act::Answer };
            let device = Device::start_at(([127, 0, 0, 1], 0).into(), framing, act);
            let spec = speaks(spec, device.address).with("/client_protocol", "modbus").with("/retry_reads", 0);
            let shared = Multiplexer::start(spec.with("/timeout", "300ms").with("/reconnect_backoff", "50ms"));
            let mut client = shared.client();
            client.reads(1, 0, 1);
            client.is_refused(&read_of(1, 0, 1), 0x0b);
            client.writes(1, 100, 7);
            for i in 0..5 {
                client.reads(1, i, 2);
            }
        }
    }
}

#[test]
fn a_read_is_sent_again_as_often_as_the_spec_says() {
    for (closes, code) in [(3, None), (4, Some(0x0b))] {
        let device = Device::first(vec![Act::Close; closes]);
        let shared = Multiplexer::start(modbus(device.address).with("/retry_reads", 3).with("/reconnect_backoff", "20ms"));
        let mut client = shared.client();
        match code {
            None => client.reads(1, 0, 1),
            Some(code) => client.is_refused(&read_of(1, 0, 1), code),
        }
        assert_eq!((device.seen().len(), shared.counter("retries")), (4, 3));
    }
}

#[test]
fn pipelined_writes_of_a_device_that_closes_after_one_answer_are_not_sent_twice() {
    let device = Device::with(|seen| if seen.number < 4 { Act::AnswerAndClose } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/in_flight", 8).with("/reconnect_backoff", "20ms"));
    let mut clients: Vec<_> = (0..8).map(|_| shared.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&write_of(1, i as u16, 1));
    }
    for client in &mut clients {
        let answer = client.receive().1;
        assert!(answer[1] == 6 || answer == [1, 0x86, 0x0b], "{answer:x?}");
    }
    let mut bodies = device.bodies();
    let all = bodies.len();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), all, "a write came twice");
    shared.client().reads(2, 0, 1);
}

#[test]
fn pipelined_reads_of_a_device_that_closes_after_one_answer_are_all_answered() {
    let device = Device::with(|_| Act::AnswerAndClose);
    let shared = Multiplexer::start(modbus(device.address).with("/in_flight", 8).with("/retry_reads", 10).with("/reconnect_backoff", "20ms"));
    let mut clients: Vec<_> = (0..8).map(|_| shared.client()).collect();
    let ids: Vec<_> = (0..8).map(|i| clients[i].send(&read_of(1, i as u16, 1))).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive(), (ids[i], answer_to_read(1, i as u16, 1)));
    }
}

#[test]
fn a_greeting_of_the_device_is_no_answer() {
    use std::io::Write;
    let server = Server::start(|number, mut stream| {
        let _ = stream.write_all(b"welcome\n");
        echo_one(number, stream);
    });
    let shared = Multiplexer::start(speaks("echo", server.address).with("/delay", "300ms"));
    let mut client = connect(shared.at);
    assert_eq!(client.ask(b"one\n"), b"one\n");
    assert_eq!(client.ask(b"two\n"), b"two\n");
    assert_eq!(shared.counter("targetConnections"), 1);
}

#[test]
fn when_the_first_address_goes_the_next_one_takes_its_requests() {
    let (mut first, second) = (Device::start(), Device::start());
    let shared = Multiplexer::start(modbus(first.address).with("/target", [first.address, second.address]));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    first.stop();
    client.reads(1, 1, 1);
    client.writes(1, 100, 1);
    assert_eq!((first.seen().len(), second.seen().len()), (1, 2));
}

#[test]
fn noise_from_the_device_kills_nobody_and_reaches_nobody() {
    use std::io::Write;
    for protocol in ["modbus", "modbus-tcp-crc", "modbus-rtu-tcp", "mpu", "http", "iso8583"] {
        let server = Server::start(|number, mut stream| {
            let noise = pattern(3000, number as u64);
            let mut part = [0; 4096];
            while let Ok(1..) = std::io::Read::read(&mut stream, &mut part) {
                if stream.write_all(&noise).is_err() {
                    return;
                }
            }
        });
        let spec = speaks(protocol, server.address).with("/timeout", "200ms").with("/reconnect_backoff", "20ms");
        let shared = Multiplexer::start(spec);
        let request: &[u8] = match protocol {
            "modbus" => &frame(Framing::Tcp, 7, &read_of(1, 0, 1)),
            "modbus-tcp-crc" => &frame(Framing::Tcp, 7, &frame(Framing::Rtu, 0, &read_of(1, 0, 1))),
            "modbus-rtu-tcp" => &frame(Framing::Rtu, 0, &read_of(1, 0, 1)),
            "mpu" => b"0001x",
            "http" => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            _ => b"\0\x01x",
        };
        for _ in 0..20 {
            let (answer, _) = exchange(shared.at, request);
            // Of iso8583 everything is an answer, if it is long enough.
            assert!(answer.len() < 400 || protocol == "iso8583", "{protocol}: {}", answer.escape_ascii());
        }
        assert_eq!(shared.counter("requests"), 20, "{protocol}");
    }
}
