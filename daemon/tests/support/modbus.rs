//! A Modbus device on a thread of its own that does with each request what the test says and writes down what it got, and a
//! client that looks at every byte of its answers.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::{End, Gate, PATIENCE, Server, Talk, connect};

/// What a device does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers, as it should.
    Answer,
    /// Answers when the gate opens; it takes other requests meanwhile.
    Later(Gate),
    /// Never answers.
    Nothing,
    /// Answers twice.
    Twice,
    /// Answers in pieces of one byte.
    Bytes,
    /// Answers, and closes with the same segment.
    AnswerAndClose,
    /// Answers, and closes a moment later.
    AnswerThenClose,
    /// Closes without an answer.
    Close,
    /// Sends so many bytes of the answer, and closes.
    Part(usize),
    /// Sends so many bytes of the answer, and no more.
    Stall(usize),
    /// Answers with a transaction id that is so much larger.
    Id(u16),
    /// Answers with the transaction id 0.
    NoId,
    /// Answers with another body.
    Body(Vec<u8>),
    /// Sends these bytes.
    Raw(Vec<u8>),
    /// Sends these bytes before its answer.
    After(Vec<u8>),
    /// Answers with an exception of this code.
    Exception(u8),
}

/// A request as a device got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its number among all requests, from 0.
    pub(crate) number: usize,
    pub(crate) connection: usize,
    pub(crate) at: Instant,
    pub(crate) id: u16,
    /// Unit, function, data.
    pub(crate) body: Vec<u8>,
}

/// How frames are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Tcp,
    Rtu,
}

/// Keeps registers, whose values tell unit and address as long as nothing is written.
pub(crate) struct Device {
    pub(crate) address: SocketAddr,
    server: Option<Server>,
    inside: Arc<Inside>,
}

struct Inside {
    act: Box<dyn Fn(&Seen) -> Act + Send + Sync>,
    framing: Framing,
    log: Mutex<Log>,
    changed: Condvar,
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    /// When each connection was made, and how it ended.
    connections: Vec<(Instant, Option<End>)>,
    streams: Vec<TcpStream>,
    registers: HashMap<(u8, u16), u16>,
    /// How many requests wait for an answer, and how many have at the same time.
    waiting: usize,
    most: usize,
}

/// What a register has in it that nobody has written.
pub(crate) fn value(unit: u8, address: u16) -> u16 {
    address.wrapping_mul(31) ^ u16::from(unit) << 8
}

impl Device {
    /// One that answers as it should.
    pub(crate) fn start() -> Self {
        Self::with(|_| Act::Answer)
    }

    pub(crate) fn with(act: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), Framing::Tcp, act)
    }

    /// What it does with the first requests; then it answers as it should.
    pub(crate) fn first(acts: impl Into<Vec<Act>>) -> Self {
        let acts = acts.into();
        Self::with(move |seen| acts.get(seen.number).cloned().unwrap_or(Act::Answer))
    }

    pub(crate) fn start_at(address: SocketAddr, framing: Framing, act: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let inside = Arc::new(Inside { act: Box::new(act), framing, log: Mutex::default(), changed: Condvar::new() });
        let serving = Arc::clone(&inside);
        let server = Server::start_at((address.ip(), address.port()), move |number, stream| serving.serve(number, stream));
        Self { address: server.address, server: Some(server), inside }
    }

    /// Nobody listens any more, and all connections are cut.
    pub(crate) fn stop(&mut self) {
        drop(self.server.take());
        for stream in self.inside.log.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inside.log.lock().unwrap().seen.clone()
    }

    /// The bodies of all requests.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.seen().into_iter().map(|seen| seen.body).collect()
    }

    /// How many requests it had at the same time, at most.
    pub(crate) fn most(&self) -> usize {
        self.inside.log.lock().unwrap().most
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.inside.log.lock().unwrap().connections.len()
    }

    /// When each connection was made.
    pub(crate) fn connected(&self) -> Vec<Instant> {
        self.inside.log.lock().unwrap().connections.iter().map(|(at, _)| *at).collect()
    }

    /// Sends bytes that nobody asked for, on all connections.
    pub(crate) fn says(&self, bytes: &[u8]) {
        for stream in &self.inside.log.lock().unwrap().streams {
            let _ = (&*stream).write_all(bytes);
        }
    }

    /// Waits until it has seen `n` requests.
    #[track_caller]
    pub(crate) fn has_seen(&self, n: usize) -> Vec<Seen> {
        self.wait(&format!("{n} requests"), |log| (log.seen.len() >= n).then(|| log.seen.clone()))
    }

    /// Waits until a connection has ended; how it did.
    #[track_caller]
    pub(crate) fn end_of(&self, connection: usize) -> End {
        self.wait(&format!("the end of connection {connection}"), |log| log.connections.get(connection)?.1)
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, look: impl Fn(&Log) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut log = self.inside.log.lock().unwrap();
        loop {
            if let Some(found) = look(&log) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {PATIENCE:?}: {what}; the device saw {:?}", log.seen);
            log = self.inside.changed.wait_timeout(log, left).unwrap().0;
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inside {
    fn serve(self: &Arc<Self>, connection: usize, mut stream: TcpStream) {
        stream.set_read_timeout(None).unwrap();
        {
            let mut log = self.log.lock().unwrap();
            while log.connections.len() <= connection {
                log.connections.push((Instant::now(), None));
            }
            log.streams.push(stream.try_clone().unwrap());
            self.changed.notify_all();
        }
        let writing = Arc::new(Mutex::new(()));
        let end = loop {
            let (id, body) = match self.read(&mut stream) {
                Ok(frame) => frame,
                Err(end) => break end,
            };
            let seen = {
                let mut log = self.log.lock().unwrap();
                let seen = Seen { number: log.seen.len(), connection, at: Instant::now(), id, body };
                log.seen.push(seen.clone());
                log.waiting += 1;
                log.most = log.most.max(log.waiting);
                self.changed.notify_all();
                seen
            };
            let act = (self.act)(&seen);
            // What is asked is looked up now, whenever it is answered.
            let answer = self.log.lock().unwrap().carry_out(&seen.body);
            if let Act::Later(gate) = act {
                let (me, mut stream, writing) = (Arc::clone(self), stream.try_clone().unwrap(), Arc::clone(&writing));
                std::thread::spawn(move || {
                    gate.pass();
                    let _one = writing.lock().unwrap();
                    me.log.lock().unwrap().waiting -= 1;
                    let _ = stream.write_all(&frame(me.framing, seen.id, &answer));
                });
                continue;
            }
            // Before it is written: whoever has the answer may ask again.
            self.log.lock().unwrap().waiting -= 1;
            let _one = writing.lock().unwrap();
            if !self.act(act, &seen, &answer, &mut stream) {
                let _ = stream.shutdown(Shutdown::Both);
                break End::Fin;
            }
        };
        let mut log = self.log.lock().unwrap();
        log.connections[connection].1 = Some(end);
        self.changed.notify_all();
    }

    /// Whether the connection stays.
    fn act(&self, act: Act, seen: &Seen, answer: &[u8], stream: &mut TcpStream) -> bool {
        let right = frame(self.framing, seen.id, answer);
        let (bytes, stays) = match act {
            Act::Answer => (right, true),
            Act::Later(_) | Act::Nothing => (Vec::new(), true),
            Act::Twice => ([&right[..], &right].concat(), true),
            Act::Bytes => return right.iter().all(|byte| stream.write_all(&[*byte]).is_ok()),
            Act::AnswerAndClose => {
                socket2::SockRef::from(&*stream).set_tcp_cork(true).unwrap();
                (right, false)
            }
            Act::AnswerThenClose => (right, false),
            Act::Close => (Vec::new(), false),
            Act::Part(n) => (right[..n].to_vec(), false),
            Act::Stall(n) => (right[..n].to_vec(), true),
            Act::Id(more) => (frame(self.framing, seen.id.wrapping_add(more), answer), true),
            Act::NoId => (frame(self.framing, 0, answer), true),
            Act::Body(body) => (frame(self.framing, seen.id, &body), true),
            Act::Raw(bytes) => (bytes, true),
            Act::After(bytes) => ([bytes, right].concat(), true),
            Act::Exception(code) => (frame(self.framing, seen.id, &[seen.body[0], seen.body[1] | 0x80, code]), true),
        };
        stream.write_all(&bytes).is_ok() && stays
    }

    fn read(&self, stream: &mut TcpStream) -> Result<(u16, Vec<u8>), End> {
        match self.framing {
            Framing::Tcp => read_tcp(stream),
            Framing::Rtu => {
                let mut head = fill(stream, 7)?;
                let left = if matches!(head[1], 15 | 16) { 2 + usize::from(head[6]) } else { 1 };
                head.extend(fill(stream, left)?);
                let body = head.split_off(head.len() - 2);
                let (body, crc) = (head, body);
                assert_eq!(crc, crc_of(&body), "a wrong CRC came");
                Ok((0, body))
            }
        }
    }
}

impl Log {
    /// The answer's body; what is written is kept.
    fn carry_out(&mut self, body: &[u8]) -> Vec<u8> {
        let (unit, function) = (body[0], body[1]);
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let get = |registers: &HashMap<_, _>, address| registers.get(&(unit, address)).copied().unwrap_or_else(|| value(unit, address));
        match function {
            3 | 4 if body.len() == 6 => {
                let words = (0..word(4)).flat_map(|i| get(&self.registers, word(2).wrapping_add(i)).to_be_bytes());
                let words: Vec<u8> = words.collect();
                [&[unit, function, words.len() as u8], &words[..]].concat()
            }
            6 => {
                self.registers.insert((unit, word(2)), word(4));
                body.to_vec()
            }
            16 => {
                for i in 0..word(4) {
                    self.registers.insert((unit, word(2) + i), word(7 + 2 * usize::from(i)));
                }
                body[..6].to_vec()
            }
            _ => [&[unit, function], &body[2..]].concat(),
        }
    }
}

/// A whole frame.
pub(crate) fn frame(framing: Framing, id: u16, body: &[u8]) -> Vec<u8> {
    match framing {
        Framing::Tcp => [&id.to_be_bytes()[..], &[0, 0], &(body.len() as u16).to_be_bytes(), body].concat(),
        Framing::Rtu => [body, &crc_of(body)].concat(),
    }
}

fn fill(stream: &mut TcpStream, n: usize) -> Result<Vec<u8>, End> {
    use std::io::Read;
    let mut bytes = vec![0; n];
    match stream.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(End::Reset),
        Err(_) => Err(End::Fin),
    }
}

fn read_tcp(stream: &mut TcpStream) -> Result<(u16, Vec<u8>), End> {
    let head = fill(stream, 6)?;
    assert_eq!(head[2..4], [0, 0], "a wrong protocol id came");
    let body = fill(stream, usize::from(u16::from_be_bytes([head[4], head[5]])))?;
    Ok((u16::from_be_bytes([head[0], head[1]]), body))
}

fn crc_of(body: &[u8]) -> [u8; 2] {
    let mut crc = 0xffff_u16;
    for byte in body {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
        }
    }
    crc.to_le_bytes()
}

/// The body of a read of holding registers.
pub(crate) fn read_of(unit: u8, address: u16, count: u16) -> Vec<u8> {
    [&[unit, 3][..], &address.to_be_bytes(), &count.to_be_bytes()].concat()
}

/// The body of a write of one register.
pub(crate) fn write_of(unit: u8, address: u16, value: u16) -> Vec<u8> {
    [&[unit, 6][..], &address.to_be_bytes(), &value.to_be_bytes()].concat()
}

/// A Modbus/TCP client.
pub(crate) struct Modbus {
    pub(crate) stream: TcpStream,
    next: u16,
}

impl Modbus {
    #[track_caller]
    pub(crate) fn connect(at: SocketAddr) -> Self {
        Self { stream: connect(at), next: 1 }
    }

    /// Sends a request; its transaction id.
    #[track_caller]
    pub(crate) fn send(&mut self, body: &[u8]) -> u16 {
        let id = self.next;
        self.next = self.next.wrapping_add(7);
        self.stream.send(&frame(Framing::Tcp, id, body));
        id
    }

    /// The next answer, whichever request it is for.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> (u16, Vec<u8>) {
        let head = self.stream.receive(6);
        assert_eq!(head[2..4], [0, 0], "protocol id");
        let body = self.stream.receive(usize::from(u16::from_be_bytes([head[4], head[5]])));
        (u16::from_be_bytes([head[0], head[1]]), body)
    }

    /// The body of the answer to this request.
    #[track_caller]
    pub(crate) fn ask(&mut self, body: &[u8]) -> Vec<u8> {
        let id = self.send(body);
        let (its, answer) = self.receive();
        assert_eq!(its, id, "the answer to another request");
        assert_eq!((answer[0], answer[1] & 0x7f), (body[0], body[1] & 0x7f), "unit and function of {answer:x?}");
        answer
    }

    /// Holding registers; they must be as they were when the device was made.
    #[track_caller]
    pub(crate) fn reads(&mut self, unit: u8, address: u16, count: u16) {
        let answer = self.ask(&read_of(unit, address, count));
        assert_eq!(answer, answer_to_read(unit, address, count), "{count} registers from {address} of unit {unit}");
    }

    /// One holding register.
    #[track_caller]
    pub(crate) fn register(&mut self, unit: u8, address: u16) -> u16 {
        let answer = self.ask(&read_of(unit, address, 1));
        assert_eq!(answer[..3], [unit, 3, 2], "{answer:x?}");
        u16::from_be_bytes([answer[3], answer[4]])
    }

    #[track_caller]
    pub(crate) fn writes(&mut self, unit: u8, address: u16, value: u16) {
        let body = write_of(unit, address, value);
        assert_eq!(self.ask(&body), body);
    }

    /// The answer to this request is this exception.
    #[track_caller]
    pub(crate) fn is_refused(&mut self, body: &[u8], code: u8) {
        assert_eq!(self.ask(body), [body[0], body[1] | 0x80, code]);
    }
}

/// The body of the answer to a read of registers that nobody has written.
pub(crate) fn answer_to_read(unit: u8, address: u16, count: u16) -> Vec<u8> {
    let words = (0..count).flat_map(|i| value(unit, address.wrapping_add(i)).to_be_bytes());
    [unit, 3, (count * 2) as u8].into_iter().chain(words).collect()
}
