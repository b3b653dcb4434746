//! Modbus/TCP (Modbus Messaging on TCP/IP V1.0b, 3.1.3): the MBAP header, then unit and PDU, of which nothing is looked at,
//! so that vendors' functions pass. And what some gateways make of it: the same, with the serial line's CRC at the end.
//!
//! The header is transaction id, protocol id (0) and length, each two bytes big-endian; the length counts the unit id.

use super::{Protocol, ProtocolError, Scan, Split, Tag, Unwrapped, crc, modbus, wrong};

/// What stands before the unit id.
const HEADER: usize = 6;

/// The protocol `modbus`.
pub(super) struct ModbusTcp;

/// The protocol `modbus-tcp-crc`. The Go tool calls this framing `modbus-rtu`.
pub(super) struct ModbusTcpCrc;

/// Where the first frame ends, if its header is right; `extra` bytes follow unit and PDU.
fn split(buf: &[u8], extra: usize, most: usize) -> Result<Split, ProtocolError> {
    let Some(&[_, _, p, q, l, m]) = buf.first_chunk::<HEADER>() else { return Ok(Split::More) };
    let (id, length) = (u16::from_be_bytes([p, q]), usize::from(u16::from_be_bytes([l, m])));
    let (least, longest) = (modbus::LEAST + extra, modbus::MOST + extra);
    if id != 0 {
        return Err(wrong(format!("protocol id 0 was expected in the MBAP header, but {id} came")));
    }
    if !(least..=longest).contains(&length) {
        return Err(wrong(format!("a length of {least} to {longest} was expected in the MBAP header, but {length} came")));
    }
    let frame = HEADER + length;
    if frame > most {
        return Err(wrong(format!("a frame of {frame} bytes is announced, but it may have {most}")));
    }
    Ok(if buf.len() < frame { Split::More } else { Split::Frame(frame) })
}

fn unwrap(frame: &[u8], extra: usize) -> Result<Unwrapped, ProtocolError> {
    let end = frame.len().saturating_sub(extra);
    match frame.first_chunk() {
        Some(tag) if end >= HEADER + modbus::LEAST => Ok(Unwrapped { tag: Some(Tag::from_be_bytes(*tag)), body: HEADER..end }),
        _ => Err(wrong("a Modbus frame has no function")),
    }
}

fn wrap(tag: Tag, length: usize, out: &mut Vec<u8>) {
    out.reserve(HEADER + length);
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&(length as u16).to_be_bytes());
}

impl Protocol for ModbusTcp {
    fn name(&self) -> &'static str {
        "modbus"
    }

    fn about(&self) -> &'static str {
        "Modbus/TCP"
    }

    fn most(&self, _limit: usize) -> usize {
        HEADER + modbus::MOST
    }

    fn split(&self, buf: &[u8], _scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        split(buf, 0, most)
    }

    fn unwrap(&self, frame: &[u8]) -> Result<Unwrapped, ProtocolError> {
        unwrap(frame, 0)
    }

    fn wrap(&self, tag: Tag, body: &[u8], out: &mut Vec<u8>) {
        wrap(tag, body.len(), out);
        out.extend_from_slice(body);
    }

    fn is_tagged(&self) -> bool {
        true
    }

    fn is_modbus(&self) -> bool {
        true
    }
}

impl Protocol for ModbusTcpCrc {
    fn name(&self) -> &'static str {
        "modbus-tcp-crc"
    }

    fn about(&self) -> &'static str {
        "Modbus/TCP with a CRC at the end, as some gateways have it"
    }

    fn most(&self, _limit: usize) -> usize {
        HEADER + modbus::MOST + crc::LENGTH
    }

    fn split(&self, buf: &[u8], _scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        let split = split(buf, crc::LENGTH, most)?;
        if let Split::Frame(end) = split
            && !buf.get(HEADER..end).is_some_and(crc::is_right)
        {
            return Err(wrong("the CRC of a Modbus frame is wrong"));
        }
        Ok(split)
    }

    fn unwrap(&self, frame: &[u8]) -> Result<Unwrapped, ProtocolError> {
        unwrap(frame, crc::LENGTH)
    }

    fn wrap(&self, tag: Tag, body: &[u8], out: &mut Vec<u8>) {
        wrap(tag, body.len() + crc::LENGTH, out);
        out.extend_from_slice(body);
        out.extend_from_slice(&crc::of(body).to_le_bytes());
    }

    fn is_tagged(&self) -> bool {
        true
    }

    fn is_modbus(&self) -> bool {
        true
    }
}
