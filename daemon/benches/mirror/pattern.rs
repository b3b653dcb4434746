//! The bytes every stream of the benchmark is made of: whoever reads a stream can tell where it began and whether a
//! byte is missing, doubled or out of order.

/// The pattern repeats after this many bytes, which is also the block of a bulk stream.
pub(crate) const RING: usize = 1 << 20;
/// What an interactive stream sends at a time.
pub(crate) const MESSAGE: usize = 64;
/// First byte of the last block of a bulk stream; the other blocks begin with the pattern's own 0.
pub(crate) const LAST: u8 = 1;

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
/// A read longer than this is compared at both ends only, so that checking does not slow the reader down.
const WHOLE: usize = 512;

/// The inverse of an odd number modulo 2^64: each Newton step doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut found = odd;
    let mut step = 0;
    while step < 6 {
        found = found.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(found)));
        step += 1;
    }
    found
}

pub(crate) struct Pattern {
    /// The ring twice, so that no slice has to wrap.
    bytes: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new() -> Self {
        let words = (RING / 8) as u64;
        let bytes = (0..2 * words).flat_map(|i| (i % words).wrapping_mul(ODD).to_le_bytes()).collect();
        Self { bytes }
    }

    /// `len` bytes (at most [`RING`]) of the stream, from its byte `at` on.
    pub(crate) fn at(&self, at: usize, len: usize) -> &[u8] {
        let at = at % RING;
        &self.bytes[at..at + len]
    }

    /// Where in the ring a stream begins that begins with these eight bytes; any multiple of 8.
    fn phase(head: [u8; 8]) -> Option<usize> {
        let word = u64::from_le_bytes(head).wrapping_mul(const { inverse(ODD) });
        (word < (RING / 8) as u64).then_some(word as usize * 8)
    }

    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        let expected = self.at(at, bytes.len());
        // The byte at 0 of the ring may be a flag.
        bytes == expected || bytes.iter().zip(expected).enumerate().all(|(i, (got, want))| got == want || (at + i).is_multiple_of(RING))
    }
}

/// Follows one stream and says at which byte it went wrong.
pub(crate) struct Verifier<'a> {
    pattern: &'a Pattern,
    head: Vec<u8>,
    phase: Option<usize>,
    pub(crate) seen: u64,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(pattern: &'a Pattern) -> Self {
        Self { pattern, head: Vec::new(), phase: None, seen: 0 }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(phase) = self.phase {
            return self.compare(phase, bytes);
        }
        // The first bytes may come in pieces too short to tell the phase from.
        self.head.extend_from_slice(bytes);
        let Some(&head) = self.head.first_chunk::<8>() else { return Ok(()) };
        let phase = Pattern::phase(head).ok_or("a stream begins with bytes nobody sent")?;
        self.phase = Some(phase);
        let head = std::mem::take(&mut self.head);
        self.compare(phase, &head)
    }

    fn compare(&mut self, phase: usize, bytes: &[u8]) -> Result<(), String> {
        let at = (phase + (self.seen % RING as u64) as usize) % RING;
        let end = bytes.len();
        let good = if end <= WHOLE {
            self.pattern.holds(at, bytes)
        } else {
            let half = WHOLE / 2;
            self.pattern.holds(at, &bytes[..half]) && self.pattern.holds(at + end - half, &bytes[end - half..])
        };
        let from = self.seen;
        self.seen += end as u64;
        good.then_some(())
            .ok_or_else(|| format!("a stream has wrong bytes between its bytes {from} and {}", self.seen))
    }
}
