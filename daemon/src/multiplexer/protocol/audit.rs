//! What every protocol promises, checked for any bytes: the tests and the fuzz target call it.

use super::{PROTOCOLS, Protocol, Refusal, Scan, Side, Split};

/// Nothing may be kept of a frame beyond this, in protocols whose frames have no limit of their own.
pub const LIMIT: usize = 4096;

static REFUSALS: &[Refusal] = &[Refusal::Silent, Refusal::NoPath, Refusal::Busy, Refusal::Denied, Refusal::Malformed, Refusal::BadAnswer];

/// What came of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many are a frame.
    Frame(usize),
    /// They are the beginning of one; whether they are one when the sender closes now.
    Begun(bool),
    /// They are none, and never will be.
    Wrong(String),
}

/// Looks at `bytes` in pieces that end at `cuts`, as a connection does that receives them so.
///
/// # Panics
///
/// If the protocol breaks a promise.
pub fn verdict(protocol: &dyn Protocol, mut scan: Scan, bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Verdict {
    let most = protocol.most(LIMIT);
    let mut prompts = 0;
    for cut in cuts.into_iter().chain([bytes.len()]) {
        let buf = bytes.get(..cut).unwrap_or(bytes);
        loop {
            match protocol.split(buf, &mut scan, most) {
                Ok(Split::More) => break,
                Ok(Split::Prompt(prompt)) => prompts += usize::from(!prompt.is_empty()),
                Ok(Split::Frame(end)) => {
                    assert!(0 < end && end <= most && end <= buf.len(), "{}: a frame of {end} of {} bytes", protocol.name(), buf.len());
                    return Verdict::Frame(end);
                }
                Err(error) => return Verdict::Wrong(error.to_string()),
            }
            assert!(prompts <= 1, "{}: prompts twice", protocol.name());
        }
        assert!(buf.len() <= most, "{}: waits for more after {} of {most} bytes", protocol.name(), buf.len());
    }
    Verdict::Begun(protocol.is_whole_at_end(bytes, &scan))
}

/// Whether a frame that begins with these bytes is one by its CRC alone, so that the pieces it comes in count.
fn is_untold(protocol: &dyn Protocol, side: Side, bytes: &[u8]) -> bool {
    let diagnostics = bytes.get(1) == Some(&8) && bytes.get(2..4) == Some(&[0, 0]);
    let other = bytes.get(1) == Some(&43) && bytes.get(2).is_some_and(|kind| *kind != 14);
    let function = bytes.get(1).copied().unwrap_or_default();
    let known = matches!(function, 1..=7 | 8 | 11 | 12 | 15..=17 | 20..=24 | 43) || side == Side::Upstream && function >= 0x80;
    protocol.name() == "modbus-rtu-tcp" && (!known || diagnostics || other)
}

/// Looks at a stream of frames of one side, and at each frame as the engine does.
///
/// # Panics
///
/// If the protocol breaks a promise.
pub fn stream(protocol: &dyn Protocol, side: Side, bytes: &[u8], seed: usize) {
    let mut rest = bytes;
    let mut request: Vec<u8> = Vec::new();
    while !rest.is_empty() {
        let scan = if side == Side::Upstream { protocol.awaits(&request) } else { Scan::new(side) };
        let whole = verdict(protocol, scan, rest, []);
        if !is_untold(protocol, side, rest) {
            let longest = protocol.most(LIMIT).min(rest.len()) + 1;
            let each = verdict(protocol, scan, rest, 0..longest);
            assert_eq!(each, whole, "{}: byte by byte, and as a whole", protocol.name());
            let some = verdict(protocol, scan, rest, (1..longest).filter(|cut| (cut * 7 + seed).is_multiple_of(5)));
            assert_eq!(some, whole, "{}: in pieces, and as a whole", protocol.name());
        }
        let Verdict::Frame(end) = whole else { return };
        let (one, others) = rest.split_at_checked(end).unwrap_or_default();
        assert_eq!(verdict(protocol, scan, one, []), whole, "{}: what follows a frame changes it", protocol.name());
        let truncated = verdict(protocol, scan, one.get(..end - 1).unwrap_or_default(), []);
        assert!(
            is_untold(protocol, side, rest) || matches!(truncated, Verdict::Begun(_)),
            "{}: {truncated:?}, cut",
            protocol.name()
        );
        request = frame(protocol, side, one, &request);
        rest = others;
    }
}

/// Looks at a whole frame; returns its body.
fn frame(protocol: &dyn Protocol, side: Side, frame: &[u8], request: &[u8]) -> Vec<u8> {
    let name = protocol.name();
    let unwrapped = protocol.unwrap(frame).unwrap_or_else(|error| unreachable!("{name}: a frame is none: {error}"));
    assert_eq!(unwrapped.tag.is_some(), protocol.is_tagged(), "{name}: the tag");
    let body = frame.get(unwrapped.body.clone()).unwrap_or_else(|| unreachable!("{name}: a body outside its frame"));
    assert!(!body.is_empty(), "{name}: an empty body");
    if name == "http" {
        assert!(frame.ends_with(body), "{name}: the end of the frame is gone");
    } else {
        let mut again = Vec::new();
        protocol.wrap(unwrapped.tag.unwrap_or_default(), body, &mut again);
        assert!(again == frame, "{name}: {frame:02x?} is wrapped as {again:02x?}");
    }
    if side == Side::Downstream {
        for why in REFUSALS {
            refusal(protocol, body, *why);
        }
        let _ = protocol.intent(body);
    } else {
        let _ = protocol.mismatch(request, body);
        let _ = protocol.after(request, body);
    }
    body.to_vec()
}

/// A refusal must be an answer to what is refused, in the client's eyes.
fn refusal(protocol: &dyn Protocol, request: &[u8], why: Refusal) {
    let name = protocol.name();
    let Some(answer) = protocol.refuse(request, why) else { return };
    let mut frame = Vec::new();
    protocol.wrap(7, &answer, &mut frame);
    assert_eq!(verdict(protocol, protocol.awaits(request), &frame, []), Verdict::Frame(frame.len()), "{name}: {why:?}");
    assert_eq!(protocol.mismatch(request, &answer), None, "{name}: {why:?} is no answer");
    let _ = protocol.after(request, &answer);
}

/// Any bytes, for the protocol and the side that `choice` chooses: as a stream, and, where a checksum would be in the way of
/// most bytes, wrapped.
///
/// # Panics
///
/// If the protocol breaks a promise.
pub fn any(choice: u8, seed: u8, bytes: &[u8]) {
    let side = if choice & 1 == 0 { Side::Downstream } else { Side::Upstream };
    let Some(protocol) = PROTOCOLS.get(usize::from(choice / 2) % PROTOCOLS.len()) else { return };
    stream(*protocol, side, bytes, usize::from(seed));
    if protocol.is_modbus() {
        let mut wrapped = Vec::new();
        protocol.wrap(u16::from(seed), bytes, &mut wrapped);
        stream(*protocol, side, &wrapped, usize::from(seed));
    }
    let (first, second) = bytes.split_at_checked(usize::from(seed)).unwrap_or((bytes, &[]));
    let _ = protocol.mismatch(first, second);
    let _ = protocol.after(first, second);
    let _ = protocol.unwrap(bytes);
    let _ = protocol.intent(bytes);
    let _ = protocol.is_whole_after_silence(bytes, &Scan::new(side));
}
