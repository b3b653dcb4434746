//! Memory has a bound, whatever clients announce and keep back.

use crate::support::*;

const CLIENTS: usize = 1000;

/// Many clients send the beginning of the largest message, and no more.
fn stall(shared: &Multiplexer, beginning: &[u8]) -> Vec<std::net::TcpStream> {
    use std::io::Write;
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let mut client = connect(shared.at);
        // Some of them may be turned away for what they take.
        let _ = client.write_all(beginning);
        clients.push(client);
    }
    clients
}

#[track_caller]
fn has_needed_less_than(shared: &Multiplexer, most: u64) {
    let peak = shared.daemon.process.peak_memory() >> 20;
    assert!(peak < most, "it needed {peak} MiB");
}

fn spacious() -> Daemon {
    Daemon::prepare().descriptors(4096).start()
}

#[test]
fn a_thousand_modbus_clients_that_stall_need_little() {
    let device = Device::start();
    let shared = Multiplexer::on(spacious(), modbus(device.address));
    let mut client = shared.client();
    let stalled = stall(&shared, &frame(Framing::Tcp, 1, &[7; 254])[..200]);
    shared.counts("activeConnections", CLIENTS as u64 + 1);
    client.reads(1, 0, 100);
    shared.client().reads(1, 0, 100);
    has_needed_less_than(&shared, 40);
    drop(stalled);
}

#[test]
fn a_thousand_iso8583_clients_that_stall_need_little() {
    let server = echo();
    let shared = Multiplexer::on(spacious(), speaks("iso8583", server.address));
    let mut client = connect(shared.at);
    let stalled = stall(&shared, &[vec![0xff, 0xff], vec![7; 30_000]].concat());
    assert_eq!(client.ask(b"\0\x04fine"), b"\0\x04fine");
    assert_eq!(connect(shared.at).ask(b"\0\x04fine"), b"\0\x04fine");
    has_needed_less_than(&shared, 100);
    drop(stalled);
}

#[test]
fn a_thousand_http_clients_that_stall_need_no_more_than_there_is() {
    let device = Dialogue::start(vec![
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
            false
        );
        2
    ]);
    let shared = Multiplexer::on(spacious(), speaks("http", device.address()));
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    let stalled = stall(&shared, &[head.to_vec(), vec![b'x'; 64 << 10]].concat());
    let ask = || {
        let mut client = connect(shared.at);
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".len())
    };
    assert!(ask().ends_with(b"ok"));
    // Of 64 MB, the 32 MiB of buffer_total may be held.
    has_needed_less_than(&shared, 100);
    assert!(shared.counter("clientMalformed") > 0, "nobody was turned away");
    drop(stalled);
    shared.counts("activeConnections", 0);
    assert!(ask().ends_with(b"ok"));
}

#[test]
fn a_hundred_clients_that_send_all_they_can_are_all_answered() {
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address).with("/max_connections", 4).with("/in_flight", 8).with("/coalesce", false));
    std::thread::scope(|scope| {
        for unit in 1..=100 {
            let mut client = shared.client();
            scope.spawn(move || {
                for round in 0..5 {
                    let ids: Vec<_> = (0..10).map(|i| client.send(&read_of(unit, 10 * round + i, 2))).collect();
                    let mut answers: Vec<_> = (0..10).map(|_| client.receive()).collect();
                    answers.sort();
                    let expected: Vec<_> = (0..10).map(|i| (ids[i as usize], answer_to_read(unit, 10 * round + i, 2))).collect();
                    assert_eq!(answers, expected);
                }
            });
        }
    });
    assert_eq!(shared.counter("answers"), 5000);
    assert!(device.connections() <= 4);
    has_needed_less_than(&shared, 60);
}

#[test]
fn answers_that_nobody_reads_need_no_more_than_there_is() {
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
    let shared = Multiplexer::start(speaks("http", server.address).with("/max_message", "16 MiB").with("/timeout", 30));
    let mut deaf: Vec<_> = (0..30).map(|_| connect(shared.at)).collect();
    for client in &mut deaf {
        // So that the kernel does not hold it all.
        socket2::SockRef::from(&*client).set_recv_buffer_size(64 << 10).unwrap();
        client.send(get);
    }
    until("all are answered, or told that there is no memory", || {
        let counters = shared.counters();
        (counters["requests"] == 30 && counters["inFlight"] == 0 && counters["queueDepth"] == 0).then_some(())
    });
    has_needed_less_than(&shared, 120);
    drop(deaf);
    shared.counts("activeConnections", 0);
    let mut client = connect(shared.at);
    client.send(get);
    client.receive(ANSWER);
}

#[test]
fn a_multiplexer_at_rest_uses_no_processor() {
    use std::time::{Duration, Instant};
    let device = Device::start();
    let shared = Multiplexer::start(modbus(device.address));
    let mut clients: Vec<_> = (0..50).map(|_| shared.client()).collect();
    for client in &mut clients {
        client.reads(1, 0, 1);
    }
    let (started, used) = (Instant::now(), shared.daemon.process.cpu_time());
    until("a while has passed", || (started.elapsed() > Duration::from_secs(2)).then_some(()));
    let used = shared.daemon.process.cpu_time().saturating_sub(used);
    assert!(used <= Duration::from_millis(30), "{used:?} of processor time in two seconds without work");
}

#[test]
fn clients_that_ask_and_vanish_leave_neither_sockets_nor_requests_behind() {
    let gate = Gate::shut();
    let held = gate.clone();
    let device = Device::with(move |_| Act::Later(held.clone()));
    let shared = Multiplexer::start(modbus(device.address).with("/coalesce", false));
    let mut stays = shared.client();
    let id = stays.send(&read_of(1, 0, 1));
    device.has_seen(1);
    let at_rest = shared.daemon.descriptors();
    for n in 0..600 {
        let mut vanishes = shared.client();
        vanishes.send(&read_of(1, n, 1));
        shared.counts("requests", u64::from(n) + 2);
        vanishes.stream.reset();
    }
    shared.counts("activeConnections", 1);
    until("the sockets of those that have gone are closed", || (shared.daemon.descriptors() <= at_rest).then_some(()));
    // 64, and twice as many as can still wait.
    assert!(shared.counter("queueDepth") <= 64 + 2 * (1 + 32) + 1, "{}", shared.counters());
    gate.lift();
    assert_eq!(stays.receive(), (id, answer_to_read(1, 0, 1)));
}
