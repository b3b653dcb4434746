//! One connection that is being recorded: its bytes on their way to the disk.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::Notify;

use super::disk::{self, Job};
use super::record::{self, Chunk, End, HEADER, LONGEST, MAGIC};
use super::{Spool, record_path};
use crate::net::{Budget, Held, Tick};
use crate::text::reason;

/// From how many bytes on they are handed to the disk's thread at once.
const HAND_OVER: usize = 16 << 10;

/// What the blocks of a queue may occupy beyond their bytes.
const SLACK: usize = 32 << 10;

/// A connection that is recorded. The connection, the disk's thread and the player share it.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) seq: u64,
    /// Kept until the last byte is written. The spool has the recording, too, but only until then.
    spool: Arc<Spool>,
    at: u64,
    client: String,
    /// Most bytes that wait for the disk.
    buffer: usize,
    budget: Arc<Budget>,
    held: Arc<Held>,
    /// The disk's thread has been told of what is held.
    told: AtomicBool,
    /// It will be told of it within a second.
    pub(super) later: AtomicBool,
    end: Mutex<Option<End>>,
    /// Since when its connection waits for the disk.
    waiting: Mutex<Option<Tick>>,
    /// Bytes of the file.
    written: AtomicU64,
    /// Nothing is added to the file any more.
    closed: AtomicBool,
    /// It was given up.
    lost: AtomicBool,
    /// There is more to be read from the file, or it is closed.
    pub(super) more: Notify,
}

impl Recording {
    pub(super) fn new(seq: u64, at: u64, client: String, buffer: u64, spool: &Arc<Spool>) -> Arc<Self> {
        Arc::new(Self {
            seq,
            spool: Arc::clone(spool),
            at,
            client,
            buffer: buffer as usize,
            budget: Arc::clone(&spool.budget),
            held: spool.budget.shelve(true),
            told: AtomicBool::new(false),
            later: AtomicBool::new(false),
            end: Mutex::default(),
            waiting: Mutex::default(),
            written: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            more: Notify::new(),
        })
    }

    /// Bytes of the file, and whether it will have no more.
    pub(super) fn written(&self) -> (u64, bool) {
        let closed = self.closed.load(Ordering::Acquire); // first: what was written before is seen then
        (self.written.load(Ordering::Acquire), closed)
    }

    fn end(&self) -> Option<End> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the disk's thread write what is held.
    pub(super) fn hand_over(self: &Arc<Self>) {
        if !self.told.swap(true, Ordering::AcqRel) && !disk::send(Job::Write(Arc::clone(self))) {
            self.give_up("the thread that writes to the disk is not there");
        }
    }

    /// On the disk's thread: writes what is held.
    pub(super) fn write(self: &Arc<Self>) {
        self.told.store(false, Ordering::Release); // first: what comes from now on is told again
        let end = self.end();
        let (blocks, taken) = self.held.drain(&self.budget);
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let spool = &self.spool;
        let path = record_path(&spool.dir, self.seq);
        if spool.index().get(self.seq).is_none() {
            self.close();
            let _ = std::fs::remove_file(path);
            return;
        }
        if taken {
            return self.give_up("buffer_total is reached and the disk does not keep up");
        }
        match self.append(&path, &blocks, end) {
            Ok(bytes) => {
                self.written.fetch_add(bytes, Ordering::Release);
                if end.is_some() {
                    self.close();
                }
                spool.grown(self.seq, bytes, end.is_some());
                self.more.notify_one();
            }
            Err(error) => {
                self.give_up(&format!("cannot write {}: {}", path.display(), reason(&error)));
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Nothing is written any more.
    pub(super) fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.budget.unshelve(&self.held);
            self.more.notify_one();
        }
    }

    /// Nothing is written any more, and what was is gone.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.close();
    }

    /// Whether there may be a file, now or in a moment.
    pub(super) fn has_file(&self) -> bool {
        self.told.load(Ordering::Acquire) || self.written.load(Ordering::Acquire) > 0
    }

    fn give_up(&self, why: &str) {
        self.lose();
        self.spool.drop_record(self.seq, why);
    }

    fn append(&self, path: &Path, blocks: &VecDeque<Vec<u8>>, end: Option<End>) -> io::Result<u64> {
        let mut file = open(path)?;
        let (mut first, mut last) = (Vec::new(), Vec::new());
        if self.written.load(Ordering::Relaxed) == 0 {
            first.extend_from_slice(MAGIC);
            record::encode(&Chunk::Opened { at: self.at, client: &self.client }, &mut first);
        }
        if let Some(end) = end {
            record::encode(&Chunk::End(end), &mut last);
        }
        let pieces: Vec<&[u8]> = blocks.iter().flat_map(|block| block.chunks(LONGEST)).collect();
        let headers: Vec<[u8; HEADER]> = pieces.iter().map(|piece| record::data_header(piece)).collect();
        let mut slices = vec![IoSlice::new(&first)];
        for (header, piece) in headers.iter().zip(&pieces) {
            slices.extend([IoSlice::new(header), IoSlice::new(piece)]);
        }
        slices.push(IoSlice::new(&last));
        let total = slices.iter().map(|slice| slice.len() as u64).sum();
        write_all(&mut file, &mut slices)?;
        Ok(total)
    }
}

/// Opens a record to add to it. Want of descriptors passes.
fn open(path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        match OpenOptions::new().append(true).create(true).mode(0o600).open(path) {
            Err(error) if tries < 20 && matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            opened => return opened,
        }
    }
}

fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0); // passes over empty ones
    while !slices.is_empty() {
        match file.write_vectored(slices.get(..slices.len().min(512)).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The connection's side of a recording.
#[derive(Debug)]
pub(in crate::mirror) struct Recorder(Arc<Recording>);

impl Recorder {
    pub(super) fn new(recording: Arc<Recording>) -> Self {
        Self(recording)
    }

    /// Whether so much waits for the disk that the connection waits a moment. If so, `waker` is woken when some of it is
    /// written. All connections of the spool together wait a twentieth of the time; what does not get to the disk then
    /// is given up.
    pub(in crate::mirror) fn holds_up(&self, waker: &Waker, now: Tick) -> bool {
        let recording = &self.0;
        let waits_since = |since| {
            let mut waiting = recording.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *waiting, since)
        };
        let held = recording.held.size();
        // Many that hold little can fill the memory for all as well as one that holds much.
        let behind = self.is_on() && (held >= recording.buffer / 2 || (held > 0 && recording.budget.is_half_full()));
        let spool = &recording.spool;
        if let Some(since) = waits_since(behind.then_some(now)) {
            spool.patience().add_since(since, now);
        }
        if behind {
            recording.hand_over();
        }
        behind && spool.patience().disk_has_more(now) && recording.held.wake_when_drained(waker)
    }

    /// Whether the mirror will get from the disk what it misses now: a full disk or a full spool ends that.
    pub(in crate::mirror) fn keeps(&self) -> bool {
        !self.0.lost.load(Ordering::Relaxed)
    }

    fn is_on(&self) -> bool {
        !self.0.closed.load(Ordering::Relaxed)
    }

    /// Records bytes. The answer is whether the caller should say [`Self::write`] in a moment.
    pub(in crate::mirror) fn push(&self, data: &[u8]) -> bool {
        let recording = &self.0;
        if !self.is_on() {
            return false;
        }
        let full = recording.held.size() + data.len() > recording.buffer + SLACK;
        if full {
            recording.give_up("the disk does not keep up and the buffer is full");
            return false;
        }
        let taken = recording.held.push(data, &recording.budget).is_err();
        if taken || recording.held.size() > HAND_OVER {
            recording.hand_over();
            return false;
        }
        true
    }

    /// Has what is held written.
    pub(in crate::mirror) fn write(&self) {
        if self.0.held.size() > 0 {
            self.0.hand_over();
        }
    }

    /// Has what is held written within a second, unless the mirror has got everything by then.
    pub(in crate::mirror) fn write_later(&self) {
        self.0.spool.write_later(&self.0);
    }

    /// The connection has ended.
    pub(in crate::mirror) fn end(&self, end: End) {
        if !self.is_on() {
            return;
        }
        {
            let mut known = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
            if known.is_some() {
                return;
            }
            *known = Some(end);
        }
        if end.live { self.write_later() } else { self.0.hand_over() }
    }

    /// The mirror has got everything and has closed: the record is not needed any more.
    pub(in crate::mirror) fn delivered(&self) {
        self.0.spool.remove(self.0.seq);
    }

    /// The mirror has not got everything: the record is to be played back.
    pub(in crate::mirror) fn failed(&self) {
        if self.0.spool.failed(self.0.seq) {
            self.0.hand_over();
        }
    }
}

impl Drop for Recorder {
    /// Whatever cut the connection, its mirror learns it as a reset.
    fn drop(&mut self) {
        self.end(End { reset: true, live: false });
    }
}
