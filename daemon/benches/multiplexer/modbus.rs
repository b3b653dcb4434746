//! The one request of the benchmark and its answer: a read of holding registers over Modbus/TCP. What a register holds
//! follows from its unit and its address, so that whoever gets an answer can tell whether it is the one that was asked for.

/// As many as a client asks for, each time.
pub(crate) const REGISTERS: u16 = 10;
/// Bytes of a request: transaction id, protocol id 0, length, unit, function, address, count.
pub(crate) const REQUEST: usize = 12;
/// Transaction id, protocol id and length, after which come as many bytes as the length says.
const HEAD: usize = 6;
/// The longest frame there is.
pub(crate) const LONGEST: usize = 260;
const READ_HOLDING_REGISTERS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) id: u16,
    pub(crate) unit: u8,
    pub(crate) address: u16,
    pub(crate) count: u16,
}

impl Read {
    pub(crate) fn request(self) -> [u8; REQUEST] {
        let mut frame = [0, 0, 0, 0, 0, 6, self.unit, READ_HOLDING_REGISTERS, 0, 0, 0, 0];
        frame[..2].copy_from_slice(&self.id.to_be_bytes());
        frame[8..10].copy_from_slice(&self.address.to_be_bytes());
        frame[10..].copy_from_slice(&self.count.to_be_bytes());
        frame
    }

    /// What `frame` asks for.
    pub(crate) fn of(frame: &[u8]) -> Result<Self, String> {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        match frame {
            [_, _, 0, 0, 0, 6, unit, READ_HOLDING_REGISTERS, _, _, 0, 1..=125] => {
                Ok(Self { id: word(0), unit: *unit, address: word(8), count: word(10) })
            }
            _ => Err(format!("a request that no client sent: {frame:02x?}")),
        }
    }

    /// Appends the answer to `out`.
    pub(crate) fn answer(self, out: &mut Vec<u8>) {
        let bytes = self.count * 2;
        out.extend(self.id.to_be_bytes());
        out.extend([0, 0]);
        out.extend((bytes + 3).to_be_bytes());
        out.extend([self.unit, READ_HOLDING_REGISTERS, bytes as u8]);
        out.extend((0..self.count).flat_map(|n| register(self.unit, self.address.wrapping_add(n)).to_be_bytes()));
    }

    /// Whether `frame` is the answer to this; `scratch` is for what it should be.
    pub(crate) fn check(self, frame: &[u8], scratch: &mut Vec<u8>) -> Result<(), String> {
        scratch.clear();
        self.answer(scratch);
        if frame == scratch.as_slice() {
            return Ok(());
        }
        Err(match *frame {
            [i, d, _, _, _, _, unit, function, code] if function == READ_HOLDING_REGISTERS | 0x80 => {
                format!("exception {code:#04x} of unit {unit} with id {} to {self:?}", u16::from_be_bytes([i, d]))
            }
            _ => format!("a wrong answer to {self:?}: {frame:02x?}, not {scratch:02x?}"),
        })
    }
}

/// How long the frame is that `bytes` begin with, once all of it is there.
pub(crate) fn frame(bytes: &[u8]) -> Option<usize> {
    let &[high, low] = bytes.get(HEAD - 2..HEAD)? else { return None };
    let length = HEAD + usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= length).then_some(length)
}

fn register(unit: u8, address: u16) -> u16 {
    let both = u32::from(unit) << 16 | u32::from(address);
    (both.wrapping_mul(0x9E37_79B9) >> 16) as u16
}
