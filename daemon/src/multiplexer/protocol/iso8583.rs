//! ISO 8583 over TCP as most networks have it: a length in two bytes, big-endian, which does not count itself, then the
//! message, of which nothing is looked at. An empty message is legal: some networks keep a connection alive with it.

use super::{Protocol, ProtocolError, Scan, Split, wrong};

const HEADER: usize = 2;

/// The protocol `iso8583`.
pub(super) struct Iso8583;

impl Protocol for Iso8583 {
    fn name(&self) -> &'static str {
        "iso8583"
    }

    fn about(&self) -> &'static str {
        "ISO 8583: a length in two bytes, then the message"
    }

    fn most(&self, _limit: usize) -> usize {
        HEADER + usize::from(u16::MAX)
    }

    fn split(&self, buf: &[u8], _scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        let Some(length) = buf.first_chunk::<HEADER>() else { return Ok(Split::More) };
        let frame = HEADER + usize::from(u16::from_be_bytes(*length));
        if frame > most {
            return Err(wrong(format!("a message of {} bytes is announced, but a frame may have {most}", frame - HEADER)));
        }
        Ok(if buf.len() < frame { Split::More } else { Split::Frame(frame) })
    }
}
