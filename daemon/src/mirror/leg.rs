//! One connection's way to one mirror. Whatever happens here stays here: the main stream only hands bytes over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::counters::C;
use super::patience::Patience;
use super::shared::Shared;
use super::spec::{MirrorLeg, WhenFull};
use super::spool::{End, Recorder};
use super::turn::{Side, Tally, Turn};
use crate::net::budget::SPARE;
use crate::net::{DialError, Fin, Held, Tick, taken};
use crate::text::reason;

/// From how many bytes on a write is not put off to be batched.
const BATCH_BYTES: usize = 16 << 10;

/// How much of a mirror's own bytes is read at once.
const READ_SIZE: usize = 16 << 10;

enum Link {
    /// Not dialled yet: that is done together with the first batch of writes, when client and target have been served.
    Waiting,
    Dialling(Pin<Box<dyn Future<Output = Result<TcpStream, DialError>> + Send>>),
    Open(TcpStream),
    /// Closed, failed or given up.
    Gone,
}

/// Why a copy ends before its stream.
enum Lost {
    Full,
    Memory,
    Io(io::Error),
}

/// What a poll of a leg did.
#[derive(Default)]
pub(super) struct Step {
    /// Something changed that may let the main stream go on.
    pub(super) moved: bool,
    /// Bytes at the start of the scratch buffer that are for the client.
    pub(super) for_client: usize,
}

pub(super) struct Leg {
    link: Link,
    /// Which of the spec's mirrors it is.
    index: u16,
    fin: Fin,
    /// The mirror has sent FIN.
    eof: bool,
    /// Its close is a reset, because the client's or the target's was.
    reset: bool,
    /// The last write was cut short: the next one waits for the socket, not for the batch.
    pressed: bool,
    /// The round of the pool in which it asked to be woken. When the round is over, what was gathered is written.
    round: Option<u32>,
    patience: Patience,
    held: Option<Arc<Held>>,
    /// What keeps a copy on disk.
    recorder: Option<Recorder>,
}

impl Leg {
    /// A leg to the mirror with this index, over `stream` if that is open already. A recorder says whether the mirror is
    /// to get its copy at once.
    pub(super) fn new(index: usize, stream: Option<TcpStream>, recorder: Option<(Recorder, bool)>) -> Self {
        let link = match (&recorder, stream) {
            (Some((_, false)), _) => Link::Gone,
            (_, None) => Link::Waiting,
            (_, Some(stream)) => Link::Open(stream),
        };
        Self {
            link,
            index: index as u16,
            fin: Fin::Open,
            eof: false,
            reset: false,
            pressed: false,
            round: None,
            patience: Patience::new(),
            held: None,
            recorder: recorder.map(|(recorder, _)| recorder),
        }
    }

    /// Puts a header before its first byte. It goes out, and to the disk, with the first batch.
    pub(super) fn begin_with(&mut self, header: &[u8], shared: &Shared) {
        if let Some(recorder) = &self.recorder {
            recorder.push(header);
        }
        if !self.is_gone() {
            let (budget, can_go) = (&shared.pool.budget, self.spec(shared).when_full != WhenFull::Block);
            let held = self.held.get_or_insert_with(|| budget.shelve(can_go));
            let _ = held.push(header, budget); // when the budget has taken it back, the next poll finds that out
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.link, Link::Gone)
    }

    /// Whether the main stream waits for it, in which case its task will be woken.
    ///
    /// With `when_full = "block"` it waits as long as it takes. Otherwise a mirror that is a moment behind gets that
    /// moment, so that a healthy one is neither lost to a burst nor served from a queue that costs a copy.
    pub(super) fn holds_up(&mut self, cx: &Context<'_>, shared: &Shared, now: Tick) -> bool {
        let behind = match self.link {
            Link::Open(_) => self.pressed,
            Link::Waiting | Link::Dialling(_) => self.held_len() as u64 >= self.spec(shared).buffer.0 / 2,
            Link::Gone => false,
        };
        if self.recorder.as_ref().is_some_and(|recorder| recorder.holds_up(cx.waker(), now)) {
            self.wake_later(cx, shared); // the disk's progress wakes it as well; this is for its lack
            return true;
        }
        if !behind {
            self.patience.end(now);
            return self.blocks(shared);
        }
        if self.blocks(shared) {
            return true;
        }
        if !self.patience.has_more(now) {
            return false;
        }
        self.wake_later(cx, shared); // the mirror's progress wakes it as well; this is for its lack
        true
    }

    fn blocks(&self, shared: &Shared) -> bool {
        let spec = self.spec(shared);
        let most = if shared.pool.budget.is_spent() { spec.buffer.0.min(SPARE as u64) } else { spec.buffer.0 };
        spec.when_full == WhenFull::Block && !self.is_gone() && self.held_len() as u64 >= most
    }

    fn wake_later(&mut self, cx: &Context<'_>, shared: &Shared) {
        if self.round != Some(shared.pool.round()) {
            self.round = Some(shared.pool.round());
            shared.pool.wake_later(cx.waker());
        }
    }

    /// Whether it gets a copy of what this end sends.
    pub(super) fn gets(&self, from: Side, shared: &Shared) -> bool {
        match from {
            Side::Client => self.spec(shared).from_client,
            Side::Target => self.spec(shared).from_target,
        }
    }

    pub(super) fn spec<'a>(&self, shared: &'a Shared) -> &'a MirrorLeg {
        shared.leg_spec(self.index)
    }

    fn held_len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }

    /// Takes a copy of `data`, which the target or the client has got already.
    pub(super) fn offer(&mut self, cx: &mut Context<'_>, shared: &Shared, turn: &mut Turn<'_>, data: &[u8]) {
        self.record(cx, shared, data);
        // A small buffer is not filled up with what could be written.
        let batch = BATCH_BYTES.min(self.spec(shared).buffer.0 as usize / 4);
        let enough = self.held_len() + data.len() >= batch || self.spec(shared).to_client;
        let _ = self.poll_dial(cx, shared, turn.tally, enough);
        if enough && !self.pressed {
            self.write_held(cx, shared, turn);
        }
        if self.is_gone() {
            self.missed(turn.tally, data.len());
            return;
        }
        let mut left = data;
        let at_once = data.len() >= batch || self.spec(shared).to_client;
        if let (Link::Open(stream), None, true) = (&mut self.link, &self.held, at_once) {
            match write_now(stream, cx, left, turn.tally) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(error) => return self.lose(shared, turn.tally, &Lost::Io(error), left.len()),
            }
            self.pressed = !left.is_empty();
        }
        if !left.is_empty() {
            self.hold(shared, turn.tally, left);
        }
    }

    /// Keeps a copy on disk, if the mirror has a spool.
    fn record(&mut self, cx: &Context<'_>, shared: &Shared, data: &[u8]) {
        let Some(recorder) = &self.recorder else { return };
        if !recorder.push(data) {
            return;
        }
        if self.is_gone() {
            self.wake_later(cx, shared);
        } else {
            recorder.write_later();
        }
    }

    /// Bytes that the mirror will not get, unless they are on disk.
    fn missed(&self, tally: &mut Tally, bytes: usize) {
        if !self.recorder.as_ref().is_some_and(Recorder::keeps) {
            tally.add(C::MirrorDroppedBytes, bytes as u64);
        }
    }

    /// At the end of a round, has what was recorded in it written.
    pub(super) fn poll_record(&mut self, shared: &Shared) {
        if let (Link::Gone, Some(recorder)) = (&self.link, &self.recorder)
            && self.round_is_over(shared)
        {
            recorder.write();
            self.round = None;
        }
    }

    fn hold(&mut self, shared: &Shared, tally: &mut Tally, data: &[u8]) {
        let spec = self.spec(shared);
        let blocks = spec.when_full == WhenFull::Block;
        if !blocks && (self.held_len() + data.len()) as u64 > spec.buffer.0 {
            return self.lose(shared, tally, &Lost::Full, data.len());
        }
        let budget = &shared.pool.budget;
        let held = self.held.get_or_insert_with(|| budget.shelve(!blocks));
        if let Err(left) = held.push(data, budget) {
            self.lose(shared, tally, &Lost::Memory, left);
        }
    }

    /// Goes on with whatever it can: dialling, writing what is held, FIN, and, if `may_read`, reading.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared, turn: &mut Turn<'_>, may_read: bool) -> Step {
        let before = self.held_len();
        let mut dialled = false;
        if let Link::Waiting | Link::Dialling(_) = self.link {
            if self.poll_dial(cx, shared, turn.tally, false).is_pending() {
                if self.held.as_ref().is_some_and(|held| held.is_taken()) {
                    self.lose(shared, turn.tally, &Lost::Memory, 0);
                }
                return Step::default();
            }
            dialled = true;
            if self.is_gone() {
                return Step { moved: true, for_client: 0 };
            }
        }
        self.poll_write(cx, shared, turn);
        let for_client = if may_read { self.poll_read(cx, shared, turn) } else { 0 };
        Step { moved: dialled || self.held_len() < before || for_client > 0, for_client }
    }

    /// Whether it is not dialled yet.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.link, Link::Waiting)
    }

    /// Whether the round in which it asked to be woken is over.
    fn round_is_over(&self, shared: &Shared) -> bool {
        self.round.is_some_and(|round| round != shared.pool.round())
    }

    /// Dials if that is due (`now`: it is), and goes on dialling. `Ready` means that the link is open, or gone.
    fn poll_dial(&mut self, cx: &mut Context<'_>, shared: &Shared, tally: &mut Tally, now: bool) -> Poll<()> {
        if let Link::Waiting = self.link {
            if !now && !self.round_is_over(shared) && !self.spec(shared).to_client {
                self.wake_later(cx, shared);
                return Poll::Pending;
            }
            let (dialler, address) = (shared.dialler(self.fin == Fin::Open), self.spec(shared).address.clone());
            self.link = Link::Dialling(Box::pin(async move { dialler.dial(&address).await }));
        }
        let Link::Dialling(dialling) = &mut self.link else { return Poll::Ready(()) };
        match ready!(dialling.as_mut().poll(cx)) {
            Ok(stream) => {
                tally.add(C::MirrorConnections, 1);
                shared.report.mended(&self.spec(shared).address);
                self.link = Link::Open(stream);
            }
            Err(error) => {
                tally.add(C::MirrorErrConnect, 1);
                shared.report.failed(&self.spec(shared).address, &format!("mirror: {error}"));
                self.link = Link::Gone;
                self.close(shared, tally);
            }
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, shared: &Shared, turn: &mut Turn<'_>) {
        if self.held.is_some() {
            if self.pressed || self.fin == Fin::Due || self.round_is_over(shared) {
                self.write_held(cx, shared, turn);
            } else {
                self.wake_later(cx, shared);
            }
        }
        if let Link::Open(stream) = &mut self.link
            && self.fin == Fin::Due
            && self.held.is_none()
        {
            // A reset overtakes what is not sent yet. Where a record depends on it, that is waited for.
            if self.reset && self.recorder.is_some() && !taken::is_sent(stream) {
                return self.wake_later(cx, shared);
            }
            self.fin = Fin::Sent;
            if self.reset {
                let _ = stream.set_zero_linger();
                self.closed();
            } else {
                let _ = Pin::new(stream).poll_shutdown(cx);
                if turn.over {
                    self.let_go(shared);
                }
            }
        }
    }

    fn write_held(&mut self, cx: &mut Context<'_>, shared: &Shared, turn: &mut Turn<'_>) {
        let (Link::Open(stream), Some(held)) = (&mut self.link, &self.held) else { return };
        let (mut bytes, mut writes) = (0, 0);
        let last = self.fin == Fin::Due && !self.reset;
        let end = held.poll_write_to(stream, cx, &shared.pool.budget, last, &mut bytes, &mut writes);
        let taken = held.is_taken();
        turn.tally.add(C::MirrorTxBytes, bytes);
        turn.tally.add(C::MirrorTxPkts, writes);
        self.pressed = end.is_pending();
        self.round = None;
        match end {
            _ if taken => self.lose(shared, turn.tally, &Lost::Memory, 0),
            Poll::Ready(Ok(())) => {
                shared.pool.budget.unshelve(held);
                self.held = None;
            }
            Poll::Ready(Err(error)) => self.lose(shared, turn.tally, &Lost::Io(error), 0),
            Poll::Pending => {}
        }
    }

    /// Reads what the mirror sends. The answer is the number of bytes in the scratch buffer that are for the client;
    /// without `to_client` they are read and forgotten, so that the mirror is never stuck in a write.
    fn poll_read(&mut self, cx: &mut Context<'_>, shared: &Shared, turn: &mut Turn<'_>) -> usize {
        if turn.scratch.len() < READ_SIZE {
            turn.scratch.resize(READ_SIZE, 0);
        }
        // A mirror that chatters must not keep the main stream waiting: a few reads, then its turn is over.
        for _ in 0..8 {
            if self.eof {
                if self.fin == Fin::Sent {
                    self.poll_closed(cx, shared, turn.tally);
                }
                return 0;
            }
            let Link::Open(stream) = &mut self.link else { return 0 };
            let mut buffer = ReadBuf::new(turn.scratch.get_mut(..READ_SIZE).unwrap_or_default());
            match Pin::new(stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return 0,
                // It has got everything: how it closes is its own affair.
                Poll::Ready(Err(_)) if self.fin == Fin::Sent => {
                    self.close(shared, turn.tally);
                    return 0;
                }
                Poll::Ready(Err(error)) => {
                    self.lose(shared, turn.tally, &Lost::Io(error), 0);
                    return 0;
                }
                Poll::Ready(Ok(())) => {}
            }
            let n = buffer.filled().len();
            if n == 0 {
                self.eof = true;
                continue;
            }
            turn.tally.add(C::MirrorRxPkts, 1);
            turn.tally.add(C::MirrorRxBytes, n as u64);
            if self.spec(shared).to_client {
                return n;
            }
        }
        cx.waker().wake_by_ref();
        0
    }

    /// Nothing more comes for this mirror: FIN (or a reset) follows what is held.
    pub(super) fn finish(&mut self, reset: bool) {
        if self.fin == Fin::Open {
            self.fin = Fin::Due;
        }
        self.reset |= reset;
        if let Some(recorder) = &self.recorder {
            recorder.end(End { reset, live: !self.is_gone() });
        }
    }

    /// Both have sent FIN. Where a record depends on it, the mirror must have acknowledged everything.
    fn poll_closed(&mut self, cx: &Context<'_>, shared: &Shared, tally: &mut Tally) {
        let Link::Open(stream) = &self.link else { return };
        match self.recorder.as_ref().map_or(Some(Ok(())), |_| taken::is_acknowledged(stream)) {
            Some(Ok(())) => self.closed(),
            Some(Err(_)) => self.close(shared, tally),
            None => self.wake_later(cx, shared),
        }
    }

    /// Where many ended connections wait for their mirrors to close, one that has got everything is not waited for: how it
    /// closes is its own affair, unless a record depends on it.
    pub(super) fn let_go(&mut self, shared: &Shared) {
        if self.fin == Fin::Sent && self.recorder.is_none() && shared.many_linger() {
            self.link = Link::Gone;
        }
    }

    /// The mirror has got everything, and the connection to it has ended as it should.
    fn closed(&mut self) {
        self.link = Link::Gone;
        if let Some(recorder) = &self.recorder {
            recorder.delivered();
        }
    }

    /// The copy is given up: the mirror gets a reset, so that it can't take what it got for the whole.
    fn lose(&mut self, shared: &Shared, tally: &mut Tally, lost: &Lost, unsent: usize) {
        let address = &self.spec(shared).address;
        self.missed(tally, unsent);
        if let Lost::Io(_) = lost {
            tally.add(C::MirrorErrPkts, 1);
        }
        let how = match (&self.link, lost) {
            (_, Lost::Io(error)) => reason(error),
            (Link::Waiting | Link::Dialling(_), Lost::Full) => "it is not connected yet and its buffer is full".to_owned(),
            (_, Lost::Full) => "it does not keep up and its buffer is full".to_owned(),
            (_, Lost::Memory) => "it does not keep up and buffer_total is reached".to_owned(),
        };
        let then = if self.recorder.is_some() { "the connection is played back later" } else { "its copy of this connection ends here" };
        shared.report.failed(address, &format!("mirror {address}: {how}; {then}"));
        self.close(shared, tally);
    }

    /// The time for the mirror to take the rest of its copy and to close is over.
    pub(super) fn expire(&mut self, shared: &Shared, tally: &mut Tally) {
        if !self.is_gone() && self.fin != Fin::Sent {
            let address = &self.spec(shared).address;
            let then = if self.recorder.is_some() { "it is played back later" } else { "what it misses is dropped" };
            let text = format!("mirror {address}: it has not taken its copy of an ended connection in time; {then}");
            shared.report.failed(address, &text);
        }
        self.close(shared, tally);
    }

    /// Closes now, counting what it had not written. A mirror that did not get everything gets a reset.
    pub(super) fn close(&mut self, shared: &Shared, tally: &mut Tally) {
        if !self.is_gone() && self.fin != Fin::Sent {
            tally.add(C::MirrorDetached, 1);
            if let Link::Open(stream) = &self.link {
                let _ = stream.set_zero_linger();
            }
        }
        self.link = Link::Gone;
        if let Some(recorder) = &self.recorder {
            recorder.failed();
        }
        if let Some(held) = self.held.take() {
            self.missed(tally, held.len());
            shared.pool.budget.unshelve(&held);
        }
    }
}

/// Writes as much as the socket takes.
fn write_now(stream: &mut TcpStream, cx: &mut Context<'_>, data: &[u8], tally: &mut Tally) -> io::Result<usize> {
    let mut done = 0;
    while let Some(left) = data.get(done..).filter(|left| !left.is_empty()) {
        match Pin::new(&mut *stream).poll_write(cx, left)? {
            Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(n) => {
                done += n;
                tally.add(C::MirrorTxPkts, 1);
                tally.add(C::MirrorTxBytes, n as u64);
            }
            Poll::Pending => break,
        }
    }
    Ok(done)
}
