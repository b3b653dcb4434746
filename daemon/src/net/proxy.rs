//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`): a header before the first byte of a
//! connection says which client it is relayed for.
//!
//! Nothing here reads or writes a socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, with its line end.
const LONGEST_V1: usize = 107;
/// What stands before the length of a header of version 2, and the length itself.
const FIXED_V2: usize = 16;
/// How many bytes of addresses and extensions a header of version 2 may announce. Senders add names, certificates' at
/// most; whoever announces more wants us to wait.
const LONGEST_V2: usize = 4096;

const LINE_START: &[u8] = b"PROXY ";
const LINE_END: &[u8] = b"\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The form of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The sender's own (a health check, `LOCAL`), or nobody knows (`UNKNOWN`): the connection's own addresses count.
    Local,
    /// It is relayed for a client.
    Relayed {
        /// The client's address.
        client: SocketAddr,
        /// The address that the client has connected to.
        server: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// They begin like neither version.
    #[error("it does not begin with a PROXY header")]
    Missing,
    /// They begin like one.
    #[error("its PROXY header is malformed: {what}")]
    Malformed {
        /// The part that is wrong.
        what: &'static str,
    },
}

/// The header of a TCP connection.
pub fn encode(version: Version, header: Header) -> Vec<u8> {
    match version {
        Version::V1 => encode_v1(header),
        Version::V2 => encode_v2(header, 0x1),
    }
}

/// The header of a datagram. There is one in version 2 only.
pub fn encode_datagram(header: Header) -> Vec<u8> {
    encode_v2(header, 0x2)
}

fn encode_v1(header: Header) -> Vec<u8> {
    let Header::Relayed { client, server } = header else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let addresses = match same_family(client.ip(), server.ip()) {
        Pair::V4(from, to) => format!("TCP4 {from} {to}"),
        Pair::V6(from, to) => format!("TCP6 {from} {to}"),
    };
    format!("PROXY {addresses} {} {}\r\n", client.port(), server.port()).into_bytes()
}

fn encode_v2(header: Header, transport: u8) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let Header::Relayed { client, server } = header else {
        bytes.extend_from_slice(&[0x20, 0, 0, 0]);
        return bytes;
    };
    match same_family(client.ip(), server.ip()) {
        Pair::V4(from, to) => {
            bytes.extend_from_slice(&[0x21, 0x10 | transport, 0, 12]);
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
        Pair::V6(from, to) => {
            bytes.extend_from_slice(&[0x21, 0x20 | transport, 0, 36]);
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
    }
    bytes.extend_from_slice(&client.port().to_be_bytes());
    bytes.extend_from_slice(&server.port().to_be_bytes());
    bytes
}

/// Two addresses in one family, as a header has them.
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// A dual-stack socket has IPv4 as `::ffff:a.b.c.d`, and may have it at one end only.
fn same_family(from: IpAddr, to: IpAddr) -> Pair {
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match (from.to_canonical(), to.to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Pair::V4(from, to),
        (from, to) => Pair::V6(v6(from), v6(to)),
    }
}

/// The header at the start of `bytes`, of whichever version, and its length. `None`: all of these bytes belong to a
/// header, and more of it is to come.
pub fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProxyError> {
    if begins_like(bytes, SIGNATURE) {
        decode_v2(bytes)
    } else if begins_like(bytes, LINE_START) {
        decode_v1(bytes)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether the one is the start of the other.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(a, b)| a == b)
}

fn malformed<T>(what: &'static str) -> Result<T, ProxyError> {
    Err(ProxyError::Malformed { what })
}

fn decode_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProxyError> {
    let most = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = most.windows(LINE_END.len()).position(|at| at == LINE_END) else {
        return if bytes.len() < LONGEST_V1 { Ok(None) } else { malformed("its line has no end") };
    };
    let line = most.get(LINE_START.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let Some(line) = line else { return malformed("its line is no text") };
    let length = end + LINE_END.len();
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Some((Header::Local, length))); // whatever else the line has is to be passed over
    }
    let (Some(from), Some(to), Some(from_port), Some(to_port), None) = (words.next(), words.next(), words.next(), words.next(), words.next()) else {
        return malformed("its line has not two addresses and two ports");
    };
    let ip = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (Some(from), Some(to)) = (ip(from), ip(to)) else { return malformed("an address is not of its family") };
    let (Some(from_port), Some(to_port)) = (port(from_port), port(to_port)) else { return malformed("a port is not a number up to 65535") };
    Ok(Some((relayed(from, from_port, to, to_port), length)))
}

/// A port in decimal, without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn relayed(from: IpAddr, from_port: u16, to: IpAddr, to_port: u16) -> Header {
    Header::Relayed { client: SocketAddr::new(from.to_canonical(), from_port), server: SocketAddr::new(to.to_canonical(), to_port) }
}

fn decode_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProxyError> {
    let command = bytes.get(SIGNATURE.len()).copied();
    if !matches!(command, None | Some(0x20 | 0x21)) {
        return malformed("it has an unknown version or command");
    }
    let Some((&[.., command, family, high, low], rest)) = bytes.split_first_chunk::<FIXED_V2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_V2 {
        return malformed("it is longer than 4096 bytes");
    }
    let least = match (command, family) {
        // The family of a proxy's own connection means nothing.
        (0x20, _) | (_, 0x00) => 0,
        (_, 0x11 | 0x12) => 12,
        (_, 0x21 | 0x22) => 36,
        (_, 0x31 | 0x32) => 216,
        _ => return malformed("it has an unknown family or protocol"),
    };
    if length < least {
        return malformed("it is too short for its addresses");
    }
    // What follows the addresses are extensions, which nobody here asks for.
    let Some(block) = rest.get(..length) else { return Ok(None) };
    let header = if command == 0x20 { Header::Local } else { addresses(family, block) };
    Ok(Some((header, FIXED_V2 + length)))
}

/// The addresses of a family. Those of others, UNIX sockets say, mean nothing to us.
fn addresses(family: u8, block: &[u8]) -> Header {
    match family >> 4 {
        1 => block.first_chunk().map(|&[a, b, c, d, e, f, g, h, p, q, r, s]| {
            relayed([a, b, c, d].into(), u16::from_be_bytes([p, q]), [e, f, g, h].into(), u16::from_be_bytes([r, s]))
        }),
        2 => block.split_first_chunk::<16>().and_then(|(from, rest)| {
            let (to, rest) = rest.split_first_chunk::<16>()?;
            let &[p, q, r, s] = rest.first_chunk()?;
            Some(relayed((*from).into(), u16::from_be_bytes([p, q]), (*to).into(), u16::from_be_bytes([r, s])))
        }),
        _ => None,
    }
    .unwrap_or(Header::Local)
}

#[cfg(test)]
mod tests;
