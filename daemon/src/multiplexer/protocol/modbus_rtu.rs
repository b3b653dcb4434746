//! Modbus RTU (Modbus over Serial Line V1.02, 2.5.1): unit, PDU, CRC, and nothing that says how long a frame is. On a serial
//! line silence ends it; over TCP there is none. So the length comes from the function and its byte counts (Modbus
//! Application Protocol V1.1b3, 6), and, where these are a vendor's, from a CRC that is right.

use super::{Protocol, ProtocolError, Scan, Side, Split, Tag, Unwrapped, crc, modbus, wrong};

/// The longest frame.
const MOST: usize = modbus::MOST + crc::LENGTH;
/// The shortest frame.
const LEAST: usize = modbus::LEAST + crc::LENGTH;

/// The protocol `modbus-rtu-tcp`: frames of the serial line in a TCP connection.
pub(super) struct RtuOverTcp;

/// The protocol `modbus-rtu`: a serial line.
pub(super) struct RtuSerial;

/// What a frame's first bytes tell of its length, the CRC included.
enum Length {
    /// It is this.
    Of(usize),
    /// More bytes are needed to know.
    Later,
    /// They never will.
    Untold,
}

fn length(buf: &[u8], side: Side) -> Length {
    let byte = |at: usize| buf.get(at).map(|byte| usize::from(*byte));
    let Some(&[_, function]) = buf.first_chunk() else { return Length::Later };
    let after = |fixed: usize, count: Option<usize>| count.map_or(Length::Later, |count| Length::Of(fixed + count + crc::LENGTH));
    match (function, side) {
        (1..=6, Side::Downstream) | (5 | 6 | 11 | 15 | 16, Side::Upstream) => Length::Of(8),
        (7 | 11 | 12 | 17, Side::Downstream) => Length::Of(LEAST),
        (7 | 0x80.., Side::Upstream) => Length::Of(5), // the status, or an exception
        (15 | 16, Side::Downstream) => after(7, byte(6)),
        (23, Side::Downstream) => after(11, byte(10)),
        (24, Side::Downstream) => Length::Of(6),
        (1..=4 | 12 | 17 | 23, Side::Upstream) | (20 | 21, _) => after(3, byte(2)),
        (24, Side::Upstream) => after(4, byte(2).zip(byte(3)).map(|(high, low)| high << 8 | low)),
        (22, _) => Length::Of(10),
        // Return Query Data has as much data as the client likes, all others of the diagnostics a word.
        (8, _) => match byte(2).zip(byte(3)) {
            None => Length::Later,
            Some((0, 0)) => Length::Untold,
            Some(_) => Length::Of(8),
        },
        (43, _) => match (byte(2), side) {
            (None, _) => Length::Later,
            (Some(14), Side::Downstream) => Length::Of(7),
            (Some(14), Side::Upstream) => identification(buf),
            _ => Length::Untold, // CANopen, or a vendor's
        },
        _ => Length::Untold,
    }
}

/// The answer to Read Device Identification: so many objects, each with an id, a length, and so many bytes.
fn identification(buf: &[u8]) -> Length {
    let Some(objects) = buf.get(7) else { return Length::Later };
    let mut at = 8;
    for _ in 0..*objects {
        let least = at + 2 + crc::LENGTH;
        if least > MOST {
            return Length::Of(least); // too long already, whatever follows
        }
        let Some(length) = buf.get(at + 1) else { return Length::Later };
        at += 2 + usize::from(*length);
    }
    Length::Of(at + crc::LENGTH)
}

/// Where the first frame ends. Over TCP a frame of unknown length is whole when everything that was received has a right CRC
/// at its end: one half of a frame in 65,536 has it, too, but most come in one piece. On a serial line silence tells.
fn split(buf: &[u8], scan: &mut Scan, most: usize, serial: bool) -> Result<Split, ProtocolError> {
    let most = most.min(MOST);
    match length(buf, scan.side) {
        Length::Of(end) if end > most => Err(wrong(format!("a frame of {end} bytes is announced, but it may have {most}"))),
        Length::Of(end) => match buf.get(..end) {
            None => Ok(Split::More),
            Some(frame) if crc::is_right(frame) => Ok(Split::Frame(end)),
            Some(_) => Err(wrong("the CRC of a Modbus frame is wrong")),
        },
        Length::Later => Ok(Split::More),
        Length::Untold if !serial && buf.len() <= most && is_whole_so_far(buf, scan) => Ok(Split::Frame(buf.len())),
        Length::Untold if buf.len() < most || serial && buf.len() == most => Ok(Split::More),
        Length::Untold => Err(wrong(format!("{most} bytes are no Modbus frame: none has its CRC where they end"))),
    }
}

/// As `is_whole`, but keeps the checksum, so that no byte is looked at twice.
fn is_whole_so_far(buf: &[u8], scan: &mut Scan) -> bool {
    let before = if scan.at == 0 { crc::BEGIN } else { scan.value as u16 };
    let crc = crc::continued(before, buf.get(scan.at()..).unwrap_or_default());
    scan.reached(buf.len());
    scan.value = u32::from(crc);
    buf.len() >= LEAST && crc == 0
}

fn is_whole(buf: &[u8]) -> bool {
    buf.len() >= LEAST && crc::is_right(buf)
}

fn unwrap(frame: &[u8]) -> Result<Unwrapped, ProtocolError> {
    match frame.len().checked_sub(crc::LENGTH) {
        Some(end) if end >= modbus::LEAST => Ok(Unwrapped { tag: None, body: 0..end }),
        _ => Err(wrong("a Modbus frame has no function")),
    }
}

fn wrap(body: &[u8], out: &mut Vec<u8>) {
    out.reserve(body.len() + crc::LENGTH);
    out.extend_from_slice(body);
    out.extend_from_slice(&crc::of(body).to_le_bytes());
}

impl Protocol for RtuOverTcp {
    fn name(&self) -> &'static str {
        "modbus-rtu-tcp"
    }

    fn about(&self) -> &'static str {
        "Modbus RTU frames over TCP"
    }

    fn most(&self, _limit: usize) -> usize {
        MOST
    }

    fn split(&self, buf: &[u8], scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        split(buf, scan, most, false)
    }

    fn unwrap(&self, frame: &[u8]) -> Result<Unwrapped, ProtocolError> {
        unwrap(frame)
    }

    fn wrap(&self, _tag: Tag, body: &[u8], out: &mut Vec<u8>) {
        wrap(body, out);
    }

    fn is_modbus(&self) -> bool {
        true
    }
}

impl Protocol for RtuSerial {
    fn name(&self) -> &'static str {
        "modbus-rtu"
    }

    fn about(&self) -> &'static str {
        "Modbus RTU on a serial line"
    }

    fn most(&self, _limit: usize) -> usize {
        MOST
    }

    fn split(&self, buf: &[u8], scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        split(buf, scan, most, true)
    }

    fn is_whole_after_silence(&self, buf: &[u8], _scan: &Scan) -> bool {
        buf.len() <= MOST && is_whole(buf)
    }

    fn unwrap(&self, frame: &[u8]) -> Result<Unwrapped, ProtocolError> {
        unwrap(frame)
    }

    fn wrap(&self, _tag: Tag, body: &[u8], out: &mut Vec<u8>) {
        wrap(body, out);
    }

    fn is_modbus(&self) -> bool {
        true
    }
}
