//! A head: the start line, and the fields that say where a message ends and what comes after it. How its bytes form lines
//! and fields is `httparse`'s to say; that no line ends with less than CRLF was made sure before.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::{ProtocolError, Side, wrong};

/// How many fields a head may have.
const FIELDS: usize = 128;

/// What a head begins with, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A request line.
    Request {
        /// Whether the method is HEAD.
        head: bool,
    },
    /// A status line, with this code.
    Answer(u16),
}

/// What Transfer-Encoding says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// It is not there.
    None,
    /// It is `chunked`, and nothing else.
    Chunked,
    /// `chunked` comes last.
    ChunkedLast,
    /// It is something else.
    Other,
}

/// What Connection says; its last word is `close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Unsaid,
    KeepAlive,
    Close,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing: the message ends.
    None,
    /// Another head: this one was an interim answer's.
    Interim,
    /// So many bytes, at least one.
    Counted(u64),
    /// Chunks.
    Chunked,
    /// Whatever comes until the sender closes.
    UntilClose,
}

/// A head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) start: Start,
    /// Whether the client waits for an interim answer before it sends the body.
    pub(super) expects_continue: bool,
    /// HTTP/1.1, and not 1.0.
    is_1_1: bool,
    length: Option<u64>,
    coding: Coding,
    connection: Connection,
}

impl Head {
    /// Reads a whole head of a request or an answer.
    pub(super) fn parse(bytes: &[u8], side: Side) -> Result<Self, ProtocolError> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
        let (mut request, mut response) = (httparse::Request::new(&mut []), httparse::Response::new(&mut []));
        let config = httparse::ParserConfig::default();
        let (parsed, start, version, fields) = match side {
            Side::Downstream => {
                let parsed = config.parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
                let method = request.method.unwrap_or_default();
                if method.eq_ignore_ascii_case("CONNECT") {
                    return Err(wrong("CONNECT is not possible over a shared connection"));
                }
                (parsed, Start::Request { head: method == "HEAD" }, request.version, &*request.headers)
            }
            Side::Upstream => {
                let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
                (parsed, Start::Answer(response.code.unwrap_or_default()), response.version, &*response.headers)
            }
        };
        match parsed {
            Ok(httparse::Status::Complete(end)) if end == bytes.len() => {}
            Ok(_) => return Err(wrong("a head is not whole where it ends")),
            Err(httparse::Error::TooManyHeaders) => return Err(wrong(format!("a head has more than {FIELDS} fields"))),
            Err(error) => return Err(wrong(format!("a head is malformed: {error}"))),
        }
        let is_1_1 = version == Some(1);
        let mut head = Self { start, expects_continue: false, is_1_1, length: None, coding: Coding::None, connection: Connection::Unsaid };
        for field in fields {
            head.read(field)?;
        }
        if head.length.is_some() && head.coding != Coding::None {
            return Err(wrong("a head has both Content-Length and Transfer-Encoding"));
        }
        head.expects_continue &= is_1_1 && side == Side::Downstream;
        Ok(head)
    }

    fn read(&mut self, field: &httparse::Header<'_>) -> Result<(), ProtocolError> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let length = length(field.value, matches!(self.start, Start::Request { .. }))?;
            if self.length.is_some_and(|other| other != length) {
                return Err(wrong("a head has two Content-Length that differ"));
            }
            self.length = Some(length);
        } else if is("transfer-encoding") {
            // An empty element more, and some devices no longer find it.
            let is_plain = self.coding == Coding::None && field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if matches!(self.start, Start::Request { .. }) && !(is_plain && self.is_1_1) {
                return Err(wrong("a request has a Transfer-Encoding other than chunked, or is HTTP/1.0 and has one"));
            }
            for coding in tokens(field.value) {
                self.coding = match (self.coding, coding.eq_ignore_ascii_case(b"chunked")) {
                    (Coding::None, true) => Coding::Chunked,
                    (Coding::Other, true) => Coding::ChunkedLast,
                    (Coding::Chunked | Coding::ChunkedLast, true) => return Err(wrong("a head has chunked twice in Transfer-Encoding")),
                    (_, false) => Coding::Other,
                };
            }
            if self.coding == Coding::None {
                return Err(wrong("a head has an empty Transfer-Encoding"));
            }
        } else if is("connection") {
            let says = |option: &[u8]| tokens(field.value).any(|token| token.eq_ignore_ascii_case(option));
            if says(b"close") {
                self.connection = Connection::Close;
            } else if says(b"keep-alive") && self.connection == Connection::Unsaid {
                self.connection = Connection::KeepAlive;
            }
        } else if is("expect") {
            self.expects_continue |= field.value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
        }
        Ok(())
    }

    /// What follows it; `to_head`: it answers HEAD.
    pub(super) fn body(&self, to_head: bool) -> Result<Body, ProtocolError> {
        Ok(match (self.start, self.coding, self.length) {
            (Start::Answer(101), ..) => {
                return Err(wrong("an answer switches to another protocol, which is not possible over a shared connection"));
            }
            (Start::Answer(..100), ..) => return Err(wrong("an answer has a status below 100")),
            (Start::Answer(100..200), ..) => Body::Interim,
            (Start::Answer(status), ..) if to_head || matches!(status, 204 | 304) => Body::None,
            (_, Coding::Chunked | Coding::ChunkedLast, _) => Body::Chunked,
            (_, Coding::None, Some(0)) | (Start::Request { .. }, Coding::None, None) => Body::None,
            (_, Coding::None, Some(length)) => Body::Counted(length),
            (_, Coding::Other, _) | (Start::Answer(_), Coding::None, None) => Body::UntilClose,
        })
    }

    /// Whether it is an answer before the final one.
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.start, Start::Answer(100..200))
    }

    /// Whether its sender closes the connection after this exchange, or can't be trusted to have ended it where we think:
    /// HTTP/1.0 with Transfer-Encoding (RFC 9112, 6.1), and 204 that announces a body, which some devices send indeed.
    pub(super) fn closes(&self) -> bool {
        let announces = self.coding != Coding::None || self.length.is_some_and(|length| length > 0);
        match self.connection {
            Connection::Close => true,
            _ if self.start == Start::Answer(204) && announces => true,
            Connection::KeepAlive => !self.is_1_1 && self.coding != Coding::None,
            Connection::Unsaid => !self.is_1_1,
        }
    }
}

/// The number in Content-Length: digits, and nothing that somebody could take for more. Zeros before it are legal, and
/// devices pad with them; in a request, they may be read as octal by a device.
fn length(value: &[u8], is_request: bool) -> Result<u64, ProtocolError> {
    let value = value.trim_ascii();
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit) && !(is_request && value.len() > 1 && value.starts_with(b"0"));
    let number = value
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0'))));
    number
        .filter(|_| is_number)
        .ok_or_else(|| wrong(format!("a Content-Length is no number of bytes: \"{}\"", shortened(value))))
}

/// The elements of a list.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// As much of it as a log line bears, and no control characters.
fn shortened(value: &[u8]) -> Cow<'static, str> {
    Cow::Owned(value.get(..40).unwrap_or(value).escape_ascii().to_string())
}
