//! One end of a main stream: a socket, what it did not take yet, and how far it is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Budget;

/// How much is read at once: 16 KiB at first, up to 2 MiB while everything read is written whole.
const SMALLEST_READ: u8 = 14;
const LARGEST_READ: u8 = 21;

/// How far the sending direction of a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    /// More may come.
    Open,
    /// Nothing more comes; FIN follows what is held.
    Due,
    /// FIN is sent.
    Sent,
}

#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    /// Bytes it did not take yet. While there are any, its source is not read.
    rest: Option<Box<Rest>>,
    /// It has sent FIN.
    pub(crate) eof: bool,
    pub(crate) fin: Fin,
    /// log2 of the bytes to read from it at once, now and at most.
    read_size: u8,
    largest_read: u8,
}

/// Bytes on their way to a peer that is slower than its source.
#[derive(Debug)]
struct Rest {
    data: Vec<u8>,
    head: usize,
    budget: Arc<Budget>,
}

impl Rest {
    fn new(data: &[u8], budget: &Arc<Budget>) -> Self {
        budget.charge(data.len(), false);
        Self { data: data.to_vec(), head: 0, budget: Arc::clone(budget) }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.budget.release(self.data.len(), false);
    }
}

impl Peer {
    /// `at_once`: the most that whoever gets a copy of what it sends can hold. With more than that in one piece, a mirror
    /// that is only a moment behind would be lost.
    pub(crate) fn new(stream: TcpStream, at_once: u64) -> Self {
        let largest_read = (at_once.max(1).ilog2() as u8).min(LARGEST_READ);
        Self { stream, rest: None, eof: false, fin: Fin::Open, read_size: SMALLEST_READ.min(largest_read), largest_read }
    }

    /// Reads what has come, at most `limit` bytes, into the scratch buffer. 0 is the peer's FIN.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>, limit: usize) -> Poll<io::Result<usize>> {
        let size = (1usize << self.read_size).min(limit);
        if scratch.len() < size {
            scratch.resize(size, 0);
        }
        // A short read tells tokio that the socket is empty, and saves the read that would only say so.
        let mut buffer = ReadBuf::new(scratch.get_mut(..size).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let n = buffer.filled().len();
        if n == 0 {
            self.eof = true;
        }
        Poll::Ready(Ok(n))
    }

    /// Adapts how much is read at once to what the last `read` bytes and their delivery showed.
    pub(crate) fn adapt(&mut self, read: usize, delivered_whole: bool) {
        let size = 1usize << self.read_size;
        self.read_size = if !delivered_whole || read < size / 8 {
            (self.read_size - 1).max(SMALLEST_READ)
        } else if read == size {
            self.read_size + 1
        } else {
            self.read_size
        }
        .min(self.largest_read);
    }

    /// How many bytes it has not taken yet.
    pub(crate) fn behind(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.data.len() - rest.head)
    }

    /// Whether it holds bytes that it has not taken yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.rest.is_some()
    }

    /// Writes `data`, keeping what it does not take; the answer is the bytes and the writes it took now.
    pub(crate) fn deliver(&mut self, cx: &mut Context<'_>, data: &[u8], budget: &Arc<Budget>) -> io::Result<(u64, u64)> {
        let (mut done, mut writes) = (0, 0);
        while let Some(left) = data.get(done..).filter(|left| !left.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, left)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => {
                    done += n;
                    writes += 1;
                }
                Poll::Pending => {
                    self.rest = Some(Box::new(Rest::new(left, budget)));
                    break;
                }
            }
        }
        Ok((done as u64, writes))
    }

    /// Writes what it holds, and then FIN if that is due. `Ready` with the bytes and writes once nothing is left.
    pub(crate) fn poll_catch_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(u64, u64)>> {
        let (mut done, mut writes) = (0, 0);
        if let Some(rest) = &mut self.rest {
            while let Some(left) = rest.data.get(rest.head..).filter(|left| !left.is_empty()) {
                let n = ready!(Pin::new(&mut self.stream).poll_write(cx, left))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                rest.head += n;
                writes += 1;
            }
            done = rest.data.len() as u64;
            self.rest = None;
        }
        if self.fin == Fin::Due {
            self.fin = Fin::Sent;
            // A peer that has reset the connection meanwhile is found out by the next read.
            let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        }
        Poll::Ready(Ok((done, writes)))
    }

    /// Probes it when it is silent.
    pub(crate) fn keep_alive(&self) {
        let _ = super::keep_alive(&SockRef::from(&self.stream), true);
    }

    /// Makes the coming close a reset instead of a FIN.
    pub(crate) fn reset_on_close(&self) {
        let _ = self.stream.set_zero_linger();
    }
}
