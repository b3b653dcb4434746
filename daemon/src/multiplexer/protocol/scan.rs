//! What was found out about a frame that has not come whole yet, so that no byte is looked at twice.

/// From whom a frame comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client: it is a request.
    Downstream,
    /// The device: it is an answer.
    Upstream,
}

/// The progress of looking for a frame's end. It is small, because every client has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// From whom the frame comes.
    pub side: Side,
    /// Which part of the frame is being looked at; each protocol numbers its own.
    pub(super) step: u8,
    /// What the request told about its answer; each protocol has its own flags.
    pub(super) flags: u8,
    /// How many bytes need not be looked at again.
    pub(super) at: u32,
    /// A number that the step needs: where a head begins, how long a chunk is, the checksum so far.
    pub(super) value: u32,
}

impl Scan {
    /// Nothing is known yet.
    pub fn new(side: Side) -> Self {
        Self { side, step: 0, flags: 0, at: 0, value: 0 }
    }

    /// How many bytes need not be looked at again.
    pub(super) fn at(&self) -> usize {
        self.at as usize
    }

    /// So many bytes need not be looked at again. No protocol accepts a frame that is too long for this.
    pub(super) fn reached(&mut self, at: usize) {
        self.at = u32::try_from(at).unwrap_or(u32::MAX);
    }
}
