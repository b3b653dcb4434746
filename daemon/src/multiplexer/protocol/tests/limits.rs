//! The longest frame is taken, one byte more is not, and the work grows with the bytes, whatever they are.

use std::time::{Duration, Instant};

use super::super::audit::{LIMIT, Verdict, verdict};
use super::super::{PROTOCOLS, Protocol, Scan, Side, Split, crc, find};

/// A frame with so many bytes, announced or real.
fn of_length(protocol: &dyn Protocol, length: usize) -> Vec<u8> {
    let with = |head: String, end: &str| {
        let body = vec![b'x'; length - head.len() - end.len()];
        [head.as_bytes(), &body, end.as_bytes()].concat()
    };
    let modbus = |extra: usize| {
        let mut body = vec![1, 0x41];
        body.resize(length - extra, 7);
        body
    };
    let announced = |announced: usize| [0, 1, 0, 0, (announced >> 8) as u8, announced as u8];
    match protocol.name() {
        "echo" => with(String::new(), "\n"),
        "http" => with(format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", length - 41), ""),
        "iso8583" => [((length - 2) as u16).to_be_bytes().as_slice(), &vec![0; length - 2]].concat(),
        "mpu" => with(format!("{:04}", length - 4), ""),
        "modbus" => [announced(length - 6).as_slice(), &modbus(6)].concat(),
        "modbus-tcp-crc" => {
            let body = modbus(8);
            [announced(length - 6).as_slice(), &body, &crc::of(&body).to_le_bytes()].concat()
        }
        _ => {
            let body = modbus(2);
            [body.as_slice(), &crc::of(&body).to_le_bytes()].concat()
        }
    }
}

#[test]
fn the_longest_frame_is_taken_and_no_longer_one() {
    for protocol in PROTOCOLS {
        let (scan, most) = (Scan::new(Side::Downstream), protocol.most(LIMIT));
        let longest = of_length(*protocol, most);
        assert_eq!(longest.len(), most);
        let is_serial = protocol.name() == "modbus-rtu";
        let expected = if is_serial { Verdict::Begun(false) } else { Verdict::Frame(most) };
        assert_eq!(verdict(*protocol, scan, &longest, []), expected, "{}", protocol.name());
        assert_eq!(is_serial, protocol.is_whole_after_silence(&longest, &scan));
        if matches!(protocol.name(), "iso8583" | "mpu") {
            // Their length can't say more: a lower limit is needed.
            let refused = protocol.split(&longest, &mut Scan::new(Side::Downstream), most - 1);
            assert!(refused.is_err(), "{}: {refused:?}", protocol.name());
            continue;
        }
        let longer = of_length(*protocol, most + 1);
        assert!(matches!(verdict(*protocol, scan, &longer, []), Verdict::Wrong(_)), "{}", protocol.name());
        assert!(!protocol.is_whole_after_silence(&longer, &scan));
    }
}

#[test]
fn a_limit_beyond_four_gigabytes_overflows_nothing() {
    for (protocol, bytes) in [("echo", "x"), ("http", "GET / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n")] {
        let protocol = find(protocol).unwrap();
        assert!(u32::try_from(protocol.most(usize::MAX)).is_ok());
        let split = protocol.split(bytes.as_bytes(), &mut Scan::new(Side::Downstream), usize::MAX);
        assert!(split == Ok(Split::More) || split.is_err(), "{split:?}");
    }
    let chunks = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n";
    let split = find("http").unwrap().split(chunks, &mut Scan::new(Side::Downstream), usize::MAX);
    assert!(split == Ok(Split::More) || split.is_err(), "{split:?}");
}

/// Feeds a megabyte byte by byte, frame after frame. Quadratic work would be 5 × 10¹¹ steps, and hours.
fn feed(protocol: &dyn Protocol, side: Side, bytes: &[u8]) {
    let started = Instant::now();
    let most = protocol.most(4 << 20);
    let (mut start, mut scan) = (0, Scan::new(side));
    for end in 1..=bytes.len() {
        match protocol.split(&bytes[start..end], &mut scan, most) {
            Ok(Split::Frame(length)) => (start, scan) = (start + length, Scan::new(side)),
            Ok(_) => {}
            Err(error) => panic!("{}: {error} at {end}", protocol.name()),
        }
    }
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{}: {:?} for {} bytes",
        protocol.name(),
        started.elapsed(),
        bytes.len()
    );
}

const MEGABYTE: usize = 1 << 20;

#[test]
fn work_is_linear_in_the_bytes_of_many_frames() {
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.name() != "modbus-rtu") {
        let frame = of_length(*protocol, protocol.most(LIMIT).min(LIMIT));
        feed(*protocol, Side::Downstream, &frame.repeat(MEGABYTE / frame.len()));
    }
}

#[test]
fn work_is_linear_in_the_bytes_of_a_line() {
    feed(find("echo").unwrap(), Side::Downstream, &vec![b'x'; MEGABYTE]);
}

#[test]
fn work_is_linear_in_the_bytes_of_a_message() {
    let (http, line) = (find("http").unwrap(), vec![b'x'; MEGABYTE]);
    let after = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    feed(http, Side::Downstream, &after("POST / HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n", &line));
    feed(http, Side::Downstream, &after(chunked, &b"1\r\nx\r\n".repeat(1_000_000)[..]).split_at(4 << 20).0[..3 << 20]);
    feed(http, Side::Downstream, &after(&format!("{chunked}5;"), &line));
    feed(http, Side::Downstream, &after(&format!("{chunked}0\r\nX:"), &line));
    feed(http, Side::Downstream, &after(&format!("{chunked}0\r\n"), &b"X:y\r\n".repeat(MEGABYTE / 5)));
    feed(http, Side::Downstream, &after(chunked, &vec![b'0'; MEGABYTE]));
    feed(http, Side::Upstream, &after("HTTP/1.1 200\r\n\r\n", &line));
    feed(http, Side::Upstream, &b"HTTP/1.1 103\r\n\r\n".repeat(MEGABYTE / 16));
    feed(http, Side::Upstream, &after("HTTP/1.1 103\r\nX: ", &line[..60_000]));
}

#[test]
fn what_looks_at_a_whole_answer_is_linear_too() {
    let http = find("http").unwrap();
    for interim in ["HTTP/1.1 100\r\n\r\n", "HTTP/1.1 103\r\n\r\n"] {
        let answer = interim.repeat(MEGABYTE / 16) + "HTTP/1.1 204\r\n\r\n";
        let started = Instant::now();
        let body = http.unwrap(answer.as_bytes()).unwrap().body;
        http.after(b"GET / HTTP/1.1\r\n\r\n", &answer.as_bytes()[body]);
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
}
