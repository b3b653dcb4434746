//! Whose answer is whose: a client gets the answer to its own request, whatever the device does.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

/// Reads of a client that must be answered rightly, whatever came before.
#[track_caller]
fn goes_on(client: &mut Modbus) {
    for i in 0..20 {
        client.reads(1, 1000 + 10 * i, 3);
    }
}

#[test]
fn each_client_gets_its_own_answers() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    std::thread::scope(|scope| {
        for unit in 1..=8 {
            let mut client = shared.client();
            scope.spawn(move || (0..50).for_each(|i| client.reads(unit, i * 7, 1 + i % 100)));
        }
    });
    assert_eq!(device.connections(), 1);
    assert_eq!(device.most(), 1);
    assert_eq!(
        (shared.counter("requests"), shared.counter("answers"), shared.counter("readHoldingRegisters")),
        (400, 400, 400)
    );
    assert_eq!(shared.status()["details"]["units"]["3"]["answers"], 50);
}

#[test]
fn an_answer_that_comes_twice_does_not_shift_the_following_ones() {
    let device = Device::first([Act::Answer, Act::Twice]);
    let shared = Multiplexer::start(modbus(device.address));
    let (mut first, mut second) = (shared.client(), shared.client());
    first.reads(1, 0, 1);
    first.reads(1, 1, 1);
    goes_on(&mut second);
    goes_on(&mut first);
    shared.counts("droppedAnswers", 1);
}

#[test]
fn an_answer_that_comes_twice_does_not_shift_those_of_a_protocol_without_ids() {
    let act = |seen: &Seen| if seen.number % 5 == 1 { Act::Twice } else { Act::Answer };
    let device = Device::start_at(([127, 0, 0, 1], 0).into(), Framing::Rtu, act);
    let shared = Multiplexer::start(speaks("modbus-rtu-tcp", device.address).with("/client_protocol", "modbus"));
    let mut client = shared.client();
    goes_on(&mut client);
    assert_eq!(shared.counter("badAnswers") + shared.counter("timeouts"), 0);
}

#[test]
fn an_answer_in_pieces_of_one_byte_is_whole() {
    let device = Device::with(|_| Act::Bytes);
    let shared = Multiplexer::start(modbus(device.address));
    goes_on(&mut shared.client());
}

#[test]
fn an_answer_with_a_foreign_id_is_dropped_and_the_request_times_out() {
    let device = Device::first([Act::Id(1)]);
    let shared = Multiplexer::start(modbus(device.address).with("/timeout", "300ms").with("/retry_reads", 0));
    let mut client = shared.client();
    client.is_refused(&read_of(1, 0, 1), 0x0b);
    shared.counts("droppedAnswers", 1);
    goes_on(&mut client);
}

#[test]
fn an_answer_that_is_surely_none_to_the_request_is_dropped() {
    for (what, body) in [
        ("another unit", answer_to_read(2, 0, 1)),
        ("another function", vec![1, 4, 2, 0, 0]),
        ("another length", answer_to_read(1, 0, 2)),
        ("a byte count that lies", vec![1, 3, 2, 0]),
        ("a long exception", vec![1, 0x83, 2, 0]),
    ] {
        let device = Device::first([Act::Body(body)]);
        let shared = Multiplexer::start(modbus(device.address).with("/timeout", "300ms").with("/retry_reads", 0));
        let mut client = shared.client();
        client.is_refused(&read_of(1, 0, 1), 0x0b);
        shared.counts("droppedAnswers", 1);
        goes_on(&mut client);
        assert_eq!(shared.counter("answers"), 20, "{what}");
    }
}

#[test]
fn rubbish_from_the_device_ends_its_connection_and_nobody_gets_it() {
    let device = Device::first([Act::Answer, Act::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())]);
    let shared = Multiplexer::start(modbus(device.address).with("/retry_reads", 0));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    client.is_refused(&read_of(1, 0, 1), 0x04);
    goes_on(&mut client);
    assert_eq!(device.connections(), 2);
    assert_eq!((shared.counter("badAnswers"), shared.counter("targetLost")), (1, 1));
    assert!(shared.status()["last_error"]["text"].as_str().unwrap().contains("protocol id"), "{}", shared.status());
}

#[test]
fn what_the_device_says_unasked_reaches_nobody() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    let (mut client, mut idle) = (shared.client(), shared.client());
    goes_on(&mut client);
    device.says(&frame(Framing::Tcp, 1, &answer_to_read(1, 0, 1)));
    shared.counts("droppedAnswers", 1);
    goes_on(&mut client);
    idle.reads(1, 7, 1);
}

#[test]
fn a_late_answer_is_dropped_and_the_next_one_is_right() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| if seen.number == 1 { Act::Later(held.clone()) } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/timeout", "300ms").with("/retry_reads", 0));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    client.is_refused(&read_of(1, 5, 1), 0x0b);
    gate.lift();
    shared.counts("droppedAnswers", 1);
    goes_on(&mut client);
    assert_eq!(shared.counter("timeouts"), 1);
}

#[test]
fn a_legal_length_of_254_passes_both_ways() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    let body: Vec<u8> = [1, 0x41].into_iter().chain(0..252).collect();
    assert_eq!(body.len(), 254);
    assert_eq!(client.ask(&body), body);
    client.reads(1, 0, 125);
}

#[test]
fn functions_that_nobody_knows_pass_byte_for_byte() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    for body in [vec![1, 0x64], vec![9, 0x2b, 0x0e, 1, 0], vec![1, 0x5a, 0xff, 0x0d, 0x0a]] {
        assert_eq!(client.ask(&body), body);
    }
    assert_eq!(shared.counter("otherFunctions"), 3);
    assert_eq!(device.seen().len(), 3);
}

#[test]
fn an_exception_of_the_device_is_an_answer() {
    let device = Device::first([Act::Exception(2)]);
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.is_refused(&read_of(1, 0, 1), 2);
    assert_eq!((shared.counter("exceptions"), shared.counter("answers"), device.seen().len()), (1, 1, 1));
    goes_on(&mut client);
}

#[test]
fn ids_of_two_clients_may_be_the_same() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |_| Act::Later(held.clone()));
    let shared = Multiplexer::start(modbus(device.address).with("/in_flight", 4));
    let (mut one, mut two) = (shared.client(), shared.client());
    let ids = [one.send(&read_of(1, 10, 1)), two.send(&read_of(1, 20, 1))];
    assert_eq!(ids[0], ids[1]);
    device.has_seen(2);
    gate.lift();
    assert_eq!(one.receive(), (ids[0], answer_to_read(1, 10, 1)));
    assert_eq!(two.receive(), (ids[1], answer_to_read(1, 20, 1)));
}

#[test]
fn pipelined_answers_in_reverse_order_reach_who_asked() {
    let gates: Vec<Gate> = (0..4).map(|_| Gate::shut()).collect();
    let held = gates.clone();
    let device = Device::with(move |seen| held.get(seen.number).map_or(Act::Answer, |gate| Act::Later(gate.clone())));
    let shared = Multiplexer::start(modbus(device.address).with("/in_flight", 4));
    let mut client = shared.client();
    let ids: Vec<u16> = (0..4).map(|i| client.send(&read_of(1, 100 * i, 2))).collect();
    device.has_seen(4);
    assert_eq!(shared.counter("inFlight"), 4);
    for i in (0..4).rev() {
        gates[i].lift();
        assert_eq!(client.receive(), (ids[i], answer_to_read(1, 100 * i as u16, 2)));
    }
    assert_eq!((device.connections(), device.most()), (1, 4));
}

#[test]
fn a_request_that_comes_in_pieces_or_with_others_is_asked_once() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    let one = frame(Framing::Tcp, 7, &read_of(1, 0, 1));
    for byte in &one {
        client.stream.send(&[*byte]);
    }
    assert_eq!(client.receive(), (7, answer_to_read(1, 0, 1)));
    let three: Vec<u8> = (10..13).flat_map(|id| frame(Framing::Tcp, id, &read_of(1, id, 1))).collect();
    client.stream.send(&three);
    let mut answers: Vec<_> = (0..3).map(|_| client.receive()).collect();
    answers.sort();
    assert_eq!(answers, (10..13).map(|id| (id, answer_to_read(1, id, 1))).collect::<Vec<_>>());
    assert_eq!(device.seen().len(), 4);
}

#[test]
fn a_gateway_that_returns_no_ids_is_matched_by_order() {
    let device = Device::with(|_| Act::NoId);
    let shared = Multiplexer::start(modbus(device.address).with("/match", "order"));
    let (mut one, mut two) = (shared.client(), shared.client());
    goes_on(&mut one);
    goes_on(&mut two);
    assert_eq!((shared.counter("droppedAnswers"), device.connections()), (0, 1));
}

#[test]
fn matched_by_order_a_repeated_answer_renews_the_connection() {
    let device = Device::with(|seen| {
        let twice = frame(Framing::Tcp, 0, &answer_to_read(1, 1000, 3));
        if seen.number == 0 { Act::After(twice) } else { Act::NoId }
    });
    let shared = Multiplexer::start(modbus(device.address).with("/match", "order"));
    let mut client = shared.client();
    goes_on(&mut client);
    assert!(device.connections() > 1);
}

#[test]
fn modbus_tcp_clients_reach_a_device_that_speaks_rtu_over_tcp() {
    let device = Device::start_at(([127, 0, 0, 1], 0).into(), Framing::Rtu, |seen| if seen.number % 2 == 0 { Act::Bytes } else { Act::Answer });
    let shared = Multiplexer::start(speaks("modbus-rtu-tcp", device.address).with("/client_protocol", "modbus"));
    let mut client = shared.client();
    goes_on(&mut client);
    client.writes(1, 5, 77);
    assert_eq!(client.register(1, 5), 77);
    assert_eq!(client.ask(&[1, 16, 0, 9, 0, 2, 4, 0, 1, 0, 2]), [1, 16, 0, 9, 0, 2]);
    assert_eq!(client.register(1, 10), 2);
}

#[test]
fn a_broadcast_over_rtu_is_confirmed_and_sent_once() {
    let act = |seen: &Seen| if seen.body[0] == 0 { Act::Nothing } else { Act::Answer };
    let device = Device::start_at(([127, 0, 0, 1], 0).into(), Framing::Rtu, act);
    let shared = Multiplexer::start(speaks("modbus-rtu-tcp", device.address).with("/client_protocol", "modbus"));
    let mut client = shared.client();
    client.writes(0, 5, 77);
    client.reads(1, 1, 1);
    assert_eq!(device.bodies(), [write_of(0, 5, 77), read_of(1, 1, 1)]);
}

#[test]
fn unit_0_is_a_unit_over_tcp() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.reads(0, 0, 2);
    client.writes(0, 0, 9);
    assert_eq!(client.register(0, 0), 9);
}

#[test]
fn a_client_that_has_many_requests_does_not_hold_up_one_that_has_few() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |seen| if seen.number == 0 { Act::Later(held.clone()) } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address).with("/queue_size", 100));
    let (mut greedy, mut modest) = (shared.client(), shared.client());
    for i in 0..50 {
        greedy.send(&read_of(1, i, 1));
    }
    device.has_seen(1);
    shared.counts("queueDepth", 49);
    modest.send(&read_of(2, 0, 1));
    shared.counts("queueDepth", 50);
    gate.lift();
    (0..50).for_each(|_| drop(greedy.receive()));
    let place = device.has_seen(51).iter().position(|seen| seen.body[0] == 2).unwrap();
    assert!(place <= 2, "it had to wait for {place} requests");
    assert_eq!(modest.receive().1, answer_to_read(2, 0, 1));
}

#[test]
fn units_are_counted_in_the_status() {
    let device = Device::with(|seen| if seen.body[0] == 9 { Act::Exception(4) } else { Act::Answer });
    let shared = Multiplexer::start(modbus(device.address));
    let mut client = shared.client();
    client.reads(1, 0, 1);
    client.is_refused(&read_of(9, 0, 1), 4);
    let mut status = shared.status();
    assert_eq!(status["connections"], 1, "clients, and no tasks of the flow's own");
    let details = status["details"].take();
    assert_eq!(details["units"]["9"], json!({"requests": 1, "answers": 1, "exceptions": 1, "failures": 0}));
    assert_eq!(details["units"]["1"], json!({"requests": 1, "answers": 1, "exceptions": 0, "failures": 0}));
    assert_eq!(details["devices"][0]["device"], device.address.to_string());
    assert_eq!(details["clients"].as_array().unwrap().len(), 1);
    until_within(Duration::from_secs(5), "the times of answers", || (shared.counter("latencyP50") > 0).then_some(()));
}

#[test]
fn frames_with_both_a_header_and_a_crc_pass() {
    let frame_of = |id: u16, body: &[u8]| {
        let with_crc = frame(Framing::Rtu, 0, body);
        frame(Framing::Tcp, id, &with_crc)
    };
    let server = Server::start(move |_, mut stream| {
        for _ in 0..2 {
            let request = stream.receive(14);
            let body = &request[6..12];
            assert_eq!(request, frame_of(u16::from_be_bytes([request[0], request[1]]), body));
            stream.send(&frame_of(u16::from_be_bytes([request[0], request[1]]), &[body[0], 3, 2, body[3], 7]));
        }
    });
    let shared = Multiplexer::start(speaks("modbus-tcp-crc", server.address).with("/close_when_idle", 10));
    for id in [1, 65_535] {
        let mut client = connect(shared.at);
        client.send(&frame_of(id, &read_of(1, 9, 1)));
        assert_eq!(client.receive(13), frame_of(id, &[1, 3, 2, 9, 7]));
    }
}

#[test]
fn without_ids_a_late_answer_is_not_taken_for_that_of_the_next_request() {
    for framing in [Framing::Tcp, Framing::Rtu] {
        let gate = Gate::shut();
        let held = gate.clone();
        let act = move |seen: &Seen| match (seen.number, framing) {
            (1, _) => Act::Later(held.clone()),
            (_, Framing::Tcp) => Act::NoId,
            (_, Framing::Rtu) => Act::Answer,
        };
        let device = Device::start_at(([127, 0, 0, 1], 0).into(), framing, act);
        let spec = match framing {
            Framing::Tcp => modbus(device.address).with("/match", "order"),
            Framing::Rtu => speaks("modbus-rtu-tcp", device.address).with("/client_protocol", "modbus"),
        };
        let shared = Multiplexer::start(spec.with("/timeout", "300ms").with("/retry_reads", 0).with("/reconnect_backoff", "50ms"));
        let mut client = shared.client();
        client.reads(1, 0, 1);
        client.is_refused(&read_of(1, 5, 3), 0x0b);
        gate.lift();
        goes_on(&mut client);
    }
}

#[test]
fn rtu_clients_reach_a_device_that_speaks_modbus_tcp() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/client_protocol", "modbus-rtu-tcp"));
    let mut client = connect(shared.at);
    for request in [read_of(1, 9, 2), write_of(1, 100, 7)] {
        let answer = if request[1] == 3 { answer_to_read(1, 9, 2) } else { request.clone() };
        client.send(&frame(Framing::Rtu, 0, &request));
        let whole = frame(Framing::Rtu, 0, &answer);
        assert_eq!(client.receive(whole.len()), whole);
    }
    assert_eq!(device.bodies(), [read_of(1, 9, 2), write_of(1, 100, 7)]);
}

#[test]
fn a_device_that_answers_a_request_to_unit_255_with_its_own_number_is_understood() {
    let device = Device::with(|seen| Act::Body([&[1], &answer_to_read(seen.body[0], 9, 2)[1..]].concat()));
    let shared = Multiplexer::start(modbus(device.address));
    shared.client().reads(255, 9, 2);
}

#[test]
fn what_a_client_asks_after_its_write_is_not_answered_from_before_it() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/in_flight", 8).with("/max_connections", 2));
    let mut client = shared.client();
    for round in 0..20_u8 {
        let bodies = [read_of(1, 0, 1), write_of(1, 0, u16::from(round)), read_of(1, 0, 1), write_of(1, 0, 999), read_of(1, 0, 1)];
        let all: Vec<u8> = (0..).zip(&bodies).flat_map(|(id, body)| frame(Framing::Tcp, id, body)).collect();
        client.stream.send(&all);
        let mut answers: Vec<_> = (0..5).map(|_| client.receive()).collect();
        answers.sort();
        assert_eq!(answers[2].1, [1, 3, 2, 0, round]);
        assert_eq!(answers[4].1, [1, 3, 2, 3, 231]);
    }
}

#[test]
fn rtu_clients_get_the_answers_to_requests_in_one_segment_in_order() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/client_protocol", "modbus-rtu-tcp").with("/in_flight", 8));
    let bodies: Vec<_> = (0..10).map(|i| read_of(1, 5 * i, 1 + i)).collect();
    let answers: Vec<u8> = (0..10).flat_map(|i| frame(Framing::Rtu, 0, &answer_to_read(1, 5 * i, 1 + i))).collect();
    let requests: Vec<u8> = bodies.iter().flat_map(|body| frame(Framing::Rtu, 0, body)).collect();
    assert_eq!(exchange(shared.at, &requests), (answers, End::Fin));
    assert_eq!(device.bodies(), bodies);
}
