//! Targets and mirrors: servers on a thread of their own, with a thread a connection.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::patient;
use super::{End, PATIENCE, Talk};

/// Accepts until it is dropped. After that, nobody listens there.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `serve` gets the number of the connection, from 0, and the connection.
    pub(crate) fn start(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0), serve)
    }

    pub(crate) fn start_at(at: (impl Into<IpAddr>, u16), serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((at.0.into(), at.1)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let serve = Arc::new(serve);
        let thread = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                patient(&stream);
                let serve = Arc::clone(&serve);
                std::thread::Builder::new().stack_size(512 << 10).spawn(move || serve(number, stream)).unwrap();
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Answers with what it gets, and closes when the other side does.
pub(crate) fn echo() -> Server {
    Server::start(echo_one)
}

pub(crate) fn echo_one(_: usize, mut stream: TcpStream) {
    let mut part = vec![0; 64 << 10];
    while let Ok(n @ 1..) = stream.read(&mut part) {
        if stream.write_all(&part[..n]).is_err() {
            return;
        }
    }
}

/// What a [`Sink`] got on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: Option<End>,
}

/// Keeps what it gets, connection by connection, in the order in which these were made.
pub(crate) struct Sink {
    server: Server,
    records: Arc<Records>,
}

#[derive(Default)]
struct Records {
    list: Mutex<Vec<Record>>,
    changed: Condvar,
}

impl Sink {
    pub(crate) fn start() -> Self {
        Self::start_behind(Gate::open())
    }

    /// At an address that a test has for itself.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::start_at_with(address, |_, _| {})
    }

    /// Reads nothing before the gate opens.
    pub(crate) fn start_behind(gate: Gate) -> Self {
        Self::start_with(move |_, _| gate.pass())
    }

    /// Does `first` with every connection before it reads.
    pub(crate) fn start_with(first: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at_with((Ipv4Addr::LOCALHOST, 0).into(), first)
    }

    pub(crate) fn start_at_with(address: SocketAddr, first: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let records: Arc<Records> = Arc::default();
        let kept = Arc::clone(&records);
        let server = Server::start_at((address.ip(), address.port()), move |number, mut stream| {
            kept.update(number, |_| {});
            first(number, &mut stream);
            let mut part = vec![0; 64 << 10];
            loop {
                match stream.read(&mut part) {
                    Ok(0) => return kept.update(number, |record| record.end = Some(End::Fin)),
                    Ok(n) => kept.update(number, |record| record.bytes.extend_from_slice(&part[..n])),
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                        return kept.update(number, |record| record.end = Some(End::Reset));
                    }
                    Err(_) => return, // a deadline, long after the test's own
                }
            }
        });
        Self { server, records }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn count(&self) -> usize {
        self.records.list.lock().unwrap().len()
    }

    /// Waits until the records are as they should be.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn(&[Record]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut list = self.records.list.lock().unwrap();
        loop {
            if let Some(found) = look(&list) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {PATIENCE:?}: {what}; there are {}", summary(&list));
            list = self.records.changed.wait_timeout(list, left).unwrap().0;
        }
    }

    /// Waits until there are `n` connections and all have ended.
    #[track_caller]
    pub(crate) fn ended(&self, n: usize) -> Vec<Record> {
        self.wait(&format!("{n} ended connections"), |list| {
            (list.len() == n && list.iter().all(|r| r.end.is_some())).then(|| list.to_vec())
        })
    }

    /// Waits until the only connection has ended.
    #[track_caller]
    pub(crate) fn one(&self) -> Record {
        self.ended(1).remove(0)
    }

    /// Waits until connection `number` has got at least `n` bytes.
    #[track_caller]
    pub(crate) fn got(&self, number: usize, n: usize) -> Vec<u8> {
        self.wait(&format!("{n} bytes on connection {number}"), |list| {
            list.get(number).filter(|record| record.bytes.len() >= n).map(|record| record.bytes.clone())
        })
    }
}

impl Records {
    fn update(&self, number: usize, change: impl FnOnce(&mut Record)) {
        let mut list = self.list.lock().unwrap();
        if list.len() <= number {
            list.resize_with(number + 1, Record::default);
        }
        change(&mut list[number]);
        self.changed.notify_all();
    }
}

fn summary(list: &[Record]) -> String {
    let open = list.iter().filter(|r| r.end.is_none()).count();
    let bytes: usize = list.iter().map(|r| r.bytes.len()).sum();
    format!("{} connections with {bytes} bytes, {open} of them not ended", list.len())
}

/// Something that servers wait for until the test opens it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self::default()
    }

    pub(crate) fn open() -> Self {
        let gate = Self::shut();
        gate.lift();
        gate
    }

    pub(crate) fn lift(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    pub(crate) fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        let _ = self.0.1.wait_timeout_while(open, Duration::from_secs(60), |open| !*open).unwrap();
    }
}

/// A target that asks for nothing and sends `answer` after it has read everything.
pub(crate) fn answers_after_fin(answer: Vec<u8>) -> Server {
    Server::start(move |_, mut stream| {
        let (asked, end) = stream.receive_all();
        if end == End::Fin {
            stream.send(format!("{:010}", asked.len()).as_bytes());
            stream.send(&answer);
        }
    })
}
