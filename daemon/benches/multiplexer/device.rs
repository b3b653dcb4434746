//! The devices, each in a process of its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::instant;
use crate::modbus::{LONGEST, Read, frame};
use crate::role;

/// Enough for every client of the largest figure to be on its way in.
const BACKLOG: i32 = 4096;

/// Answers at once, on any number of connections.
pub(crate) const INSTANT: &str = "instant";
/// Works on a request for 10 ms, on one at a time whatever the connection.
pub(crate) const ONE_AT_A_TIME: &str = "one-at-a-time";
/// Works on a request for 200 ms, takes four connections, and works on one request of each.
pub(crate) const FOUR: &str = "four";

/// What a device counted, asked for with a line on its stdin.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// What was not a request of a client.
    fault: Mutex<Option<String>>,
}

impl Tally {
    pub(crate) fn fail(&self, fault: String) {
        self.fault.lock().unwrap().get_or_insert(fault);
    }

    fn report(&self) -> String {
        let fault = self.fault.lock().unwrap().clone();
        json!({ "requests": self.requests.load(Relaxed), "connections": self.connections.load(Relaxed), "fault": fault }).to_string()
    }
}

/// Runs the device called `name` until stdin ends.
pub(crate) fn serve(name: &str) -> Result<(), String> {
    let listener = listen().map_err(|e| format!("listen: {e}"))?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    let tally = Arc::new(Tally::default());
    role::answer(&json!({ "port": port }));
    let shared = Arc::clone(&tally);
    thread::spawn(move || role::answer_each_line(|| shared.report()));
    match name {
        INSTANT => instant::serve(&listener, &tally).map_err(|e| e.to_string()),
        ONE_AT_A_TIME => slow(&listener, &tally, Slow { work: Duration::from_millis(10), connections: usize::MAX, alone: true }),
        FOUR => slow(&listener, &tally, Slow { work: Duration::from_millis(200), connections: 4, alone: false }),
        other => Err(format!("no device is called {other}")),
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[derive(Clone, Copy)]
struct Slow {
    /// For a request.
    work: Duration,
    /// As many as it takes; it closes any further one.
    connections: usize,
    /// One request at a time over all connections.
    alone: bool,
}

fn slow(listener: &TcpListener, tally: &Arc<Tally>, device: Slow) -> Result<(), String> {
    let open = Arc::new(AtomicUsize::new(0));
    let busy = Arc::new(Mutex::new(()));
    loop {
        let (stream, _) = listener.accept().map_err(|e| format!("accept: {e}"))?;
        if open.load(Relaxed) >= device.connections {
            continue;
        }
        open.fetch_add(1, Relaxed);
        tally.connections.fetch_add(1, Relaxed);
        let (tally, open, busy) = (Arc::clone(tally), Arc::clone(&open), Arc::clone(&busy));
        thread::spawn(move || {
            // However the connection ends: what a client misses, it says.
            let _ = converse(stream, &tally, || {
                let alone = device.alone.then(|| busy.lock().unwrap());
                thread::sleep(device.work);
                drop(alone);
            });
            open.fetch_sub(1, Relaxed);
        });
    }
}

/// Answers requests one after the other, each once `work` is done.
fn converse(mut stream: TcpStream, tally: &Tally, work: impl Fn()) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    let mut buffer = [0; LONGEST];
    let mut answer = Vec::new();
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..read]);
        while let Some(length) = frame(&input) {
            let request: Vec<u8> = input.drain(..length).collect();
            match Read::of(&request) {
                Ok(read) => {
                    tally.requests.fetch_add(1, Relaxed);
                    work();
                    answer.clear();
                    read.answer(&mut answer);
                    stream.write_all(&answer)?;
                }
                Err(fault) => tally.fail(fault),
            }
        }
    }
}
