//! Any number of clients in one thread, each with one request under way.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::asking::{Asking, Requests};
use crate::modbus::{LONGEST, Read, frame};
use crate::poll::Poll;

/// Nothing here takes this long unless an answer was lost.
pub(crate) const STALLED: Duration = Duration::from_secs(20);
/// Connecting is done this many at a time: nothing here measures how large a backlog is.
const AT_A_TIME: usize = 50;

struct Client {
    stream: TcpStream,
    requests: Requests,
    /// What it waits for the answer to.
    waits: Option<Read>,
    /// The beginning of an answer whose rest has not come.
    input: Vec<u8>,
    answers: u64,
}

pub(crate) struct Crowd {
    poll: Poll,
    clients: Vec<Client>,
    /// How many wait for an answer.
    waiting: usize,
    ready: Vec<usize>,
    scratch: Vec<u8>,
}

impl Crowd {
    /// `count` connections that have each made one request.
    pub(crate) fn connect(front: SocketAddr, count: usize, asking: Asking) -> Result<Self, String> {
        let poll = Poll::new().map_err(|e| e.to_string())?;
        let mut crowd = Self { poll, clients: Vec::with_capacity(count), waiting: 0, ready: Vec::new(), scratch: Vec::new() };
        while crowd.clients.len() < count {
            for _ in 0..AT_A_TIME.min(count - crowd.clients.len()) {
                let number = crowd.clients.len();
                crowd.enter(front, Requests::new(asking, number)).map_err(|e| format!("client {number}: connect: {e}"))?;
                crowd.send(number)?;
            }
            crowd.answered(Instant::now())?;
        }
        Ok(crowd)
    }

    /// All ask for `length`, and then wait for what is still under way.
    pub(crate) fn run(&mut self, length: Duration) -> Result<Value, String> {
        self.clients.iter_mut().for_each(|client| client.answers = 0);
        let began = Instant::now();
        for number in 0..self.clients.len() {
            self.send(number)?;
        }
        self.answered(began + length)?;
        let seconds = began.elapsed().as_secs_f64();
        let answers: u64 = self.clients.iter().map(|client| client.answers).sum();
        let least = self.clients.iter().map(|client| client.answers).min().unwrap_or(0);
        let average = answers as f64 / self.clients.len() as f64;
        Ok(json!({ "answers": answers, "per_second": answers as f64 / seconds, "slowest": least as f64 / average }))
    }

    fn enter(&mut self, front: SocketAddr, requests: Requests) -> std::io::Result<()> {
        let stream = TcpStream::connect_timeout(&front, STALLED)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.poll.add(&stream, self.clients.len())?;
        self.clients.push(Client { stream, requests, waits: None, input: Vec::new(), answers: 0 });
        Ok(())
    }

    fn send(&mut self, number: usize) -> Result<(), String> {
        let client = &mut self.clients[number];
        let read = client.requests.next();
        let request = read.request();
        // There is room for it: nothing else is under way.
        match client.stream.write(&request) {
            Ok(written) if written == request.len() => {}
            Ok(written) => return Err(format!("client {number}: {written} bytes of a request were taken")),
            Err(error) => return Err(format!("client {number}: send {read:?}: {error}")),
        }
        client.waits = Some(read);
        self.waiting += 1;
        Ok(())
    }

    /// Until every request has its answer; up to `until`, a client sends its next one at once.
    fn answered(&mut self, until: Instant) -> Result<(), String> {
        while self.waiting > 0 {
            let mut ready = std::mem::take(&mut self.ready);
            self.poll.wait(Some(STALLED), &mut ready).map_err(|e| e.to_string())?;
            if ready.is_empty() {
                let (number, read) = self.clients.iter().enumerate().find_map(|(n, c)| Some((n, c.waits?))).ok_or("nobody waits")?;
                return Err(format!("{} answers are lost, the first: client {number}, {read:?}", self.waiting));
            }
            let goes_on = Instant::now() < until;
            for &number in &ready {
                if self.receive(number).map_err(|e| format!("client {number}: {e}"))? && goes_on {
                    self.send(number)?;
                }
            }
            self.ready = ready;
        }
        Ok(())
    }

    /// Whether the whole answer is there.
    fn receive(&mut self, number: usize) -> Result<bool, String> {
        let Self { clients, scratch, .. } = self;
        let client = &mut clients[number];
        let mut buffer = [0; 2 * LONGEST];
        let read = match client.stream.read(&mut buffer) {
            Ok(0) => return Err(format!("closed while it waits for {:?}", client.waits)),
            Ok(read) => &buffer[..read],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(false),
            Err(error) => return Err(format!("broke while it waits for {:?}: {error}", client.waits)),
        };
        let asked = client.waits.ok_or_else(|| format!("bytes that nobody asked for: {read:02x?}"))?;
        if client.input.is_empty() && frame(read).is_some() {
            asked.check(read, scratch)?;
        } else {
            client.input.extend_from_slice(read);
            if frame(&client.input).is_none() {
                return Ok(false);
            }
            asked.check(&client.input, scratch)?;
            client.input.clear();
        }
        client.waits = None;
        client.answers += 1;
        self.waiting -= 1;
        Ok(true)
    }
}
