//! The far ends, each in a process of its own: targets, mirrors, and mirrors that are in trouble.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::pattern::{LAST, Pattern, RING, Verifier};
use crate::{async_server, role};

/// Enough for every client of the largest figure to be on its way in.
const BACKLOG: i32 = 4096;
/// Loopback's segments of 64 KiB let the kernel hold megabytes for a peer that does not read; with the segments of a
/// network it holds little, and a mirror in trouble is felt as it would be there.
const NETWORK_SEGMENT: u32 = 1460;

/// What a server counted, asked for with a line on its stdin.
pub(crate) struct Tally {
    pub(crate) pattern: Pattern,
    bytes: AtomicU64,
    connections: AtomicU64,
    ended: AtomicU64,
    /// A wrong byte.
    fault: Mutex<Option<String>>,
    /// The last connection that broke; no fault where all bytes had arrived.
    broken: Mutex<Option<String>>,
}

/// Why a connection ended other than with a FIN.
pub(crate) enum End {
    Wrong(String),
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Tally {
    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn closed(&self, outcome: Result<(), End>) {
        match outcome {
            Ok(()) => {}
            Err(End::Wrong(fault)) => *self.fault.lock().unwrap() = Some(fault),
            Err(End::Broken(error)) => *self.broken.lock().unwrap() = Some(error.to_string()),
        }
        // Last, as who asks takes it for the sign that there is no more to come.
        self.ended.fetch_add(1, Release);
    }

    fn report(&self) -> String {
        let ended = self.ended.load(Acquire);
        let fault = self.fault.lock().unwrap().clone();
        let broken = self.broken.lock().unwrap().clone();
        json!({
            "bytes": self.bytes.load(Relaxed), "connections": self.connections.load(Relaxed),
            "ended": ended, "fault": fault, "broken": broken,
        })
        .to_string()
    }
}

/// Runs the server called `mode` until stdin ends.
pub(crate) fn serve(mode: &str) -> Result<(), String> {
    let socket = bound(mode).map_err(|e| format!("{mode}: bind: {e}"))?;
    let port = socket.local_addr().ok().and_then(|a| a.as_socket()).map_or(0, |a| a.port());
    let tally = Arc::new(Tally {
        pattern: Pattern::new(),
        bytes: AtomicU64::new(0),
        connections: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        fault: Mutex::new(None),
        broken: Mutex::new(None),
    });
    if mode != "down" {
        let backlog = if mode == "swallow" { 0 } else { BACKLOG };
        socket.listen(backlog).map_err(|e| format!("{mode}: listen: {e}"))?;
    }
    // Only now may anybody learn the port: a swallowing listener has to be full before its first visitor.
    let fillers = if mode == "swallow" { fill(port) } else { Vec::new() };
    role::answer(&json!({ "port": port }));
    let shared = Arc::clone(&tally);
    thread::spawn(move || role::answer_each_line(|| shared.report()));
    run(mode, socket.into(), &tally)?;
    drop(fillers);
    Ok(())
}

fn run(mode: &str, listener: TcpListener, tally: &Arc<Tally>) -> Result<(), String> {
    match mode {
        "blocks" => each_in_a_thread(&listener, tally, bulk_target),
        "bulk-mirror" => each_in_a_thread(&listener, tally, bulk_mirror),
        "slow" => each_in_a_thread(&listener, tally, |stream, tally| {
            slow_mirror(stream, tally);
            Ok(())
        }),
        "reset" => each_in_a_thread(&listener, tally, reset),
        "stuck" => keep_all(&listener),
        "down" | "swallow" => loop {
            thread::park();
        },
        "echo" | "count" | "mirror" => async_server::serve(mode, listener, tally),
        other => Err(format!("no server is called {other}")),
    }
}

fn bound(mode: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if matches!(mode, "slow" | "stuck") {
        socket.set_tcp_mss(NETWORK_SEGMENT)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

/// Takes every place in the backlog, so that the next SYN is dropped without an answer.
fn fill(port: u16) -> Vec<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    held
}

fn each_in_a_thread(listener: &TcpListener, tally: &Arc<Tally>, handle: fn(TcpStream, &Tally) -> Result<(), End>) -> Result<(), String> {
    loop {
        let (stream, _) = listener.accept().map_err(|e| format!("accept: {e}"))?;
        let tally = Arc::clone(tally);
        tally.opened();
        thread::spawn(move || tally.closed(handle(stream, &tally)));
    }
}

/// Reads blocks up to the one that says it is the last, then answers how many bytes there were.
fn bulk_target(mut stream: TcpStream, tally: &Tally) -> Result<(), End> {
    let mut verifier = Verifier::new(&tally.pattern);
    let mut buffer = vec![0; RING];
    let mut last = false;
    loop {
        // Never past the end of a block, so that a flag is always the first byte of a read.
        let inside = (verifier.seen % RING as u64) as usize;
        let read = stream.read(&mut buffer[..RING - inside])?;
        if read == 0 {
            return Ok(());
        }
        last |= inside == 0 && buffer[0] == LAST;
        verifier.take(&buffer[..read]).map_err(End::Wrong)?;
        tally.add(read);
        if last && verifier.seen.is_multiple_of(RING as u64) {
            stream.write_all(&verifier.seen.to_le_bytes())?;
        }
    }
}

fn bulk_mirror(mut stream: TcpStream, tally: &Tally) -> Result<(), End> {
    let mut verifier = Verifier::new(&tally.pattern);
    let mut buffer = vec![0; RING];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        verifier.take(&buffer[..read]).map_err(End::Wrong)?;
        tally.add(read);
    }
}

/// 1 MB/s.
fn slow_mirror(mut stream: TcpStream, tally: &Tally) {
    let mut buffer = vec![0; 50_000];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        tally.add(read);
        thread::sleep(Duration::from_secs_f64(read as f64 / 1e6));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "closing the stream is the point")]
fn reset(stream: TcpStream, _: &Tally) -> Result<(), End> {
    Ok(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?)
}

fn keep_all(listener: &TcpListener) -> Result<(), String> {
    let mut held = Vec::new();
    loop {
        held.push(listener.accept().map_err(|e| format!("accept: {e}"))?);
    }
}
