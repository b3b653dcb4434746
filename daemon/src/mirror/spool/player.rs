//! Playing back: one record after the other, from the oldest, each until its mirror has got everything and has closed.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use super::index::{Place, Tries};
use super::reader::{Next, Reader, ending};
use super::record::{self, Chunk};
use super::{Spool, record_path};
use crate::flow::Backoff;
use crate::mirror::counters::C;
use crate::mirror::spec::Partial;
use crate::net::taken;
use crate::text::{reason, unix_ms};

/// The pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a mirror may take to close when it has got everything.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// How long a mirror may take nothing.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// How long what was sent last may be on its way before a reset follows.
const BEFORE_RESET: Duration = Duration::from_millis(100);
/// A record that the mirror got whole so often without closing is given up.
const MOST_WHOLE_TRIES: u32 = 3;
/// One that it broke off so often, and for so long, as well. Otherwise all others would wait behind it.
const MOST_TRIES: u32 = 10;
const LONGEST_TRIED: Duration = Duration::from_secs(600);

/// What became of one playing back.
enum Outcome {
    Delivered,
    /// Why not, and whether the mirror had got everything.
    Lost {
        why: String,
        whole: bool,
    },
    /// It can't be played any further.
    Damaged(String),
}

impl Outcome {
    fn lost(why: &str, whole: bool) -> Self {
        Self::Lost { why: why.to_owned(), whole }
    }
}

/// Plays back what waits, for as long as the spool is used. A defect costs a record its turn, not the spool its player.
pub(super) async fn keep_playing(spool: Weak<Spool>) {
    loop {
        let mut player = JoinSet::new(); // dropped with this task, it ends the other
        player.spawn(play(spool.clone()));
        let Some(Err(error)) = player.join_next().await else { return };
        let Some(spool) = spool.upgrade() else { return };
        spool.report.happened(
            &"player of the spool",
            &format!("playing back failed inside: {error}; this is a defect of domoflux, please report it"),
        );
        spool.index().interrupt();
        tokio::time::sleep(LONGEST_PAUSE).await;
    }
}

async fn play(spool: Weak<Spool>) {
    let Some(spool) = spool.upgrade() else { return };
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut playing: JoinSet<(u64, Outcome)> = JoinSet::new();
    loop {
        while let Some(done) = playing.try_join_next() {
            spool.settle(done, &mut backoff).await;
        }
        spool.prune();
        let Some(seq) = spool.index().first_waiting() else {
            tokio::select! {
                () = spool.waiting.notified() => {}
                Some(done) = playing.join_next() => { spool.settle(done, &mut backoff).await; }
            }
            continue;
        };
        if spool.examine(seq).await.is_none() {
            continue;
        }
        let Some(stream) = spool.dial(&mut backoff).await else { continue };
        // Meanwhile that one may have gone, or an older one come back.
        while let Some(done) = playing.try_join_next() {
            spool.settle(done, &mut backoff).await;
        }
        let Some(seq) = spool.index().first_waiting() else { continue };
        let Some((doubtful, reader)) = spool.examine(seq).await else { continue };
        spool.index().put(seq, Place::Playing);
        spool.show();
        let caught_up = Arc::new(Notify::new());
        let task = Playing { spool: Arc::clone(&spool), seq, doubtful, caught_up: Arc::clone(&caught_up) };
        playing.spawn(async move { (seq, task.run(reader, stream).await) });
        loop {
            tokio::select! {
                Some(done) = playing.join_next() => {
                    let lost = spool.settle(done, &mut backoff).await;
                    if lost {
                        tokio::time::sleep(backoff.pause()).await;
                    }
                    if spool.index().get(seq).is_none_or(|entry| entry.place != Place::Playing) {
                        break;
                    }
                }
                () = caught_up.notified() => {
                    spool.index().put(seq, Place::Following);
                    spool.show();
                    break;
                }
            }
        }
    }
}

impl Spool {
    /// Drops what is too old.
    fn prune(&self) {
        let limit = unix_ms().saturating_sub(self.settings().spec.max_age.0.as_millis() as u64);
        let old = self.index().older_than(limit);
        for seq in old {
            self.drop_record(seq, "its max_age is reached");
        }
    }

    /// Looks at a record before its mirror is dialled: whether it may have arrived before, and a reader of it.
    async fn examine(&self, seq: u64) -> Option<(bool, Reader)> {
        let path = record_path(&self.dir, seq);
        let (recording, doubtful) = self.index().get(seq).map(|entry| (entry.recording.clone(), entry.doubtful))?;
        if let Some(doubtful) = doubtful {
            return Some((doubtful, Reader::new(path, recording)));
        }
        let found = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || ending(&path)).await.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        };
        let doubtful = match found {
            Ok(Some((end, played))) => end.live || played,
            Ok(None) if self.settings().spec.partial == Partial::Replay => false,
            Ok(None) => {
                self.drop_record(seq, "domoflux died while it was recorded, and incomplete ones are not played back");
                return None;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.drop_record(seq, &format!("{} is gone", path.display()));
                return None;
            }
            Err(error) => {
                self.report
                    .happened(&path.display(), &format!("cannot read {}: {}; it is tried again", path.display(), reason(&error)));
                tokio::time::sleep(LONGEST_PAUSE).await;
                return None;
            }
        };
        self.index().get_mut(seq)?.doubtful = Some(doubtful);
        Some((doubtful, Reader::new(path, recording)))
    }

    /// A connection to the mirror; `None` after a pause, because there is none.
    async fn dial(&self, backoff: &mut Backoff) -> Option<TcpStream> {
        let settings = self.settings();
        match settings.dialler.dial(&settings.address).await {
            Ok(stream) => {
                self.counters.add(C::MirrorConnections as usize, 1);
                self.report.mended(&settings.address);
                Some(stream)
            }
            Err(error) => {
                self.counters.add(C::MirrorErrConnect as usize, 1);
                self.report.failed(&settings.address, &format!("mirror: {error}; its connections are kept"));
                tokio::time::sleep(backoff.pause()).await;
                None
            }
        }
    }

    /// Does what follows from the outcome. The answer is whether the mirror should be left alone for a moment.
    async fn settle(&self, done: Result<(u64, Outcome), JoinError>, backoff: &mut Backoff) -> bool {
        let (seq, outcome) = match done {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic), // the player is started again
                Err(_) => return false,
            },
        };
        match outcome {
            Outcome::Delivered => {
                backoff.reset();
                self.counters.add(C::SpoolReplayed as usize, 1);
                // Now, not when the disk's thread gets to it: as long as it is there, a death would have it played twice.
                let path = record_path(&self.dir, seq);
                let _ = tokio::task::spawn_blocking(move || std::fs::remove_file(path)).await;
                self.remove(seq);
                false
            }
            Outcome::Damaged(why) => {
                self.drop_record(seq, &format!("its record is damaged, and was played back in part and reset: {why}"));
                false
            }
            Outcome::Lost { why, whole } => {
                let address = self.settings().address;
                self.report.failed(&address, &format!("mirror {address}: {why}; the connection is played back again"));
                let given_up = self.index().get_mut(seq).is_some_and(|entry| {
                    if whole {
                        entry.doubtful = Some(true);
                    }
                    entry.tries.add(whole)
                });
                if given_up {
                    self.drop_record(seq, "the mirror does not take it: it must read it to its end, and close");
                } else {
                    self.index().put(seq, Place::Waiting);
                    self.show();
                }
                true
            }
        }
    }
}

impl Tries {
    /// Counts one more; the answer is whether that is enough.
    fn add(&mut self, whole: bool) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.begun += 1;
        self.whole += u32::from(whole);
        self.whole >= MOST_WHOLE_TRIES || (self.begun >= MOST_TRIES && since.elapsed() >= LONGEST_TRIED)
    }
}

/// One record on its way to the mirror.
struct Playing {
    spool: Arc<Spool>,
    seq: u64,
    doubtful: bool,
    /// Told when it has played everything that its client has sent so far.
    caught_up: Arc<Notify>,
}

/// How the bytes of a record ended.
enum Sent {
    Whole,
    /// What follows is a reset.
    Cut,
}

impl Playing {
    async fn run(self, reader: Reader, mut stream: TcpStream) -> Outcome {
        let (outcome, reset) = match self.deliver(reader, &mut stream).await {
            Ok(Sent::Whole) => (Outcome::Delivered, false),
            Ok(Sent::Cut) => (Outcome::Delivered, true),
            Err(lost) => (lost, true),
        };
        if reset {
            // What is incomplete must not look whole.
            let _ = stream.set_zero_linger();
        }
        outcome
    }

    async fn deliver(&self, reader: Reader, stream: &mut TcpStream) -> Result<Sent, Outcome> {
        let sent = self.send_and_listen(reader, stream).await?;
        let stream = &*stream;
        if let Sent::Cut = sent {
            let sent = wait_for(|| taken::is_sent(stream).then_some(()));
            let late = |_| Outcome::lost(&format!("it has taken nothing for {} s", STALLED_AFTER.as_secs()), false);
            timeout(STALLED_AFTER, sent).await.map_err(late)?;
            tokio::time::sleep(BEFORE_RESET).await;
            return Ok(Sent::Cut);
        }
        let acknowledged = timeout(CLOSE_WITHIN, wait_for(|| taken::is_acknowledged(stream))).await;
        let late = |_| Outcome::lost(&format!("it has not taken everything within {} s", CLOSE_WITHIN.as_secs()), true);
        acknowledged.map_err(late)?.map_err(|error| Outcome::lost(&reason(&error), false))?;
        self.spool.counters.add(C::SpoolRepeated as usize, u64::from(self.doubtful));
        Ok(Sent::Whole)
    }

    /// Sends the record, its FIN included, and reads what comes meanwhile until the mirror's FIN.
    async fn send_and_listen(&self, reader: Reader, stream: &mut TcpStream) -> Result<Sent, Outcome> {
        let (mut read, mut write) = stream.split();
        let mut silence = std::pin::pin!(forget_answers(&mut read).fuse());
        let mut closed = false;
        let sent = {
            let mut sending = std::pin::pin!(self.send(reader, &mut write));
            loop {
                tokio::select! {
                    biased;
                    sent = &mut sending => break sent?,
                    end = &mut silence => {
                        end.map_err(|error| Outcome::lost(&reason(&error), false))?;
                        closed = true; // it may still take what comes
                    }
                }
            }
        };
        if let Sent::Cut = sent {
            return Ok(Sent::Cut);
        }
        write.shutdown().await.map_err(|error| Outcome::lost(&reason(&error), false))?;
        if !closed {
            let end = timeout(CLOSE_WITHIN, silence).await;
            let late = |_| Outcome::lost(&format!("it has not closed {} s after it got everything", CLOSE_WITHIN.as_secs()), true);
            end.map_err(late)?.map_err(|error| Outcome::lost(&reason(&error), false))?;
        }
        Ok(Sent::Whole)
    }

    async fn send(&self, mut reader: Reader, write: &mut WriteHalf<'_>) -> Result<Sent, Outcome> {
        loop {
            let (back, next) = reader.next().await;
            reader = back;
            match next {
                Next::Data => {
                    let data = reader.data();
                    write_all(write, data).await.map_err(|error| Outcome::lost(&reason(&error), false))?;
                    self.spool.counters.add(C::MirrorTxBytes as usize, data.len() as u64);
                    self.spool.counters.add(C::MirrorTxPkts as usize, 1);
                }
                Next::CaughtUp => {
                    self.caught_up.notify_one();
                    reader.more().await;
                }
                Next::End(end) if end.reset => return Ok(Sent::Cut),
                Next::End(_) => {
                    self.mark().await;
                    return Ok(Sent::Whole);
                }
                Next::Cut => {
                    let address = self.spool.settings().address;
                    let text =
                        format!("spool for mirror {address}: domoflux died while a connection was recorded; it is played back in part and reset");
                    self.spool.report.happened(&format_args!("parts for {address}"), &text);
                    return Ok(Sent::Cut);
                }
                Next::Damaged(why) => return Err(Outcome::Damaged(why)),
                Next::Unread(why) => return Err(Outcome::lost(&format!("its record can't be read now: {why}"), false)),
            }
        }
    }

    /// Notes in the record that it may have arrived from now on.
    async fn mark(&self) {
        let path = record_path(&self.spool.dir, self.seq);
        let marked = tokio::task::spawn_blocking(move || {
            let mut mark = Vec::new();
            record::encode(&Chunk::Played, &mut mark);
            // Played twice, it is marked already.
            if ending(&path)?.is_some_and(|(_, played)| played) {
                return Ok(());
            }
            OpenOptions::new().append(true).open(&path)?.write_all(&mark)
        });
        if let Ok(Err(error)) = marked.await {
            tracing::debug!("cannot mark a record as played back: {}", reason(&error));
        }
    }
}

/// Asks again every few milliseconds: the kernel does not say it by itself.
async fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        match ask() {
            Some(answer) => return answer,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Writes, as long as the mirror takes something.
async fn write_all(write: &mut WriteHalf<'_>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let n = timeout(STALLED_AFTER, write.write(data))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("it has taken nothing for {} s", STALLED_AFTER.as_secs())))??;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        data = data.get(n..).unwrap_or_default();
    }
    Ok(())
}

/// Reads what the mirror answers until it closes. Nobody is there any more who would want it.
async fn forget_answers(read: &mut ReadHalf<'_>) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    while read.read(&mut buffer).await? > 0 {}
    Ok(())
}
