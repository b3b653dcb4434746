//! Lines: a frame is what comes up to a line feed, and with it. Nothing is trimmed, so that answers stay what they were.

use super::{Protocol, ProtocolError, Scan, Split, wrong};

/// The protocol `echo`, also `line`.
pub struct Echo;

impl Protocol for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn about(&self) -> &'static str {
        "lines: a request is a line, and so is its answer"
    }

    fn most(&self, limit: usize) -> usize {
        limit.min(u32::MAX as usize)
    }

    fn split(&self, buf: &[u8], scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        let new = buf.get(scan.at()..).unwrap_or_default();
        let end = new.iter().position(|byte| *byte == b'\n').map(|at| scan.at() + at + 1);
        if end.unwrap_or(buf.len()) > most {
            return Err(wrong(format!("a line is longer than {most} bytes")));
        }
        scan.reached(buf.len());
        Ok(end.map_or(Split::More, Split::Frame))
    }
}
