//! How a connection lies on disk. A record is a file: eight bytes that name the format, then chunks.
//!
//! ```text
//! chunk    length of the payload, u32 | CRC-32 of kind and payload, u32 | kind, u8 | payload     (little-endian)
//! opened   when the client came, u64, milliseconds since the Unix epoch | its address, text
//! data     what the mirror is to get
//! end      one byte of flags: 1 = by a reset, 2 = the mirror had got the rest at once
//! played   nothing: what comes before was played back, and its FIN was about to be sent
//! ```
//!
//! A record is complete when it ends with `end`, or with `end` and `played`.

use thiserror::Error;

/// The first bytes of every record.
pub(crate) const MAGIC: &[u8; 8] = b"dfspool\x01";
/// What comes before a payload.
pub(crate) const HEADER: usize = 9;
/// The longest payload, in bytes.
pub(crate) const LONGEST: usize = 64 << 10;

const OPENED: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;
const PLAYED: u8 = 4;

const BY_RESET: u8 = 1;
const LIVE: u8 = 2;

/// How a recorded connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// By a reset, not a FIN.
    pub(crate) reset: bool,
    /// While its mirror was getting it, so that it may have arrived.
    pub(crate) live: bool,
}

/// One piece of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk<'a> {
    /// The connection's beginning.
    Opened {
        /// When, in milliseconds since the Unix epoch.
        at: u64,
        /// The client's address.
        client: &'a str,
    },
    /// Bytes for the mirror.
    Data(&'a [u8]),
    /// The connection's end.
    End(End),
    /// It was played back, and may have arrived.
    Played,
}

/// Why a record can't be read on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum RecordError {
    #[error("it does not begin as a record does")]
    NoRecord,
    #[error("a chunk of {0} bytes is longer than any that is written")]
    TooLong(u32),
    #[error("a checksum is wrong")]
    Checksum,
    #[error("a chunk is of no known kind")]
    Unknown,
}

/// The bytes before a payload of this kind.
fn header(kind: u8, payload: &[u8]) -> [u8; HEADER] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(payload);
    let mut header = [0; HEADER];
    let (length, rest) = header.split_at_mut(4);
    length.copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let (sum, last) = rest.split_at_mut(4);
    sum.copy_from_slice(&crc.finalize().to_le_bytes());
    last.fill(kind);
    header
}

/// The bytes before `payload`, which has at most [`LONGEST`] bytes.
pub(crate) fn data_header(payload: &[u8]) -> [u8; HEADER] {
    header(DATA, payload)
}

/// Adds a chunk to `out`.
pub(crate) fn encode(chunk: &Chunk<'_>, out: &mut Vec<u8>) {
    let mut put = |kind, payload: &[u8]| {
        out.extend_from_slice(&header(kind, payload));
        out.extend_from_slice(payload);
    };
    match chunk {
        Chunk::Opened { at, client } => put(OPENED, &[&at.to_le_bytes(), client.as_bytes()].concat()),
        Chunk::Data(data) => put(DATA, data),
        Chunk::End(end) => put(END, &[u8::from(end.reset) * BY_RESET + u8::from(end.live) * LIVE]),
        Chunk::Played => put(PLAYED, &[]),
    }
}

/// Whether `bytes` begin a record. `None`: too few to say.
pub(crate) fn begins(bytes: &[u8]) -> Option<Result<(), RecordError>> {
    let known = bytes.len().min(MAGIC.len());
    if bytes.get(..known) != MAGIC.get(..known) {
        return Some(Err(RecordError::NoRecord));
    }
    (known == MAGIC.len()).then_some(Ok(()))
}

/// The first chunk in `bytes` and its length. `None`: it is not whole yet.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Chunk<'_>, usize)>, RecordError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    if length as usize > LONGEST {
        return Err(RecordError::TooLong(length));
    }
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some((&kind, rest)) = rest.split_first() else { return Ok(None) };
    let Some(payload) = rest.get(..length as usize) else { return Ok(None) };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(payload);
    if crc.finalize() != u32::from_le_bytes(*sum) {
        return Err(RecordError::Checksum);
    }
    let chunk = match (kind, payload) {
        (OPENED, payload) => {
            let (at, client) = payload.split_first_chunk::<8>().ok_or(RecordError::Unknown)?;
            Chunk::Opened { at: u64::from_le_bytes(*at), client: std::str::from_utf8(client).map_err(|_| RecordError::Unknown)? }
        }
        (DATA, data) => Chunk::Data(data),
        (END, [flags]) if *flags < 4 => Chunk::End(End { reset: flags & BY_RESET != 0, live: flags & LIVE != 0 }),
        (PLAYED, []) => Chunk::Played,
        _ => return Err(RecordError::Unknown),
    };
    Ok(Some((chunk, HEADER + length as usize)))
}

/// How much of a record's end [`ends`] wants to see, in bytes.
pub(crate) const TAIL: usize = 2 * HEADER + 1;

/// How the record that ends with `tail` ended, and whether it was played back; `None`: it is not complete.
pub(crate) fn ends(tail: &[u8]) -> Option<(End, bool)> {
    let last = |length: usize| tail.len().checked_sub(length).and_then(|at| tail.get(at..)).map(decode);
    if let Some(Ok(Some((Chunk::End(end), _)))) = last(HEADER + 1) {
        return Some((end, false));
    }
    let Some(Ok(Some((Chunk::Played, _)))) = last(HEADER) else { return None };
    match last(2 * HEADER + 1) {
        Some(Ok(Some((Chunk::End(end), _)))) => Some((end, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(data: &[Vec<u8>], end: Option<End>, played: bool) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        encode(&Chunk::Opened { at: 5, client: "[::1]:7" }, &mut out);
        for data in data {
            encode(&Chunk::Data(data), &mut out);
        }
        if let Some(end) = end {
            encode(&Chunk::End(end), &mut out);
        }
        if played {
            encode(&Chunk::Played, &mut out);
        }
        out
    }

    #[test]
    fn the_format_is_what_earlier_versions_wrote() {
        let mut out = MAGIC.to_vec();
        encode(&Chunk::Opened { at: 1, client: "::1" }, &mut out);
        encode(&Chunk::Data(b"ab"), &mut out);
        encode(&Chunk::End(End { reset: false, live: true }), &mut out);
        encode(&Chunk::Played, &mut out);
        let hex = out.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let opened = "0b000000c5eb757c0101000000000000003a3a31";
        assert_eq!(hex, format!("646673706f6f6c01{opened}02000000ee579f23026162010000001020fa84030200000000942b6fd504"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9),
            reset: bool, live: bool, ended: bool, played: bool,
        ) {
            let end = ended.then_some(End { reset, live });
            let bytes = record(&data, end, ended && played);
            prop_assert_eq!(begins(&bytes), Some(Ok(())));
            let mut rest = &bytes[MAGIC.len()..];
            let mut got = Vec::new();
            while let Some((chunk, length)) = decode(rest).unwrap() {
                for cut in 0..length {
                    prop_assert_eq!(decode(&rest[..cut]), Ok(None));
                }
                if let Chunk::Data(data) = chunk {
                    got.push(data.to_vec());
                }
                rest = &rest[length..];
            }
            prop_assert!(rest.is_empty() && got == data);
            prop_assert_eq!(ends(&bytes[bytes.len().saturating_sub(TAIL)..]), end.map(|end| (end, played)));
        }

        #[test]
        fn a_changed_byte_is_noticed(data in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, with in 1u8..) {
            let mut bytes = record(&[data], Some(End { reset: false, live: false }), false);
            let whole = bytes.clone();
            let at = MAGIC.len() + at.index(bytes.len() - MAGIC.len());
            bytes[at] ^= with;
            let mut rest = &bytes[MAGIC.len()..];
            while let Ok(Some((chunk, length))) = decode(rest) {
                let mut again = Vec::new();
                encode(&chunk, &mut again);
                prop_assert!(whole.windows(again.len()).any(|w| w == again), "{chunk:?} was never written");
                rest = &rest[length..];
            }
            prop_assert!(!rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = (begins(&bytes), decode(&bytes), ends(&bytes));
        }
    }
}
