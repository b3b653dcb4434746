//! Reading a record, also while it is being written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::record::{self, Chunk, End, HEADER, LONGEST, MAGIC, TAIL};
use super::recording::Recording;
use crate::text::reason;

/// Who may read at the same time. Each has a thread for it, and a disk is not faster for a hundred than for two.
static READING: Semaphore = Semaphore::const_new(2);

/// What a record has next.
#[derive(Debug)]
pub(super) enum Next {
    /// Bytes for the mirror; [`Reader::data`] has them.
    Data,
    /// Its client has not sent more yet.
    CaughtUp,
    End(End),
    /// Its end is missing: the daemon died while it was recorded.
    Cut,
    /// What comes is no part of a record, or is gone.
    Damaged(String),
    /// The disk can't be read now.
    Unread(String),
}

/// Reads one record from its beginning.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    recording: Option<Arc<Recording>>,
    file: Option<File>,
    /// Bytes read from the file so far.
    position: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are used already.
    used: usize,
    /// Bytes of the buffer that a read goes behind.
    filled: usize,
    data: std::ops::Range<usize>,
    begun: bool,
}

impl Reader {
    pub(super) fn new(path: PathBuf, recording: Option<Arc<Recording>>) -> Self {
        Self { path, recording, file: None, position: 0, buffer: Vec::new(), used: 0, filled: 0, data: 0..0, begun: false }
    }

    /// The bytes that [`Next::Data`] announced.
    pub(super) fn data(&self) -> &[u8] {
        self.buffer.get(self.data.clone()).unwrap_or_default()
    }

    /// Waits until there may be more.
    pub(super) async fn more(&self) {
        if let Some(recording) = &self.recording
            && recording.written() == (self.position, false)
        {
            recording.more.notified().await;
        }
    }

    /// What comes next. The disk is read on another thread.
    pub(super) async fn next(mut self) -> (Self, Next) {
        loop {
            match self.decode() {
                Ok(Some(next)) => return (self, next),
                Ok(None) => {}
                Err(why) => return (self, Next::Damaged(why)),
            }
            // What was written before the read is seen by it; what comes later is another turn.
            let written = self.recording.as_ref().map(|recording| recording.written());
            let turn = READING.acquire().await;
            self.make_room(); // not on the other thread: its allocator would keep what it gets back
            let reading = tokio::task::spawn_blocking(move || {
                let done = self.read();
                drop(turn);
                (self, done)
            });
            let Ok((reader, done)) = reading.await else {
                return (Self::new(PathBuf::new(), None), Next::Unread("reading it failed".to_owned()));
            };
            self = reader;
            match (done, written) {
                (Ok(0), Some((written, _))) if self.position < written => {
                    return (self, Next::Damaged("the file is shorter than what was written".to_owned()));
                }
                (Ok(0), Some((_, false))) => {
                    if self.used == self.buffer.len() {
                        (self.buffer, self.used) = (Vec::new(), 0); // it may be followed for days
                    }
                    return (self, Next::CaughtUp);
                }
                (Ok(0), _) => return (self, Next::Cut),
                (Ok(_), _) => {}
                (Err(error), _) if error.kind() == io::ErrorKind::NotFound => return (self, Next::Damaged("the file is gone".to_owned())),
                (Err(error), _) => return (self, Next::Unread(reason(&error))),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Next>, String> {
        if !self.begun {
            match record::begins(self.buffer.get(self.used..).unwrap_or_default()) {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(())) => {
                    self.begun = true;
                    self.used += MAGIC.len();
                }
            }
        }
        loop {
            let decoded = record::decode(self.buffer.get(self.used..).unwrap_or_default()).map_err(|error| error.to_string())?;
            let Some((chunk, length)) = decoded else { return Ok(None) };
            let next = match chunk {
                Chunk::Data(data) => {
                    self.data = self.used + length - data.len()..self.used + length;
                    Some(Next::Data)
                }
                Chunk::End(end) => Some(Next::End(end)),
                Chunk::Opened { .. } | Chunk::Played => None,
            };
            self.used += length;
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    fn make_room(&mut self) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.filled = self.buffer.len();
        self.buffer.resize(self.filled + LONGEST + HEADER, 0);
    }

    /// Reads some more into the buffer.
    fn read(&mut self) -> io::Result<usize> {
        let read = self.read_some();
        let n = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(self.filled + n);
        self.position += n as u64;
        read
    }

    fn read_some(&mut self) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match File::open(&self.path) {
                Ok(file) => none.insert(file),
                // Nothing has been written yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.recording.is_some() => return Ok(0),
                Err(error) => return Err(error),
            },
        };
        file.read(self.buffer.get_mut(self.filled..).unwrap_or_default())
    }
}

/// How the record in this file ended, and whether it was played back; `None`: it is not complete.
pub(super) fn ending(path: &Path) -> io::Result<Option<(End, bool)>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL as u64)))?;
    let mut tail = Vec::with_capacity(TAIL);
    file.take(TAIL as u64).read_to_end(&mut tail)?;
    Ok(record::ends(&tail))
}

/// What the record in this file has for its mirror, and how it ended; the other end is why it can't be read on.
#[cfg(any(test, fuzzing))]
pub(crate) async fn read_whole(path: &Path) -> (Vec<u8>, Result<End, String>) {
    let mut reader = Reader::new(path.to_owned(), None);
    let mut got = Vec::new();
    loop {
        let (back, next) = reader.next().await;
        reader = back;
        match next {
            Next::Data => got.extend_from_slice(reader.data()),
            Next::CaughtUp => return (got, Err("nobody writes it, and there is more to come".to_owned())),
            Next::End(end) => return (got, Ok(end)),
            Next::Cut => return (got, Err("its end is missing".to_owned())),
            Next::Damaged(why) | Next::Unread(why) => return (got, Err(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_that_was_cut_anywhere_gives_what_it_has_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.rec");
        let mut whole = MAGIC.to_vec();
        record::encode(&Chunk::Opened { at: 1, client: "127.0.0.1:1" }, &mut whole);
        for data in [&b"first"[..], &[7; 1000], b""] {
            record::encode(&Chunk::Data(data), &mut whole);
        }
        record::encode(&Chunk::End(End { reset: false, live: false }), &mut whole);
        let sent = [&b"first"[..], &[7; 1000]].concat();
        for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (got, end) = read_whole(&path).await;
            assert!(sent.starts_with(&got) && end.is_err(), "{cut}: {end:?}");
            assert_eq!(ending(&path).unwrap(), None, "{cut}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(read_whole(&path).await, (sent, Ok(End { reset: false, live: false })));
        assert!(ending(&path).unwrap().is_some());
    }
}
