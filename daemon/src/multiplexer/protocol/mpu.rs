//! MPU switches: a length in four decimal digits, which does not count itself, then the message, of which nothing is
//! looked at. Digits only: what reads `-001` as a number lets a peer choose where memory is written.

use super::{Protocol, ProtocolError, Scan, Split, wrong};

const HEADER: usize = 4;

/// The protocol `mpu`.
pub(super) struct Mpu;

impl Protocol for Mpu {
    fn name(&self) -> &'static str {
        "mpu"
    }

    fn about(&self) -> &'static str {
        "MPU switches: a length in four digits, then the message"
    }

    fn most(&self, _limit: usize) -> usize {
        HEADER + 9999
    }

    fn split(&self, buf: &[u8], _scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        let mut length = 0;
        for (at, byte) in buf.iter().take(HEADER).enumerate() {
            if !byte.is_ascii_digit() {
                let came = buf.get(..=at).unwrap_or_default().escape_ascii();
                return Err(wrong(format!("a length in four digits was expected, but \"{came}\" came")));
            }
            length = length * 10 + usize::from(byte - b'0');
        }
        let frame = HEADER + length;
        if buf.len() < HEADER {
            return Ok(Split::More);
        }
        if frame > most {
            return Err(wrong(format!("a message of {length} bytes is announced, but a frame may have {most}")));
        }
        Ok(if buf.len() < frame { Split::More } else { Split::Frame(frame) })
    }
}
