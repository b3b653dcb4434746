//! One client that waits for each answer: what an answer takes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::asking::{Asking, Requests};
use crate::crowd::STALLED;
use crate::modbus::{LONGEST, frame};

/// What comes before anything is measured.
const WARM_UP: usize = 200;

pub(crate) struct Client {
    stream: TcpStream,
    requests: Requests,
    scratch: Vec<u8>,
}

impl Client {
    /// Connects, and makes some requests.
    pub(crate) fn connect(front: SocketAddr, asking: Asking) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&front, STALLED).map_err(|e| format!("connect: {e}"))?;
        let prepared = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(STALLED)));
        prepared.map_err(|e| e.to_string())?;
        let mut client = Self { stream, requests: Requests::new(asking, 0), scratch: Vec::new() };
        (0..WARM_UP).try_for_each(|_| client.ask())?;
        Ok(client)
    }

    /// Asks for `length`.
    pub(crate) fn run(&mut self, length: Duration) -> Result<Value, String> {
        let mut times = Vec::new();
        let began = Instant::now();
        let mut last = began;
        while last - began < length {
            self.ask()?;
            let now = Instant::now();
            times.push(now - last);
            last = now;
        }
        let rate = times.len() as f64 / (last - began).as_secs_f64();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
        Ok(json!({ "answers": times.len(), "per_second": rate, "p50_us": at(50), "p99_us": at(99), "slowest": 1.0 }))
    }

    fn ask(&mut self) -> Result<(), String> {
        let read = self.requests.next();
        self.stream.write_all(&read.request()).map_err(|e| format!("send {read:?}: {e}"))?;
        let mut answer = [0; LONGEST];
        let mut filled = 0;
        while frame(&answer[..filled]).is_none() {
            match self.stream.read(&mut answer[filled..]) {
                Ok(0) => return Err(format!("closed instead of an answer to {read:?}")),
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(format!("no answer to {read:?} in {} s", STALLED.as_secs())),
                Err(error) => return Err(format!("answer to {read:?}: {error}")),
            }
        }
        read.check(&answer[..filled], &mut self.scratch)
    }
}
