//! A simulated inverter: it speaks Modbus/TCP, takes one connection, and drops everybody when a second comes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// How long it takes for an answer.
const ANSWERS_AFTER: Duration = Duration::from_millis(10);

/// How many holding registers it has.
const REGISTERS: u16 = 1000;

/// The device.
pub(super) struct Inverter {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    registers: Mutex<Vec<u16>>,
    connections: AtomicU64,
    dropped: AtomicU64,
}

impl Inverter {
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let registers = Mutex::new((0..REGISTERS).map(factory_value).collect());
        let state = Arc::new(State { registers, connections: AtomicU64::new(0), dropped: AtomicU64::new(0) });
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, task })
    }

    /// How many connections there were, and how many of them it has dropped.
    pub(super) fn connections(&self) -> (u64, u64) {
        (self.state.connections.load(Ordering::Relaxed), self.state.dropped.load(Ordering::Relaxed))
    }
}

impl Drop for Inverter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a register has before anybody writes to it.
pub(super) fn factory_value(address: u16) -> u16 {
    address.wrapping_mul(7).wrapping_add(1000)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut served = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        while served.try_join_next().is_some() {}
        if served.is_empty() {
            served.spawn(serve(stream, Arc::clone(&state)));
        } else {
            state.dropped.fetch_add(1 + served.len() as u64, Ordering::Relaxed);
            served.shutdown().await;
        }
    }
}

/// One request after the other.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut head = [0; 7];
    while stream.read_exact(&mut head).await.is_ok() {
        let [t1, t2, p1, p2, l1, l2, unit] = head;
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        if [p1, p2] != [0, 0] || !(2..=254).contains(&length) {
            return;
        }
        let mut pdu = vec![0; length - 1];
        if stream.read_exact(&mut pdu).await.is_err() {
            return;
        }
        tokio::time::sleep(ANSWERS_AFTER).await;
        let answer = state.answer(&pdu);
        let [l1, l2] = (answer.len() as u16 + 1).to_be_bytes();
        let mut frame = vec![t1, t2, 0, 0, l1, l2, unit];
        frame.extend(answer);
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
}

impl State {
    fn answer(&self, pdu: &[u8]) -> Vec<u8> {
        let mut registers = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        let function = pdu.first().copied().unwrap_or_default();
        let &[_, a1, a2, v1, v2] = pdu else { return vec![function | 0x80, 3] };
        let (address, value) = (usize::from(u16::from_be_bytes([a1, a2])), u16::from_be_bytes([v1, v2]));
        match function {
            3 if (1..=125).contains(&value) => match registers.get(address..address + usize::from(value)) {
                Some(read) => [3, value as u8 * 2].into_iter().chain(read.iter().flat_map(|register| register.to_be_bytes())).collect(),
                None => vec![0x83, 2],
            },
            6 => match registers.get_mut(address) {
                Some(register) => {
                    *register = value;
                    pdu.to_vec()
                }
                None => vec![0x86, 2],
            },
            3 => vec![0x83, 3],
            other => vec![other | 0x80, 1],
        }
    }
}
