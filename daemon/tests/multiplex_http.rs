//! The protocol http: what passes, and that it passes byte for byte.

use std::time::Duration;

use crate::support::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn step(request: &[u8], answer: &[u8]) -> (Vec<u8>, Vec<u8>, bool) {
    (request.to_vec(), answer.to_vec(), false)
}

/// One client asks for all of it, one after the other; each answer must be what the device has sent.
#[track_caller]
fn passes(steps: &[(&[u8], &[u8])]) {
    let device = Dialogue::start(steps.iter().map(|(request, answer)| step(request, answer)).collect());
    let shared = Multiplexer::start(speaks("http", device.address()));
    let mut client = connect(shared.at);
    for (request, answer) in steps {
        client.send(request);
        let came = client.receive(answer.len());
        assert_eq!(came.escape_ascii().to_string(), answer.escape_ascii().to_string());
    }
    device.is_over();
    assert_eq!(shared.counter("answers"), steps.len() as u64);
    assert_eq!(shared.counter("targetConnections"), 1);
}

#[test]
fn heads_are_kept_byte_for_byte() {
    passes(&[
        (
            b"PATCH /a%20b?c=D&&e HTTP/1.1\r\nhOsT:  x  \r\nX-B: 2\r\nX-A: 1\r\nx-a: 1\r\nCookie: a=1\r\nCOOKIE: b=2\r\nEmpty:\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 \r\nSet-Cookie: a\r\nset-cookie: b\r\nSERVER: \xe9\r\nServer: y\r\ncontent-LENGTH: 3\r\n\r\nxyz",
        ),
        (GET, b"HTTP/1.1 404 Not  Found here\r\nX: \r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n"),
    ]);
}

#[test]
fn chunked_bodies_pass_with_their_extensions_and_trailers() {
    let chunked: &[u8] = b"4;name=value;x=\"a;b\"\r\nWiki\r\n00A \r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n";
    let unpadded = b"4;name=value;x=\"a;b\"\r\nWiki\r\n00A\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n";
    let request = [&b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"[..], unpadded].concat();
    let answer = [b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\ntransfer-encoding: chunked\r\n\r\n", chunked].concat();
    passes(&[(&request, &answer), (GET, OK), (&request, &answer)]);
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    passes(&[
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (GET, OK),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"a\"\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n",
        ),
        (GET, OK),
        (b"DELETE /a HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (GET, OK),
    ]);
}

#[test]
fn a_client_that_waits_to_be_prompted_is_and_its_body_passes() {
    let head = b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let request = [&head[..], b"12345"].concat();
    let device = Dialogue::start(vec![
        step(&request, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        step(GET, OK),
    ]);
    let shared = Multiplexer::start(speaks("http", device.address()));
    let mut client = connect(shared.at);
    client.send(head);
    let prompt = b"HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(client.receive(prompt.len()), prompt);
    client.send(b"12345");
    let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.receive(answer.len()), answer);
    client.send(GET);
    assert_eq!(client.receive(OK.len()), OK);
    device.is_over();
}

#[test]
fn other_interim_answers_pass() {
    passes(&[
        (
            GET,
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ),
        (GET, OK),
    ]);
}

#[test]
fn requests_in_one_segment_are_answered_in_order() {
    let paths: Vec<Vec<u8>> = (0..10).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()).collect();
    let answers: Vec<Vec<u8>> = (0..10).map(|i| format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{i}").into_bytes()).collect();
    let device = Dialogue::start(paths.iter().zip(&answers).map(|(request, answer)| step(request, answer)).collect());
    let shared = Multiplexer::start(speaks("http", device.address()));
    assert_eq!(exchange(shared.at, &paths.concat()), (answers.concat(), End::Fin));
    device.is_over();
}

#[test]
fn an_answer_that_ends_when_the_device_closes_is_whole_and_closes_its_client() {
    let answer = b"HTTP/1.1 200 OK\r\nServer: old\r\n\r\nall of it";
    let device = Dialogue::start(vec![(GET.to_vec(), answer.to_vec(), true), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()));
    let mut client = connect(shared.at);
    client.send(GET);
    assert_eq!(client.receive_all(), (answer.to_vec(), End::Fin));
    let mut client = connect(shared.at);
    client.send(GET);
    assert_eq!(client.receive(OK.len()), OK);
    device.is_over();
}

#[test]
fn a_device_that_says_close_is_connected_to_again() {
    let closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    let device = Dialogue::start(vec![(GET.to_vec(), closing.to_vec(), true), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()));
    for answer in [&closing[..], OK] {
        let mut client = connect(shared.at);
        client.send(GET);
        assert_eq!(client.receive(answer.len()), answer);
    }
    device.is_over();
    assert_eq!(shared.counter("targetConnections"), 2);
}

#[test]
fn a_client_that_says_close_does_not_cost_the_others_anything() {
    let closes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let device = Dialogue::start(vec![step(closes, OK), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()));
    let (mut one, mut two) = (connect(shared.at), connect(shared.at));
    one.send(closes);
    assert_eq!(one.receive_all(), (OK.to_vec(), End::Fin));
    two.send(GET);
    assert_eq!(two.receive(OK.len()), OK);
    device.is_over();
}

#[test]
fn a_get_is_sent_again_and_a_post_is_not() {
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    let nothing = (GET.to_vec(), Vec::new(), true);
    let device = Dialogue::start(vec![nothing, step(GET, OK), (post.to_vec(), Vec::new(), true), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()));
    let mut client = connect(shared.at);
    client.send(GET);
    assert_eq!(client.receive(OK.len()), OK);
    client.send(post);
    let refusal = client.receive(b"HTTP/1.1 504".len());
    assert_eq!(refusal, b"HTTP/1.1 504");
    let mut other = connect(shared.at);
    other.send(GET);
    assert_eq!(other.receive(OK.len()), OK);
    device.is_over();
    assert_eq!((shared.counter("retries"), shared.counter("timeouts")), (1, 1));
}

#[track_caller]
fn status_of(shared: &Multiplexer, request: &[u8]) -> u16 {
    let mut client = connect(shared.at);
    client.send(request);
    client.finish();
    Reply::read(&mut client).status
}

#[test]
fn what_has_no_answer_is_told_by_a_status() {
    let port = Nobody::new();
    assert_eq!(status_of(&Multiplexer::start(speaks("http", port.address)), GET), 502);
    let stuck = Stuck::new();
    let silent = Multiplexer::start(speaks("http", stuck.address).with("/timeout", "300ms").with("/retry_reads", 0));
    assert_eq!(status_of(&silent, GET), 504);
    let rubbish = Dialogue::start(vec![step(GET, b"SSH-2.0-OpenSSH\r\n\r\n")]);
    assert_eq!(status_of(&Multiplexer::start(speaks("http", rubbish.address()).with("/retry_reads", 0)), GET), 502);
    let spec = speaks("http", stuck.address)
        .with("/timeout", "2s")
        .with("/retry_reads", 0)
        .with("/queue_size", 1)
        .with("/on_busy", "busy");
    let busy = Multiplexer::start(spec);
    let (mut first, mut second) = (connect(busy.at), connect(busy.at));
    first.send(GET);
    busy.counts("inFlight", 1);
    second.send(GET);
    busy.counts("queueDepth", 1);
    assert_eq!(status_of(&busy, GET), 503);
}

#[test]
fn a_client_stays_connected_after_a_refusal() {
    let port = Nobody::new();
    let shared = Multiplexer::start(speaks("http", port.address).with("/reconnect_backoff", "50ms"));
    let mut client = connect(shared.at);
    client.hurry(Duration::from_secs(10));
    let ask = |client: &mut std::net::TcpStream| {
        client.send(GET);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(client.receive(1));
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
        (head[9..12].to_owned(), client.receive(length))
    };
    assert_eq!(ask(&mut client).0, "502");
    assert_eq!(ask(&mut client).0, "502");
    let steps = vec![step(GET, OK); 200];
    let _device = Dialogue::start_at(port.address, steps);
    until("the device is connected to", || (ask(&mut client) == ("200".to_owned(), b"ok".to_vec())).then_some(()));
}

#[test]
fn a_message_that_is_too_long_is_refused() {
    let sink = Sink::start();
    let shared = Multiplexer::start(speaks("http", sink.address()).with("/max_message", "1 KiB"));
    let long = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n";
    assert_eq!(status_of(&shared, long), 400);
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n".to_vec(), vec![b'x'; 2000]].concat();
    let device = Dialogue::start(vec![step(GET, &answer)]);
    let shared = Multiplexer::start(speaks("http", device.address()).with("/max_message", "1 KiB").with("/retry_reads", 0));
    assert_eq!(status_of(&shared, GET), 502);
}

#[test]
fn a_large_answer_passes_whole() {
    let body = pattern(900_000, 7);
    let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    passes(&[(GET, &answer), (GET, OK), (GET, &answer)]);
}

#[test]
fn an_answer_that_the_device_gives_before_the_request_is_over_is_the_only_one() {
    // A device may say 413 and close while the body still comes.
    let request = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n".to_vec(), b"12345".to_vec()].concat();
    let early = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let device = Dialogue::start(vec![(request[..40].to_vec(), early.to_vec(), true), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()));
    let mut client = connect(shared.at);
    client.send(&request);
    let (answer, _) = client.receive_all();
    assert!(answer == early || answer.starts_with(b"HTTP/1.1 504 "), "{}", answer.escape_ascii());
    assert_eq!(status_of(&shared, GET), 200);
}

#[test]
fn half_an_answer_reaches_nobody() {
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
    let device = Dialogue::start(vec![(GET.to_vec(), part.to_vec(), true), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()).with("/reconnect_backoff", "50ms"));
    let mut client = connect(shared.at);
    client.send(GET);
    assert_eq!(client.receive(OK.len()), OK, "a GET is sent again");
    device.is_over();
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    let device = Dialogue::start(vec![(post.to_vec(), part.to_vec(), true), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()).with("/reconnect_backoff", "50ms"));
    assert!(matches!(status_of(&shared, post), 502 | 504));
    assert_eq!(status_of(&shared, GET), 200);
    device.is_over();
}

#[test]
fn a_client_that_vanishes_while_it_is_answered_disturbs_nobody() {
    let body = pattern(4_000_000, 3);
    let large = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let device = Dialogue::start(vec![step(GET, &large), step(GET, OK), step(GET, OK)]);
    let shared = Multiplexer::start(speaks("http", device.address()).with("/max_message", "8 MiB"));
    let (mut vanishes, mut stays) = (connect(shared.at), connect(shared.at));
    vanishes.send(GET);
    vanishes.receive(1000);
    vanishes.reset();
    for _ in 0..2 {
        stays.send(GET);
        assert_eq!(stays.receive(OK.len()), OK);
    }
    device.is_over();
    assert_eq!(shared.counter("targetConnections"), 1);
}

#[test]
fn pipelined_requests_without_a_device_are_all_refused_in_order() {
    let port = Nobody::new();
    let shared = Multiplexer::start(speaks("http", port.address));
    let (answers, end) = exchange(shared.at, &GET.repeat(3));
    let text = String::from_utf8(answers).unwrap();
    assert_eq!((text.matches("HTTP/1.1 502 ").count(), end), (3, End::Fin), "{text}");
}

#[test]
fn a_body_that_looks_like_a_request_is_not_taken_for_one() {
    let inner = b"DELETE /all HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = [format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", inner.len()).as_bytes(), inner].concat();
    let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", OK.len()).as_bytes(), OK].concat();
    passes(&[(&post, &answer), (GET, OK)]);
}
