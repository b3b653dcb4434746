//! Chunks (RFC 9112, 7.1): each a length in hexadecimal, extensions, and so many bytes; then trailers. One byte after the
//! other, and the data leapt over, so that the work is the same in whatever pieces it comes.

use super::{ProtocolError, Scan, Side, Split, step, too_long, wrong};

/// The first digit of a chunk's length.
const LENGTH: u8 = step::CHUNKED;
/// The other digits.
const DIGITS: u8 = LENGTH + 1;
/// White space after them.
const SPACE: u8 = LENGTH + 2;
/// Extensions.
const EXTENSION: u8 = LENGTH + 3;
/// The line feed after the length and its extensions.
const LENGTH_END: u8 = LENGTH + 4;
/// The carriage return at `at`, when the data before it have come.
const DATA_END: u8 = LENGTH + 5;
/// The line feed after the data.
const CHUNK_END: u8 = LENGTH + 6;
/// The first byte of a trailer, or of the empty line after the last.
const TRAILER: u8 = LENGTH + 7;
/// The name of a trailer.
const NAME: u8 = LENGTH + 8;
/// The value of a trailer.
const VALUE: u8 = LENGTH + 9;
/// The line feed after a trailer.
const TRAILER_END: u8 = LENGTH + 10;
/// The last byte.
const END: u8 = LENGTH + 11;

/// Where the message ends whose body is looked at from `scan.at` on.
pub(super) fn split(buf: &[u8], scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
    while let Some(&byte) = buf.get(scan.at()) {
        if scan.at() >= most {
            return Err(too_long(most));
        }
        let last = scan.step == END;
        scan.step = next(scan, byte)?;
        scan.at += 1;
        if last {
            return Ok(Split::Frame(scan.at()));
        }
        if scan.step == DATA_END {
            scan.at = scan.at.saturating_add(std::mem::take(&mut scan.value));
            if scan.at() > most {
                return Err(too_long(most));
            }
        }
    }
    Ok(Split::More)
}

/// What follows this byte; keeps the chunk's length in `scan.value`.
fn next(scan: &mut Scan, byte: u8) -> Result<u8, ProtocolError> {
    Ok(match (scan.step, byte) {
        (LENGTH | DIGITS, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
            let digit = char::from(byte).to_digit(16).unwrap_or_default();
            let length = scan.value.checked_mul(16).map(|length| length | digit);
            scan.value = length.ok_or_else(|| wrong("a chunk of more than 4 GiB is announced"))?;
            DIGITS
        }
        (DIGITS | SPACE, b' ' | b'\t') => SPACE,
        (DIGITS | SPACE, b';') => EXTENSION,
        (DIGITS | EXTENSION, b'\r') => LENGTH_END,
        (SPACE, b'\r') if scan.side == Side::Upstream => LENGTH_END, // devices pad with it; from a client it is suspicious
        (EXTENSION, byte) if is_text(byte) => EXTENSION,
        (LENGTH_END, b'\n') if scan.value == 0 => TRAILER,
        (LENGTH_END, b'\n') => DATA_END,
        (DATA_END, b'\r') => CHUNK_END,
        (CHUNK_END, b'\n') => LENGTH,
        (TRAILER, b'\r') | (END, b'\n') => END,
        (TRAILER | NAME, byte) if is_token(byte) => NAME,
        (NAME, b':') => VALUE,
        (VALUE, b'\r') => TRAILER_END,
        (VALUE, byte) if is_text(byte) => VALUE,
        (TRAILER_END, b'\n') => TRAILER,
        (step, byte) => return Err(unexpected(step, byte)),
    })
}

fn unexpected(step: u8, byte: u8) -> ProtocolError {
    let expected = match step {
        LENGTH..=EXTENSION => "a chunk's length in hexadecimal",
        DATA_END | CHUNK_END => "the line end after a chunk",
        TRAILER..=VALUE => "a trailer",
        _ => "a line feed",
    };
    wrong(format!("{expected} was expected, but \"{}\" came", byte.escape_ascii()))
}

/// What may be in a value: neither control characters, nor what some take for the end of a line.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// What a name is made of (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
