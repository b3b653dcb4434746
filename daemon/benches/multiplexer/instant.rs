//! The device that answers at once: all that came with a read in one write, in one thread.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;

use slab::Slab;

use crate::device::Tally;
use crate::modbus::{Read, frame};
use crate::poll::{Interest, Poll};

const SCRATCH: usize = 64 << 10;
/// Connections have the tokens above.
const LISTENER: usize = 0;

struct Connection {
    stream: TcpStream,
    /// The beginning of a request whose rest has not come.
    input: Vec<u8>,
    /// Answers that the client's socket has no room for; no request is read meanwhile.
    output: Vec<u8>,
}

pub(crate) fn serve(listener: &TcpListener, tally: &Tally) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(listener, LISTENER)?;
    let mut connections: Slab<Connection> = Slab::new();
    let mut ready = Vec::new();
    let mut buffer = vec![0; SCRATCH];
    loop {
        poll.wait(None, &mut ready)?;
        for &token in &ready {
            if token == LISTENER {
                if let Some(stream) = accept(listener)? {
                    let entry = connections.vacant_entry();
                    poll.add(&stream, entry.key() + 1)?;
                    entry.insert(Connection { stream, input: Vec::new(), output: Vec::new() });
                    tally.connections.fetch_add(1, Relaxed);
                }
                continue;
            }
            let connection = &mut connections[token - 1];
            let was_full = !connection.output.is_empty();
            // However a connection ends, what a client misses it says.
            if !matches!(connection.advance(&mut buffer, tally), Ok(true)) {
                connections.remove(token - 1);
                continue;
            }
            let is_full = !connection.output.is_empty();
            if was_full != is_full {
                poll.change(&connection.stream, token, if is_full { Interest::Write } else { Interest::Read })?;
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Connection {
    /// Does what can be done now; whether the connection goes on.
    fn advance(&mut self, buffer: &mut [u8], tally: &Tally) -> io::Result<bool> {
        if self.output.is_empty() {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            if self.input.is_empty() {
                let used = self.answer(&buffer[..read], tally);
                self.input.extend_from_slice(&buffer[used..read]);
            } else {
                let mut input = std::mem::take(&mut self.input);
                input.extend_from_slice(&buffer[..read]);
                let used = self.answer(&input, tally);
                input.drain(..used);
                self.input = input;
            }
        }
        if self.output.is_empty() {
            return Ok(true);
        }
        match self.stream.write(&self.output) {
            Ok(written) => drop(self.output.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Answers all requests that are whole; how many bytes they were.
    fn answer(&mut self, bytes: &[u8], tally: &Tally) -> usize {
        let mut used = 0;
        let mut count = 0;
        while let Some(length) = frame(&bytes[used..]) {
            match Read::of(&bytes[used..used + length]) {
                Ok(read) => read.answer(&mut self.output),
                Err(fault) => tally.fail(fault),
            }
            used += length;
            count += 1;
        }
        tally.requests.fetch_add(count, Relaxed);
        used
    }
}
