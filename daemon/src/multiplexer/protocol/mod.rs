//! The protocols that the multiplexer can share a connection of: one sans-IO file each, and one line in [`PROTOCOLS`].
//!
//! A protocol finds where a frame ends, takes the *body* out of it (what is left when the transport's own wrapping is
//! taken away) and wraps a body again. The engine keeps bodies only, so that clients and the device may speak protocols of
//! the same family that wrap the same bodies: Modbus/TCP on the one side, RTU on the other.

#[cfg(any(test, fuzzing))]
pub mod audit;
mod crc;
mod echo;
mod http;
mod iso8583;
pub mod modbus;
mod modbus_rtu;
mod modbus_tcp;
mod mpu;
mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

pub use echo::Echo;
pub use scan::{Scan, Side};

/// What a frame's first bytes have told so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// More bytes are needed.
    More,
    /// The first so many bytes are a whole frame.
    Frame(usize),
    /// More bytes are needed, and the sender waits for this before it sends them (HTTP's `100 Continue`). It is said once.
    Prompt(&'static [u8]),
}

/// Why bytes are no frame, in words for a log: what was expected, what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolError(pub Cow<'static, str>);

/// A [`ProtocolError`] of this text.
fn wrong(text: impl Into<Cow<'static, str>>) -> ProtocolError {
    ProtocolError(text.into())
}

/// By what an answer is found again among several that are awaited: Modbus/TCP's transaction id.
pub type Tag = u16;

/// A frame without its wrapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrapped {
    /// The frame's tag, in a protocol that has one.
    pub tag: Option<Tag>,
    /// Where the body is in the frame.
    pub body: Range<usize>,
}

/// What a request asks for, as far as that matters for sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It changes nothing: it may be sent again.
    Read,
    /// It may change something: it is sent at most once.
    Write,
}

/// Why a request has no answer of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was sent, and no answer came in time.
    Silent,
    /// There is no connection to the device.
    NoPath,
    /// Too many wait already.
    Busy,
    /// It is not allowed.
    Denied,
    /// The frame is none of this protocol.
    Malformed,
    /// The device has answered with something that is no answer to it.
    BadAnswer,
}

/// What comes after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Both connections can be used again.
    KeepOpen,
    /// The answer is the last thing on its connections: that of the client and that of the device.
    Close,
}

/// A request/response protocol. Everything that a peer sends is hostile until it was looked at: no method panics, whatever
/// the bytes, and no length is believed before it was compared with [`most`](Self::most).
pub trait Protocol: Sync {
    /// Its name, as in `protocol = "modbus"`.
    fn name(&self) -> &'static str;

    /// What it frames, in a line, in English.
    fn about(&self) -> &'static str;

    /// The longest frame in bytes, its wrapping included. `limit` is what the flow's spec allows to a protocol whose frames
    /// have no limit of their own.
    fn most(&self, limit: usize) -> usize;

    /// Where the first frame of `buf` ends. `buf` is everything that was received and not consumed yet; between two calls
    /// it only grows. `scan` is what the earlier calls for the same frame have found out, new for each frame.
    fn split(&self, buf: &[u8], scan: &mut Scan, most: usize) -> Result<Split, ProtocolError>;

    /// Whether the frame that has begun is whole when the sender closes now.
    fn is_whole_at_end(&self, _buf: &[u8], _scan: &Scan) -> bool {
        false
    }

    /// Whether nothing more can be learnt of where the frame ends but by silence: the sender has paused. It is asked with
    /// protocols on a serial line only.
    fn is_whole_after_silence(&self, _buf: &[u8], _scan: &Scan) -> bool {
        false
    }

    /// What to expect of the answer to a request with this body.
    fn awaits(&self, _request: &[u8]) -> Scan {
        Scan::new(Side::Upstream)
    }

    /// Takes the wrapping of a whole frame off.
    fn unwrap(&self, frame: &[u8]) -> Result<Unwrapped, ProtocolError> {
        Ok(Unwrapped { tag: None, body: 0..frame.len() })
    }

    /// Wraps a body, and appends the frame to `out`.
    fn wrap(&self, _tag: Tag, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(body);
    }

    /// Whether frames have a tag, by which answers may come in any order.
    fn is_tagged(&self) -> bool {
        false
    }

    /// Whether bodies are a Modbus unit and PDU. Then the methods below know them.
    fn is_modbus(&self) -> bool {
        false
    }

    /// What a request asks for. What is not known is a write.
    fn intent(&self, request: &[u8]) -> Intent {
        if self.is_modbus() { modbus::intent(request) } else { Intent::Write }
    }

    /// Why `answer` is surely no answer to `request`, both being bodies.
    fn mismatch(&self, request: &[u8], answer: &[u8]) -> Option<ProtocolError> {
        if self.is_modbus() { modbus::mismatch(request, answer) } else { None }
    }

    /// The body by which a client is told why its request has no answer; without one, its connection is closed. `request`
    /// is empty where it could not be read.
    fn refuse(&self, request: &[u8], why: Refusal) -> Option<Vec<u8>> {
        if self.is_modbus() { modbus::refuse(request, why) } else { None }
    }

    /// What comes after `answer` to `request`.
    fn after(&self, _request: &[u8], _answer: &[u8]) -> After {
        After::KeepOpen
    }
}

/// All protocols.
pub static PROTOCOLS: &[&dyn Protocol] = &[
    &Echo,
    &http::Http,
    &iso8583::Iso8583,
    &mpu::Mpu,
    &modbus_tcp::ModbusTcp,
    &modbus_tcp::ModbusTcpCrc,
    &modbus_rtu::RtuOverTcp,
    &modbus_rtu::RtuSerial,
];

/// What a protocol is called as well.
pub static ALIASES: &[(&str, &str)] = &[("line", "echo")];

/// The protocol of this name or alias.
pub fn find(name: &str) -> Option<&'static dyn Protocol> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    PROTOCOLS.iter().find(|protocol| protocol.name() == name).copied()
}
