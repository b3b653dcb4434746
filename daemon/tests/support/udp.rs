//! UDP: sockets with deadlines, and datagrams whose contents say which one they are.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::{Change, Lcg, PATIENCE, mirror, until};

/// A mirror of datagrams on a free port of 127.0.0.1.
pub(crate) fn udp_mirror(target: SocketAddr, mirrors: &[SocketAddr]) -> Value {
    mirror(target, mirrors).with("/protocol", "udp")
}

/// A loopback address of the test's own, so that a port that was somebody's can be used once more later.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    SocketAddr::from(([127, 77, high, low], 0))
}

/// A socket with deadlines.
pub(crate) struct Udp(pub(crate) UdpSocket);

impl Udp {
    pub(crate) fn new() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0))
    }

    #[track_caller]
    pub(crate) fn at(at: (impl Into<IpAddr>, u16)) -> Self {
        let socket = UdpSocket::bind((at.0.into(), at.1)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        Self(socket)
    }

    /// One that sends to `to`, and receives from nobody else.
    pub(crate) fn to(to: SocketAddr) -> Self {
        let any: IpAddr = if to.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        let client = Self::at((any, 0));
        client.0.connect(to).unwrap();
        client
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    #[track_caller]
    pub(crate) fn send(&self, data: &[u8]) {
        assert_eq!(self.0.send(data).unwrap_or_else(|error| panic!("cannot send: {error}")), data.len());
    }

    #[track_caller]
    pub(crate) fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut data = vec![0; 1 << 16];
        let (n, from) = self.0.recv_from(&mut data).unwrap_or_else(|error| panic!("no datagram: {error}"));
        data.truncate(n);
        (data, from)
    }

    #[track_caller]
    pub(crate) fn got(&self, data: &[u8]) -> SocketAddr {
        let (got, from) = self.receive();
        assert!(
            got == data,
            "{} bytes instead of {}: {:?}",
            got.len(),
            data.len(),
            String::from_utf8_lossy(&got[..got.len().min(60)])
        );
        from
    }

    #[track_caller]
    pub(crate) fn ask(&self, data: &[u8]) -> Vec<u8> {
        self.send(data);
        self.receive().0
    }

    /// Asks until there is an answer: datagrams may be lost while something changes.
    #[track_caller]
    pub(crate) fn ask_until(&self, data: &[u8], answer: &[u8]) {
        self.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        until(&format!("the answer {:?}", String::from_utf8_lossy(answer)), || {
            let _ = self.0.send(data);
            let mut got = [0; 2000];
            let n = self.0.recv(&mut got).ok()?;
            (got[..n] == *answer).then_some(())
        });
        self.0.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        while self.0.recv(&mut [0; 2000]).is_ok() {}
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// Nothing has come.
    #[track_caller]
    pub(crate) fn is_silent(&self) {
        self.0.set_nonblocking(true).unwrap();
        let mut got = [0; 2000];
        let error = self.0.recv(&mut got).expect_err("something came");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.0.set_nonblocking(false).unwrap();
    }
}

/// Does something with each datagram, on a thread of its own, until it is dropped.
pub(crate) struct UdpServer {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpServer {
    /// Answers with what `answer` makes of each datagram.
    pub(crate) fn start(answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0), answer)
    }

    pub(crate) fn start_at(at: (impl Into<IpAddr>, u16), mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = Udp::at(at).0;
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let (received, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counting, stopping) = (Arc::clone(&received), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut data = vec![0; 1 << 16];
            while !stopping.load(Ordering::SeqCst) {
                let Ok((n, from)) = socket.recv_from(&mut data) else { continue };
                if let Some(answer) = answer(&data[..n]) {
                    let _ = socket.send_to(&answer, from);
                }
                counting.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, received, stop, thread: Some(thread) }
    }

    pub(crate) fn echo() -> Self {
        Self::start(|data| Some(data.to_vec()))
    }

    /// Answers with its name and a colon before what it got.
    pub(crate) fn named(name: &'static str, at: SocketAddr) -> Self {
        Self::start_at((at.ip(), at.port()), move |data| Some([name.as_bytes(), b":", data].concat()))
    }

    pub(crate) fn count(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || std::thread::panicking(), "the server at {} failed", self.address);
        }
    }
}

/// The datagram with this number: 1 to 1,400 bytes that no other one has, but for the shortest.
pub(crate) fn numbered(number: u64, seed: u64) -> Vec<u8> {
    let mut numbers = Lcg::new(number * 2 + seed);
    let len = 1 + numbers.below(1400);
    let mut data = number.to_le_bytes().to_vec();
    data.resize(len.max(8), (numbers.below(256)) as u8);
    let sum = data.iter().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    data.truncate(len);
    if let Some(last) = data.last_mut() {
        *last = sum;
    }
    data
}
