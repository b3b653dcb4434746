//! The protocols echo, mpu and iso8583.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::support::*;

/// The Go tools' names of what is shared, and two requests of each.
const REQUESTS: &[(&str, &[u8], &[u8])] = &[
    ("echo", b"one line\n", b"\n"),
    ("line", b"with\ttabs and \xff\0\r\n", b"x\n"),
    ("mpu", b"0005hello", b"0000"),
    ("iso8583", b"\0\x050800x", b"\xff\0"),
];

/// The second request of iso8583 has a body.
fn whole(request: &[u8]) -> Vec<u8> {
    if request == b"\xff\0" { [request, &pattern(0xff00, 1)].concat() } else { request.to_vec() }
}

#[test]
fn requests_and_answers_pass_byte_for_byte() {
    for (protocol, first, second) in REQUESTS {
        let server = echo();
        let shared = Multiplexer::start(speaks(protocol, server.address));
        let mut clients: Vec<_> = (0..3).map(|_| connect(shared.at)).collect();
        for client in &mut clients {
            for request in [first, second, first] {
                let request = whole(request);
                assert_eq!(client.ask(&request), request, "{protocol}");
            }
        }
        assert_eq!((shared.counter("answers"), shared.counter("targetConnections")), (9, 1), "{protocol}");
    }
}

#[test]
fn a_request_in_pieces_of_one_byte_is_sent_whole() {
    for (protocol, first, _) in REQUESTS {
        let (server, got) = answers_whole_messages(protocol);
        let shared = Multiplexer::start(speaks(protocol, server.address));
        let mut client = connect(shared.at);
        for byte in *first {
            client.send(&[*byte]);
        }
        assert_eq!(client.receive(first.len()), *first, "{protocol}");
        assert_eq!(*got.lock().unwrap(), [first.to_vec()], "{protocol}");
    }
}

#[test]
fn requests_in_one_segment_are_all_answered_in_order() {
    for (protocol, first, second) in REQUESTS {
        let server = echo();
        let shared = Multiplexer::start(speaks(protocol, server.address));
        let all = [whole(first), whole(second), whole(first), whole(first)].concat();
        assert_eq!(exchange(shared.at, &all), (all, End::Fin), "{protocol}");
        assert_eq!(shared.counter("answers"), 4, "{protocol}");
    }
}

/// Reads whole messages, and answers with them in two parts; what came.
fn answers_whole_messages(protocol: &str) -> (Server, Arc<Mutex<Vec<Vec<u8>>>>) {
    let got: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let kept = Arc::clone(&got);
    let protocol = protocol.to_owned();
    let server = Server::start(move |_, mut stream| {
        while let Some(message) = message_of(&protocol, &mut stream) {
            kept.lock().unwrap().push(message.clone());
            stream.send(&message[..1]);
            stream.send(&message[1..]);
        }
    });
    (server, got)
}

fn message_of(protocol: &str, stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut first = [0];
    if !matches!(stream.peek(&mut first), Ok(1)) {
        return None;
    }
    let mut message = Vec::new();
    let left = match protocol {
        "mpu" => {
            message = stream.receive(4);
            String::from_utf8(message.clone()).unwrap().parse().unwrap()
        }
        "iso8583" => {
            message = stream.receive(2);
            usize::from(u16::from_be_bytes([message[0], message[1]]))
        }
        _ => {
            while !message.ends_with(b"\n") {
                message.extend(stream.receive(1));
            }
            0
        }
    };
    message.extend(stream.receive(left));
    Some(message)
}

#[test]
fn answers_that_come_in_pieces_are_whole_and_go_to_who_asked() {
    for (protocol, first, second) in REQUESTS {
        let (server, _) = answers_whole_messages(protocol);
        let shared = Multiplexer::start(speaks(protocol, server.address));
        std::thread::scope(|scope| {
            for request in [first, second] {
                let (request, at) = (whole(request), shared.at);
                scope.spawn(move || {
                    let mut client = connect(at);
                    (0..20).for_each(|_| assert_eq!(client.ask(&request), request, "{protocol}"));
                });
            }
        });
        assert_eq!(shared.counter("answers"), 40, "{protocol}");
    }
}

#[test]
fn a_mpu_length_that_is_no_number_kills_nobody() {
    let server = echo();
    let shared = Multiplexer::start(speaks("mpu", server.address));
    let mut other = connect(shared.at);
    for length in ["-001", "+001", " 001", "0x10", "1e03"] {
        let mut client = connect(shared.at);
        client.send(length.as_bytes());
        assert_eq!(client.receive_all().0, b"", "{length}");
    }
    shared.counts("clientMalformed", 5);
    assert_eq!(other.ask(b"0004fine"), b"0004fine");
}

#[test]
fn a_mpu_answer_with_a_length_that_is_no_number_kills_nobody() {
    let device = Dialogue::start(vec![(b"0001a".to_vec(), b"-001".to_vec(), false), (b"0001b".to_vec(), b"0001B".to_vec(), false)]);
    let shared = Multiplexer::start(speaks("mpu", device.address()));
    assert_eq!(exchange(shared.at, b"0001a").0, b"");
    assert_eq!(exchange(shared.at, b"0001b").0, b"0001B");
    device.is_over();
    assert_eq!(shared.counter("badAnswers"), 1);
}

#[test]
fn without_a_device_a_client_is_closed_because_these_protocols_have_no_errors() {
    for (protocol, first, _) in REQUESTS {
        let port = Nobody::new();
        let shared = Multiplexer::start(speaks(protocol, port.address).with("/reconnect_backoff", "50ms"));
        let mut client = connect(shared.at);
        client.send(first);
        assert_eq!(client.receive_all().0, b"", "{protocol}");
        shared.counts("noPath", 1);
        let server = Server::start_at((port.address.ip(), port.address.port()), echo_one);
        until("it is answered when the device is there", || (exchange(shared.at, first).0 == *first).then_some(()));
        drop(server);
    }
}

#[test]
fn an_answer_that_comes_twice_does_not_shift_the_following_ones() {
    let server = Server::start(|_, mut stream| {
        while let Some(message) = message_of("echo", &mut stream) {
            stream.send(&if message == b"line 1\n" { message.repeat(2) } else { message });
        }
    });
    let shared = Multiplexer::start(speaks("echo", server.address));
    let mut client = connect(shared.at);
    for i in 0..20 {
        let line = format!("line {i}\n");
        assert_eq!(String::from_utf8(client.ask(line.as_bytes())).unwrap(), line);
    }
    shared.counts("droppedAnswers", 1);
}

#[test]
fn a_late_answer_reaches_nobody() {
    let gate = Gate::shut();
    let held = gate.clone();
    let server = Server::start(move |number, mut stream| {
        while let Some(message) = message_of("echo", &mut stream) {
            if number == 0 {
                held.pass();
            }
            let _ = stream.write_all(&message);
        }
    });
    let shared = Multiplexer::start(speaks("echo", server.address).with("/timeout", "300ms").with("/reconnect_backoff", "50ms"));
    let mut slow = connect(shared.at);
    slow.send(b"slow\n");
    assert_eq!(slow.receive_all().0, b"");
    gate.lift();
    assert_eq!(connect(shared.at).ask(b"next\n"), b"next\n");
    assert_eq!(shared.counter("timeouts"), 1);
}

#[test]
fn a_request_of_these_protocols_is_sent_once() {
    for (protocol, first, _) in REQUESTS {
        let got: Arc<Mutex<usize>> = Arc::default();
        let (kept, speaks_it) = (Arc::clone(&got), (*protocol).to_owned());
        let server = Server::start(move |_, mut stream| {
            if message_of(&speaks_it, &mut stream).is_some() {
                *kept.lock().unwrap() += 1;
            }
        });
        let shared = Multiplexer::start(speaks(protocol, server.address).with("/retry_reads", 5));
        assert_eq!(exchange(shared.at, first).0, b"", "{protocol}");
        shared.counts("timeouts", 1);
        assert_eq!(*got.lock().unwrap(), 1, "{protocol}");
    }
}
