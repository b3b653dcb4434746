//! The relay of one connection: a future that moves bytes between client and target and hands copies to the mirrors.
//!
//! It owns no buffer. Bytes are read into a scratch buffer that lives as long as one poll, written to the other end,
//! then offered to the mirrors; only what the other end did not take stays. So a connection at rest costs its sockets
//! and this struct. The main write always comes before the mirrors'.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::counters::C;
use super::leg::Leg;
use super::shared::{Active, Lingering, Shared};
use super::turn::{Side, Tally, Turn};
use crate::net::budget::SPARE;
use crate::net::{Fin, Peer, Tick};

/// How much one poll moves before other connections get their turn.
const TURN_BYTES: usize = 1 << 20;
const TURN_ROUNDS: usize = 64;

/// How long a mirror may take, after the main stream has ended, to read the rest of its copy and close.
const LINGER: Duration = Duration::from_secs(10);

/// The main stream, while it lives.
struct Main {
    client: Peer,
    target: Peer,
    _active: Active,
}

/// One end failed, which the other end learns as a reset.
struct Broken {
    by: Side,
    error: io::Error,
}

/// Relays one connection until both ends are done and the mirrors have got their copy.
pub(super) struct Relay {
    shared: Arc<Shared>,
    main: Option<Main>,
    legs: Box<[Leg]>,
    timer: Option<Box<Timer>>,
    /// The target is probed. Most connections end before that is worth four system calls: it is done together with
    /// the first round of the mirrors.
    kept_alive: bool,
}

/// The idle timeout while the main stream lives, the mirrors' last deadline after it.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    last_byte: Tick,
    _lingering: Option<Lingering>,
}

impl Relay {
    pub(super) fn new(shared: Arc<Shared>, client: Peer, target: Peer, active: Active, legs: Box<[Leg]>) -> Self {
        let timer = shared.spec.idle_timeout.map(|idle| Box::new(Timer::new(idle.0, None)));
        let kept_alive = !shared.spec.keepalive; // or there is nothing to do
        Self { shared, main: Some(Main { client, target, _active: active }), legs, timer, kept_alive }
    }

    fn turn(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> Poll<()> {
        let (mut total, mut rounds) = (0, 0);
        loop {
            turn.over = self.main.is_none();
            let moved = self.main_round(cx, turn) + self.legs_round(cx, turn);
            if self.main.as_ref().is_some_and(Main::is_over) {
                self.main_ended(false, turn.tally);
                continue;
            }
            if self.main.is_none() && self.legs.iter().all(Leg::is_gone) {
                return Poll::Ready(());
            }
            total += moved;
            rounds += 1;
            if moved == 0 {
                break;
            }
            if total >= TURN_BYTES || rounds >= TURN_ROUNDS {
                give_way(cx);
                break;
            }
        }
        self.watch_the_clock(cx, turn.tally, total > 0, turn.now)
    }

    fn main_round(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> usize {
        let Some(main) = &mut self.main else { return 0 };
        if !self.kept_alive && !self.legs.iter().any(Leg::is_waiting) {
            self.kept_alive = true;
            main.target.keep_alive();
        }
        let moved = main
            .pump(cx, &self.shared, &mut self.legs, turn, Side::Client)
            .and_then(|up| Ok(up + main.pump(cx, &self.shared, &mut self.legs, turn, Side::Target)?));
        moved.unwrap_or_else(|broken| {
            self.main_broke(&broken, turn.tally);
            1
        })
    }

    fn legs_round(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_>) -> usize {
        let mut moved = 0;
        self.legs.iter_mut().for_each(|leg| leg.poll_record(&self.shared));
        for leg in self.legs.iter_mut().filter(|leg| !leg.is_gone()) {
            // While the client is behind, what a mirror has for it would have nowhere to go.
            let may_read = !leg.spec(&self.shared).to_client || !self.main.as_ref().is_some_and(|m| m.client.is_behind());
            let step = leg.poll(cx, &self.shared, turn, may_read);
            moved += usize::from(step.moved);
            if let (Some(main), n @ 1..) = (&mut self.main, step.for_client)
                && let Err(broken) = main.give_to_client(cx, &self.shared, turn, n)
            {
                self.main_broke(&broken, turn.tally);
                break;
            }
        }
        moved
    }

    fn watch_the_clock(&mut self, cx: &mut Context<'_>, tally: &mut Tally, moved: bool, now: Tick) -> Poll<()> {
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        if self.main.is_some() {
            if moved {
                timer.last_byte = now;
            }
            let Some(idle) = self.shared.spec.idle_timeout else { return Poll::Pending };
            while timer.sleep.as_mut().poll(cx).is_ready() {
                let silent = now.since(timer.last_byte);
                if silent >= idle.0 {
                    tracing::debug!(flow = self.shared.id, "connection closed after {idle} without a byte");
                    let cut = self.main.as_ref().is_some_and(Main::is_behind);
                    self.reset_main_if(cut);
                    self.main_ended(cut, tally);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                timer.sleep.as_mut().reset(Instant::now() + idle.0.saturating_sub(silent));
            }
            Poll::Pending
        } else if timer.sleep.as_mut().poll(cx).is_ready() {
            self.legs.iter_mut().for_each(|leg| leg.expire(&self.shared, tally));
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn main_broke(&mut self, broken: &Broken, tally: &mut Tally) {
        tally.add(if broken.by == Side::Client { C::ClientErrPkts } else { C::TargetErrPkts }, 1);
        self.reset_main_if(true);
        tracing::debug!(flow = self.shared.id, "the {:?} broke the connection: {}", broken.by, crate::text::reason(&broken.error));
        self.main_ended(true, tally);
    }

    /// Makes the close that follows a reset, so that nobody takes what came for the whole.
    fn reset_main_if(&self, cut: bool) {
        if let (Some(main), true) = (&self.main, cut) {
            main.client.reset_on_close();
            main.target.reset_on_close();
        }
    }

    /// Closes client and target; the mirrors get what they miss, for a while.
    fn main_ended(&mut self, reset: bool, tally: &mut Tally) {
        self.main = None;
        self.legs.iter_mut().for_each(|leg| leg.finish(reset));
        if let Some(lingering) = self.shared.linger() {
            self.timer = Some(Box::new(Timer::new(LINGER, Some(lingering))));
        } else {
            self.legs.iter_mut().for_each(|leg| leg.expire(&self.shared, tally));
        }
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.shared);
        let mut tally = Tally::new();
        let mut scratch = shared.pool.take_scratch();
        let done = self.turn(cx, &mut Turn { tally: &mut tally, scratch: &mut scratch, now: Tick::now(), over: false });
        shared.pool.put_scratch(scratch);
        shared.counters.add_all(tally.row());
        done
    }
}

impl Drop for Relay {
    /// A relay that is cut resets what is still open, so that nobody takes what came for the whole, and gives back what
    /// its mirrors hold.
    fn drop(&mut self) {
        self.reset_main_if(true);
        let mut tally = Tally::new();
        self.legs.iter_mut().for_each(|leg| leg.close(&self.shared, &mut tally));
        self.shared.counters.add_all(tally.row());
    }
}

/// Has the task polled again, but not before the runtime has looked at all sockets: a plain wake-up would let one busy
/// stream run dozens of turns before others are even seen.
fn give_way(cx: &mut Context<'_>) {
    let turn_over = std::pin::pin!(tokio::task::yield_now());
    let _ = turn_over.poll(cx);
}

impl Timer {
    fn new(after: Duration, lingering: Option<Lingering>) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(after)), last_byte: Tick::now(), _lingering: lingering }
    }
}

impl Main {
    /// One read and its writes, in the direction away from `from`. The answer is how much moved.
    fn pump(&mut self, cx: &mut Context<'_>, shared: &Shared, legs: &mut [Leg], turn: &mut Turn<'_>, from: Side) -> Result<usize, Broken> {
        let (source, sink, to) = match from {
            Side::Client => (&mut self.client, &mut self.target, Side::Target),
            Side::Target => (&mut self.target, &mut self.client, Side::Client),
        };
        if source.fin == Fin::Sent && sink.fin == Fin::Due && !sink.is_behind() {
            sink.fin = Fin::Sent; // it is the last one: the close that follows sends it
        }
        if sink.is_behind() || sink.fin == Fin::Due {
            let behind = sink.behind();
            match sink.poll_catch_up(cx) {
                Poll::Pending => return Ok(behind - sink.behind()),
                Poll::Ready(Err(error)) => return Err(Broken { by: to, error }),
                Poll::Ready(Ok(done)) => turn.tally.sent(to, done),
            }
        }
        if source.eof {
            return Ok(0);
        }
        if legs.iter_mut().filter(|leg| leg.gets(from, shared)).any(|leg| leg.holds_up(cx, shared, turn.now)) {
            return Ok(0);
        }
        let limit = if shared.pool.budget.is_spent() { SPARE } else { usize::MAX };
        let n = match source.poll_read(cx, turn.scratch, limit) {
            Poll::Pending => return Ok(0),
            Poll::Ready(Err(error)) => return Err(Broken { by: from, error }),
            Poll::Ready(Ok(n)) => n,
        };
        if n == 0 {
            sink.fin = Fin::Due;
            self.end_copies(legs, shared);
            return Ok(1);
        }
        turn.tally.received(from, n);
        // Taken out for the moment, so that the legs can be handed the turn as well.
        let scratch = std::mem::take(turn.scratch);
        let data = scratch.get(..n).unwrap_or_default();
        let delivered = sink.deliver(cx, data, &shared.pool.budget);
        if delivered.is_ok() {
            for leg in legs.iter_mut().filter(|leg| leg.gets(from, shared)) {
                leg.offer(cx, shared, turn, data);
            }
        }
        *turn.scratch = scratch;
        turn.tally.sent(to, delivered.map_err(|error| Broken { by: to, error })?);
        source.adapt(n, !sink.is_behind());
        Ok(n)
    }

    /// A mirror's copy ends when every direction that it gets has ended.
    fn end_copies(&self, legs: &mut [Leg], shared: &Shared) {
        for leg in legs {
            let client_done = self.client.eof || !leg.gets(Side::Client, shared);
            let target_done = self.target.eof || !leg.gets(Side::Target, shared);
            if client_done && target_done {
                leg.finish(false);
            }
        }
    }

    /// Gives the client the first `n` bytes of the scratch buffer, which a mirror has sent.
    fn give_to_client(&mut self, cx: &mut Context<'_>, shared: &Shared, turn: &mut Turn<'_>, n: usize) -> Result<(), Broken> {
        if self.client.fin != Fin::Open {
            return Ok(()); // the target has ended the answer
        }
        let data = turn.scratch.get(..n).unwrap_or_default();
        let done = self.client.deliver(cx, data, &shared.pool.budget).map_err(|error| Broken { by: Side::Client, error })?;
        turn.tally.sent(Side::Client, done);
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.client.is_behind() || self.target.is_behind()
    }

    fn is_over(&self) -> bool {
        self.client.fin == Fin::Sent && self.target.fin == Fin::Sent
    }
}
