//! One client's connection: reads, finds requests, hands them to the hub, and writes what the socket did not take at once.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep};

use super::client::{Client, Left, SMALL, recharge};
use super::counters::C;
use super::desk::Desk;
use super::hub::Hub;
use super::protocol::{ProtocolError, Refusal, Scan, Side, Split};
use crate::flow::Counters;
use crate::text::reason;

/// What is read at once.
const READ: usize = 64 << 10;
/// For how long what a dismissed client still sends is read and forgotten: a reset would take the last answer with it.
const LINGER: Duration = Duration::from_secs(2);

/// A client's task. It is small, because there may be thousands.
pub(super) struct Session {
    read: OwnedReadHalf,
    client: Arc<Client>,
    hub: Arc<Hub>,
    desk: Arc<Desk>,
    place: usize,
    /// What has come and is no whole request yet, or has to wait.
    input: Vec<u8>,
    charged: usize,
    scan: Scan,
    /// The length of the whole request that waits at the front of `input`; 0, if there is none.
    waits: u32,
    eof: bool,
    /// What is to be said to the client when it waits for no answer.
    prompt: Option<&'static [u8]>,
    /// The timer of `idle_timeout`, or of the end.
    timer: Option<Box<Timer>>,
    _active: Active,
}

struct Timer {
    sleep: Pin<Box<Sleep>>,
    last_request: Instant,
    lingering: bool,
}

/// One client, as long as it is connected.
pub(super) struct Active(Arc<Counters>);

impl Active {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.add(C::ActiveConnections as usize, 1);
        Self(Arc::clone(counters))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.sub(C::ActiveConnections as usize, 1);
    }
}

/// Why a session ends.
enum End {
    /// The client has closed, or everything it asked for is answered and it can't ask more.
    Done,
    /// Its connection is broken.
    Broken(std::io::Error),
    /// It has sent what it must not.
    Wrong(Cow<'static, str>),
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> Self {
        Self::Wrong(error.0)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Session {
    pub(super) fn new(stream: TcpStream, from: SocketAddr, hub: &Arc<Hub>, desk: &Arc<Desk>) -> Self {
        let (read, write) = stream.into_split();
        let client = Client::new(write, from, Arc::clone(&hub.pool.budget));
        let timer = hub.spec.idle_timeout.map(|idle| {
            let now = Instant::now();
            Box::new(Timer { sleep: Box::pin(tokio::time::sleep(idle.0)), last_request: now, lingering: false })
        });
        Self {
            read,
            place: desk.enter(Arc::clone(&client)),
            client,
            hub: Arc::clone(hub),
            desk: Arc::clone(desk),
            input: Vec::new(),
            charged: 0,
            scan: Scan::new(Side::Downstream),
            waits: 0,
            eof: false,
            prompt: None,
            timer,
            _active: Active::new(&hub.counters),
        }
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<Result<(), End>> {
        self.client.watch(cx.waker());
        loop {
            if self.client.is_overdrawn() {
                // A part of an answer must not look like the whole.
                let _ = AsRef::<TcpStream>::as_ref(&self.read).set_zero_linger();
                return Poll::Ready(Err(End::Wrong("it does not read its answers, and the memory for them (buffer_total) is used up".into())));
            }
            // Before the writing, for which one that does not read would be waited for ever.
            self.check_idle(cx)?;
            ready!(self.client.poll_flush(cx))?;
            if self.client.left() == Left::Close {
                return self.linger(cx, scratch);
            }
            if self.client.is_dismissed() {
                return Poll::Pending;
            }
            if self.prompt.is_some() && !self.prompt() {
                return Poll::Pending;
            }
            if !self.input.is_empty() {
                let input = std::mem::take(&mut self.input);
                let used = self.ask(&input)?;
                self.keep(input, used)?;
            }
            let mut is_over = self.eof;
            if self.hub.is_retired() {
                is_over |= self.desk.hub().is_none();
                // Also one that asks nothing now: it may not belong to the next.
                if !is_over && self.client.left() == Left::Nothing && !self.move_to_the_next() {
                    continue;
                }
            }
            if is_over && self.client.left() == Left::Nothing {
                return Poll::Ready(Ok(()));
            }
            // What has come is enough to go on with; more would only be held.
            if is_over || (self.waits > 0 && self.input.len() >= SMALL) {
                return Poll::Pending;
            }
            let n = ready!(self.poll_read(cx, scratch))?;
            self.hub.counters.add(C::ClientRxBytes as usize, n as u64);
            let came = scratch.get(..n).unwrap_or_default();
            if n == 0 {
                self.eof = true;
            } else if self.input.is_empty() {
                let used = self.ask(came)?;
                self.keep(came.get(used..).unwrap_or_default().to_vec(), 0)?;
            } else {
                self.input.extend_from_slice(came);
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<std::io::Result<usize>> {
        if scratch.len() < READ {
            scratch.resize(READ, 0);
        }
        // A short read tells tokio that the socket is empty, and saves the read that would only say so.
        let mut buffer = ReadBuf::new(scratch.get_mut(..READ).unwrap_or_default());
        ready!(Pin::new(&mut self.read).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Hands the requests in `came` to the hub, as far as it may; the answer is how many bytes these were.
    fn ask(&mut self, came: &[u8]) -> Result<usize, End> {
        let mut used = 0;
        loop {
            let rest = came.get(used..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(used);
            }
            if self.hub.is_retired() && !self.move_to_the_next() {
                return Ok(used);
            }
            let protocol = self.hub.client_protocol;
            let length = match self.waits {
                0 => match protocol.split(rest, &mut self.scan, self.hub.most)? {
                    Split::More => return Ok(used),
                    Split::Prompt(text) => {
                        self.prompt = Some(text);
                        if !self.prompt() {
                            return Ok(used);
                        }
                        continue;
                    }
                    Split::Frame(length) => length,
                },
                waits => waits as usize,
            };
            let frame = rest.get(..length).unwrap_or_default();
            let asked = self.hub.read_request(frame)?;
            if !self.client.may_ask(asked.intent, self.hub.several && !self.hub.is_full()) {
                self.waits = length as u32;
                return Ok(used);
            }
            let now = Instant::now();
            if let Some(timer) = &mut self.timer {
                timer.last_request = now;
            }
            self.hub.submit(&self.client, &asked, now);
            used += length;
            self.waits = 0;
            self.scan = Scan::new(Side::Downstream);
        }
    }

    /// Says what the client waits for before it sends the rest of its request, when it waits for nothing before that.
    fn prompt(&mut self) -> bool {
        let may = self.client.left() == Left::Nothing;
        if may && let Some(text) = self.prompt.take() {
            self.client.say(text);
        }
        may
    }

    /// Goes on with the hub of the flow's new spec. `false`: there is none for this client.
    fn move_to_the_next(&mut self) -> bool {
        let Some(next) = self.desk.hub() else { return false };
        let fits = next.client_protocol.name() == self.hub.client_protocol.name() && next.allows(self.client.from.ip());
        if !fits {
            self.client.dismiss(&[]);
            return false;
        }
        self.hub = next;
        true
    }

    /// Keeps what is left of `input` behind `used`.
    fn keep(&mut self, mut input: Vec<u8>, used: usize) -> Result<(), End> {
        if used >= input.len() {
            input = Vec::new();
        } else if used > 0 {
            input.drain(..used);
        }
        self.input = input;
        let bytes = if self.input.len() > SMALL { self.input.len() } else { 0 };
        recharge(&self.hub.pool.budget, &mut self.charged, bytes);
        if bytes > 0 && self.hub.pool.budget.is_spent() {
            return Err(End::Wrong("the memory for what is on its way (buffer_total) is used up".into()));
        }
        Ok(())
    }

    fn check_idle(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let (Some(timer), Some(idle)) = (&mut self.timer, self.hub.spec.idle_timeout) else { return Ok(()) };
        while !timer.lingering && timer.sleep.as_mut().poll(cx).is_ready() {
            let last = if self.client.is_waiting() { Instant::now() } else { timer.last_request };
            if last + idle.0 <= Instant::now() {
                tracing::debug!(flow = self.hub.id, "client {} is closed: no request for {idle}", self.client.from);
                return Err(End::Done);
            }
            timer.sleep.as_mut().reset(last + idle.0);
        }
        Ok(())
    }

    /// The last answer is written: sends FIN, and reads what still comes until the client's own.
    fn linger(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<Result<(), End>> {
        self.input = Vec::new();
        if self.timer.as_ref().is_none_or(|timer| !timer.lingering) {
            let stream: &TcpStream = self.read.as_ref();
            socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write)?;
            let sleep = Box::pin(tokio::time::sleep(LINGER));
            self.timer = Some(Box::new(Timer { sleep, last_request: Instant::now(), lingering: true }));
        }
        loop {
            if self.eof || self.timer.as_mut().is_none_or(|timer| timer.sleep.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Ok(()));
            }
            self.eof = ready!(self.poll_read(cx, scratch))? == 0;
        }
    }

    /// Says why the client is closed. What is wrong with it is answered, if the protocol can.
    fn dismiss(&mut self, why: &str) {
        self.hub.counters.add(C::ClientMalformed as usize, 1);
        self.hub.report.happened(&"clients that are closed", &format!("client {} is closed: {why}", self.client.from));
        let protocol = self.hub.client_protocol;
        let mut frame = Vec::new();
        // A Modbus client could not tell which of its requests such an answer is for.
        if !protocol.is_modbus()
            && let Some(body) = protocol.refuse(&[], Refusal::Malformed)
        {
            protocol.wrap(0, &body, &mut frame);
        }
        self.input = Vec::new();
        self.client.dismiss(&frame);
    }
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let pool = Arc::clone(&self.hub.pool);
        let mut scratch = pool.take_scratch();
        let me = &mut *self;
        let mut polled = me.run(cx, &mut scratch);
        if let Poll::Ready(Err(End::Wrong(why))) = &polled {
            me.dismiss(why);
            polled = me.run(cx, &mut scratch);
        }
        pool.put_scratch(scratch);
        if let Err(End::Broken(error)) = ready!(polled) {
            tracing::debug!(flow = me.hub.id, "client {}: {}", me.client.from, reason(&error));
        }
        Poll::Ready(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        recharge(&self.hub.pool.budget, &mut self.charged, 0);
        self.client.go();
        self.desk.leave(self.place);
    }
}
