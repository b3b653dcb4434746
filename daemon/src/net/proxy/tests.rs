use proptest::prelude::*;

use super::*;

fn relayed_for(client: &str, server: &str) -> Header {
    Header::Relayed { client: client.parse().unwrap(), server: server.parse().unwrap() }
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(block.len() as u16).to_be_bytes(), block].concat()
}

/// The bytes of the specification's own examples, and of haproxy.
#[test]
fn headers_are_these_bytes() {
    let v4 = relayed_for("192.168.0.1:56324", "192.168.0.11:443");
    assert_eq!(encode(Version::V1, v4), b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
    assert_eq!(
        encode(Version::V2, v4),
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb"
    );
    let v6 = relayed_for("[2001:db8::1]:1", "[::1]:65535");
    assert_eq!(encode(Version::V1, v6), b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
    let mut block = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    block.extend_from_slice(&[0; 15]);
    block.extend_from_slice(&[1, 0, 1, 0xff, 0xff]);
    assert_eq!(encode(Version::V2, v6), v2(0x21, 0x21, &block));
    assert_eq!(encode_datagram(v6), v2(0x21, 0x22, &block));
    assert_eq!(encode_datagram(v4).get(13), Some(&0x12));
    assert_eq!(encode(Version::V1, Header::Local), b"PROXY UNKNOWN\r\n");
    assert_eq!(encode(Version::V2, Header::Local), v2(0x20, 0, &[]));
}

#[test]
fn the_longest_line_is_within_the_limit() {
    let longest = relayed_for("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    let line = encode(Version::V1, longest);
    assert!(line.len() <= LONGEST_V1, "{}", line.len());
    assert_eq!(decode(&line), Ok(Some((longest, line.len()))));
}

/// What a dual-stack listener sees of an IPv4 client is written as IPv4, and two families as the larger one.
#[test]
fn families_are_made_one() {
    let mapped = relayed_for("[::ffff:10.0.0.1]:1", "10.0.0.2:2");
    assert_eq!(encode(Version::V1, mapped), b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    let mixed = relayed_for("10.0.0.1:1", "[2001:db8::2]:2");
    assert_eq!(encode(Version::V1, mixed), b"PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 1 2\r\n");
    for version in [Version::V1, Version::V2] {
        let bytes = encode(version, mixed);
        assert_eq!(decode(&bytes), Ok(Some((mixed, bytes.len()))));
    }
}

#[test]
fn what_has_no_address_of_a_client_is_local() {
    let unix = vec![b'/'; 216];
    for bytes in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 whatever\nelse 65535 65535\r\n".to_vec(),
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &[7; 12]),
        v2(0x20, 0xff, b"whatever"),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x00, &[1; 300]),
        v2(0x21, 0x31, &unix),
        v2(0x21, 0x32, &unix),
    ] {
        assert_eq!(decode(&bytes), Ok(Some((Header::Local, bytes.len()))), "{bytes:?}");
        let more = [bytes.as_slice(), b"PROXY"].concat();
        assert_eq!(decode(&more), Ok(Some((Header::Local, bytes.len()))), "{bytes:?}");
    }
}

#[test]
fn extensions_are_passed_over() {
    let plain = encode(Version::V2, relayed_for("10.0.0.1:1", "10.0.0.2:2"));
    let mut block = plain.get(FIXED_V2..).unwrap().to_vec();
    block.extend_from_slice(&[0x02, 0, 3, b'f', b'q', b'd', 0x04, 0, 1, 0]);
    let bytes = v2(0x21, 0x11, &block);
    assert_eq!(decode(&bytes), Ok(Some((relayed_for("10.0.0.1:1", "10.0.0.2:2"), bytes.len()))));
    block.resize(LONGEST_V2, 0);
    assert_eq!(decode(&v2(0x21, 0x11, &block)), Ok(Some((relayed_for("10.0.0.1:1", "10.0.0.2:2"), FIXED_V2 + LONGEST_V2))));
}

#[test]
fn what_is_no_header_is_refused() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY\r\n",
        "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
        "PROXY TCP4 1.1.1.1 ::1 1 1\r\n",
        "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1  1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\r\n",
        "\r\n\r\n\0\r\nQUIX\n",
    ] {
        assert!(decode(text.as_bytes()).is_err(), "{text:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(93));
    assert_eq!((long.len(), decode(long.as_bytes())), (LONGEST_V1, malformed("its line has no end")));
    assert_eq!(decode(b"PROXY TCP4 \xff\r\n"), malformed("its line is no text"));
    for (command, family, block) in [(0x11, 0x11, 12), (0x22, 0x11, 12), (0x21, 0x11, 11), (0x21, 0x21, 35), (0x21, 0x31, 215), (0x21, 0x10, 12)]
        .into_iter()
        .chain([(0x21, 0x01, 12), (0x21, 0x13, 12), (0x21, 0x41, 300), (0x21, 0x11, LONGEST_V2 + 1), (0x20, 0x00, 0xffff)])
    {
        assert!(decode(&v2(command, family, &vec![0; block])).is_err(), "{command:x} {family:x} {block}");
    }
    // Nobody has to wait for the rest of what is wrong already.
    assert_eq!(decode(b"PROXZ"), Err(ProxyError::Missing));
    assert_eq!(decode(&v2(0x21, 0x11, &vec![0; 5000])[..16]), malformed("it is longer than 4096 bytes"));
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

fn any_header() -> impl Strategy<Value = Header> {
    prop_oneof![
        1 => Just(Header::Local),
        8 => (any_address(), any_address()).prop_map(|(client, server)| Header::Relayed { client, server }),
    ]
}

/// Bytes that get further than random ones do.
fn nearly_a_header() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![Just(Vec::new()), Just(LINE_START.to_vec()), Just(b"PROXY TCP4 1.1.1.1 ".to_vec()), Just(SIGNATURE.to_vec())];
    let fixed = prop_oneof![Just(Vec::new()), Just(vec![0x21, 0x11, 0, 12]), Just(vec![0x21, 0x21, 0, 36]), Just(vec![0x20, 0, 0, 4])];
    (start, fixed, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(a, b, c)| [a, b, c].concat())
}

proptest! {
    #[test]
    fn a_header_reads_back_wherever_it_is_split(header in any_header(), first in any::<bool>(), rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let bytes = encode(if first { Version::V1 } else { Version::V2 }, header);
        for split in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..split]), Ok(None), "split at {}", split);
        }
        let stream = [bytes.as_slice(), &rest].concat();
        prop_assert_eq!(decode(&stream), Ok(Some((header, bytes.len()))));
    }

    #[test]
    fn no_bytes_make_it_panic_and_its_answer_does_not_change_with_more(bytes in nearly_a_header(), more in prop::collection::vec(any::<u8>(), 0..40)) {
        let now = decode(&bytes);
        if let Ok(Some((_, length))) = now {
            prop_assert!(length <= bytes.len());
        }
        if now != Ok(None) {
            prop_assert_eq!(decode(&[bytes, more].concat()), now);
        }
    }
}
