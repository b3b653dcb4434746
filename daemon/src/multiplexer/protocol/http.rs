//! HTTP/1.1 (RFC 9112) without TLS and without upgrades: a frame is a whole message, its head kept byte for byte.
//!
//! What ends a message is what a smuggler attacks: where we and the device disagree about it, one client writes the next
//! one's request. So whatever can be read in two ways is refused, and nothing is repaired. An answer's frame begins with the
//! interim answers (1xx) before it.

mod chunked;
mod head;
mod refusal;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::head::{Body, Head, Start};
use super::{After, Intent, Protocol, ProtocolError, Refusal, Scan, Side, Split, Unwrapped, wrong};

/// The longest head, each interim answer's for itself.
const HEAD_MOST: usize = 64 << 10;
/// Which ends a head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";
const PROMPT: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Steps of a [`Scan`]; those of [`chunked`] follow.
mod step {
    /// Nothing was looked at.
    pub(super) const BEGIN: u8 = 0;
    /// A head, which begins at `value`.
    pub(super) const HEAD: u8 = 1;
    /// A body, after which the message ends at `at`.
    pub(super) const COUNTED: u8 = 2;
    /// A body that ends when the sender closes.
    pub(super) const UNTIL_CLOSE: u8 = 3;
    /// The first step of a chunked body.
    pub(super) const CHUNKED: u8 = 4;
}

/// Flag of a [`Scan`]: the answer is to HEAD, and has no body, whatever its head says.
const TO_HEAD: u8 = 1;

/// The protocol `http`.
pub(super) struct Http;

/// Where the head ends that begins at `scan.value`, if it has come.
fn head_end(buf: &[u8], scan: &mut Scan, most: usize) -> Result<Option<usize>, ProtocolError> {
    let (start, from) = (scan.value as usize, scan.at());
    let mut before = from.checked_sub(1).filter(|at| *at >= start).and_then(|at| buf.get(at)).copied();
    for (at, &byte) in buf.iter().enumerate().skip(from) {
        if at - start >= HEAD_MOST {
            return Err(wrong(format!("a head is longer than {HEAD_MOST} bytes")));
        }
        if at >= most {
            return Err(too_long(most));
        }
        match (before, byte) {
            (None, b'\r' | b'\n') => return Err(wrong("a head begins with an empty line")),
            (Some(b'\r'), b'\n') if buf.get(start..=at).is_some_and(|head| head.ends_with(BLANK_LINE)) => return Ok(Some(at + 1)),
            (Some(b'\r'), b'\n') => {}
            (Some(b'\r'), _) => return Err(wrong("a head has a carriage return without a line feed")),
            (_, b'\n') => return Err(wrong("a head has a line feed without a carriage return")),
            _ => {}
        }
        before = Some(byte);
    }
    scan.reached(buf.len());
    Ok(None)
}

fn too_long(most: usize) -> ProtocolError {
    wrong(format!("a message is longer than {most} bytes"))
}

/// Reads the head that ends at `end`, and sets `scan` on what follows it. What it returns is known already.
fn begin_body(buf: &[u8], end: usize, scan: &mut Scan, most: usize) -> Result<Option<Split>, ProtocolError> {
    let head = Head::parse(buf.get(scan.value as usize..end).unwrap_or_default(), scan.side)?;
    scan.reached(end);
    match head.body(scan.flags & TO_HEAD != 0)? {
        Body::None => return Ok(Some(Split::Frame(end))),
        Body::Interim => {
            scan.value = scan.at;
            return Ok(None);
        }
        Body::Counted(length) => {
            let whole = (end as u64).checked_add(length).and_then(|whole| usize::try_from(whole).ok());
            let Some(whole) = whole.filter(|whole| *whole <= most) else {
                return Err(wrong(format!("a body of {length} bytes is announced, but a message may have {most} with its head")));
            };
            scan.step = step::COUNTED;
            scan.reached(whole);
        }
        Body::Chunked => (scan.step, scan.value) = (step::CHUNKED, 0),
        Body::UntilClose => scan.step = step::UNTIL_CLOSE,
    }
    // Who has sent some of the body does not wait.
    Ok((head.expects_continue && buf.len() == end).then_some(Split::Prompt(PROMPT)))
}

/// The heads of an answer's frame, the last one being that of the final answer.
fn heads(answer: &[u8]) -> impl Iterator<Item = (Range<usize>, Head)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = answer.get(at..)?;
        let end = rest.windows(BLANK_LINE.len()).position(|four| four == BLANK_LINE)? + BLANK_LINE.len();
        let head = Head::parse(rest.get(..end)?, Side::Upstream).ok()?;
        let range = at..at + end;
        at = if head.is_interim() { at + end } else { answer.len() };
        Some((range, head))
    })
}

/// The head of a request.
fn request_head(request: &[u8]) -> Option<Head> {
    let end = request.windows(BLANK_LINE.len()).position(|four| four == BLANK_LINE)? + BLANK_LINE.len();
    Head::parse(request.get(..end)?, Side::Downstream).ok()
}

/// The method of a request whose head is whole.
fn method(request: &[u8]) -> &[u8] {
    request.split(|byte| *byte == b' ').next().unwrap_or_default()
}

impl Protocol for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1 without TLS and without upgrades (WebSocket)"
    }

    fn most(&self, limit: usize) -> usize {
        limit.min(u32::MAX as usize)
    }

    fn split(&self, buf: &[u8], scan: &mut Scan, most: usize) -> Result<Split, ProtocolError> {
        let most = self.most(most);
        loop {
            match scan.step {
                step::BEGIN => {
                    // Old clients end a body with a line end that they do not count (RFC 9112, 2.2).
                    let skip = match (scan.side, buf) {
                        (_, []) | (Side::Downstream, b"\r") => return Ok(Split::More),
                        (Side::Downstream, [b'\r', b'\n', ..]) => 2,
                        _ => 0,
                    };
                    (scan.step, scan.at, scan.value) = (step::HEAD, skip, skip);
                }
                step::HEAD => {
                    let Some(end) = head_end(buf, scan, most)? else { return Ok(Split::More) };
                    if let Some(known) = begin_body(buf, end, scan, most)? {
                        return Ok(known);
                    }
                }
                step::COUNTED if buf.len() >= scan.at() => return Ok(Split::Frame(scan.at())),
                step::UNTIL_CLOSE if buf.len() > most => return Err(too_long(most)),
                step::COUNTED | step::UNTIL_CLOSE => return Ok(Split::More),
                _ => return chunked::split(buf, scan, most),
            }
        }
    }

    fn is_whole_at_end(&self, _buf: &[u8], scan: &Scan) -> bool {
        scan.step == step::UNTIL_CLOSE
    }

    fn awaits(&self, request: &[u8]) -> Scan {
        let mut scan = Scan::new(Side::Upstream);
        if method(request) == b"HEAD" {
            scan.flags = TO_HEAD;
        }
        scan
    }

    fn unwrap(&self, frame: &[u8]) -> Result<Unwrapped, ProtocolError> {
        let mut start = 0;
        if frame.starts_with(b"HTTP/") {
            // The client was prompted when it had to be.
            let prompts = heads(frame).take_while(|(_, head)| head.start == Start::Answer(100));
            start = prompts.last().map_or(0, |(range, _)| range.end);
        } else if frame.starts_with(b"\r\n") {
            start = 2;
        }
        Ok(Unwrapped { tag: None, body: start..frame.len() })
    }

    fn intent(&self, request: &[u8]) -> Intent {
        match method(request) {
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" => Intent::Read,
            _ => Intent::Write,
        }
    }

    fn refuse(&self, request: &[u8], why: Refusal) -> Option<Vec<u8>> {
        Some(refusal::message(method(request) == b"HEAD", why))
    }

    fn after(&self, request: &[u8], answer: &[u8]) -> After {
        let method = method(request);
        let (Some(request), Some((_, answer))) = (request_head(request), heads(answer).last()) else { return After::Close };
        // Many devices do not read the body of such a request, and take it for the next one (RFC 9110, 9.3.1).
        if request.body(false) != Ok(Body::None) && matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"DELETE") {
            return After::Close;
        }
        let to_head = request.start == Start::Request { head: true };
        let closes = request.closes() || answer.closes() || matches!(answer.body(to_head), Ok(Body::UntilClose) | Err(_));
        if closes { After::Close } else { After::KeepOpen }
    }
}
