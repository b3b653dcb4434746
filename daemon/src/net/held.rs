//! Bytes that a mirror has not taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

use super::Budget;

/// The smallest and the largest block that small pieces are gathered in.
const SMALLEST_BLOCK: usize = 1 << 10;
const LARGEST_BLOCK: usize = 16 << 10;
/// Blocks handed to the kernel in one write.
const BLOCKS_A_WRITE: usize = 16;

/// A queue of bytes in order. It is shared with the [`Budget`], which may empty it at any moment.
#[derive(Debug)]
pub(crate) struct Held {
    /// Whether the budget may take it back.
    pub(crate) can_go: bool,
    /// Its place on the budget's shelf.
    pub(crate) place: usize,
    /// What its blocks occupy, readable without the lock.
    size: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    blocks: VecDeque<Vec<u8>>,
    /// Bytes of the first block that are written already.
    head: usize,
    /// Bytes to be written.
    len: usize,
    taken: bool,
    waker: Option<Waker>,
}

impl Held {
    pub(crate) fn new(can_go: bool, place: usize) -> Self {
        Self { can_go, place, size: AtomicUsize::new(0), queue: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory it occupies.
    pub(crate) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be written, or waited when it was taken back.
    pub(crate) fn len(&self) -> usize {
        self.lock().len
    }

    /// Whether the budget took it back. Nothing can be added any more.
    pub(crate) fn is_taken(&self) -> bool {
        self.lock().taken
    }

    /// Adds `data` at the end. The error is how many bytes of it are not in the queue, because the budget took it back.
    pub(crate) fn push(&self, mut data: &[u8], budget: &Budget) -> Result<(), usize> {
        loop {
            let need = {
                let mut queue = self.lock();
                if queue.taken {
                    return Err(data.len());
                }
                // First what fits into the last block, which is paid for already.
                if let Some(last) = queue.blocks.back_mut() {
                    let fits = data.len().min(last.capacity() - last.len());
                    let (now, later) = data.split_at(fits);
                    last.extend_from_slice(now);
                    queue.len += fits;
                    data = later;
                }
                if data.is_empty() {
                    return Ok(());
                }
                let last = queue.blocks.back().map_or(0, Vec::capacity);
                data.len().max((last * 2).clamp(SMALLEST_BLOCK, LARGEST_BLOCK))
            };
            budget.charge(need, self.can_go); // takes queues' locks, perhaps this one's
            let mut queue = self.lock();
            if queue.taken {
                budget.release(need, self.can_go);
                return Err(data.len());
            }
            self.size.fetch_add(need, Ordering::Relaxed);
            queue.blocks.push_back(Vec::with_capacity(need));
        }
    }

    /// Writes what the stream takes; `last` says that FIN comes next, and may share its packet. `Ready` means that the queue is empty (or was taken back); the bytes written are
    /// added to `written`, the writes to `writes`.
    pub(crate) fn poll_write_to(
        &self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        budget: &Budget,
        last: bool,
        written: &mut u64,
        writes: &mut u64,
    ) -> Poll<io::Result<()>> {
        let mut freed = 0;
        let mut queue = self.lock();
        let end = loop {
            if queue.len == 0 || queue.taken {
                queue.waker = None;
                break Poll::Ready(Ok(()));
            }
            let Queue { blocks, head, .. } = &mut *queue;
            let mut slices = [IoSlice::new(&[]); BLOCKS_A_WRITE];
            let mut skip = *head;
            for (slice, block) in slices.iter_mut().zip(blocks.iter()) {
                *slice = IoSlice::new(block.get(skip..).unwrap_or_default());
                skip = 0;
            }
            let count = blocks.len().min(BLOCKS_A_WRITE);
            match poll_send(stream, cx, slices.get(..count).unwrap_or_default(), last) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    *written += n as u64;
                    *writes += 1;
                    freed += queue.advance(n);
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => {
                    queue.waker = Some(cx.waker().clone());
                    break Poll::Pending;
                }
            }
        };
        self.size.fetch_sub(freed, Ordering::Relaxed);
        drop(queue);
        budget.release(freed, self.can_go);
        end
    }

    /// Takes everything out, for whoever writes it elsewhere, and says whether the budget took it back before.
    pub(crate) fn drain(&self, budget: &Budget) -> (VecDeque<Vec<u8>>, bool) {
        let mut queue = self.lock();
        let blocks = std::mem::take(&mut queue.blocks);
        queue.len = 0;
        let freed = self.size.swap(0, Ordering::Relaxed);
        let (taken, waker) = (queue.taken, queue.waker.take());
        drop(queue);
        budget.release(freed, self.can_go);
        if let Some(waker) = waker {
            waker.wake();
        }
        (blocks, taken)
    }

    /// Has `waker` woken by the next [`Self::drain`]; `false` if there is nothing to drain any more.
    pub(crate) fn wake_when_drained(&self, waker: &Waker) -> bool {
        let mut queue = self.lock();
        let waits = queue.len > 0 && !queue.taken;
        if waits {
            queue.waker = Some(waker.clone());
        }
        waits
    }

    /// Empties it; the answer is the memory that it occupied.
    pub(crate) fn clear(&self) -> usize {
        let mut queue = self.lock();
        queue.blocks = VecDeque::new();
        queue.head = 0;
        self.size.swap(0, Ordering::Relaxed)
    }

    /// Empties it for good and tells its owner; the answer is the memory that it occupied.
    pub(crate) fn take_back(&self) -> usize {
        let waker = {
            let mut queue = self.lock();
            queue.taken = true;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        self.clear()
    }
}

/// Writes; with `more`, the kernel holds a part of a packet back until more comes, which is FIN here.
fn poll_send(stream: &mut TcpStream, cx: &mut Context<'_>, slices: &[IoSlice<'_>], more: bool) -> Poll<io::Result<usize>> {
    if !more {
        return Pin::new(stream).poll_write_vectored(cx, slices);
    }
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let send = || Ok(sendmsg(&*stream, slices, &mut SendAncillaryBuffer::default(), SendFlags::MORE | SendFlags::NOSIGNAL)?);
        match stream.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

impl Queue {
    /// Drops the first `n` bytes; the answer is the memory that this freed.
    fn advance(&mut self, n: usize) -> usize {
        self.len -= n;
        self.head += n;
        let mut freed = 0;
        while let Some(first) = self.blocks.front() {
            if self.head < first.len() || (self.head == 0 && self.len > 0) {
                break;
            }
            self.head -= first.len();
            freed += first.capacity();
            self.blocks.pop_front();
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    /// Pushes all pieces, writes whenever `write` says so, and gives what the other end got.
    async fn through(pieces: &[(Vec<u8>, bool)]) -> Vec<u8> {
        let budget = Budget::new(usize::MAX);
        let held = budget.shelve(true);
        let (mut ours, mut theirs) = pair().await;
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            got
        });
        let (mut written, mut writes) = (0, 0);
        for (data, write) in pieces {
            assert_eq!(held.push(data, &budget), Ok(()));
            if *write {
                std::future::poll_fn(|cx| held.poll_write_to(&mut ours, cx, &budget, *write, &mut written, &mut writes))
                    .await
                    .unwrap();
                assert_eq!((held.len(), held.size()), (0, 0));
            }
            assert_eq!(budget.used(), held.size());
        }
        std::future::poll_fn(|cx| held.poll_write_to(&mut ours, cx, &budget, true, &mut written, &mut writes))
            .await
            .unwrap();
        assert_eq!((held.len(), held.size(), budget.used()), (0, 0, 0));
        assert_eq!(written, pieces.iter().map(|(data, _)| data.len() as u64).sum::<u64>());
        drop(ours);
        reader.await.unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_in_comes_out_in_order(lengths in prop::collection::vec((0usize..50_000, any::<bool>()), 0..20)) {
            let mut n = 0u8;
            let mut piece = |len: usize| (0..len).map(|_| { n = n.wrapping_mul(5).wrapping_add(17); n }).collect::<Vec<u8>>();
            let pieces: Vec<_> = lengths.into_iter().map(|(len, write)| (piece(len), write)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let got = runtime.block_on(through(&pieces));
            let sent: Vec<u8> = pieces.iter().flat_map(|(data, _)| data.clone()).collect();
            prop_assert!(got == sent);
        }
    }

    #[test]
    fn small_pieces_share_a_block() {
        let budget = Budget::new(usize::MAX);
        let held = budget.shelve(true);
        for _ in 0..100 {
            held.push(&[7; 64], &budget).unwrap();
        }
        assert!(held.size() <= 16 << 10, "{}", held.size());
        assert_eq!(held.len(), 6400);
    }
}
