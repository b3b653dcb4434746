//! What clients ask for.

use crate::modbus::{REGISTERS, Read};

/// How many there are of the blocks that [`Asking::Blocks`] reads.
const BLOCKS: u16 = 8;
/// Of the clients that read anything, in turn.
const UNITS: u16 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Any registers of some units: no two clients read the same at a time, or hardly ever.
    Anything,
    /// A few blocks, so that a cache has them.
    Blocks,
    /// The same registers, all of them.
    One,
}

impl Asking {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anything => "anything",
            Self::Blocks => "blocks",
            Self::One => "one",
        }
    }

    pub(crate) fn of(name: &str) -> Result<Self, String> {
        let all = [Self::Anything, Self::Blocks, Self::One];
        all.into_iter().find(|a| a.name() == name).ok_or_else(|| format!("nobody asks for {name}"))
    }
}

/// One client's requests, in a sequence of its own.
pub(crate) struct Requests {
    asking: Asking,
    random: fastrand::Rng,
    /// The transaction id: all clients begin with the same one and count, as clients do.
    id: u16,
}

impl Requests {
    pub(crate) fn new(asking: Asking, client: usize) -> Self {
        Self { asking, random: fastrand::Rng::with_seed(client as u64), id: 0 }
    }

    pub(crate) fn next(&mut self) -> Read {
        self.id = self.id.wrapping_add(1);
        let (unit, address) = match self.asking {
            Asking::Anything => (1 + self.id % UNITS, self.random.u16(..=u16::MAX - REGISTERS)),
            Asking::Blocks => (1, REGISTERS * self.random.u16(..BLOCKS)),
            Asking::One => (1, 0),
        };
        Read { id: self.id, unit: unit as u8, address, count: REGISTERS }
    }
}
