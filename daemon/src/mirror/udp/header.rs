//! Version 2 of the PROXY protocol, as it is put before each datagram (haproxy.org, `proxy-protocol.txt`, 2.2).

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
const UDP_OVER_IPV4: u8 = 0x12;
const UDP_OVER_IPV6: u8 = 0x22;

/// The header that says who sent the datagram, and to which of our addresses.
pub(super) fn header(client: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut head = SIGNATURE.to_vec();
    head.push(PROXY);
    match (client.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(to)) => {
            head.extend([UDP_OVER_IPV4, 0, 12]);
            head.extend(client.octets());
            head.extend(to.octets());
        }
        (client, to) => {
            let long = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            head.extend([UDP_OVER_IPV6, 0, 36]);
            head.extend(long(client));
            head.extend(long(to));
        }
    }
    head.extend(client.port().to_be_bytes());
    head.extend(to.port().to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(client: &str, to: &str) -> Vec<u8> {
        let head = header(client.parse().unwrap(), to.parse().unwrap());
        assert_eq!(head[..13], *b"\r\n\r\n\0\r\nQUIT\n\x21");
        head[13..].to_vec()
    }

    #[test]
    fn both_families_are_as_the_specification_has_them() {
        let v4 = [&[0x12, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7][..], &[0x30, 0x39, 0, 80]].concat();
        assert_eq!(made("192.0.2.1:12345", "198.51.100.7:80"), v4);
        assert_eq!(made("[::ffff:192.0.2.1]:12345", "[::ffff:198.51.100.7]:80"), v4);
        let mut v6 = vec![0x22, 0, 36, 0x20, 0x01, 0x0d, 0xb8];
        v6.extend([0; 11]);
        v6.push(1);
        v6.extend([0; 15]);
        v6.extend([1, 0x30, 0x39, 0, 80]);
        assert_eq!(made("[2001:db8::1]:12345", "[::1]:80"), v6);
    }
}
