//! The clients, each in a process of its own. Each prints one line with what it measured, and holds its connections
//! until its stdin ends, so that the proxy can be looked at meanwhile.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::pattern::{LAST, MESSAGE, Pattern, RING};

/// Nothing here takes this long unless bytes were lost.
const STALLED: Duration = Duration::from_secs(20);
const WARM_UP: usize = 200;
/// How many clients come and go at the same time.
const VISITORS: u8 = 8;

/// Sends blocks for `length`, then waits until the target has them all.
pub(crate) fn bulk(front: SocketAddr, length: Duration) -> Result<(Value, Vec<TcpStream>), String> {
    let pattern = Pattern::new();
    let mut stream = connect(front)?;
    let block = pattern.at(0, RING);
    let mut last = block.to_vec();
    last[0] = LAST;
    let began = Instant::now();
    let mut sent = 0_u64;
    while began.elapsed() < length {
        stream.write_all(block).map_err(|e| format!("send: {}", say(&e)))?;
        sent += RING as u64;
    }
    stream.write_all(&last).map_err(|e| format!("send: {}", say(&e)))?;
    sent += RING as u64;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).map_err(|e| format!("no answer to {sent} bytes: {}", say(&e)))?;
    let seconds = began.elapsed().as_secs_f64();
    let arrived = u64::from_le_bytes(answer);
    if arrived != sent {
        return Err(format!("sent {sent} bytes, the target got {arrived}"));
    }
    Ok((json!({ "bytes": sent, "seconds": seconds }), vec![stream]))
}

/// `trips` messages there and back on one connection.
pub(crate) fn echo(front: SocketAddr, trips: usize) -> Result<(Value, Vec<TcpStream>), String> {
    let pattern = Pattern::new();
    let mut voice = Voice { pattern: &pattern, stream: connect(front)?, phase: 0, sent: 0 };
    for _ in 0..WARM_UP {
        voice.trip()?;
    }
    let mut times = Vec::with_capacity(trips);
    for _ in 0..trips {
        let began = Instant::now();
        voice.trip()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times[(trips - 1) * percent / 100].as_secs_f64() * 1e6;
    Ok((json!({ "bytes": voice.sent, "p50_us": at(50), "p99_us": at(99) }), vec![voice.stream]))
}

/// Connect, one message there and back, close: as often as it goes.
pub(crate) fn visits(front: SocketAddr, length: Duration) -> Result<(Value, Vec<TcpStream>), String> {
    let pattern = Pattern::new();
    let began = Instant::now();
    let pattern = &pattern;
    let visited: Result<Vec<u64>, String> = thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS).map(|n| scope.spawn(move || visitor(pattern, front, n, began + length))).collect();
        visitors.into_iter().map(|v| v.join().unwrap()).collect()
    });
    let count: u64 = visited?.iter().sum();
    let rate = count as f64 / began.elapsed().as_secs_f64();
    Ok((json!({ "bytes": count * MESSAGE as u64, "per_second": rate }), Vec::new()))
}

/// The close is the ordinary one: a FIN, nothing unread, as most clients do, so that the proxy has the ordinary work
/// with it. It leaves the client's port in `TIME_WAIT`, so each visitor has a source address of its own and takes that
/// address's ports in turn: none comes back within a sample, and nobody searches for a free one.
fn visitor(pattern: &Pattern, front: SocketAddr, number: u8, until: Instant) -> Result<u64, String> {
    let mut count = 0;
    let mut ports = 0_usize;
    while Instant::now() < until {
        let source = SocketAddr::from((Ipv4Addr::new(127, 0, 1, 1 + number), 10_000 + (ports % 50_000) as u16));
        ports += 1;
        let stream = match connect_from(source, front) {
            Err(e) if is_taken(&e) && ports < 100_000 => continue,
            other => other.map_err(|e| format!("connect from {source}: {e}"))?,
        };
        // Each begins elsewhere in the pattern, so that an answer of another connection is noticed.
        let phase = (count as usize * usize::from(VISITORS) + usize::from(number)) * MESSAGE;
        Voice { pattern, stream, phase, sent: 0 }.trip()?;
        count += 1;
    }
    Ok(count)
}

/// Somebody listens on the port, or it is in `TIME_WAIT` from an earlier sample.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

fn connect_from(source: SocketAddr, front: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&source.into())?;
    socket.connect(&front.into())?;
    impatient(socket.into())
}

fn connect(front: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect_timeout(&front, STALLED).and_then(impatient).map_err(|e| format!("connect: {e}"))
}

/// A stall has to end as an error.
fn impatient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    Ok(stream)
}

/// The system has an odd name for a timeout.
fn say(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => format!("nothing moved for {} s", STALLED.as_secs()),
        _ => error.to_string(),
    }
}

/// One connection that sends a message and waits for it to come back.
struct Voice<'a> {
    pattern: &'a Pattern,
    stream: TcpStream,
    /// Where in the pattern this stream begins.
    phase: usize,
    sent: u64,
}

impl Voice<'_> {
    fn trip(&mut self) -> Result<(), String> {
        let message = self.pattern.at(self.phase + self.sent as usize, MESSAGE);
        self.stream.write_all(message).map_err(|e| format!("send after {} bytes: {}", self.sent, say(&e)))?;
        let mut answer = [0; MESSAGE];
        self.stream.read_exact(&mut answer).map_err(|e| format!("echo after {} bytes: {}", self.sent, say(&e)))?;
        if answer != message {
            return Err(format!("the echo after {} bytes has other bytes than were sent", self.sent));
        }
        self.sent += MESSAGE as u64;
        Ok(())
    }
}
